"""VOC's mAP and the mIoU of random cases are those of mmdet and mmseg, bit for bit; neither is needed to score."""
from functools import partial

import numpy as np
import pytest
import torch
import warm_start

from ra_plugin.metrics.average_precision import VOCAveragePrecision
from ra_plugin.metrics.segmentation import SegmentationScore

MODES = {'voc12': 'area', 'voc07': '11points'}


def boxes(rng, count):
    """Small boxes that often overlap, of whole pixels or between them, some with no area."""
    corner = rng.integers(0, 20, (count, 2))
    found = np.hstack([corner, corner + rng.integers(0, 15, (count, 2))]).astype(np.float32)
    return found + rng.random(found.shape).astype(np.float32) if rng.random() < 0.5 else found


def objects(rng, count, num_classes, **more):
    return {'boxes': boxes(rng, count), 'labels': rng.integers(0, num_classes, count), **more}


def detection_image(rng, num_classes):
    """A detection and a truth: none, few or many, equal scores, boxes hit exactly and twice, boxes to ignore."""
    wanted, found = int(rng.integers(0, 8)), int(rng.choice([0, rng.integers(1, 60)]))
    scores = rng.integers(0, 5, found) / 5 if rng.random() < 0.5 else rng.random(found)
    truth = objects(rng, wanted, num_classes, ignore=rng.random(wanted) < 0.3)
    detection = objects(rng, found, num_classes, scores=scores.astype(np.float32))
    if wanted:
        hits = rng.integers(0, wanted, len(detection['boxes'][::2]))
        detection['boxes'][::2], detection['labels'][::2] = truth['boxes'][hits], truth['labels'][hits]
    return detection, truth


def mmdet_matches(detection, truth):
    from mmdet.evaluation.functional.mean_ap import tpfp_default
    tp, fp = np.zeros((2, 1, len(detection['labels'])), bool)
    scored = np.hstack([detection['boxes'], detection['scores'][:, None]])
    for label in np.unique(detection['labels']):
        chosen, true = detection['labels'] == label, truth['labels'] == label
        tp[:, chosen], fp[:, chosen] = tpfp_default(
            scored[chosen], truth['boxes'][true & ~truth['ignore']], truth['boxes'][true & truth['ignore']],
            iou_thr=0.5, use_legacy_coordinate=True)
    return tp, fp


def mmdet_formula(mode, tp, fp, positives):
    from mmdet.evaluation.functional.mean_ap import average_precision
    epsilon = np.finfo(np.float32).eps
    tp, fp = tp.astype(np.float32), fp.astype(np.float32)
    return average_precision(tp / np.maximum(positives[:, None], epsilon), tp / np.maximum(tp + fp, epsilon), mode)


@pytest.mark.parametrize('seed', range(60))
def test_voc_map_is_that_of_mmdet(seed):
    rng = np.random.default_rng(seed)
    num_classes = int(rng.integers(1, 5))
    ours = VOCAveragePrecision(num_classes, MODES)
    for _ in range(int(rng.integers(1, 8))):
        detection, truth = detection_image(rng, num_classes)
        ours.add(detection, truth)
        np.testing.assert_array_equal(ours.matches.records()[-1][2:4], mmdet_matches(detection, truth))
    count = len(ours.matches)
    counts = np.vstack([np.ones((1, count), int), rng.integers(0, 3, (4, count))])  # all images, and resamples
    for name, values in ours.resampled(counts).items():
        theirs = ours.matches.average_precision(counts, partial(mmdet_formula, MODES[name]))[..., 0]
        np.testing.assert_array_equal(values, theirs)


@pytest.mark.parametrize('seed', range(30))
def test_miou_is_that_of_mmseg(seed):
    from mmseg.evaluation import IoUMetric
    rng = np.random.default_rng(seed)
    num_classes = int(rng.integers(1, 7))
    ours, theirs = SegmentationScore(num_classes, ('mIoU', 'mAcc', 'aAcc')), []
    for _ in range(4):
        label = torch.from_numpy(rng.integers(0, rng.integers(1, num_classes + 1), (1, 9, 8)))
        label[torch.from_numpy(rng.random(label.shape) < rng.choice([0.0, 0.3, 1.0]))] = 255
        predicted = torch.from_numpy(rng.integers(0, num_classes, (1, 9, 8)))
        ours.update({'masks': predicted}, label)
        theirs.append(torch.stack(IoUMetric.intersect_and_union(predicted[0], label[0], num_classes, 255)).double())
    np.testing.assert_array_equal(ours.records(), theirs)
    counts = np.vstack([np.ones((1, 4), int), rng.integers(0, 3, (4, 4))])
    values = ours.by_class_resampled(counts)
    for i, total in enumerate(torch.tensordot(torch.from_numpy(counts).double(), torch.stack(theirs), 1)):
        expected = IoUMetric.total_area_to_metrics(*total)
        for name, key in (('mIoU', 'IoU'), ('mAcc', 'Acc'), ('aAcc', 'aAcc')):
            np.testing.assert_array_equal(values[name][i], expected[key])


@pytest.mark.slow
def test_neither_mmdet_nor_mmseg_is_imported():
    code = ('import sys\n'
            'for name in ("mmdet", "mmseg", "mmengine", "mmcv"):\n'
            '    sys.modules[name] = None\n'
            'import torch\n'
            'from ra_plugin.metrics.task_scores import DetectionScore, SegmentationScore\n'
            'box = {"boxes": torch.tensor([[0., 0, 9, 9]]), "labels": torch.tensor([0])}\n'
            'for score, found, label in (\n'
            '        (DetectionScore(1, ("voc07", "voc12", "coco")), [{**box, "scores": torch.ones(1)}], [box]),\n'
            '        (SegmentationScore(2), {"masks": torch.ones(1, 4, 4).long()}, torch.ones(1, 4, 4).long())):\n'
            '    score.update(found, label)\n'
            '    assert all(round(value, 6) == 1 for value in score.compute().values()), score.compute()\n')
    done = warm_start.run(['-c', code])
    assert done.returncode == 0, done.stderr
