"""Scores of a survey: the share of fitting answers after each way of processing, with intervals.

Every respondent answers every question, so respondents and questions are crossed, and both are samples: of the people
and of the images that might have been asked. The intervals are those of the mean in a two-way random-effects analysis
of variance with Satterthwaite's degrees of freedom, as studies with several readers of the same cases use them. A
bootstrap over both (Owen's pigeonhole bootstrap, 2007) counts what is particular to one respondent and one question
three times, so it is too wide where there is little else; and its percentiles know nothing of how few ten respondents
are, which Student's t takes into account.
"""
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ra_plugin.options import OptionError
from ra_plugin.recognizers.class_names import casefolded
from ra_plugin.results import Estimate
from ra_plugin.utils.text import printable
from ra_plugin.utils.text_file import read_text

KEY_SCHEMA = 'ra_plugin survey key 1'
CHOICES = {'A': ('A',), 'B': ('B',), 'both': ('A', 'B'), 'neither': ()}  # what fits by each
_RESPONDENT = re.compile(r'[A-Za-z0-9_-]{1,40}')
_LARGEST = 2 ** 24  # bytes; a key of 10 000 questions has a tenth of them


@dataclass(frozen=True)
class SurveyScores:
    """Satisfaction rates in ``[0, 1]``; 'both' counts for both answers.

    Attributes:
        page: Id of the page.
        respondents, questions: Numbers of them.
        satisfied: Way of processing -> share of answers that fit.
        difference: Second way minus the first, paired in each respondent's answer to each question.
        by_respondent: Respondent -> way of processing -> share.
    """

    page: str
    respondents: int
    questions: int
    satisfied: Mapping[str, Estimate]
    difference: Estimate
    by_respondent: Mapping[str, Mapping[str, float]]


def read_key(path: Path) -> dict[str, Any]:
    """Read the key that was written beside a survey page.

    Raises:
        ValueError: The file is no such key.
    """
    try:
        key = _read_json(path)
    except OptionError as error:  # it is not UTF-8
        raise OptionError(f"{path}: expected the key.json of a survey ('{KEY_SCHEMA}'). {error}") from None
    except ValueError:
        key = None
    if not isinstance(key, dict) or key.get('schema') != KEY_SCHEMA:
        raise ValueError(f"{path}: expected the key.json of a survey ('{KEY_SCHEMA}'). It was written with the page.")
    if not _is_whole(key):
        raise ValueError(f'{path}: expected page, names of two ways of processing, and questions with the one of each '
                         'answer, A and B. The file is damaged: take the one that was written with the page.')
    return key


def _is_whole(key: Mapping[str, Any]) -> bool:
    """Tell whether a key has what scoring needs."""
    page, names, questions = (key.get(part) for part in ('page', 'names', 'questions'))
    return (isinstance(page, str) and isinstance(names, list) and len(names) == 2 and names[0] != names[1]
            and all(isinstance(name, str) for name in names) and isinstance(questions, dict) and bool(questions)
            and all(isinstance(question, dict) and [question.get(letter) for letter in 'AB'] in (names, names[::-1])
                    for question in questions.values()))


def read_answers(key: Mapping[str, Any], paths: Iterable[Path]) -> tuple[dict[str, list[str]], list[str]]:
    """Read the choices of each respondent, in the order of the key's questions, and a line for each refused file.

    Refused are files of another page, damaged ones, ones without an answer to each question, and all files of a
    respondent who has several: which of them is meant is not for a program to say.
    """
    read, refused = [], []
    for path in paths:
        try:
            data = _read_json(path)
            _check_answers(data, key)
            read.append((path, data['respondent'], [data['answers'][question] for question in key['questions']]))
        except ValueError as error:
            refused.append(f'{path}: {error} Refused.')
    files = Counter(respondent for _, respondent, _ in read)
    refused += [f"{path}: one of {files[respondent]} files of respondent '{respondent}'. Refused; keep one."
                for path, respondent, _ in read if files[respondent] > 1]
    return {respondent: choices for _, respondent, choices in read if files[respondent] == 1}, [
        printable(' '.join(line.splitlines())) for line in refused]


def label_choices(key: Mapping[str, Any]) -> list[str] | None:
    """Return the choices that the labels of the data set make; None without labels.

    Args:
        key: As `read_key` gives it.
    """
    questions = list(key['questions'].values())
    if any(question.get('label') is None for question in questions):
        return None
    letters = {fits: choice for choice, fits in CHOICES.items()}
    return [letters[tuple(letter for letter, answer in zip('AB', question['answers'], strict=True)
                          if casefolded(answer) == casefolded(question['label']))] for question in questions]


def score_survey(key: Mapping[str, Any], answers: Mapping[str, list[str]]) -> SurveyScores:
    """Score the answers, with 95 % intervals.

    Args:
        key: As `read_key` gives it.
        answers: Respondent -> choices, as `read_answers` gives them.

    Raises:
        ValueError: No respondents.
    """
    if not answers:
        raise ValueError('survey: expected at least one file of answers that is not refused, got none.')
    questions = list(key['questions'].values())
    fits = {name: np.array([[name in {question[letter] for letter in CHOICES[choice]}
                             for question, choice in zip(questions, choices,
                                                         strict=True)] for choices in answers.values()], float)
            for name in key['names']}
    first, second = fits.values()
    return SurveyScores(
        key['page'], len(answers), len(questions),
        {name: crossed_mean(values, 0, 1) for name, values in fits.items()}, crossed_mean(second - first, -1, 1),
        {respondent: {name: float(values[i].mean()) for name, values in fits.items()}
         for i, respondent in enumerate(answers)})


def crossed_mean(values: np.ndarray, lowest: float, highest: float) -> Estimate:
    """Return the mean of ``(respondents, questions)`` with the interval over both, within ``[lowest, highest]``.

    A single respondent says nothing of how others differ: the interval is over the questions alone then.
    """
    mean, (respondents, questions) = float(values.mean()), values.shape
    if min(respondents, questions) == 1:
        degrees = values.size - 1
        variance = values.var(ddof=1) / values.size if degrees else 0.0
    else:
        variance, degrees = _crossed_variance(values)
    if variance:
        half = stats.t.ppf(0.975, degrees) * variance ** 0.5
    else:  # all values are equal: as far as Wilson's interval reaches where the share is 0 or 1
        half = (z := stats.norm.ppf(0.975)) ** 2 / (questions + z ** 2)
    return Estimate(mean, float(max(mean - half, lowest)), float(min(mean + half, highest)))


def _crossed_variance(values: np.ndarray) -> tuple[float, float]:
    """Return the variance of the mean, and its degrees of freedom."""
    respondents, questions = values.shape
    by_respondent = values.mean(1, keepdims=True) - values.mean()
    by_question = values.mean(0, keepdims=True) - values.mean()
    rest = values - values.mean() - by_respondent - by_question
    freedom = np.array([respondents - 1, questions - 1, (respondents - 1) * (questions - 1)])
    squares = np.array([questions * (by_respondent ** 2).sum(), respondents * (by_question ** 2).sum(),
                        (rest ** 2).sum()]) / freedom
    squares[:2] = np.maximum(squares[:2], squares[2])  # no component of variance is negative
    total = squares[0] + squares[1] - squares[2]
    if not total:
        return 0.0, 1.0
    return total / values.size, total ** 2 / (squares ** 2 / freedom).sum()


def _read_json(path: Path) -> Any:
    if path.stat().st_size > _LARGEST:
        raise ValueError(f'expected at most {_LARGEST} bytes, got {path.stat().st_size}.')
    text = read_text(path, 'survey')
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('expected a JSON file.') from None


def _check_answers(data: Any, key: Mapping[str, Any]) -> None:
    if not (isinstance(data, dict) and isinstance(data.get('page'), str) and isinstance(data.get('answers'), dict)):
        raise ValueError('expected a file that a survey page has saved.')
    if data['page'] != key['page']:
        raise ValueError(f"expected answers to page '{key['page']}', got those to '{data['page']}'.")
    if not isinstance(data.get('respondent'), str) or not _RESPONDENT.fullmatch(data['respondent']):
        raise ValueError('expected a respondent of 1 to 40 letters, digits, - and _.')
    for question, choice in data['answers'].items():
        if question not in key['questions'] or not isinstance(choice, str) or choice not in CHOICES:
            raise ValueError(f"no question '{question}' with the choice {choice!r} on the page.")
    missing = [question for question in key['questions'] if question not in data['answers']]
    if missing:
        raise ValueError(f'{len(missing)} of {len(key["questions"])} questions have no answer: '
                         f'{", ".join(missing[:5])}{", ..." if len(missing) > 5 else ""}.')
