"""Who answers the same to nearly all clean images agrees with itself whatever restoration does: that is told."""
import numpy as np
import pytest
import small_evaluation
import torch
from page_data import typed
from safetensors.torch import load_file, save_file
from test_agreement import answers, boxes

from ra_plugin.evaluation.records import pack, unpack
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.evaluation.statistics.transfer import CLEAN, NONE, JudgedProcessing, Matrix
from ra_plugin.evaluation.statistics.variety import variety
from ra_plugin.metrics.task_scores import build_score
from ra_plugin.metrics.variety import NO_CLASS, commonest_answer
from ra_plugin.options import OptionError
from ra_plugin.recognizers import RecognizerInfo
from ra_plugin.report.markdown import to_markdown
from ra_plugin.report.notes import notes
from ra_plugin.results import CommonestAnswer, to_plain

CLASSES = ('cat', 'dog', 'fox', 'owl')
INFO = {task: RecognizerInfo('r', task, num_classes=4, classes=CLASSES, gives_probabilities=True)
        for task in ('classification', 'detection', 'segmentation', 'embedding')}
RESULTS = {'baseline': NONE, 'recognition_metrics': {
    name: {'better': 'higher', 'unit': 'share', 'against': 'clean answers'}
    for name in ('top1_agreement', 'box_agreement', 'miou_agreement')}}
RESULTS['recognition_metrics']['mean_cosine'] = {'better': 'higher', 'unit': 'cosine', 'against': 'clean answers'}


def said(task, restored, clean, metrics=None, labels=None):
    """The notes on answers to so many images, before and after restoration, and what they are made from."""
    cells = {}
    for name, found in ((CLEAN, clean), *restored.items()):
        score = build_score(INFO[task], metrics, labels=labels is not None, clean=True)
        score.add(found, labels, clean)
        again = build_score(INFO[task], metrics, labels=labels is not None, clean=True)
        again.add_records(unpack(pack(list(score.records()))))  # what the records hold is enough
        cells[name, 0] = JudgedProcessing(np.arange(len(score)), {}, {'net': again})
    entry = to_plain(variety(Matrix(cells), {'net': INFO[task]}))
    made_up = typed({**RESULTS, 'conditions': {'c': {'n': len(score), 'variety': entry}}})
    return notes(made_up, 'c'), entry.get('net')


def classes(labels):
    return answers(5 * torch.nn.functional.one_hot(torch.as_tensor(labels), 4).double())


def changed(labels, share, rng):
    return np.where(rng.random(len(labels)) < share, rng.integers(0, 4, len(labels)), labels)


@pytest.mark.parametrize('n, other', [(8, 0), (100, 3), (1000, 40)])
@pytest.mark.parametrize('metrics', [None, 'kl'])
def test_one_class_for_nearly_all_images(n, other, metrics):
    clean = np.full(n, 1)
    clean[:other] = 2
    text, entry = said('classification', {NONE: classes(clean)}, classes(clean), metrics)
    share = 100 * (1 - other / n)
    assert text == [f'net answers dog on {share:.1f} % of the clean images. One answer for all images would have '
                    f'{share:.1f} % top-1 agreement, and no processing, with which it agrees most, has 100.0 %: '
                    'agreement with it says little about restorers. Unless these images are like that, check its '
                    'weights and classes.']
    assert entry['little'] and entry['constant'] == entry['share']


@pytest.mark.slow
@pytest.mark.parametrize('n', [20, 1000])
def test_usual_classifiers_get_no_note(n):
    rng = np.random.default_rng(0)
    for shares in ([0.25] * 4, [0.6, 0.2, 0.1, 0.1], [0.9, 0.05, 0.03, 0.02]):
        clean = rng.permutation(np.repeat(np.arange(4), (n * np.array(shares)).round().astype(int)))
        restored = {NONE: classes(changed(clean, 0.5, rng)), 'RA': classes(changed(clean, 0.1, rng))}
        if shares[0] < 0.9 or n > 20:
            assert not said('classification', restored, classes(clean))[0]
    with_labels, entry = said('classification', restored, classes(clean), 'top1', torch.as_tensor(clean))
    assert not with_labels and entry is None  # accuracy has its own chance


def test_answers_of_which_restored_images_keep_no_more_than_the_commonest():
    """60 % of one class: who is given the same image each time agrees as much."""
    clean = np.repeat([0, 1, 2], [60, 20, 20])
    text, entry = said('classification', {NONE: classes(np.zeros(100, int)), 'plain': classes(np.ones(100, int))},
                       classes(clean))
    assert 'answers cat on 60.0 %' in text[0] and 'no processing, with which it agrees most, has 60.0 %' in text[0]
    assert entry['processing'] == NONE
    text, entry = said('classification', {NONE: classes(np.zeros(100, int)), 'RA': classes(clean)}, classes(clean))
    assert not text and entry['processing'] == 'RA' and entry['score'] == 1


def test_answers_that_are_no_class():
    score = build_score(RecognizerInfo('r', 'classification', num_classes=4), labels=False, clean=True)
    found = {'labels': torch.tensor([[-1, -1]] * 9 + [[2, 1]])}
    score.add(found, None, found)
    assert commonest_answer(score) == CommonestAnswer(NO_CLASS, 'images', 0.9, 'top1_agreement', 0.1, 0.1)
    one = build_score(RecognizerInfo('r', 'classification', num_classes=4), labels=False, clean=True)
    one.add({'labels': torch.tensor([[1, 2]])}, None, {'labels': torch.tensor([[1, 2]])})
    assert commonest_answer(one) is None  # a single answer is always the same


def test_label_maps_of_one_class():
    rng = torch.Generator().manual_seed(0)
    usual = {'masks': torch.randint(0, 4, (5, 8, 8), generator=rng)}
    flat = {'masks': torch.full((5, 8, 8), 3)}
    stray = {'masks': flat['masks'].clone()}
    stray['masks'][0, 0, :5] = 1
    assert not said('segmentation', {NONE: usual}, usual)[0]
    text, entry = said('segmentation', {NONE: flat}, flat)
    assert text[0].startswith('net answers owl on 100.0 % of the pixels of the clean images. One answer for all images '
                              'would have 100.0 % mIoU agreement, and no processing')
    text, entry = said('segmentation', {NONE: stray}, stray)
    assert f'owl on {100 * 315 / 320:.1f} %' in text[0] and entry['constant'] == pytest.approx(315 / 320 / 2)


def test_detectors_that_find_nothing():
    some, nothing = boxes([[0, 0, 9, 9]]), boxes([[0, 0, 9, 9]], scores=[0.2])
    text, _ = said('detection', {NONE: [nothing] * 40}, [nothing] * 40)
    assert text == ['net finds nothing on 100.0 % of the clean images: box agreement says nothing. Unless these '
                    'images are like that, check its weights and classes.']
    text, _ = said('detection', {NONE: [some] + [nothing] * 39}, [some] + [nothing] * 39)
    assert text[0].startswith('net finds nothing on 97.5 % of the clean images: box agreement is that of the few ')
    assert not said('detection', {NONE: [some] * 20 + [nothing] * 20}, [some] * 20 + [nothing] * 20)[0]


def test_embeddings_that_hardly_differ_between_images():
    rng = torch.Generator().manual_seed(0)
    faces, other = (torch.randn(30, 6, generator=rng) for _ in range(2))
    alike = {'embeddings': faces + 40}
    text, entry = said('embedding', {NONE: {'embeddings': other + 40}}, alike)
    vectors = torch.nn.functional.normalize((faces + 40).double(), dim=1)
    cosine = ((vectors @ vectors.T).sum() - 30).item() / (30 * 29)
    assert text == [f'net gives two different clean images a cosine of {cosine:.3f} on average, and no processing, '
                    f'which is nearest to them, has {entry["score"]:.3f}: mean cosine says little about restorers. '
                    'Unless these images are like that, check its weights.']
    assert entry['constant'] == entry['share'] == pytest.approx(cosine) and entry['of'] == 'pairs'
    assert not said('embedding', {NONE: {'embeddings': faces + 0.3 * other}}, {'embeddings': faces})[0]
    assert said('embedding', {NONE: {'embeddings': other}}, {'embeddings': faces})[0]  # no nearer than other images
    both, entry = said('embedding', {NONE: {'embeddings': faces}}, {'embeddings': faces}, 'recall_at_1',
                       torch.arange(30) // 2)
    assert not both and entry is None


@pytest.mark.slow
def test_an_evaluation_says_so_and_does_not_take_records_that_lack_the_answers(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    opt = small_evaluation.make(tmp_path)
    opt['datasets']['d'] = {'type': 'UnlabeledImageDataset', 'dataroot_gt': str(tmp_path / 'images'),
                            'degradation': {'type': 'GaussianNoise', 'sigma': 0.01}}
    weights = load_file(tmp_path / 'two.safetensors')
    save_file({**weights, 'head.bias': torch.tensor([0.0, 100.0, 0.0])}, tmp_path / 'two.safetensors')
    results, _ = Evaluation(tmp_path, opt).run(tmp_path / 'out')
    found = results.conditions['d'].variety
    assert (found['two'].answer, found['two'].share, found['two'].little) == ('1', 1, True)
    assert not found['one'].little and found['one'].share < 0.9
    text = to_markdown(results)
    assert 'two answers 1 on 100.0 % of the clean images.' in text and 'one answers' not in text
    plan = tmp_path / 'out' / 'records' / '0' / 'plan.json'
    plan.write_text(plan.read_text().replace('ra_plugin.records/3', 'ra_plugin.records/2'))
    with pytest.raises(OptionError, match='or of another version. Start again with --restart'):
        Evaluation(tmp_path, opt).run(tmp_path / 'out')
