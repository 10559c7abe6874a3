"""The scores of a survey as Markdown tables."""
from collections.abc import Mapping
from typing import Any

from ra_plugin.report.markdown import percent, table


def survey_markdown(scores: Mapping[str, Any]) -> str:
    """Satisfaction rates and their difference, then the rates of each respondent; ``scores`` is of `score_survey`."""
    first, second = scores['satisfied']
    over = 'questions and respondents' if scores['respondents'] > 1 else 'questions alone, with a single respondent'
    rows = [['answers after', 'satisfied']]
    rows += [[name, percent(entry)] for name, entry in scores['satisfied'].items()]
    rows.append([f'{second} - {first}', percent(scores['difference'], '+')])
    people = [['respondent', first, second, f'{second} - {first}']]
    people += [[respondent, *(f'{100 * share[name]:.1f}' for name in (first, second)),
                f'{100 * (share[second] - share[first]):+.1f}']
               for respondent, share in scores['by_respondent'].items()]
    return (f'Answers that people were satisfied with, in %; respondents: {scores["respondents"]}, questions: '
            f'{scores["questions"]}. 95 % intervals over {over}.\n\n{table(rows)}\n\n{table(people)}\n')
