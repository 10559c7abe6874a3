"""Agreement with the answers on clean images against its definitions: by hand, by brute force, on copied images."""
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.evaluation.records import pack, unpack
from ra_plugin.evaluation.statistics.transfer import CLEAN, NONE, JudgedProcessing, Matrix, summary
from ra_plugin.metrics.agreement import ClassificationAgreement, DetectionAgreement, SegmentationAgreement, overlap
from ra_plugin.metrics.task_scores import build_score
from ra_plugin.options import OptionError
from ra_plugin.recognizers import EnsembleRecognizer, RecognizerInfo
from ra_plugin.results import to_plain

LOGITS = torch.tensor([[3.0, 1, 0], [0, 2, 1], [0.5, 0.4, 0.3], [1, 1.1, 5]])
CLEAN_LOGITS = torch.tensor([[2.0, 1, 0], [0, 1, 2.5], [0.3, 0.4, 0.5], [1, 1, 6]])


def answers(logits):
    scores, labels = logits.softmax(1).topk(2)
    return {'labels': labels, 'scores': scores, 'log_probabilities': logits.log_softmax(1)}


def boxes(found, labels=None, scores=None):
    count = len(found)
    return {'boxes': torch.tensor(found, dtype=torch.float32).reshape(-1, 4),
            'labels': torch.tensor(labels if labels is not None else [0] * count),
            'scores': torch.tensor(scores if scores is not None else [0.9] * count)}


def box_agreement(ours, theirs):
    score = DetectionAgreement()
    score.update(ours, theirs)
    return score.compute()['box_agreement']


def test_top1_agreement_and_kl_are_those_of_their_definitions():
    score = ClassificationAgreement()
    score.update(answers(LOGITS[:3]), answers(CLEAN_LOGITS[:3]))
    score.update(answers(LOGITS[3:]), answers(CLEAN_LOGITS[3:]))
    p, q = (np.exp(logits.double().numpy()) for logits in (CLEAN_LOGITS, LOGITS))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    divergence = np.mean((p * np.log(p / q)).sum(1))
    assert score.compute() == {'top1_agreement': 0.5, 'kl': pytest.approx(divergence, abs=1e-6)}
    same = ClassificationAgreement()
    same.update(answers(LOGITS), answers(LOGITS))
    assert same.compute() == {'top1_agreement': 1, 'kl': 0}
    assert score.facts()['kl'] == {'better': 'lower', 'unit': 'nats', 'against': 'clean answers'}


def test_the_interval_of_kl_is_that_of_a_mean_which_may_be_above_one():
    rng = np.random.default_rng(0)
    clean = torch.tensor(4 * rng.normal(size=(200, 5)))
    cells, each = {}, {}
    for name, noise in ((CLEAN, [0]), (NONE, [4]), ('near', [0.1]), ('seeds', [1, 6])):
        for seed, strength in enumerate(noise):
            score = ClassificationAgreement()
            score.update(answers(clean + strength * torch.tensor(rng.normal(size=clean.shape))), answers(clean))
            cells[name, seed] = JudgedProcessing(np.arange(200), {}, {'net': score})
            each[name] = score.per_image()['kl']
    entries = to_plain(summary(Matrix(cells, 0), NONE))['processings']
    found = {name: entry['scores']['net']['kl'] for name, entry in entries.items()}
    assert (found[CLEAN]['value'], found[CLEAN]['low'], found[CLEAN]['high']) == (0, 0, 0)
    for name in (NONE, 'near'):
        half = 1.97 * each[name].std(ddof=1) / math.sqrt(200)
        assert found[name]['low'] == pytest.approx(each[name].mean() - half, abs=0.2 * half)
        assert found[name]['high'] == pytest.approx(each[name].mean() + half, abs=0.2 * half)
    assert found[NONE]['low'] > 1
    assert found['seeds']['low'] == 0 and found['seeds']['high'] > found['seeds']['value']  # two that differ much


def test_an_answer_that_is_no_class_agrees_with_nothing():
    score = ClassificationAgreement('top1_agreement')
    found = {'labels': torch.tensor([[2, 1], [-1, -1]])}  # of a black box
    score.update(found, found)
    assert score.compute() == {'top1_agreement': 0.5}
    with pytest.raises(ValueError, match='kl needs probabilities of all classes'):
        ClassificationAgreement().update(found, found)


def test_box_agreement_by_hand():
    clean = boxes([[0, 0, 10, 10], [20, 20, 40, 40], [60, 0, 80, 20]], [0, 1, 2], [0.9, 0.8, 0.2])  # the last: not sure
    restored = boxes([[1, 0, 10, 10], [20, 20, 40, 40], [0, 0, 10, 9], [60, 0, 80, 20]], [0, 2, 0, 2],
                     [0.5, 0.9, 0.31, 0.29])
    assert box_agreement([restored], [clean]) == pytest.approx(2 * 1 / (3 + 2))  # one pair: no box is in two
    assert box_agreement([clean], [restored]) == box_agreement([restored], [clean])
    assert box_agreement([clean], [clean]) == 1
    assert box_agreement([boxes([])], [clean]) == 0 and math.isnan(box_agreement([boxes([])], [boxes([])]))
    # over all images, and not the mean of each image's
    assert box_agreement([restored, clean], [clean, clean]) == pytest.approx(2 * 3 / (5 + 4))


@pytest.mark.slow
def test_pairs_of_boxes_are_as_many_as_can_be():
    rng = np.random.default_rng(0)
    for _ in range(200):
        corner = rng.integers(0, 60, (rng.integers(1, 7), 2))
        theirs = np.hstack([corner, corner + rng.integers(8, 30, corner.shape)]).astype(float)
        ours = theirs + rng.normal(0, 2, theirs.shape)
        ious = np.array([[iou(a, b) for b in theirs] for a in ours])
        np.testing.assert_allclose(overlap(ours, theirs), ious, atol=1e-12)
        allowed = ious >= 0.5
        rows, columns = linear_sum_assignment(-allowed.astype(float))
        most = allowed[rows, columns].sum()
        pairs = box_agreement([boxes(ours)], [boxes(theirs)]) * len(ours)
        assert most - 1 <= round(pairs) <= most  # largest overlap first may leave one pair out, in a crowd


def iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def test_miou_agreement_is_that_of_the_confusion_matrix():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randint(0, 4, (3, 8, 9), generator=generator) for _ in range(2))
    score = SegmentationAgreement(5)
    score.update({'masks': ours}, {'masks': theirs})
    confusion = np.zeros((5, 5))
    np.add.at(confusion, (theirs.numpy().ravel(), ours.numpy().ravel()), 1)
    right = np.diag(confusion)[:4]
    union = (confusion.sum(0) + confusion.sum(1))[:4] - right  # nobody sees class 4
    assert score.compute()['miou_agreement'] == pytest.approx(np.mean(right / union))


@pytest.mark.parametrize('rare', [3, 30])
def test_miou_agreement_has_no_interval_where_few_clean_answers_hold_a_class(rare):
    generator = torch.Generator().manual_seed(0)
    theirs = torch.randint(0, 2, (40, 8, 8), generator=generator)
    theirs[:rare, :3] = 2
    ours = torch.where(torch.rand(theirs.shape, generator=generator) < 0.2, 0, theirs)
    score = SegmentationAgreement(3, classes=['sky', 'road', 'tree'])
    score.update({'masks': ours}, {'masks': theirs})
    matrix = Matrix({(NONE, 0): JudgedProcessing(np.arange(40), {}, {'net': score})})
    classes = matrix.sampled[NONE, 0, 'net', 'miou_agreement'].classes
    assert classes.images.tolist() == [40, 40, rare] and classes.draws.shape == (500, 3)
    found = to_plain(summary(matrix, NONE))['processings'][NONE]['scores']['net']['miou_agreement']
    if rare == 3:
        assert matrix.too_few() == {'net': {'tree': 3}} and found['low'] is None
    else:
        assert not matrix.too_few() and found['low'] < found['value'] < found['high']


def judged(task, images, metrics=None, labels=False):
    """A score of random answers to so many images, and the list of what it was given of each."""
    generator = torch.Generator().manual_seed(1)
    info = RecognizerInfo('r', task, num_classes=3, gives_probabilities=True)
    given = []
    for i in range(images):
        if task == 'classification':
            pair = [answers(torch.randn(1, 3, generator=generator)) for _ in range(2)]
        elif task == 'segmentation':
            pair = [{'masks': torch.randint(0, 3, (1, 6, 6), generator=generator)} for _ in range(2)]
        else:
            corner = torch.randint(0, 9, (2, 4, 2), generator=generator).float()
            pair = [[boxes(torch.cat([c, c + 20], 1).tolist(), [0, 1, 2, 1])] for c in corner]
        given.append((pair[0], torch.tensor([i % 3]) if labels else None, pair[1]))

    def score_of(places):
        score = build_score(info, metrics, labels=labels, clean=True)
        for place in places:
            score.add(*given[place])
        return score

    return score_of


@pytest.mark.parametrize('task', ['classification', 'detection', 'segmentation'])
def test_a_resample_scores_as_the_images_themselves_would(task):
    score_of = judged(task, 5)
    score = score_of(range(5))
    for counts in ([1, 1, 1, 1, 1], [0, 3, 1, 0, 1], [5, 0, 0, 0, 0]):
        copies = score_of([place for place, count in enumerate(counts) for _ in range(count)])
        resampled = {name: values[0] for name, values in score.resampled(np.array([counts])).items()}
        assert resampled == pytest.approx(copies.compute())
    kept = build_score(RecognizerInfo('r', task, num_classes=3, gives_probabilities=True), labels=False, clean=True)
    kept.add_records(unpack(pack(list(score.records()))))
    assert kept.compute() == pytest.approx(score.compute())


def test_accuracy_and_agreement_are_one_score_of_the_same_images():
    score = judged('classification', 7, ['kl', 'top1', 'top1_agreement'], labels=True)(range(7))
    assert score.names == ['top1', 'kl', 'top1_agreement'] and len(score) == 7 and score.needs_clean
    assert set(score.per_image()) == set(score.names)
    info = RecognizerInfo('r', 'classification', num_classes=3, gives_probabilities=True)
    alike = build_score(info, ['kl', 'top1', 'top1_agreement'], clean=True)
    alike.add_records(unpack(pack(score.records())))
    assert alike.compute() == score.compute()
    alone = judged('classification', 7)(range(7)).compute()
    assert {name: score.compute()[name] for name in alone} == pytest.approx(alone)


@pytest.mark.parametrize('metrics, labels, clean, names', [
    (None, True, True, ['top1', 'top5']), (None, False, True, ['top1_agreement', 'kl']),
    (['top1'], False, True, ['top1_agreement', 'kl']), (['top1', 'kl'], True, True, ['top1', 'kl']),
    (['top1', 'kl'], True, False, ['top1']), (['top1', 'kl'], False, True, ['kl']),
    ('kl', True, True, ['kl']), ('kl', True, False, None), (None, False, False, None)])
def test_metrics_are_those_that_the_images_allow(metrics, labels, clean, names):
    info = RecognizerInfo('r', 'classification', num_classes=3, gives_probabilities=True)
    if names is None:
        with pytest.raises(OptionError, match='r: .* cannot be computed from (labels|images without labels)'):
            build_score(info, metrics, labels, clean)
    else:
        assert build_score(info, metrics, labels, clean).names == names


def test_who_gives_no_probabilities_is_judged_by_its_answers_alone():
    info = RecognizerInfo('black box', 'classification', num_classes=3)
    assert build_score(info, None, labels=False, clean=True).names == ['top1_agreement']
    with pytest.raises(OptionError, match='kl needs probabilities of all classes'):
        build_score(info, 'kl', labels=True, clean=True)


def test_classifiers_and_their_ensembles_give_the_probabilities_of_all_classes(tiny_recognizer, images):
    members = [tiny_recognizer(seed=seed) for seed in (0, 1)]
    found = members[0].predict(images)['log_probabilities']
    torch.testing.assert_close(found, members[0].logits(images).log_softmax(1))
    together = EnsembleRecognizer(members)
    mean = sum(member.logits(images).softmax(1) for member in members) / 2
    torch.testing.assert_close(together.predict(images)['log_probabilities'].exp(), mean)
    assert together.info.gives_probabilities and members[0].info.gives_probabilities


@pytest.mark.parametrize('task, metrics, labels, message', [
    ('classification', 'top1_agreement', True, 'top1_agreement compares with the answers on clean images: dataroot_gt'),
    ('classification', ['top1', 'top5'], False, 'top1, top5 needs labels: LabeledImageDataset'),
    ('classification', None, False, 'It needs labels: LabeledImageDataset'),
    ('detection', None, False, 'It needs labels: DetectionDataset with annotation_file'),
    ('segmentation', None, False, 'It needs labels: SegmentationDataset with dataroot_mask')])
def test_what_is_missing_for_a_score_is_said_with_its_keys(task, metrics, labels, message):
    info = RecognizerInfo('r', task, num_classes=3, gives_probabilities=True)
    with pytest.raises(OptionError, match=f'cannot be computed from .*{message}'):
        build_score(info, metrics, labels, clean=False)
