"""tools/survey.py: which images are asked about, a page that gives nothing away, people's answers and their scores."""
import functools
import json
import random
import re
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import yaml
from browser import chromium, console, downloaded, requested, resize
from conftest import TanhNet
from PIL import Image
from programs import run_tool
from scipy import stats
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ra_plugin.archs import SRResNet
from ra_plugin.builders.loaders import evenly_spaced
from ra_plugin.evaluation.judging import Batch
from ra_plugin.options import OptionError
from ra_plugin.recognizers import build_recognizer
from ra_plugin.report.html_page import image_uri
from ra_plugin.studies.survey.report import SurveyItem, build_survey
from ra_plugin.studies.survey.run import disagreements, reservoir, survey
from ra_plugin.studies.survey.scores import crossed_mean, label_choices, read_answers, read_key, score_survey
from ra_plugin.studies.survey.table import label_markdown, survey_markdown

NAMES = ('plainest of all', 'recognition-aware')  # words that the page's own text has not


def items(count, seed=0, side=8):
    rng = np.random.default_rng(seed)
    return [SurveyItem(f'folder/class {i}.png', rng.integers(0, 256, (side, side, 3), np.uint8),
                       (f'first answer {i}', f'other answer {i}'), f'label {i}') for i in range(count)]


def swapped(these):
    return [replace(item, answers=item.answers[::-1]) for item in these]


# Which images are asked about

@pytest.mark.parametrize('batch_size', [1, 3, 4])
def test_images_with_different_answers_are_found_whatever_the_batches(batch_size):
    gray = torch.tensor([0.1, 0.3, 0.45, 0.499, 0.6, 0.9])  # the image as it is, and its negative
    lq = gray.view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    paths = [str(i) for i in range(6)]
    batches = [Batch(lq[i:i + batch_size], lq[i:i + batch_size] / 2, None, [], paths[i:i + batch_size])
               for i in range(0, 6, batch_size)]

    def answer(images):
        assert torch.equal(images, (images * 255).round() / 255)
        return ['bright' if image.mean() > 0.502 else 'dim' for image in images]  # 128 / 255 is 0.50196

    found = list(disagreements(batches, [lambda batch: batch.lq, lambda batch: 1 - batch.lq], answer))
    # 0.499 becomes 127 and its negative 0.501 becomes 128: dim, both of them, as they are saved
    assert [item.image_id for item in found] == ['0', '1', '2', '4', '5']
    assert [item.answers for item in found] == 3 * [('dim', 'bright')] + 2 * [('bright', 'dim')]
    assert found[0].image.dtype == np.uint8 and (found[0].image == 13).all() and found[0].image.shape == (2, 2, 3)


def test_reservoir_keeps_each_item_as_likely_as_any_other():
    assert reservoir(iter('abc'), 5, np.random.default_rng(0)) == (['a', 'b', 'c'], 3)
    counts = np.zeros(12)
    for seed in range(3000):
        kept, seen = reservoir(iter(range(12)), 4, np.random.default_rng(seed))
        assert len(set(kept)) == 4 and seen == 12
        counts[kept] += 1
    # of 3000 draws each has 1000 with a standard deviation of 26
    assert stats.chisquare(counts).pvalue > 1e-3 and abs(counts - 1000).max() < 110


# What the page gives away

class Coins:
    """A seeded order of questions, and seeded coins that can be turned."""

    def __init__(self, turned):
        self.turned, self.coins = turned, random.Random(8)
        self.sample = random.Random(7).sample

    def getrandbits(self, k):
        return self.coins.getrandbits(k) ^ self.turned


def test_page_is_the_same_when_the_processings_change_places(tmp_path):
    """What is A and what is B is known to the coins alone: turn them as well, and not a byte differs."""
    key = build_survey(items(20), tmp_path / 'a', NAMES, rng=Coins(False))
    other = build_survey(swapped(items(20)), tmp_path / 'b', NAMES, rng=Coins(True))
    assert (tmp_path / 'a/survey.html').read_bytes() == (tmp_path / 'b/survey.html').read_bytes()
    assert key['page'] == other['page']
    for name, question in key['questions'].items():
        assert other['questions'][name] == {**question, 'A': question['B'], 'B': question['A']}
    assert {question['A'] for question in key['questions'].values()} == set(NAMES)  # the coins did fall both ways


def test_page_differs_in_the_answers_alone_when_the_coins_stay(tmp_path):
    pages = []
    for i, these in enumerate((items(20), swapped(items(20)))):
        key = build_survey(these, tmp_path / str(i), NAMES, rng=Coins(False))
        page = (tmp_path / str(i) / 'survey.html').read_text()
        pages.append(re.sub('(first|other) answer', 'answer', page.replace(key['page'], '')))
    assert pages[0] == pages[1]


def test_page_holds_no_name_path_or_setting(tmp_path):
    key = build_survey(items(5), tmp_path, NAMES, {'judge': 'the judge', 'seed': 12321})
    page = (tmp_path / 'survey.html').read_text()
    for secret in (*NAMES, 'folder', 'class 3', 'label 3', '.png', 'the judge', '12321', str(tmp_path)):
        assert secret not in page
    assert json.loads((tmp_path / 'key.json').read_text()) == key and key['judge'] == 'the judge'
    for question in key['questions'].values():
        number = re.search(r'\d+', question['image'])[0]
        shown = {NAMES[0]: f'first answer {number}', NAMES[1]: f'other answer {number}'}
        assert question['answers'] == [shown[question['A']], shown[question['B']]]
        assert question['label'] == f'label {number}'


@pytest.mark.slow
def test_coins_are_even_free_of_the_question_and_of_every_seed(tmp_path):
    first = []
    for i in range(40):
        random.seed(0)
        np.random.seed(0)
        key = build_survey(items(25, side=1), tmp_path / str(i), NAMES)
        first.append([question['A'] == NAMES[0] for question in key['questions'].values()])
        assert [q['image'] for q in key['questions'].values()] != [item.image_id for item in items(25)]
    first = np.array(first)
    assert len(np.unique(first, axis=0)) == 40
    assert abs(first.mean() - 0.5) < 0.08  # five standard deviations of 1000 coins
    assert abs(first.mean(0) - 0.5).max() < 0.45


# What else is in the page

class Elements(HTMLParser):

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


NASTY = ['<script>document.title = "taken"</script>', '"><img src=x onerror="document.title=\'taken\'">',
         "' onclick='document.title=1", '</fieldset></form>&amp;', 'reversed \u202etxet', '', 'long' * 60]


@pytest.fixture(scope='module')
def nasty(tmp_path_factory):
    folder = tmp_path_factory.mktemp('nasty')
    image = np.zeros((4, 4, 3), np.uint8)
    build_survey([SurveyItem(name, image, (name, f'not {name}')) for name in NASTY], folder)
    return folder


def test_answers_are_text(nasty):
    page = (nasty / 'survey.html').read_text()
    found = Elements(page).found
    tags = [tag for tag, _ in found]
    assert tags.count('script') == 1 and tags.count('img') == tags.count('bdi') / 2 + 0.5 == len(NASTY)
    assert not [name for _, attrs in found for name in attrs if name.startswith('on')]
    assert '\u202e' not in page and '<i>no answer</i>' in page


def test_nothing_is_asked_of_the_network(nasty):
    addresses = [attrs[name] for _, attrs in Elements((nasty / 'survey.html').read_text()).found
                 for name in ('src', 'href', 'action') if name in attrs]
    assert addresses and all(address.startswith('data:') for address in addresses)


def test_large_images_are_shrunk_and_small_ones_kept_exactly():
    import base64
    import io

    def decoded(image):
        kind, _, data = image_uri(image, 640).partition(';base64,')
        return kind, np.array(Image.open(io.BytesIO(base64.b64decode(data))))

    small = items(1, side=32)[0].image
    kind, image = decoded(small)
    assert kind == 'data:image/png' and np.array_equal(image, small)
    kind, image = decoded(np.full((1000, 2000, 3), (10, 200, 90), np.uint8))
    assert kind == 'data:image/jpeg' and image.shape == (320, 640, 3) and abs(image[0, 0] - [10., 200, 90]).max() < 4


def test_what_cannot_be_asked(tmp_path):
    with pytest.raises(ValueError, match='at least one image with different answers, got none'):
        build_survey([], tmp_path)
    with pytest.raises(ValueError, match="expected two names, got 'RA' twice"):
        build_survey(items(1), tmp_path, ('RA', 'RA'))
    build_survey(items(1), tmp_path)
    key = (tmp_path / 'key.json').read_bytes()
    with pytest.raises(FileExistsError, match='key.json: a survey is there already'):
        build_survey(items(2), tmp_path)
    assert (tmp_path / 'key.json').read_bytes() == key


# Scores

KEY = {'schema': 'ra_plugin survey key 1', 'page': '0123', 'names': ['plain', 'RA'], 'questions': {
    'q1': {'A': 'plain', 'B': 'RA'}, 'q2': {'A': 'RA', 'B': 'plain'},
    'q3': {'A': 'plain', 'B': 'RA'}, 'q4': {'A': 'RA', 'B': 'plain'}}}
GOOD = {'page': '0123', 'respondent': 'r1', 'answers': {'q1': 'A', 'q2': 'A', 'q3': 'both', 'q4': 'neither'}}


def test_rates_are_those_counted_by_hand():
    scores = score_survey(KEY, {'r1': ['A', 'A', 'both', 'neither'], 'r2': ['B', 'A', 'B', 'both']})
    # r1: plain fits in q1 and q3, RA in q2 and q3; r2: plain in q4, RA in all
    assert scores.by_respondent == {'r1': {'plain': 0.5, 'RA': 0.5}, 'r2': {'plain': 0.25, 'RA': 1.0}}
    assert scores.satisfied['plain'].value == 0.375 and scores.satisfied['RA'].value == 0.75
    assert scores.difference.value == 0.375
    assert scores.difference.low <= 0.375 <= scores.difference.high <= 1
    assert (scores.respondents, scores.questions, scores.page) == (2, 4, '0123')
    table = survey_markdown(scores)
    assert re.search(r'\| RA - plain +\| \+37.5 \[', table) and re.search(r'\| r2 +\| 25.0 +\| 100.0 \| \+75.0', table)
    assert 'over questions and respondents' in table
    assert 'over questions alone' in survey_markdown(score_survey(KEY, {'r1': ['A', 'A', 'both', 'neither']}))


def test_labels_choose_the_answers_that_they_are():
    answers = [('cat', 'dog'), ('bird', 'cat'), ('dog', ' Bird'), ('dog', 'Dog')]  # the last are the same word
    questions = {name: {**question, 'answers': pair, 'label': label} for (name, question), pair, label in zip(
        KEY['questions'].items(), answers, ['cat', 'dog', 'bird', 'dog'], strict=True)}
    choices = label_choices({**KEY, 'questions': questions})
    assert choices == ['A', 'neither', 'B', 'both']
    text = label_markdown(score_survey(KEY, {'labels': choices}))
    # plain: the first and the last; RA: the last two
    assert re.search(r'\| plain +\| 50.0 \[', text) and re.search(r'\| RA - plain +\| \+0.0 \[', text)
    assert 'questions: 4' in text and label_choices(KEY) is None
    questions['q2']['label'] = None
    assert label_choices({**KEY, 'questions': questions}) is None


@pytest.mark.parametrize('strictness', [0.5, 0])
def test_interval_is_that_of_the_textbook(strictness):
    """Expected mean squares of the two-way table, summed cell by cell."""
    x = np.random.default_rng(3).integers(-1, 2, (4, 7)) + np.arange(7) / 3 + strictness * np.arange(4)[:, None]
    mean = sum(x[i, j] for i in range(4) for j in range(7)) / 28
    rows, columns = [sum(x[i]) / 7 for i in range(4)], [sum(x[:, j]) / 4 for j in range(7)]
    of_rows = sum(7 * (row - mean) ** 2 for row in rows) / 3
    of_columns = sum(4 * (column - mean) ** 2 for column in columns) / 6
    rest = sum((x[i, j] - rows[i] - columns[j] + mean) ** 2 for i in range(4) for j in range(7)) / 18
    assert (of_rows > rest) == (strictness > 0) and of_columns > rest
    of_rows = max(of_rows, rest)  # people who differ less than by chance do not differ
    components = (of_rows - rest) / 7 / 4 + (of_columns - rest) / 4 / 7 + rest / 28
    degrees = (of_rows + of_columns - rest) ** 2 / (of_rows ** 2 / 3 + of_columns ** 2 / 6 + rest ** 2 / 18)
    estimate = crossed_mean(x, -9, 9)
    assert estimate.value == pytest.approx(mean)
    assert estimate.high - mean == pytest.approx(stats.t.ppf(0.975, degrees) * components ** 0.5)
    assert mean - estimate.low == pytest.approx(estimate.high - mean)


def test_a_single_respondent_gives_students_interval_over_the_questions():
    x = np.array([[1., 0, 0, 1, 1, 0, 1, 1]])
    low, high = stats.t.interval(0.95, 7, x.mean(), stats.sem(x[0]))
    estimate = crossed_mean(x, 0, 1)
    assert (estimate.low, estimate.high) == (pytest.approx(low), pytest.approx(min(high, 1)))


@pytest.mark.parametrize('people', [1, 3])
def test_equal_answers_are_not_taken_for_certainty(people):
    estimate = crossed_mean(np.ones((people, 20)), 0, 1)
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low == pytest.approx(0.8389, abs=1e-4)  # Newcombe's (1998) 0 of 20: up to 0.1611


def simulated(rng, people, questions):
    """What fits, of plain and of RA: people differ in strictness, images in difficulty and in which answer is right."""
    def fits(shift):
        return (rng.random((people, questions)) < 1 / (1 + np.exp(-strictness - shift))).astype(float)

    strictness = rng.normal(-0.4, 0.5, (people, 1)) + rng.normal(0, 1, (1, questions))
    gain = rng.normal(0.8, 3, (1, questions)) + rng.normal(0, 0.2, (people, 1))
    return fits(-gain / 2), fits(gain / 2)


@pytest.mark.slow
def test_intervals_cover_what_they_estimate():
    rng = np.random.default_rng(0)
    many = (simulated(rng, 200, 1000) for _ in range(30))
    truth = np.mean([[plain.mean(), (ra - plain).mean()] for plain, ra in many], 0)
    covered = []
    for _ in range(1000):
        plain, ra = simulated(rng, 10, 100)
        estimates = crossed_mean(plain, 0, 1), crossed_mean(ra - plain, -1, 1)
        covered.append([estimate.low <= value <= estimate.high
                        for estimate, value in zip(estimates, truth, strict=True)])
    cover = np.mean(covered, 0)
    assert ((0.93 <= cover) & (cover <= 0.97)).all(), cover


@pytest.mark.parametrize('change, problem', [
    ({'page': '9999'}, "expected answers to page '0123', got those to '9999'"),
    ({'page': 5}, 'expected a file that a survey page has saved'),
    ({'answers': ['A']}, 'expected a file that a survey page has saved'),
    ({'respondent': 'a b'}, 'expected a respondent of 1 to 40 letters'),
    ({'respondent': ''}, 'expected a respondent of 1 to 40 letters'),
    ({'respondent': None}, 'expected a respondent of 1 to 40 letters'),
    ({'answers': {**GOOD['answers'], 'q2': 'C'}}, "no question 'q2' with the choice 'C' on the page"),
    ({'answers': {**GOOD['answers'], 'q2': ['A']}}, "no question 'q2' with the choice"),
    ({'answers': {**GOOD['answers'], 'q\n\x1b9': 'A'}}, r"no question 'q \x1b9' with the choice 'A' on the page"),
    ({'answers': {'q1': 'A', 'q3': 'B'}}, '2 of 4 questions have no answer: q2, q4'),
])
def test_bad_answers_are_refused_with_a_line(change, problem, tmp_path):
    (tmp_path / 'good.json').write_text(json.dumps(GOOD))
    (tmp_path / 'bad.json').write_text(json.dumps({**GOOD, 'respondent': 'r2', **change}))
    answers, refused = read_answers(KEY, [tmp_path / 'good.json', tmp_path / 'bad.json'])
    assert answers == {'r1': ['A', 'A', 'both', 'neither']}
    assert len(refused) == 1 and refused[0].startswith(f'{tmp_path}/bad.json: ') and problem in refused[0]
    assert '\n' not in refused[0]


@pytest.mark.parametrize('content', [b'', b'{"page": "0123"', b'\xff\xfe\x00', b'[' * 100000, b'null'])
def test_damaged_answers_are_refused(content, tmp_path):
    (tmp_path / 'bad.json').write_bytes(content)
    answers, refused = read_answers(KEY, [tmp_path / 'bad.json'])
    assert not answers and len(refused) == 1
    with pytest.raises(ValueError, match='at least one file of answers'):
        score_survey(KEY, answers)
    with pytest.raises(ValueError, match='bad.json: expected the key.json of a survey'):
        read_key(tmp_path / 'bad.json')


@pytest.mark.parametrize('change', [
    {'page': 5}, {'names': ['plain']}, {'names': ['RA', 'RA']}, {'names': [['plain'], 'RA']}, {'questions': []},
    {'questions': {}}, {'questions': {'q1': None}}, {'questions': {'q1': {'A': 'plain'}}},
    {'questions': {'q1': {'A': 'plain', 'B': ['RA']}}}, {'questions': {'q1': {'A': 'RA', 'B': 'RA'}}}])
def test_a_damaged_key_is_refused(change, tmp_path):
    file = tmp_path / 'key.json'
    file.write_text(json.dumps({**KEY, **change}))
    with pytest.raises(ValueError, match='^[^\n]*key.json: expected page, names of two ways of processing, and.*$'):
        read_key(file)
    file.write_text(json.dumps(KEY))
    assert read_key(file) == KEY


def test_a_file_too_large_for_answers_is_not_read(tmp_path):
    with (tmp_path / 'large.json').open('wb') as file:
        file.truncate(2 ** 24 + 1)
    assert 'expected at most 16777216 bytes, got 16777217' in read_answers(KEY, [tmp_path / 'large.json'])[1][0]


def test_a_respondent_with_two_files_is_refused_until_one_is_left(tmp_path):
    for name, respondent, choice in (('a', 'r1', 'A'), ('b', 'r2', 'A'), ('c', 'r1', 'B')):
        (tmp_path / f'{name}.json').write_text(json.dumps(
            {**GOOD, 'respondent': respondent, 'answers': dict.fromkeys(KEY['questions'], choice)}))
    answers, refused = read_answers(KEY, sorted(tmp_path.glob('*.json')))
    assert answers == {'r2': 4 * ['A']}
    assert [line.partition(':')[0][-6:] for line in refused] == ['a.json', 'c.json']
    assert "one of 2 files of respondent 'r1'" in refused[0]


# The tool, on two small restorers

NETWORK = {'num_feat': 4, 'num_block': 1, 'upscale': 1}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """Twelve images of three classes, two untrained networks in the place of trained ones, and an option file."""
    root, rng = tmp_path_factory.mktemp('runs'), np.random.default_rng(0)
    for i in range(12):
        folder = root / 'images' / 'abc'[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 200, 3) + rng.integers(0, 56, (16, 16, 3))
        Image.fromarray(image.astype(np.uint8)).save(folder / f'{i}.png')
    torch.manual_seed(0)
    recognizer = {'type': 'ModuleRecognizer', 'module': 'conftest.TanhNet', 'mean': [0.4] * 3, 'std': [0.1] * 3,
                  'checkpoint': str(root / 'tanh.pth')}
    torch.save(TanhNet().state_dict(), root / 'tanh.pth')
    network = SRResNet(**NETWORK)
    network.tail.weight.data.mul_(20)  # else all images come out alike
    for name in NAMES:
        torch.save({'params': network.state_dict()}, root / f'net_g_{name}.pth')
        network.tail.bias.data.add_(torch.tensor([0.3, 0, -0.3]))
    (root / 'opt.yml').write_text(yaml.safe_dump({
        'name': 'small', 'baseline': NAMES[0],
        'datasets': {'v': {'type': 'LabeledImageDataset', 'dataroot_gt': str(root / 'images'),
                           'classes': ['a', 'b', 'c', 'd']}},
        'restorers': {name: {'network_g': {'type': 'SRResNet', **NETWORK},
                             'checkpoint': str(root / f'net_g_{name}.pth')} for name in NAMES},
        'recognizers': {'tanh': recognizer}}))
    return root


def ask(place, out, **changes):
    return survey(**{'root': place, 'file': place / 'opt.yml', 'names': NAMES, 'judge': 'tanh', 'out': out, **changes})


@pytest.mark.slow
def test_survey_of_two_restorers_asks_about_what_they_differ_in(place, tmp_path):
    key = ask(place, tmp_path / 'all')
    judge = build_recognizer(yaml.safe_load((place / 'opt.yml').read_text())['recognizers']['tanh'])
    answers = {}
    for path in sorted((place / 'images').rglob('*.png')):
        lq = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None] / 255
        for name in NAMES:
            network = SRResNet(**NETWORK).eval()
            network.load_state_dict(torch.load(place / f'net_g_{name}.pth')['params'])
            with torch.no_grad():
                saved = (network(lq).clamp(0, 1) * 255).round() / 255
            answers.setdefault(str(path.relative_to(place / 'images')), {})[name] = 'abcd'[judge.logits(saved).argmax()]
    differing = {path: words for path, words in answers.items() if words[NAMES[0]] != words[NAMES[1]]}
    assert 3 <= len(differing) <= 9
    assert {question['image']: {question['A']: question['answers'][0], question['B']: question['answers'][1]}
            for question in key['questions'].values()} == differing
    assert (key['images'], key['images_that_differ'], key['seeds']) == (12, len(differing), [1, 1])
    assert all(question['label'] == question['image'][0] for question in key['questions'].values())  # its folder
    few, again = (ask(place, tmp_path / out, number=2, num_images=12, seed=1) for out in ('few', 'again'))
    asked = [{question['image'] for question in chosen['questions'].values()} for chosen in (few, again, key)]
    assert asked[0] == asked[1] < asked[2] and len(asked[0]) == 2
    assert ask(place, tmp_path / 'part', num_images=11)['images'] == 11


def test_survey_asks_about_the_images_of_the_options_alone(place, tmp_path):
    key = ask(place, tmp_path / 'some', force_yml=['images=6'])
    assert key['images'] == 6 and key['force_yml'] == ['images=6']
    paths = sorted(str(path.relative_to(place / 'images')) for path in (place / 'images').rglob('*.png'))
    all_of_them = {question['image'] for question in ask(place, tmp_path / 'all')['questions'].values()}
    evenly = {paths[number] for number in evenly_spaced(12, 6)}
    assert {question['image'] for question in key['questions'].values()} == all_of_them & evenly
    assert ask(place, tmp_path / 'few', force_yml=['images=6'], num_images=5)['images'] == 5


@pytest.mark.parametrize('arguments, message', [
    ({'judge': 'tan'}, "survey: no recognizer 'tan'. Did you mean 'tanh'"),
    ({'names': (NAMES[0], 'recognition')}, "survey: no restorer 'recognition'. Did you mean 'recognition-aware'"),
    ({'names': NAMES[:1]}, 'survey: expected two restorers, got 1'),
    ({'number': 0}, 'survey: number: expected a whole number >= 1, got 0'),
    ({'num_images': 0}, 'survey: num_images: expected a whole number >= 1, got 0'),
])
def test_options_that_cannot_be_meant(arguments, message, place, tmp_path):
    with pytest.raises(OptionError, match=re.escape(message)):
        ask(place, tmp_path / 'out', **arguments)
    assert not (tmp_path / 'out').exists()


def test_classes_without_names_cannot_be_asked_about(place, tmp_path):
    opt = yaml.safe_load((place / 'opt.yml').read_text())
    del opt['datasets']['v']['classes']
    (tmp_path / 'labels.json').write_text(json.dumps({f'{"abc"[i % 3]}/{i}.png': i % 3 for i in range(12)}))
    opt['datasets']['v']['meta_info'] = str(tmp_path / 'labels.json')
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt))
    with pytest.raises(OptionError, match='its 4 classes have no names to ask people about'):
        ask(place, tmp_path / 'out', file=tmp_path / 'opt.yml')


@pytest.mark.slow
def test_a_black_box_is_asked_about_in_its_own_words(place, tmp_path):
    script = tmp_path / 'box.py'
    script.write_text('import sys\nfrom PIL import Image\n'
                      'r, g, b = Image.open(sys.argv[1]).resize((1, 1)).getpixel((0, 0))\n'
                      "print('[\"very red\"]' if r > b + 50 else '[]')\n")
    opt = yaml.safe_load((place / 'opt.yml').read_text())
    opt['recognizers'] = {'box': {'type': 'BlackBoxRecognizer', 'classes': 4, 'cache': str(tmp_path / 'cache'),
                                  'command': [sys.executable, str(script), '{image}']}}
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt))
    key = ask(place, tmp_path / 'out', file=tmp_path / 'opt.yml', judge='box', num_images=6)
    answers = {answer for question in key['questions'].values() for answer in question['answers']}
    assert answers == {'very red', ''}
    assert all(question['label'] == question['image'][0] for question in key['questions'].values())


# People in front of a browser

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('browser')
    build_survey(items(4, side=32), folder, NAMES)
    return folder


@pytest.fixture(scope='module')
def running(folder):
    with chromium(folder) as driver:
        yield driver


@pytest.fixture
def driver(running, folder):
    """The survey, opened for the first time; what the console and the network saw is asked for afterwards."""
    page = (folder / 'survey.html').as_uri()
    running.get(page)
    running.execute_script('localStorage.clear(); history.replaceState(null, "")')
    running.get(page)
    resize(running, 1280, 900)
    console(running), requested(running)
    yield running
    assert console(running) == []
    assert set(requested(running)) <= {page}


def press(driver, *keys):
    ActionChains(driver).send_keys(*keys).perform()


def shown(driver):
    return [step.get_attribute('id') for step in driver.find_elements(By.CLASS_NAME, 'step') if step.is_displayed()]


def chosen(driver):
    return {radio.get_attribute('name'): radio.get_attribute('value')
            for radio in driver.find_elements(By.CSS_SELECTOR, ':checked')}


def text(driver, name):
    return driver.find_element(By.ID, name).text


@pytest.fixture
def tool(monkeypatch):
    """``tool(*arguments)``: the exit status of tools/survey.py."""
    return functools.partial(run_tool, monkeypatch, 'survey')


@pytest.mark.browser
def test_answered_by_keyboard_kept_saved_and_scored(driver, folder, tool, capsys, tmp_path):
    assert shown(driver) == ['q1'] and text(driver, 'progress') == '0 of 4 answered'
    press(driver, Keys.TAB, '2')
    assert chosen(driver) == {'q1': 'B'} and text(driver, 'progress') == '1 of 4 answered'
    press(driver, Keys.ENTER, '3', Keys.ENTER)
    assert shown(driver) == ['q3']
    press(driver, Keys.SPACE)  # the first choice has the focus
    assert chosen(driver) == {'q1': 'B', 'q2': 'both', 'q3': 'A'}
    press(driver, Keys.ARROW_UP)  # goes round to the last one, as in every group of radio buttons
    assert chosen(driver)['q3'] == 'neither'

    driver.refresh()
    assert shown(driver) == ['q4'] and chosen(driver) == {'q1': 'B', 'q2': 'both', 'q3': 'neither'}
    driver.find_element(By.ID, 'next').click()
    assert shown(driver) == ['finish'] and not driver.find_element(By.ID, 'save').is_enabled()
    assert text(driver, 'missing').startswith('Not answered yet: 1.') and text(driver, 'open') == '4'
    press(driver, Keys.ENTER)  # the button of the open question has the focus
    assert shown(driver) == ['q4']
    press(driver, '1', Keys.ENTER)
    assert text(driver, 'missing').startswith('All questions are answered.')
    assert re.fullmatch('[0-9a-f]{16}', driver.find_element(By.ID, 'respondent').get_attribute('value'))
    press(driver, Keys.ENTER)  # saves

    file = downloaded(folder, 'answers_*.json')
    key = read_key(folder / 'key.json')
    saved = json.loads(file.read_text())
    assert saved == {'page': key['page'], 'respondent': saved['respondent'],
                     'answers': {'q1': 'B', 'q2': 'both', 'q3': 'neither', 'q4': 'A'}}
    assert file.name == f'answers_{key["page"]}_{saved["respondent"]}.json' and file.name in text(driver, 'saved')

    (tmp_path / 'damaged.json').write_text('{')
    assert tool('--score', folder / 'key.json', file, tmp_path / 'damaged.json', '--out', tmp_path / 'scores') == 0
    printed = capsys.readouterr()
    assert printed.err.partition('\n')[2] == f'{tmp_path}/damaged.json: expected a JSON file. Refused.\n'
    q1, q4 = key['questions']['q1'], key['questions']['q4']
    scores = json.loads((tmp_path / 'scores/scores.json').read_text())
    assert {name: entry['value'] for name, entry in scores['satisfied'].items()} == {
        name: ((q1['B'] == name) + 1 + (q4['A'] == name)) / 4 for name in NAMES}
    assert saved['respondent'] in printed.out


@pytest.mark.browser
def test_an_id_of_ones_own_is_checked_and_kept(driver, folder):
    for i in range(4):
        driver.find_element(By.CSS_SELECTOR, f'#q{i + 1} label').click()
        driver.find_element(By.ID, 'next').click()
    box = driver.find_element(By.ID, 'respondent')
    box.clear()
    box.send_keys('not my/name', Keys.ENTER)
    assert 'Nothing was saved' in text(driver, 'saved')
    box.clear()
    box.send_keys('group-2_7', Keys.ENTER)
    saved = json.loads(downloaded(folder, 'answers_*_group-2_7.json').read_text())
    assert saved['respondent'] == 'group-2_7' and set(saved['answers'].values()) == {'A'}
    driver.refresh()
    assert shown(driver) == ['finish']
    assert driver.find_element(By.ID, 'respondent').get_attribute('value') == 'group-2_7'
    driver.find_element(By.ID, 'back').click()
    assert shown(driver) == ['q4']


@pytest.mark.browser
@pytest.mark.parametrize('age, expected', [(None, 'B'), (-1000, 'B'), (1000, 'A')], ids=['none', 'older', 'newer'])
def test_the_newer_of_the_tabs_and_the_browsers_memory_counts(driver, folder, age, expected):
    press(driver, Keys.TAB, '2')
    name = f'survey {read_key(folder / "key.json")["page"]}'
    kept = None if age is None else json.dumps({'answers': {'q1': 'A'}, 'at': 1000 * time.time() + age})
    driver.execute_script('if (arguments[1]) localStorage.setItem(...arguments); else localStorage.clear()', name, kept)
    seen = driver.execute_script('return localStorage.getItem(arguments[0])', name)
    driver.refresh()
    assert seen == kept and chosen(driver) == {'q1': expected}


@pytest.mark.browser
@pytest.mark.parametrize('kept', ['null', '{', '[1]', '{"answers": {"q1": "C", "q2": 3, "x": "A"}, "respondent": 7}'])
def test_what_another_page_has_kept_does_no_harm(driver, folder, kept):
    key = read_key(folder / 'key.json')
    driver.execute_script('history.replaceState(null, ""); localStorage.setItem(arguments[0], arguments[1])',
                          f'survey {key["page"]}', kept)
    driver.refresh()
    assert shown(driver) == ['q1'] and chosen(driver) == {}
    assert re.fullmatch('[0-9a-f]{16}', driver.find_element(By.ID, 'respondent').get_attribute('value'))


@pytest.mark.browser
def test_a_browser_that_keeps_nothing_says_so(running, folder):
    import base64
    page = base64.b64encode((folder / 'survey.html').read_bytes()).decode()
    running.get(f'data:text/html;base64,{page}')  # has no storage
    assert running.find_element(By.ID, 'unkept').is_displayed()
    running.find_element(By.CSS_SELECTOR, '#q1 label').click()
    assert text(running, 'progress') == '1 of 4 answered' and console(running) == []


@pytest.mark.browser
@pytest.mark.parametrize('width', [320, 390])
def test_phone_shows_it_without_scrolling_sideways(driver, width):
    resize(driver, width, 844, mobile=True)
    for _ in range(5):
        assert driver.execute_script('return document.documentElement.scrollWidth') == width
        for element in driver.find_elements(By.CSS_SELECTOR, '.step:not([hidden]) label, .step:not([hidden]) button'):
            assert element.size['height'] >= 44 or element.get_attribute('for')  # high enough for a finger
        driver.execute_script('document.getElementById("next").click()')
    assert shown(driver) == ['finish']


@pytest.mark.browser
def test_print_has_all_questions_and_no_buttons(driver):
    driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': 'print'})
    try:
        assert shown(driver) == ['q1', 'q2', 'q3', 'q4']
        assert not [b for b in driver.find_elements(By.TAG_NAME, 'button') if b.is_displayed()]
    finally:
        driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': ''})


@pytest.mark.browser
def test_screen_readers_are_told_what_each_control_is(driver, folder):
    nodes = driver.execute_cdp_cmd('Accessibility.getFullAXTree', {})['nodes']
    named = {}
    for node in nodes:
        if not node.get('ignored'):
            named.setdefault(node['role']['value'], []).append(node.get('name', {}).get('value', ''))
    shown_answers = read_key(folder / 'key.json')['questions']['q1']['answers']
    assert named['radio'] == [f'A {shown_answers[0]}', f'B {shown_answers[1]}', 'Both fit', 'Neither fits']
    assert 'Question 1 of 4' in named['group'] and named['image'] == ['The image of question 1']
    assert named['button'] == ['Back', 'Next'] and 'status' in named
    driver.execute_script('for (let i = 0; i < 4; i++) document.getElementById("next").click()')
    box = driver.find_element(By.ID, 'respondent')
    assert box.accessible_name == 'Your id, in place of your name'
    assert driver.find_element(By.CSS_SELECTOR, '#open button').accessible_name == 'Go to question 1'


@pytest.mark.browser
def test_text_stands_out_from_its_ground(driver):
    """WCAG's contrast ratio, at least 4.5."""
    def luminance(color):
        channels = np.array([int(v) for v in re.findall(r'\d+', color)[:3]]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    press(driver, Keys.TAB, '1')
    pairs = driver.execute_script('''
        return [...document.querySelectorAll('p, label, legend, button, h1, input')].map(element => {
            let behind = element;
            while (behind && getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)')
                behind = behind.parentElement;
            return [getComputedStyle(element).color, getComputedStyle(behind || document.body).backgroundColor];
        })''')
    ratios = [(max(a, b) + 0.05) / (min(a, b) + 0.05) for a, b in (map(luminance, pair) for pair in pairs)]
    assert len(set(map(tuple, pairs))) >= 4 and min(ratios) >= 4.5


@pytest.mark.browser
def test_nasty_answers_are_shown_and_not_run(running, nasty):
    running.get((nasty / 'survey.html').as_uri())
    assert running.title == 'Which answers fit the image?'
    texts = running.execute_script('return [...document.querySelectorAll("bdi")].map(e => e.textContent)')
    assert NASTY[0] in texts and NASTY[1] in texts and len(running.find_elements(By.TAG_NAME, 'script')) == 1
    running.execute_script('''
        const script = document.createElement('script');
        script.textContent = 'document.title = "taken"';
        document.body.append(script);
        const image = new Image();
        image.src = 'http://127.0.0.1:9/x.png';
        document.body.append(image);''')
    assert running.title == 'Which answers fit the image?'  # the policy stops what would get past the escaping
    refused = console(running)
    assert any('script' in line for line in refused) and any('127.0.0.1' in line for line in refused)
