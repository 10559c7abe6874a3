"""A survey of the answers that fit an image: a blind HTML page, and the key to it.

The paper's cloud experiment: people see the target image and what a recognizer answered on it after two ways of
processing, in random order, and say which of the answers fit: either, both or none.
"""
import hashlib
import json
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ra_plugin.report.html_page import escape, image_uri, page
from ra_plugin.studies.survey.scores import KEY_SCHEMA
from ra_plugin.utils.atomic import atomic_write

PAGE, KEY = 'survey.html', 'key.json'
_LONGEST_SIDE = 640  # pixels
_TITLE = 'Which answers fit the image?'


@dataclass(frozen=True)
class SurveyItem:
    """Image with different answers after two ways of processing."""

    image_id: str  # goes to the key alone: a path may tell the class
    image: np.ndarray  # (H, W, 3) uint8, RGB: the clean image
    answers: tuple[str, str]  # after the first and after the second way of processing
    label: str | None = None  # what the data set says; for the key alone, too


def build_survey(items: Sequence[SurveyItem], out: Path, names: tuple[str, str] = ('plain', 'RA'),
                 settings: Mapping[str, Any] | None = None, rng: random.Random | None = None) -> dict[str, Any]:
    """Write ``survey.html``, to be given to people, and ``key.json``, to be kept from them until all have answered.

    The page is made of the images and of answers called A and B: neither ``names`` nor anything that follows from them
    gets there. Which is which is drawn at random for each question, and so is the order of the questions.

    Args:
        items: The questions.
        out: Folder; made where it is missing.
        names: The two ways of processing, in the order of each item's answers.
        settings: Further entries of the key, e.g. how the items were chosen.
        rng: Random numbers, for tests. Default: the operating system's, which no seed brings back.

    Returns:
        The content of ``key.json``.

    Raises:
        ValueError: No items, or equal names.
        FileExistsError: The folder has a survey already.
    """
    if not items:
        raise ValueError('survey: expected at least one image with different answers, got none.')
    if names[0] == names[1]:
        raise ValueError(f"survey: expected two names, got '{names[0]}' twice.")
    check_free(out)
    rng = rng or secrets.SystemRandom()
    questions, key = [], {}
    for number, item in enumerate(rng.sample(list(items), len(items)), 1):
        order = (1, 0) if rng.getrandbits(1) else (0, 1)
        shown = [item.answers[i] for i in order]
        questions.append(_question(number, len(items), item.image, shown))
        key[f'q{number}'] = {'image': item.image_id, 'A': names[order[0]], 'B': names[order[1]], 'answers': shown,
                             'label': item.label}
    content = '\n'.join(questions)
    page_id = hashlib.sha256(content.encode()).hexdigest()[:16]  # of what is to be seen, so it tells nothing else
    result = {'schema': KEY_SCHEMA, 'page': page_id, 'names': list(names), 'questions': key, **(settings or {})}
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(json.dumps(result, indent=1), out / KEY)  # first: a page without one must not get to people
    atomic_write(page('survey', _TITLE, _body(page_id, len(items), content)), out / PAGE)
    return result


def check_free(out: Path) -> None:
    """Raise FileExistsError where ``out`` has a key: without it, answers to its page could not be scored."""
    if (out / KEY).exists():
        raise FileExistsError(f'{out / KEY}: a survey is there already, and its answers need this key. '
                              'Choose another folder.')


def _body(page_id: str, count: int, questions: str) -> str:
    return f"""<header>
<h1>{_TITLE}</h1>
<div id="intro">
<p>A program was shown each of these images after two kinds of processing, and gave two answers, A and B. Please say
which of them describe the image to a satisfactory level: one, both or neither.</p>
<p class="keys">By keyboard: Tab to the choices, 1 to 4 or the arrows choose, Enter goes on.</p>
</div>
<p id="progress" role="status">{count} questions</p>
<progress id="bar" max="{count}" value="0" aria-hidden="true"></progress>
<noscript><p class="warning">Please allow scripts for this page: without them answers cannot be saved.</p></noscript>
<p id="unkept" class="warning" hidden>This browser does not keep your answers when the page is closed. Save them
before.</p>
</header>
<main>
<form id="survey" data-page="{page_id}" autocomplete="off">
{questions}
<fieldset class="step" id="finish">
<legend>Save your answers</legend>
<p id="missing"></p>
<p id="open"></p>
<p><label for="respondent">Your id, in place of your name</label>
<input id="respondent" maxlength="40" spellcheck="false" autocapitalize="off" aria-describedby="about-id"></p>
<p id="about-id">Leave the id that was drawn for you, unless you were given one: letters, digits, - and _.</p>
<p><button type="button" id="save" aria-describedby="missing">Save answers as a file</button></p>
<p id="saved" role="status"></p>
</fieldset>
<p class="nav"><button type="button" id="back">Back</button> <button type="submit" id="next">Next</button></p>
</form>
</main>"""


def _question(number: int, count: int, image: np.ndarray, shown: Sequence[str]) -> str:
    height, width = image.shape[:2]
    choices = [('A', f'<b>A</b> {_answer(shown[0])}'), ('B', f'<b>B</b> {_answer(shown[1])}'),
               ('both', 'Both fit'), ('neither', 'Neither fits')]
    labels = '\n'.join(f'<label><input type="radio" name="q{number}" value="{value}"><span>{text}</span></label>'
                       for value, text in choices)
    return f"""<fieldset class="step question" id="q{number}">
<legend>Question {number} of {count}</legend>
<img src="{image_uri(image, _LONGEST_SIDE)}" width="{width}" height="{height}" alt="The image of question {number}">
<div class="choices">
{labels}
</div>
</fieldset>"""


def _answer(text: str) -> str:
    return f'<bdi>{escape(text)}</bdi>' if text.strip() else '<i>no answer</i>'
