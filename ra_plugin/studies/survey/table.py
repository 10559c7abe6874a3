"""The scores of a survey as Markdown tables."""
from ra_plugin.report.markdown_table import percent, table
from ra_plugin.studies.survey.scores import SurveyScores


def label_markdown(scores: SurveyScores) -> str:
    """Return the rates of answers that are the label; ``scores`` are of `label_choices` alone."""
    rows = _rates(scores, 'the label')
    return (f'Answers that are the label, in %; questions: {scores.questions}. 95 % intervals over the questions.'
            f'\n\n{table(rows)}\n')


def survey_markdown(scores: SurveyScores) -> str:
    """Return the satisfaction rates and their difference, then the rates of each respondent."""
    first, second = scores.satisfied
    over = 'questions and respondents' if scores.respondents > 1 else 'questions alone, with a single respondent'
    people = [['respondent', first, second, f'{second} - {first}']]
    people += [[respondent, *(f'{100 * share[name]:.1f}' for name in (first, second)),
                f'{100 * (share[second] - share[first]):+.1f}']
               for respondent, share in scores.by_respondent.items()]
    rates = table(_rates(scores, 'satisfied'))
    return (f'Answers that people were satisfied with, in %; respondents: {scores.respondents}, questions: '
            f'{scores.questions}. 95 % intervals over {over}.\n\n{rates}\n\n{table(people)}\n')


def _rates(scores: SurveyScores, title: str) -> list[list[str]]:
    first, second = scores.satisfied
    return [['answers after', title], *([name, percent(entry)] for name, entry in scores.satisfied.items()),
            [f'{second} - {first}', percent(scores.difference, '+')]]
