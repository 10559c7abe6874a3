"""Images that restorers change what is read in: the rule counted by hand, the numbers, and the page that shows them."""
import base64
import io
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from browser import chromium, console, requested, resize
from PIL import Image
from skimage.metrics import structural_similarity
from torch import nn

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.options import OptionError
from ra_plugin.paper.changed_images import figure
from ra_plugin.paper.figure_page import Figure, Restored, Row, figure_markdown, write_figure

CLASSES = ['red', 'green', 'blue']
NAMES = ['plain', 'weak', 'strong']
# whether plain, weak and strong leave an image right or wrong; the first seeds of the restorers
PATTERNS = [*['wrr'] * 4, *['rww'] * 2, *['wrw'] * 2, 'wwr', 'www', 'rrr', 'rrw']
HOSTILE = '<script>alert(1)</script>'
HOSTILE_ATTRIBUTE = '"><img src=x onerror=alert(2)>'
LARGE = 224


class MeanColor(nn.Module):
    """Reads the channel that is the brightest, or the darkest."""

    def __init__(self, sign=1):
        super().__init__()
        self.head = nn.Linear(3, 3, bias=False)
        self.head.weight.data = sign * torch.eye(3)

    def forward(self, images):
        return self.head(images.mean((2, 3)))


def recognizer(**more):
    return {'type': 'ModuleRecognizer', 'module': f'{__name__}.MeanColor', 'mean': [0.0] * 3, 'std': [1.0] * 3,
            'classes': CLASSES, **more}


def colored(rng, channel):
    image = rng.integers(60, 130, (16, 16, 3))
    image[..., channel] += 70
    return image.astype(np.uint8)


def write_images(root, patterns):
    """Clean and restored images; each restorer has a second seed that leaves all of them wrong."""
    rng = np.random.default_rng(0)
    for i, pattern in enumerate(patterns):
        label = i % 3
        reads = {'clean': 'r', **dict(zip(NAMES, pattern, strict=True)), **{f'{name}_1': 'w' for name in NAMES}}
        for name, read in reads.items():
            file = root / name / 'abc'[label] / f'{i:02}{pattern}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(colored(rng, label if read == 'r' else (label + 1) % 3)).save(file)


def build(root, **changes):
    """The evaluation of these images, under two conditions of which one recognizer judges the second alone."""
    block = {'type': 'LabeledImageDataset', 'dataroot_gt': f'{root}/clean',
             'degradation': {'type': 'BicubicDownsample', 'scale': 2}}
    return Evaluation(root, {
        'name': 'small', 'audit': 0, 'datasets': {'images': block, 'again': block},
        'restorers': {name: {'folder': [f'{root}/{name}', f'{root}/{name}_1'], 'used': used} for name, used in
                      zip(NAMES, ([], ['mean'], ['darkest', 'mean']), strict=True)},
        'recognizers': {'darkest': {**recognizer(module_kwargs={'sign': -1}), 'conditions': ['again']},
                        'mean': recognizer()}, **changes}, 'cpu')


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp('changed')
    write_images(root, PATTERNS)
    return root


def drawn(root, number=9, **changes):
    evaluation = build(root, **changes)
    return figure(evaluation, evaluation.run(root / 'out')[1], number)[0]


@pytest.mark.slow
def test_rule_and_counts_are_those_by_hand(place):
    found = drawn(place)
    assert (found.recognizer, found.baseline, found.n) == ('mean', 'plain', 12)
    assert (found.fits, found.opposite) == (4, 2)
    assert found.changes == {'weak': (4 + 2, 2), 'strong': (4 + 1, 2 + 1)}
    assert [row.name[-7:-4] for row in found.rows] == ['wrr'] * 4
    for row in found.rows:
        truth = 'abc'.index(row.name[0])
        assert row.truth == CLASSES[truth] and list(row.restored) == NAMES
        assert [(one.answer, one.right) for one in row.restored.values()] == [
            (CLASSES[(truth + 1) % 3], False), (CLASSES[truth], True), (CLASSES[truth], True)]


@pytest.mark.slow
def test_images_and_numbers_are_those_of_the_files(place):
    found = drawn(place)
    for row in found.rows:
        clean = np.asarray(Image.open(place / 'clean' / row.name)).astype(float)
        assert np.array_equal(row.target, clean) and row.input.shape == (8, 8, 3)
        assert np.abs(row.input.mean((0, 1)) - clean.mean((0, 1))).max() < 4  # the same colors
        for name, one in row.restored.items():
            image = np.asarray(Image.open(place / name / row.name)).astype(float)
            assert np.array_equal(one.image, image)
            assert one.psnr == pytest.approx(10 * np.log10(255 ** 2 / ((image - clean) ** 2).mean()))
            assert one.ssim == pytest.approx(structural_similarity(
                image, clean, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5,
                use_sample_covariance=False), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('number, words', [
    (2, 'Shown: 2 of the 4 that fit, drawn at random by seed 0.'), (4, 'Shown: 4 of the 4 that fit.'),
    (9, 'Shown: 4 of the 4 that fit (9 asked for).')])
def test_as_many_as_asked_or_as_there_are(place, number, words):
    found = drawn(place, number)
    assert len({row.index for row in found.rows}) == min(number, 4)
    assert words in figure_markdown([found])


@pytest.mark.slow
def test_the_seed_draws(place):
    def indices(seed):
        return [row.index for row in drawn(place, 2, seed=seed).rows]

    assert indices(0) == indices(0) and len({tuple(indices(seed)) for seed in range(4)}) > 1


@pytest.mark.slow
def test_it_says_that_none_fits(tmp_path):
    write_images(tmp_path, ['rrr', 'wrw', 'rww'])
    found = drawn(tmp_path)
    assert (found.fits, found.opposite, found.rows) == (0, 1, [])
    assert 'No image fits, so none is shown.' in figure_markdown([found])
    write_figure([found], 'title', 'command', tmp_path / 'figure.html')
    text = (tmp_path / 'figure.html').read_text()
    assert 'No image fits, so none is shown.' in text and '<img' not in text


@pytest.mark.slow
def test_no_processing_can_be_the_baseline(place, tmp_path):
    """It leaves the colors, so it is right on all images."""
    evaluation = build(place, baseline='no processing')
    found = figure(evaluation, evaluation.run(tmp_path)[1], 1)[0]
    assert (found.fits, found.opposite) == (0, 1) and found.changes['plain'] == (0, 8)


def folders(place, used):
    return {name: {'folder': f'{place}/{name}', 'used': recognizers}
            for name, recognizers in zip(NAMES, used, strict=False)}


@pytest.mark.slow
def test_each_condition_is_read_by_the_first_of_those_used_that_judges_it(place, tmp_path):
    evaluation = build(place, restorers=folders(place, ([], ['darkest', 'mean'], [])))
    found = figure(evaluation, evaluation.run(tmp_path)[1], 1)
    assert [(one.condition, one.recognizer) for one in found] == [('images', 'mean'), ('again', 'darkest')]


@pytest.mark.slow
@pytest.mark.parametrize('used, metrics, words', [
    (([], ['darkest']), {}, 'images: expected a restorer trained with a classifier that .* by top1, got darkest.'),
    ((['mean'], []), {}, 'images: .* got none.'), (([], ['mean']), {'classification': 'top5'}, 'images: .* got mean.')])
def test_it_needs_a_classifier_that_was_used(place, tmp_path, used, metrics, words):
    evaluation = build(place, recognition_metrics=metrics, restorers=folders(place, used))
    matrices = evaluation.run(tmp_path)[1]
    with pytest.raises(OptionError, match=words):
        figure(evaluation, matrices, 3)


@pytest.mark.slow
def test_it_needs_a_number(place):
    with pytest.raises(OptionError, match='images of a figure: expected a whole number >= 1, got 0'):
        drawn(place, 0)


# The page

def made_up():
    """Small images, with an input half as large, large ones, and none; names that would be code."""
    rng = np.random.default_rng(0)
    names = [HOSTILE, 'RA resnet, weight 0.0001', 'RA|x', 'RA resnet, weight 0.01']

    def row(side, truth):
        images = rng.integers(0, 256, (6, side, side, 3), np.uint8)
        return Row(7, f'{HOSTILE_ATTRIBUTE}.png', truth, images[0], images[1, ::2, ::2], {
            name: Restored(image, *quality, 'shark' if i == 0 else truth, i > 0) for i, (name, image, quality)
            in enumerate(zip(names, images[2:], [(26.125, .81249), (np.inf, 1.0), (20.0, np.nan), (9.5, -.1)],
                             strict=True))})

    one = Figure(condition='SR', recognizer='resnet', baseline=HOSTILE, seed=0, asked=1, n=10000, fits=1, opposite=91,
                 changes={names[1]: (1234, 56), names[2]: (2, 3), names[3]: (0, 0)}, rows=[row(32, f'cat{HOSTILE}')])
    return [one, replace(one, condition='large', rows=[row(LARGE, 'unbreakable' * 9)]), replace(one, rows=[], fits=0)]


class Sources(HTMLParser):
    """The addresses of a page's images."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == 'img':
            self.found.append(dict(attrs)['src'])


def test_page_has_the_very_pixels(tmp_path):
    figures = made_up()
    write_figure(figures, 'title', 'command', tmp_path / 'figure.html')
    shown = Sources((tmp_path / 'figure.html').read_text()).found
    images = [image for one in figures for row in one.rows
              for image in (row.target, row.input, *(found.image for found in row.restored.values()))]
    assert len(shown) == len(images) == 12
    for source, image in zip(shown, images, strict=True):
        data = base64.b64decode(source.removeprefix('data:image/png;base64,'))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), image)


@pytest.mark.browser
def test_page_in_a_browser(tmp_path):
    write_figure(made_up(), f'title {HOSTILE}', f'command {HOSTILE}', tmp_path / 'figure.html')
    with chromium(tmp_path) as driver:
        def texts(selector):
            return [' '.join(element.get_attribute('textContent').split())
                    for element in driver.find_elements('css selector', selector)]

        driver.get((tmp_path / 'figure.html').as_uri())
        assert console(driver) == []  # nothing inline was refused, and no image was asked for in vain
        assert all(address.startswith('file:') for address in requested(driver))
        assert texts('h1') == [f'title {HOSTILE}'] and texts('code') == [f'command {HOSTILE}']
        assert texts('.images thead th')[:3] == ['Target image', 'Input image', HOSTILE]
        assert texts('figcaption')[:6] == [
            f'Label: cat{HOSTILE}image 7, {HOSTILE_ATTRIBUTE}.png', '16 × 16 pixels', '26.12/0.812/wrong: shark ✗',
            *(f'{quality}/right: cat{HOSTILE} ✓' for quality in ('∞/1.000', '20.00/–', '9.50/−0.100'))]
        resize(driver, 390, 800, mobile=True)
        assert driver.execute_script('return document.documentElement.scrollWidth') == 390  # the rows scroll, alone
        sizes = driver.execute_script('''return [...document.querySelectorAll('.images')].map(table =>
            [...table.querySelectorAll('figure')].map(figure => [figure, figure.firstElementChild].map(
                part => part.getBoundingClientRect().width)))''')
        for shown, side in zip(sizes, (160, LARGE), strict=True):  # captions are no wider than the images
            assert np.array(shown) == pytest.approx(np.full((6, 2), side))
        smooth = driver.execute_script('''return [...document.querySelectorAll('img')].map(
            image => getComputedStyle(image).imageRendering)''')
        assert smooth == ['pixelated'] * 6 + ['auto', 'pixelated', *['auto'] * 4]


def test_markdown_has_the_same_rows_and_counts():
    one = replace(made_up()[0], baseline='plain')
    text = figure_markdown([one])
    assert '<' not in text and text.startswith('### SR\n')
    cells = [[cell.strip() for cell in line.replace('\\|', '/').strip('|').split('|')] for line in text.splitlines()
             if line.startswith('| ')]
    assert cells[0] == ['restorer', 'plain wrong, it right', 'plain right, it wrong']
    assert [row[1:] for row in cells[1:4]] == [['1 234', '56'], ['2', '3'], ['0', '0']]
    assert cells[5][0] == f'image 7, {HOSTILE_ATTRIBUTE}.png'.replace('>', '&gt;').replace('<', '&lt;')
    assert [cell.split('/')[:2] for cell in cells[5][2:]] == [
        ['26.12', '0.812'], ['∞', '1.000'], ['20.00', '–'], ['9.50', '−0.100']]
    assert [cell[-1] for cell in cells[5][2:]] == ['✗', '✓', '✓', '✓']
