"""Boundaries: distances that are known in closed form, what is infinite, tables and maps, and the tool end to end."""
import functools
import json
import math
import re
import shlex
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from browser import chromium, console, requested
from conftest import TanhNet
from PIL import Image
from programs import run_tool

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.evaluation.options import read_options
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.options import OptionError
from ra_plugin.studies.boundary.maps import DecisionMap, class_colors, map_cards
from ra_plugin.studies.boundary.measure import (
    NO_LABEL,
    Search,
    decision_map,
    find_boundaries,
    orthogonal,
    random_directions,
    unit,
)
from ra_plugin.studies.boundary.report import boundary_markdown, claims, write_boundary_page
from ra_plugin.studies.boundary.results import RA, RANDOM, SCHEMA, BoundaryResults, Record
from ra_plugin.studies.boundary.run import BoundaryOptions, BoundaryStudy, run_boundary
from ra_plugin.studies.boundary.scores import chance, inter_boundary, median, pair_scores

SHAPE = (3, 4, 5)
SIZE = math.sqrt(60)  # L2 length of a root mean square of 1
HOSTILE = '<script>alert(1)</script>"'
SEARCH = Search()


def rays(count, seed=0):
    """Images and directions in float64."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, *SHAPE, generator=generator, dtype=torch.float64),
            unit(torch.randn(count, *SHAPE, generator=generator, dtype=torch.float64)))


class Linear:
    """Label 1 above a plane, 0 below; images asked about at a time are kept."""

    def __init__(self, seed=1, offset=0.0):
        self.normal = torch.randn(60, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.offset, self.asked = offset, []

    def value(self, images):
        return (images - 0.5).flatten(1) @ self.normal + self.offset

    def __call__(self, images):
        self.asked.append(len(images))
        return (self.value(images) > 0).long()

    def distance(self, images, directions):
        """In closed form; infinite where the ray leads away from the plane."""
        along = -self.value(images) / (directions.flatten(1) @ self.normal)
        return torch.where(along > 0, along, torch.inf).numpy()


def assert_just_beyond(found, truth, search=SEARCH):
    """Never before the boundary, and no more than the tolerance after it."""
    truth = np.where(truth > search.last * SIZE, np.inf, truth)
    assert np.array_equal(np.isfinite(found), np.isfinite(truth))
    known = np.isfinite(truth)
    allowed = search.tolerance * np.maximum(truth, search.first * SIZE / (search.factor - 1))
    excess = found[known] - truth[known]
    assert (excess > -1e-9).all() and (excess < 1.001 * allowed[known]).all()


# Distances

@pytest.mark.parametrize('search', [Search(), Search(factor=1.5, tolerance=1e-5), Search(first=1e-4, last=0.2)])
def test_distance_to_a_plane_is_the_closed_form(search):
    images, directions = rays(200)
    linear = Linear()
    found = find_boundaries(linear, images, directions, linear(images), search)
    truth = linear.distance(images, directions)
    assert 20 < np.isfinite(found.distance).sum() < 180
    assert_just_beyond(found.distance, truth, search)
    known = np.isfinite(found.distance)
    assert np.array_equal(found.label[known], 1 - linear(images).numpy()[known])
    assert (found.label[~known] == NO_LABEL).all()


def test_distance_below_the_first_step_is_found():
    images, directions = rays(40)
    linear = Linear()
    back = linear.normal.view(1, *SHAPE) * (linear.value(images) / linear.normal.square().sum()).view(-1, 1, 1, 1)
    images = images - 0.999 * back  # almost on the plane
    found = find_boundaries(linear, images, directions, linear(images))
    truth = linear.distance(images, directions)
    assert (truth < SIZE / 255).any()
    assert_just_beyond(found.distance, truth)


def test_distance_to_the_first_of_several_spheres_is_the_closed_form():
    images, directions = rays(100)
    center, radius = torch.full(SHAPE, 0.5, dtype=torch.float64), 3.0

    def ring(points):
        return ((points - center).flatten(1).norm(dim=1) / radius).long()

    found = find_boundaries(ring, images, directions, ring(images))
    away = (images - center).flatten(1)
    along = (away * directions.flatten(1)).sum(1)
    truth = -along + (along.square() + radius ** 2 - away.square().sum(1)).sqrt()
    assert (ring(images) == 0).all() and (found.label == 1).all()
    assert_just_beyond(found.distance, truth.numpy())


@pytest.mark.parametrize('predict, length', [(lambda images: torch.zeros(len(images), dtype=torch.long), 1),
                                             (Linear(), 0)], ids=['constant', 'no direction'])
def test_what_never_changes_is_infinitely_far(predict, length):
    images, directions = rays(5)
    found = find_boundaries(predict, images, length * directions, predict(images))
    assert np.isinf(found.distance).all() and (found.label == NO_LABEL).all()


def test_boundary_beyond_the_last_distance_is_infinitely_far():
    images, directions = torch.zeros(2, *SHAPE), torch.full((2, *SHAPE), 1 / SIZE)

    def predict(points):
        return (points.mean((1, 2, 3)) > torch.tensor(0.9999)).long()

    assert find_boundaries(predict, images, directions, predict(images)).distance == pytest.approx(SIZE, rel=1e-3)
    near = find_boundaries(predict, images, directions, predict(images), Search(last=0.99))
    assert np.isinf(near.distance).all()


@pytest.mark.parametrize('batch_size', [1, 7, 1000])
def test_rays_together_are_the_rays_one_by_one(batch_size):
    images, directions = rays(12)
    network = TanhNet(6).double()
    asked = []

    def predict(points):
        asked.append(len(points))
        return network(5 * points).argmax(1)

    single = [find_boundaries(predict, image[None], direction[None], predict(image[None]))
              for image, direction in zip(images, directions, strict=True)]
    asked.clear()
    found = find_boundaries(predict, images, directions, network(5 * images).argmax(1), batch_size=batch_size)
    assert np.array_equal(found.distance, np.concatenate([one.distance for one in single]))
    assert np.array_equal(found.label, np.concatenate([one.label for one in single]))
    assert np.isfinite(found.distance).any() and max(asked) <= batch_size
    assert batch_size > 1 or len(asked) <= 12 * (len(Search().distances()) + Search().halvings())


def test_no_ray_is_no_question():
    images, directions = rays(3)
    linear = Linear()
    found = find_boundaries(linear, images[:0], directions[:0], torch.empty(0, dtype=torch.long))
    assert found.distance.shape == found.label.shape == (0,) and not linear.asked


def test_search_looks_where_it_says():
    search = Search(first=0.01, factor=1.3, last=0.7)
    distances = search.distances()
    assert (distances[0], distances[-1]) == pytest.approx((0.01, 0.7))
    assert 1.2 < distances[1] / distances[0] <= 1.3 and np.ptp(distances[1:] / distances[:-1]) < 1e-9
    assert 0.3 / 2 ** search.halvings() <= 1e-3 < 0.3 / 2 ** (search.halvings() - 1)
    with pytest.raises(ValueError, match='factor: expected a number > 1, got 1'):
        Search(factor=1)


# Directions and maps

def test_random_directions_follow_from_seed_and_number_alone():
    images = torch.zeros(3, *SHAPE)
    directions = random_directions([4, 0, 7], images, 0)
    assert torch.allclose(directions.flatten(1).norm(dim=1), torch.ones(3))
    assert torch.equal(directions[[0]], random_directions([4], images[:1], 0))
    assert not torch.allclose(directions, random_directions([4, 0, 7], images, 1))
    assert abs(float((directions[0] * directions[1]).sum())) < 0.6
    many = random_directions(range(2000), torch.zeros(2000, 3, 1, 1), 0).view(-1, 3)
    assert many.mean(0).abs().max() < 0.06 and torch.allclose(many.T @ many / 2000, torch.eye(3) / 3, atol=0.03)


def test_orthogonal_keeps_the_plane():
    _, directions = rays(8)
    ours, others = directions[:4], directions[4:]
    found = orthogonal(ours, others).flatten(1)
    assert torch.allclose((found * others.flatten(1)).sum(1), torch.zeros(4, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(found.norm(dim=1), torch.ones(4, dtype=torch.float64))
    assert torch.linalg.matrix_rank(torch.stack([found[0], ours[0].flatten(), others[0].flatten()])) == 2


@pytest.mark.parametrize('batch_size', [1, 4, 256])
def test_map_has_the_ra_direction_to_the_right_and_the_other_up(batch_size):
    image = torch.zeros(1, *SHAPE)
    horizontal, vertical = torch.zeros(2, 1, *SHAPE)
    horizontal[0, 0, 0, 0] = vertical[0, 1, 0, 0] = 1

    def predict(images):
        return (images[:, 0, 0, 0] > 0.5).long() + 2 * (images[:, 1, 0, 0] > 1.5).long()

    found = decision_map(predict, image, horizontal, vertical, np.array([-2.0, -1, 0, 1, 2]), batch_size)
    assert found.tolist() == [[2, 2, 2, 3, 3]] + 4 * [[0, 0, 0, 1, 1]]


# Two recognizers

def test_inter_boundary_distance_of_two_planes_is_the_closed_form():
    images, directions = rays(200)
    source, target = Linear(offset=0.1), Linear(seed=2)
    distances = [find_boundaries(linear, images, directions, linear(images)).distance for linear in (source, target)]
    truths = [linear.distance(images, directions) for linear in (source, target)]
    truths = [np.where(truth > SIZE, np.inf, truth) for truth in truths]
    found, both = inter_boundary(*distances), np.isfinite(truths[0]) & np.isfinite(truths[1])
    assert 10 < both.sum() < 190
    assert np.array_equal(np.isfinite(found), both)
    assert found[both] == pytest.approx(abs(truths[0] - truths[1])[both], abs=2e-3 * SIZE)


def test_chance_is_the_mean_over_pairs_of_different_images():
    rng = np.random.default_rng(0)
    source, target = rng.exponential(size=30), np.concatenate([rng.exponential(size=25), 5 * [0.5]])
    pairs = [abs(source[i] - target[j]) for i in range(30) for j in range(30) if i != j]
    shares = chance(source, target)
    assert shares.mean() == pytest.approx(np.mean(pairs), rel=1e-12)
    assert shares[3] + np.mean(pairs) == pytest.approx(
        sum(np.mean([abs(a - b) for j, b in enumerate(others) if j != 3])
            for a, others in ((source[3], target), (target[3], source))))


@pytest.mark.parametrize('values, expected', [
    (range(1, 11), (5.5, 2, 9)),  # of ten values the second and the ninth, as in tables of the sign test
    ([1, 2, 3, 4, 5, 6, *4 * [np.inf]], (5.5, 2, np.inf)), ([3, np.inf, np.inf], (np.inf, 0, np.inf))])
def test_median_honors_what_is_infinite(values, expected):
    found = median(np.array(list(values), float))
    assert (found.value, found.low, found.high) == expected


def record(number, source, target, truth=1, answer=0, after=1, random=(1.0, 1.0)):
    """An image with these distances along the RA direction; of a target that reads another class there is None."""
    def named(pair, value=lambda x: x):
        return {name: value(x) for name, x in zip(('rs', 'rt'), pair, strict=True) if x is not None}

    return Record(number, f'{number}.png', truth, answer, 1.5,
                  {RANDOM: named(random if target is not None else (1.0, None)), RA: named((source, target))},
                  {RANDOM: named((source, target), lambda _: 2), RA: named((source, target), lambda _: after)})


RECORDS = [record(0, 1.0, 2.0), record(1, 4.0, 3.5, after=2), record(2, 2.0, math.inf), record(3, 9.0, None),
           record(4, math.inf, math.inf, after=NO_LABEL, random=(3.0, 4.0))]


def test_scores_of_a_pair_by_hand():
    scores = pair_scores(RECORDS, 'rs', 'rt')
    assert scores.n == 4  # the target reads image 3 otherwise
    ra, random = scores.directions[RA], scores.directions[RANDOM]
    assert ra.both_found == 2 and random.both_found == 4
    assert {name: entry.value for name, entry in ra.mean.items()} == pytest.approx(
        {'source': 2.5, 'target': 2.75, 'ibd': 0.75, 'chance': (2.5 + 2) / 2})
    assert {name: entry.value for name, entry in ra.ibd_minus.items()} == pytest.approx(
        {'source': -1.75, 'target': -2.0, 'chance': -1.5})
    half = 1.75 * 2 ** 0.5 * 12.7062 / 1.96  # of 0 and -3.5; two images tell hardly anything: Student's t
    assert (ra.ibd_minus['source'].low, ra.ibd_minus['source'].high) == pytest.approx(
        (-1.75 - half, -1.75 + half), rel=1e-3)
    assert ra.found['source'].value == 0.75 and ra.found['target'].value == 0.5
    assert ra.right['source'].value == 0.5 and random.right['target'].value == 0
    assert ra.median['source'].value == 3 and ra.median['ibd'].value == math.inf
    assert random.mean['ibd'].value == pytest.approx(0.25)
    assert scores.ra_minus_random['source'].n == 3
    assert scores.ra_minus_random['source'].value == pytest.approx((0 + 3 + 1) / 3)


def test_scores_of_few_images():
    assert pair_scores(RECORDS[3:4], 'rs', 'rt') is None
    scores = pair_scores(RECORDS[4:], 'rs', 'rt')
    assert scores.directions[RA].mean == {} and scores.ra_minus_random == {'source': None, 'target': None}
    results = made_up(RECORDS[4:])
    assert '| rt | images ' in boundary_markdown(results) and 'open for rt' in claims(results)[0]
    assert claims(made_up(RECORDS[3:4])) == ['No image that Rs and rt read as the same wrong class.']


def made_up(records, classes=('cat', 'dog', 'frog')):
    return BoundaryResults(
        name='made up', condition='x2', plain='plain', RA='RA', source='rs', n=10, command=f'python {HOSTILE}',
        search={'last': 1.0}, classes=classes, targets={'rt': pair_scores(records, 'rs', 'rt')}, schema=SCHEMA, seed=0,
        versions={}, images=records)


def test_tables_and_claims_are_those_of_the_scores():
    # along RA: BD(Rs) 1 to 2, BD(Rt) 0.1 more, so IBD is 0.1; along random: BD(Rs) 5, BD(Rt) 12, so IBD is 7
    records = [record(i, 1 + i / 20, 1.1 + i / 20, random=(5.0, 12.0)) for i in range(20)]
    text = boundary_markdown(made_up(records))
    assert re.search(r'\| rt +\| images +\| 20 of 20 +\| 20 of 20 +\|', text)
    assert re.search(r'BD\(Rs\) +\| 5.00 \[5.00, 5.00\] +\| 1.48 \[', text)
    assert re.search(r'IBD\(Rs, Rt\) +\| 7.00 \[7.00, 7.00\] +\| 0.10 \[0.10, 0.10\]', text)
    assert re.search(r'IBD - BD\(Rs\) +\| \+2.00 \[\+2.00, \+2.00\]', text)
    assert [claim.rpartition(': ')[2] for claim in claims(made_up(records))] == [
        'holds for rt.', 'refuted for rt.', 'open for rt.', 'holds for rt.', 'holds for rt.']
    assert 'median' in text and '\u221e' not in text and '\u221e' in boundary_markdown(made_up(RECORDS))


def test_the_page_says_that_the_first_of_several_seeds_was_measured():
    assert 'first alone' not in boundary_markdown(made_up(RECORDS))
    several = replace(made_up(RECORDS), seeds={'plain': 1, 'RA': 3})
    assert 'Of the seeds of RA, the first alone.' in boundary_markdown(several)


# Pictures

def a_map(labels, truth=1):
    return DecisionMap(record(3, 1.0, 2.0, truth=truth), 4.0, labels,
                       {'clean': np.zeros((32, 32, 3), np.uint8), 'plain': np.ones((32, 32, 3), np.uint8)})


def cells(path, size):
    """How often a path of runs covers each cell."""
    covered = np.zeros((size, size), int)
    for x, y, run in re.findall(r'M(\d+) (\d+)h(\d+)v1h-\d+z', path):
        covered[int(y), int(x):int(x) + int(run)] += 1
    return covered


def test_regions_cover_the_map_once_and_are_colored_as_the_legend_says():
    rng = np.random.default_rng(0)
    labels = {name: np.kron(rng.integers(0, 3, (7, 7)), np.ones((3, 3), int)) for name in ('rs', 'rt')}
    one = a_map(labels)
    card, = map_cards(made_up(RECORDS), [one])
    assert [(color, name, role) for color, name, role in card['legend']] == [
        ('right', 'dog', 'the right class'), ('c0', 'cat', 'read in the plain image'), ('c1', 'frog', '')]
    for panel in card['panels']:
        for color, label in (('right', 1), ('c0', 0), ('c1', 2)):
            path, = re.findall(f'<path class="{color}" d="([^"]*)"', panel['svg'])
            assert np.array_equal(cells(path, 21), labels[panel['name']] == label)
        hatched, = re.findall('<path class="hatch" d="([^"]*)"', panel['svg'])
        assert np.array_equal(cells(hatched, 21), labels[panel['name']] == 1)
    assert card['unit'] == '4.6' and [panel['is_source'] for panel in card['panels']] == [True, False]
    assert card['panels'][1]['notes'] == [(RA, '2.00, then dog', True), (RANDOM, '1.00, then frog', False)]


def test_larger_regions_come_first_and_classes_beyond_the_colors_share_the_last():
    assert list(class_colors(a_map({'rs': np.array([[0, 1, 2], [4, 4, 3], [4, 3, 3]])})).items()) == [
        (1, 'right'), (0, 'c0'), (3, 'c1'), (4, 'c2'), (2, 'c3')]
    one = a_map({'rs': np.repeat(np.arange(21), 21).reshape(21, 21)}, truth=20)
    colors = class_colors(one)
    assert colors[20] == 'right' and colors[0] == 'c0' and list(colors.values()).count('c7') == 21 - 8
    card, = map_cards(made_up(RECORDS, classes=[f'class {i}' for i in range(21)]), [one])
    assert len(card['legend']) == 9 and card['legend'][-1][2] == 'other classes'


def test_names_are_within_their_regions_and_clear_of_the_markers():
    labels = np.ones((51, 51), int)
    labels[15:36, 15:36] = 0  # around the markers, which are at the cells 25 and 35 of the row 25
    labels[:3, :4] = 2  # no room for a word
    card, = map_cards(made_up(RECORDS), [a_map({'rs': labels})])
    found = {text: (float(x), float(y)) for x, y, text in re.findall(
        '<text class="region" x="([^"]*)" y="([^"]*)" text-anchor="middle">([^<]*)<', card['panels'][0]['svg'])}
    assert set(found) == {'cat', 'dog'}
    x, y = ((found['cat'][0] - 34) * 51 / 210, (found['cat'][1] - 4 - 8) * 51 / 210)  # in cells, of the middle
    assert 17 < x < 34 and 16 < y < 35 and max(abs(x - 25.5), abs(y - 25.5)) > 3
    x, y = ((found['dog'][0] - 34) * 51 / 210, (found['dog'][1] - 4 - 8) * 51 / 210)
    assert not (15 < x < 36 and 15 < y < 36) and 0 < x < 51 and 0 < y < 51


@pytest.mark.browser
def test_page_shows_hostile_names_as_text_and_asks_for_nothing(tmp_path):
    results = made_up(RECORDS, classes=(HOSTILE, 'dog', 'frog\u202e'))
    results = replace(results, targets={HOSTILE: results.targets['rt']})
    labels = np.tile([0] * 11 + [1] * 8 + [2] * 2, (21, 1))
    write_boundary_page(results, [a_map({'rs': labels, 'rt': labels.T})], tmp_path / 'boundary.html')
    with chromium(tmp_path) as driver:
        driver.get((tmp_path / 'boundary.html').as_uri())
        assert console(driver) == []  # nothing inline was refused
        assert all(address.startswith('file:') for address in requested(driver))
        assert HOSTILE in driver.find_element('id', 'maps').text
        assert driver.find_element('css selector', '.panel .right').value_of_css_property('fill') == 'rgb(68, 187, 153)'
        assert 'hatch' in driver.find_element('css selector', '.panel .hatch').value_of_css_property('fill')
    page = (tmp_path / 'boundary.html').read_text()
    assert '<script>alert' not in page
    for text in (page, boundary_markdown(results)):
        assert 'BD(R), the boundary distance of a recognizer R: how far from an image' in text
        assert 'IBD(Rs, Rt), the inter-boundary distance: the absolute difference of BD(Rs) and BD(Rt)' in text


# End to end, on images that something else has restored

COUNT = 24
OUTPUTS = ('boundary.json', 'boundary.md', 'boundary.html')


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """Images of three classes, plain and with another tint, recognizers that are much alike, and an option file."""
    root, rng = tmp_path_factory.mktemp('boundary'), np.random.default_rng(0)
    images = [rng.integers(40, 200, 3) + rng.integers(0, 56, (16, 16, 3)) for _ in range(COUNT)]
    for i, image in enumerate(images):
        for name, tint in (('plain', 0), ('ra', np.array([-30, 0, 30]))):
            file = root / name / 'abc'[i % 3] / f'{i:02}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image + tint).clip(0, 255).astype(np.uint8)).save(file)
    torch.manual_seed(0)
    judge = TanhNet(3)
    seen = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    judge.head.bias.data.sub_(judge((seen - 0.4) / 0.1).mean(0))  # else all images are of one class
    recognizers = {}
    for name in ('one', 'two', 'three'):
        torch.save(judge.state_dict(), root / f'{name}.pth')
        judge.conv.weight.data.add_(0.1 * torch.randn_like(judge.conv.weight))
        recognizers[name] = {'type': 'ModuleRecognizer', 'module': 'conftest.TanhNet', 'mean': [0.4] * 3,
                             'module_kwargs': {'num_classes': 3}, 'std': [0.1] * 3, 'checkpoint': f'{root}/{name}.pth'}
    (root / 'opt.yml').write_text(yaml.safe_dump({
        'name': 'small',
        'datasets': {'images': {'type': 'LabeledImageDataset', 'dataroot_gt': f'{root}/plain'}},
        'restorers': {'plain': {'folder': f'{root}/plain'}, 'RA': {'folder': f'{root}/ra', 'used': ['one']}},
        'recognizers': recognizers}, sort_keys=False))
    return root


def study(place, **changes):
    evaluation = Evaluation(place, read_options(place / 'opt.yml'), 'cpu')
    return BoundaryStudy(evaluation, BoundaryOptions(**{'names': ('plain', 'RA'), **changes}))


@pytest.fixture(scope='module')
def records(place):
    return study(place).records()


@torch.no_grad()
def test_images_are_those_that_both_read_as_the_same_wrong_class(place, records):
    evaluation = Evaluation(place, read_options(place / 'opt.yml'), 'cpu')
    batch, = next(evaluation.batches(evaluation.conditions[0], range(COUNT), COUNT))
    plain, restored = (evaluation.restorers[name].processings[0](batch) for name in ('plain', 'RA'))
    answers = {name: recognizer.logits(plain).argmax(1).tolist() for name, recognizer in evaluation.recognizers.items()}
    expected = {}
    for i, label in enumerate(batch.label.tolist()):
        agreeing = {name for name in answers if answers[name][i] == answers['one'][i] != label}
        if len(agreeing) > 1:
            expected[i] = agreeing
    assert 2 < len(expected) < COUNT and len(set(map(len, expected.values()))) == 2
    assert {one.index: set(one.distance[RA]) for one in records} == expected
    for one in records:
        assert set(one.distance[RANDOM]) == set(one.after[RA]) == expected[one.index]
        assert one.answer == answers['one'][one.index] and one.truth == 'abc'.index(one.name[0])
        direction = restored[one.index] - plain[one.index]
        assert one.step == pytest.approx(float(direction.norm()), rel=1e-5)
        for name, length in one.distance[RA].items():  # just beyond the boundary, and halfway to it
            for part, after in ((1, one.after[RA][name]), (0.5, one.answer)):
                if math.isfinite(length):
                    moved = plain[one.index] + part * length * direction / direction.norm()
                    assert int(evaluation.recognizers[name].logits(moved[None]).argmax()) == after


@pytest.mark.slow
def test_batches_and_order_change_nothing(place, records):
    again = study(place, batch_size=5).records()
    assert [one.index for one in again] == [one.index for one in records]
    for ours, theirs in zip(again, records, strict=True):
        for direction in (RANDOM, RA):
            assert ours.distance[direction] == pytest.approx(theirs.distance[direction], rel=1e-3)
    other = study(place, seed=1).records()
    assert [one.distance[RA] for one in other] == [one.distance[RA] for one in records]
    assert [one.distance[RANDOM] for one in other] != [one.distance[RANDOM] for one in records]


@pytest.mark.slow
def test_map_agrees_with_the_distances(place, records):
    this = study(place, maps=2)
    found = this.maps(records)
    assert len(found) == 2 and all(set(one.labels) == {'one', 'two', 'three'} for one in found)
    for one in found:
        assert list(one.pictures) == ['clean', 'plain', 'RA'] and one.pictures['RA'].shape == (16, 16, 3)
        places = np.linspace(-one.extent, one.extent, 51)
        for name, labels in one.labels.items():
            length, row = one.record.distance[RA][name], labels[25, 25:]
            before = places[25:] < length * (1 - 2e-3)
            assert (row[before] == one.record.answer).all()
            if before.sum() < 26:
                assert row[before.sum()] != one.record.answer
    assert [one.record.index for one in study(place, maps=2, seed=5).maps(records)] != [
        one.record.index for one in found]


@pytest.fixture
def tool(monkeypatch):
    """``tool(*arguments)``: the exit status of tools/boundary.py."""
    return functools.partial(run_tool, monkeypatch, 'boundary')


@pytest.mark.slow
def test_tool_writes_json_tables_and_page(tool, place, tmp_path, capsys, records):
    arguments = ['plain', 'RA', '-opt', place / 'opt.yml', '--maps', '1', '--device', 'cpu']
    assert tool(*arguments, '--out', tmp_path / 'a') == 0
    text = capsys.readouterr().out
    assert (tmp_path / 'a' / 'boundary.md').read_text() in text
    results = json.loads((tmp_path / 'a' / 'boundary.json').read_text())
    assert (results['schema'], results['source'], results['n']) == ('ra_plugin.boundary/1', 'one', COUNT)
    assert results['command'] == f'ra-plugin boundary plain RA -opt {place}/opt.yml --maps 1'
    assert [one['index'] for one in results['images']] == [one.index for one in records]
    pairs = [one['distance']['RA'] for one in results['images'] if 'two' in one['distance']['RA']]
    known = [pair for pair in pairs if None not in (pair['one'], pair['two'])]  # null: infinitely far
    entry = results['targets']['two']['directions']['RA']
    assert results['targets']['two']['n'] == len(pairs) and entry['both_found'] == len(known) > 1
    assert entry['mean']['ibd']['value'] == pytest.approx(np.mean([abs(pair['one'] - pair['two']) for pair in known]))
    assert (tmp_path / 'a' / 'boundary.html').read_text().count('<article>') == 1
    again = shlex.split(results['command'])[2:]
    assert tool(*again, '--device', 'cpu', '--out', tmp_path / 'b') == 0
    for name in OUTPUTS:
        assert (tmp_path / 'a' / name).read_bytes() == (tmp_path / 'b' / name).read_bytes()


def test_a_signal_ends_the_tool_with_a_line_and_keeps_an_earlier_result(tool, place, tmp_path, monkeypatch, capsys):
    (tmp_path / 'boundary.json').write_text('earlier')
    monkeypatch.setattr('ra_plugin.studies.boundary.run.find_boundaries',
                        lambda *args: signal.raise_signal(signal.SIGTERM))
    assert tool('plain', 'RA', '-opt', place / 'opt.yml', '--device', 'cpu', '--out', tmp_path) == 128 + signal.SIGTERM
    said = capsys.readouterr().err.splitlines()
    assert 'loading' in said[0] and f'searching boundaries around {COUNT} images' in said[1]
    assert said[-1].startswith('boundary.py: Stopped by SIGTERM; nothing is written before the end')
    assert [path.name for path in tmp_path.iterdir()] == ['boundary.json']
    assert (tmp_path / 'boundary.json').read_text() == 'earlier'


@pytest.mark.slow
def test_command_does_not_name_the_folders_of_one_machine(place, tmp_path):
    run_boundary(place, place / 'opt.yml', tmp_path, BoundaryOptions(names=('plain', 'RA'), maps=0), 'cpu')
    results = json.loads((tmp_path / 'boundary.json').read_text())
    assert results['command'] == 'ra-plugin boundary plain RA -opt opt.yml --maps 0'


def test_command_says_all_that_changes_the_results(tool, place, tmp_path):
    changed = ['--source', 'two', '--num-images', '20', '--maps', '0', '--seed', '3', '--factor', '1.2',
               '--targets', 'one', 'three']
    assert tool('plain', 'RA', '-opt', place / 'opt.yml', *changed, '--device', 'cpu', '--out', tmp_path / 'a') == 0
    results = json.loads((tmp_path / 'a' / 'boundary.json').read_text())
    assert results['command'] == f'ra-plugin boundary plain RA -opt {place}/opt.yml {" ".join(changed)}'
    assert (results['source'], list(results['targets']), results['n']) == ('two', ['one', 'three'], 20)
    assert (results['seed'], results['search']['factor']) == (3, 1.2)


@pytest.mark.parametrize('arguments, message', [
    (['plain', 'RB'], "boundary: no restorer 'RB'. Known: plain, RA"),
    (['RA', 'RA'], 'boundary: expected two restorers, plain and RA, got RA and RA.'),
    (['plain', 'RA', '--targets', 'twi'], "boundary: no recognizer 'twi'. Did you mean 'two'"),
    (['RA', 'plain'], 'boundary: plain says of no recognizer that it was trained with it. Name one: --source.'),
    (['plain', 'RA', '--targets', 'one'], 'boundary: expected a recognizer beside the source'),
    (['plain', 'RA', '--num_images', '0'], 'boundary: num_images: expected a whole number >= 1, got 0'),
    (['plain', 'RA', '--factor', '0.9'], 'boundary: factor: expected a number > 1, got 0.9'),
])
def test_what_cannot_be_meant_is_one_line(tool, place, tmp_path, capsys, arguments, message):
    assert tool(*arguments, '-opt', place / 'opt.yml', '--out', tmp_path / 'out') == 2
    error = capsys.readouterr().err.partition('\n')[2]  # the first says that it loads
    assert message in error and error.count('\n') == 1 and not (tmp_path / 'out').exists()


def test_classes_are_called_as_recognizers_call_them(place):
    """Folders of ImageNet have the names of synsets."""
    this = study(place)
    assert this.results([]).classes == ['a', 'b', 'c']
    judge = this.condition.recognizers['two']
    judge.info = replace(judge.info, classes=('cat', 'dog', 'frog'))
    assert this.results([]).classes == ['cat', 'dog', 'frog']


def test_costly_recognizers_and_restorers_of_other_sizes_are_refused(place, monkeypatch):
    this = study(place)
    this.processings[1] = lambda batch: batch.gt[..., 1:]
    with pytest.raises(ValueError, match=r'plain and RA: expected restored images of one size, got \(16, 16\) and'):
        this.records()
    evaluation = this.evaluation
    monkeypatch.setattr(type(evaluation.recognizers['two']), 'costly', True)
    with pytest.raises(OptionError, match='one: expected a classifier that may be asked dozens of times'):
        BoundaryStudy(evaluation, BoundaryOptions(names=('plain', 'RA')))
