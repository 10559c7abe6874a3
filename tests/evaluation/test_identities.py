"""Identities from an option file to a report: folders of people, an embedding network, its scores and their page."""
import json
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ra_plugin.evaluation.report_examples import examples
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.evaluation.write_report import evaluate
from ra_plugin.options import OptionError
from ra_plugin.recognizers import build_recognizer

PEOPLE, PHOTOS = 8, 7  # 56 images: 168 pairs of one person, 1372 of two
ALL = ['tar_at_far', 'recall_at_1', 'mean_cosine']
NETWORK = {'type': 'ModuleRecognizer', 'task': 'embedding', 'module': 'test_identities.coarse_colors',
           'pretrained': False, 'mean': [0.5] * 3, 'std': [0.25] * 3}


def coarse_colors():
    """A network that sees the colors of 4x4 parts of a face."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())


def photo(person, number):
    """A face is a pattern of its own, in other light each time."""
    face, rng = np.random.default_rng(person).uniform(60, 195, (4, 4, 3)), np.random.default_rng([person, number])
    face = large(face + rng.normal(0, 25, face.shape) + rng.normal(0, 10, 3))
    return np.clip(face + rng.normal(0, 25, face.shape), 0, 255).astype(np.uint8)


def large(face):
    return face.repeat(4, 0).repeat(4, 1)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Photos in a folder for each person, and two folders of restored ones, with much and with little made up."""
    root = tmp_path_factory.mktemp('people')
    for person in range(PEOPLE):
        for number in range(PHOTOS):
            made_up = large(np.random.default_rng([person, number, 1]).normal(128, 40, (4, 4, 3)))
            for folder, share in (('people', 0), ('plain', 0.55), ('RA', 0.3)):
                file = root / folder / f'p{person}' / f'{number}.png'
                file.parent.mkdir(parents=True, exist_ok=True)
                image = (1 - share) * photo(person, number) + share * made_up
                Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(file)
    return root


def options(root, **changes):
    return {'name': 'people', 'audit': 0, 'baseline': 'plain',
            'datasets': {'people': {'type': 'LabeledImageDataset', 'dataroot_gt': str(root / 'people'),
                                    'degradation': {'type': 'BicubicDownsample', 'scale': 2}}},
            'restorers': {name: {'folder': str(root / name)} for name in ('plain', 'RA')},
            'recognizers': {'faces': NETWORK}, **changes}


def blind_for(few):
    """A network that gives no numbers for images of this size, or for the bright ones among them."""
    network = coarse_colors()

    class Blind(nn.Module):
        def forward(self, x):
            blind = x.mean((1, 2, 3)) > (0.05 if few else -9)
            return network(x) / torch.where(blind & (x.shape[-1] == 16), torch.nan, 1.0)[:, None]

    return Blind()


def vectors_of(folder):
    files = sorted(folder.rglob('*.png'))
    images = torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255 for file in files])
    found = build_recognizer(NETWORK).vectors(images).detach().double()
    return F.normalize(found, dim=1).numpy(), [file.parent.name for file in files]


def by_hand(vectors, people):
    """TAR at FAR 1e-3 and recall at 1, pair by pair."""
    n, similarity = len(people), vectors @ vectors.T
    pairs = [(similarity[i, j], people[i] == people[j]) for i in range(n) for j in range(i)]
    impostors = sorted((value for value, same in pairs if not same), reverse=True)
    rejected = impostors[len(impostors) // 1000]
    nearest = [max((similarity[i, j], people[i] == people[j]) for j in range(n) if j != i) for i in range(n)]
    return np.mean([value > rejected for value, same in pairs if same]), np.mean([same for _, same in nearest])


def words_of(page):
    """The text of a page as it is read."""
    page = re.sub(r'<(style|script|svg)\b.*?</\1>', '', page, flags=re.DOTALL)
    return re.sub(r'\s+', ' ', re.sub(r'<[^>]+>', ' ', page))


@pytest.mark.slow
def test_an_evaluation_scores_the_identities_of_the_saved_images(root, tmp_path):
    opt = options(root, recognition_metrics={'embedding': ALL}, audit=56)
    results = evaluate(Evaluation(tmp_path, opt), tmp_path / 'out', batch_size=5)
    condition, = results.to_json()['conditions'].values()
    clean, people = vectors_of(root / 'people')
    found = {}
    for name, folder in (('clean', 'people'), ('plain', 'plain'), ('RA', 'RA')):
        vectors, _ = vectors_of(root / folder)
        found[name] = dict(zip(ALL, (*by_hand(vectors, people), (vectors * clean).sum(1).mean()), strict=True))
        scores = condition['processings'][name]['scores']['faces']
        assert {metric: scores[metric]['value'] for metric in ALL} == pytest.approx(found[name], abs=1e-6)
        for metric in ALL:
            assert scores[metric]['low'] <= scores[metric]['value'] <= scores[metric]['high'] <= 1
    assert 0 < found['plain']['tar_at_far'] < found['RA']['tar_at_far'] < found['clean']['tar_at_far'] < 1
    gain = condition['differences']['RA']['scores']['faces']['tar_at_far']
    assert gain['value'] == pytest.approx(found['RA']['tar_at_far'] - found['plain']['tar_at_far'])
    assert gain['low'] > 0 and gain['gap_recovered']['value'] == pytest.approx(
        gain['value'] / (found['clean']['tar_at_far'] - found['plain']['tar_at_far']))
    assert condition['differences']['RA']['family']['up'] == ['faces']
    chance = condition['chance']['faces']
    assert (chance['metric'], chance['at_chance']) == ('recall_at_1', False)
    assert chance['chance'] == pytest.approx((PHOTOS - 1) / (PEOPLE * PHOTOS - 1))
    assert condition['audit']['restorers']['RA']['gains']['faces']['8 bit'] == pytest.approx(
        {key: gain[key] for key in ('value', 'low', 'high')})
    assert not condition['variety']['faces']['little'] and condition.get('harm', {}) == {}
    facts = results.to_json()['recognition_metrics']
    assert facts['tar_at_far']['over'] == 'identities' and 'over' not in facts['mean_cosine']
    page = words_of((tmp_path / 'out' / 'report.html').read_text())
    assert f'+{100 * gain["value"]:.1f} points [+' in page and 'Every recognizer gains' in page
    assert 'over the images (those of TAR at FAR 1e-3 and recall at 1: over the identities)' in page
    assert 'mean cosine, higher is better' in page and 'similarity 1.00 to the clean image' in page
    similarity = [float(value) for value in re.findall(r'similarity (-?\d\.\d\d) to the clean image', page)]
    assert len(similarity) == 12 and min(similarity) < 0.9  # three images, four ways of processing
    table = (tmp_path / 'out' / 'tables.md').read_text()
    assert 'faces tar_at_far' in table and 'faces mean cosine \u2191' in table and '| 1.000 [1.000, 1.000] |' in table


@pytest.mark.slow
def test_a_shown_image_has_its_nearest_identity(root, tmp_path):
    evaluation = Evaluation(tmp_path, options(root, recognition_metrics={'embedding': ALL}))
    evaluate(evaluation, tmp_path / 'out', 16)
    folders, found = {'clean': 'people', 'plain': 'plain', 'RA': 'RA'}, []
    for example in examples(evaluation):
        for name, folder in folders.items():
            vectors, people = vectors_of(root / folder)
            similarity = vectors @ vectors[example.index]
            similarity[example.index] = -2
            nearest = similarity.argmax()
            answer = example.answers[name]['faces']
            assert answer.text.endswith(f'to the clean image; nearest to {people[nearest]} ({similarity[nearest]:.2f})')
            assert answer.right == (people[nearest] == example.truth)
            found.append(answer.right)
    assert len(found) == 9
    page = words_of((tmp_path / 'out' / 'report.html').read_text())
    assert re.search(r'similarity 1\.00 to the clean image; nearest to p\d \(0\.\d\d\)', page)


@pytest.mark.slow
def test_without_restorers_clean_images_and_no_processing_are_judged(root, tmp_path):
    opt = options(root, recognition_metrics={'embedding': ALL}, restorers={}, audit=56)
    opt.pop('baseline')
    results = evaluate(Evaluation(tmp_path, opt), tmp_path / 'out', 16)
    condition, = results.to_json()['conditions'].values()
    assert list(condition['processings']) == ['clean', 'no processing'] and 'audit' not in condition
    vectors, people = vectors_of(root / 'people')
    scores = condition['processings']['clean']['scores']['faces']
    assert [scores[name]['value'] for name in ALL[:2]] == pytest.approx(by_hand(vectors, people), abs=1e-6)
    page = words_of((tmp_path / 'out' / 'report.html').read_text())
    assert 'No restorers, judged by 1 recognizer on people (56 images)' in page and '56 images' in page


@pytest.mark.slow
def test_one_image_has_a_similarity_without_an_interval(root, tmp_path):
    opt = options(root, images=1, recognition_metrics={'embedding': 'mean_cosine'}, audit=1)
    condition, = evaluate(Evaluation(tmp_path, opt), tmp_path / 'out', 16).to_json()['conditions'].values()
    score = condition['processings']['RA']['scores']['faces']['mean_cosine']
    assert 0 < score['value'] < 1 and (score['low'], score['high']) == (None, None)
    assert condition['audit']['restorers']['RA']['verdict'] == 'undecided'
    page, table = ((tmp_path / 'out' / name).read_text() for name in ('report.html', 'tables.md'))
    for text in (words_of(page), table):
        assert 'There is one image, which says nothing of how others differ' in text
    assert 'nan' not in table and not re.search('[^n]1 images', table + words_of(page))


@pytest.mark.slow
def test_without_labels_the_cosine_to_the_clean_image_is_judged(root, tmp_path):
    opt = options(root, audit=56)
    opt['datasets'] = {'people': {**opt['datasets']['people'], 'type': 'UnlabeledImageDataset'}}
    results = evaluate(Evaluation(tmp_path, opt), tmp_path / 'out', batch_size=5).to_json()
    condition, = results['conditions'].values()
    clean, _ = vectors_of(root / 'people')
    for name in ('plain', 'RA'):
        vectors, _ = vectors_of(root / name)
        scores = condition['processings'][name]['scores']['faces']
        assert list(scores) == ['mean_cosine']
        assert scores['mean_cosine']['value'] == pytest.approx((vectors * clean).sum(1).mean(), abs=1e-6)
    page = words_of((tmp_path / 'out' / 'report.html').read_text())
    assert results['recognition_metrics'] == {
        'mean_cosine': {'better': 'higher', 'unit': 'cosine', 'against': 'clean answers'}}
    gain = condition['differences']['RA']['scores']['faces']['mean_cosine']
    assert f'+{gain["value"]:.3f} [+{gain["low"]:.3f}, +{gain["high"]:.3f}]' in page
    assert 'Every recognizer agrees more with its answers on clean images' in page
    assert condition['variety']['faces']['of'] == 'pairs'


@pytest.mark.slow
def test_records_of_identities_are_reused_and_shown_again(root, tmp_path):
    opt = options(root, images=16, recognition_metrics={'embedding': ALL})
    first = evaluate(Evaluation(tmp_path, opt), tmp_path / 'out', 16).to_json()['conditions']
    (tmp_path / 'out' / 'records' / '0' / 'shown.pt').unlink()
    again = evaluate(Evaluation(tmp_path, opt), tmp_path / 'out', 16).to_json()['conditions']
    assert first == again
    assert 'to the clean image' in (tmp_path / 'out' / 'report.html').read_text()


@pytest.mark.parametrize('metrics, expected', [
    (ALL, ['tar_at_far, recall_at_1']), ('recall_at_1', None), ('mean_cosine', []), (None, None)])
def test_single_images_of_each_identity_are_told_before_anything_is_judged(root, tmp_path, metrics, expected, capsys):
    """Of eight images in order of the folders, one is of each person."""
    opt = options(root, images=8, recognition_metrics={'embedding': metrics})
    if expected is None:
        with pytest.raises(OptionError, match=r'^datasets: people: .*recall_at_1 of faces cannot be computed: the 8 '
                                              r'images are of 8 identities, with 0 pairs of one identity and 28 pairs '
                                              r'of two\. .*recall_at_1 needs two identities, .*mean_cosine'):
            Evaluation(tmp_path, opt)
        return
    Evaluation(tmp_path, opt)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(' of faces cannot')[0] for line in lines] == [f'datasets: people: {name}' for name in expected]


@pytest.mark.slow
def test_few_images_leave_the_recall(root, tmp_path, capsys):
    opt = options(root, images=24)
    results = evaluate(Evaluation(tmp_path, opt), tmp_path / 'out', 16).to_json()
    assert 'tar_at_far of faces cannot be computed: the 24 images' in capsys.readouterr().err
    condition, = results['conditions'].values()
    scores = condition['processings']['RA']['scores']['faces']
    assert scores['tar_at_far']['value'] is None and scores['recall_at_1']['value'] > 0
    page = words_of((tmp_path / 'out' / 'report.html').read_text())
    assert 'TAR at FAR 1e-3 of faces has no value' in page and 'recall at 1' in page


@pytest.mark.slow
def test_embeddings_that_are_no_numbers_are_counted_and_said(root, tmp_path):
    block = {**NETWORK, 'module': 'test_identities.blind_for', 'module_kwargs': {'few': True}}
    opt = options(root, recognizers={'faces': block}, recognition_metrics={'embedding': ALL})
    evaluate(Evaluation(tmp_path, opt), tmp_path / 'out', 16)
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())['conditions']['people']
    said = []
    for name, folder in (('clean', 'people'), ('plain', 'plain'), ('RA', 'RA')):
        files = sorted((root / folder).rglob('*.png'))
        bright = sum((np.array(Image.open(file)).mean() / 255 - 0.5) / 0.25 > 0.05 for file in files)
        assert 0 < bright < len(files)
        assert results['processings'][name]['without_answer'] == {'faces': bright}
        said.append(f'{name} {bright} of 56')
    page, table = ((tmp_path / 'out' / name).read_text() for name in ('report.html', 'tables.md'))
    for text in (words_of(page), table):
        assert all(count in text for count in ('Embeddings of faces that are zero or not finite', *said))
    opt['recognizers']['faces']['module_kwargs'] = {'few': False}
    with pytest.raises(OptionError, match=r'^recognizers\.faces: its embeddings of all 56 images of people are zero or '
                                          r'not finite, whatever the processing\. Check'):
        evaluate(Evaluation(tmp_path, opt), tmp_path / 'none', 16)


@pytest.mark.slow
def test_labels_that_are_no_identities_are_refused_before_anything_is_judged(root, tmp_path):
    boxes = {'images': [{'id': i, 'file_name': f'p{i}/0.png', 'width': 16, 'height': 16} for i in range(3)],
             'categories': [{'id': 0, 'name': 'face'}],
             'annotations': [{'id': i, 'image_id': i, 'category_id': 0, 'bbox': [1, 1, 9, 9], 'area': 81, 'iscrowd': 0}
                             for i in range(3)]}
    (tmp_path / 'boxes.json').write_text(json.dumps(boxes))
    data = {'type': 'DetectionDataset', 'dataroot_gt': str(root / 'people'),
            'annotation_file': str(tmp_path / 'boxes.json'), 'degradation': {'type': 'BicubicDownsample', 'scale': 2}}
    opt = options(root, datasets={'people': data})
    with pytest.raises(OptionError, match=r'^datasets: people: faces: expected identities, whole numbers \(1,\), got '
                                          r'dict\. Use a LabeledImageDataset'):
        Evaluation(tmp_path, opt)
    opt['recognition_metrics'] = {'embedding': 'mean_cosine'}
    results = evaluate(Evaluation(tmp_path, opt), tmp_path / 'out', 16).to_json()
    scores = results['conditions']['people']['processings']['clean']['scores']['faces']
    assert scores['mean_cosine']['value'] == pytest.approx(1)
