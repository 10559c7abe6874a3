"""Scores against hand counts, and mmdet, pycocotools and mmseg end to end; resamples against copied images."""
import itertools
import json
import math
import sys

import numpy as np
import pytest
import torch

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.evaluation.statistics.bootstrap import sample
from ra_plugin.metrics.task_scores import ClassificationScore, DetectionScore, SegmentationScore, build_score
from ra_plugin.recognizers import RecognizerInfo

ALL = ('voc07', 'voc12', 'coco')


def objects(boxes=(), labels=None, **more):
    """One image's dict; a list of boxes is all of class 0 if nothing else is said."""
    found = {'boxes': torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
             'labels': torch.tensor(labels if labels is not None else [0] * len(boxes), dtype=torch.long)}
    return {**found, **{key: torch.as_tensor(value) for key, value in more.items()}}


def detection_set(images=12, num_classes=4, seed=0, masks=False):
    """Random images: shifted boxes and wrong ones, boxes to ignore, the last class absent, some images empty."""
    rng = np.random.default_rng(seed)
    predictions, labels = [], []
    for index in range(images):
        count = 0 if index == 3 else rng.integers(1, 7)
        corner = rng.integers(0, 50, (count, 2))
        boxes = np.hstack([corner, corner + rng.integers(4, 40, (count, 2))]).astype(np.float32)
        kinds = rng.integers(0, num_classes - 1, count)
        truth = objects(boxes, kinds, ignore=rng.random(count) < 0.2)
        guesses = np.repeat(boxes, 3, 0) + rng.normal(0, 2.5, (3 * count, 4)).round(1)
        guesses = np.vstack([guesses, [[5, 5, 30, 30], [40, 20, 60, 50]]]).astype(np.float32)
        guesses = guesses[:0] if index == 5 else guesses
        guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 1)
        named = np.append(np.repeat(kinds, 3), [0, num_classes - 1])[:len(guesses)]
        wrong = rng.random(len(named)) < 0.2
        named[wrong] = rng.integers(0, num_classes, wrong.sum())
        order = np.argsort(-(scores := rng.random(len(named)).astype(np.float32)))
        found = objects(guesses[order], named[order], scores=scores[order])
        if masks:
            truth['masks'], found['masks'] = (filled(v['boxes']) for v in (truth, found))
        predictions.append(found)
        labels.append(truth)
    return predictions, labels


def filled(boxes, size=(90, 100)):
    """Ellipses in boxes, ``(K, H, W)``: their IoU is not that of the boxes."""
    y, x = (torch.arange(n) + 0.5 for n in size)
    x1, y1, x2, y2 = boxes.T[:, :, None]
    across, down = (2 * x - x1 - x2) / (x2 - x1), (2 * y - y1 - y2) / (y2 - y1)  # -1 to 1 in the box
    return across[:, None] ** 2 + down[..., None] ** 2 <= 1


def scored(predictions, labels, metrics=ALL, num_classes=4):
    score = DetectionScore(num_classes, metrics)
    score.update(predictions, labels)
    return score


# ------------------------------------------------------------------------------------------------- known by hand

def test_average_precision_of_a_case_done_by_hand():
    """Four boxes to find; by descending score the detections are right, wrong, right, wrong, right.

    recall     1/4  1/4  2/4  2/4  3/4
    precision  1    1/2  2/3  2/4  3/5
    """
    boxes = [[0, 0, 20, 20], [50, 0, 70, 20], [0, 50, 20, 70], [50, 50, 70, 70]]
    nowhere = [80, 80, 95, 95]
    labels = [objects(boxes[:3]), objects(boxes[3:])]
    predictions = [objects([boxes[0], nowhere, boxes[1]], scores=[0.9, 0.8, 0.5]),
                   objects([boxes[3], nowhere], scores=[0.7, 0.6])]
    values = scored(predictions, labels, num_classes=1).compute()
    assert values == {
        'voc12_mAP': pytest.approx(0.25 * (1 + 2 / 3 + 3 / 5)),
        'voc07_mAP': pytest.approx((3 * 1 + 3 * 2 / 3 + 2 * 3 / 5) / 11),  # recall 0-0.2, 0.3-0.5, 0.6-0.7, then none
        'coco_mAP': pytest.approx((26 * 1 + 25 * 2 / 3 + 25 * 3 / 5) / 101),  # 0-0.25, 0.26-0.50, 0.51-0.75
        'coco_mAP_50': pytest.approx(values['coco_mAP']), 'coco_mAP_75': pytest.approx(values['coco_mAP']),
    }
    assert DetectionScore(1, ALL).names == list(values)


def test_voc_counts_both_border_pixels():
    """2x2 and 2x1 pixels: half of the union is common. Without the border pixel the areas are 1 and 0."""
    label, prediction = objects([[3, 3, 4, 4]]), objects([[3, 3, 4, 3]], scores=[0.5])
    assert scored([prediction], [label], 'voc12', 1).compute() == {'voc12_mAP': 1}


def test_coco_averages_over_the_overlap():
    label, prediction = objects([[0, 0, 10, 10]]), objects([[0, 0, 10, 7.7]], scores=[0.5])  # IoU 0.77
    values = scored([prediction], [label], 'coco', 1).compute()
    assert values == {'coco_mAP': pytest.approx(0.6), 'coco_mAP_50': pytest.approx(1), 'coco_mAP_75': pytest.approx(1)}


def test_boxes_to_ignore_are_neither_found_nor_wrong():
    label = objects([[0, 0, 20, 20], [40, 40, 60, 60]], ignore=[False, True])
    on_ignored = [[40, 40, 60, 60], [41, 40, 60, 60]]
    neutral = objects([*on_ignored, [0, 0, 20, 20]], scores=[0.9, 0.8, 0.7])
    assert list(scored([neutral], [label], num_classes=1).compute().values()) == pytest.approx([1] * 5)
    label['ignore'][:] = False  # now the second detection on that box is a wrong one: precisions 1, 1/2, 2/3
    values = scored([neutral], [label], num_classes=1).compute()
    assert values['voc12_mAP'] == pytest.approx(0.5 * (1 + 2 / 3))
    assert values['coco_mAP_50'] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_class_with_nothing_to_find_is_left_out_and_no_class_at_all_is_nan():
    label, prediction = objects([[0, 0, 20, 20]]), objects([[0, 0, 20, 20], [5, 5, 9, 9]], [0, 1], scores=[0.9, 0.8])
    score = DetectionScore(3, ALL, classes=('cat', 'dog', 'cow'))
    score.update([prediction], [label])
    assert list(score.compute().values()) == pytest.approx([1] * 5)
    for values in score.per_class().values():
        assert values['cat'] == pytest.approx(1) and math.isnan(values['dog']) and math.isnan(values['cow'])
    empty = scored([prediction], [objects()])
    for score in (empty, DetectionScore(3, ALL), SegmentationScore(3), ClassificationScore()):
        assert all(math.isnan(value) for value in score.compute().values())


def test_no_detections_at_all_score_zero():
    score = scored([objects(scores=torch.empty(0))] * 2, [objects([[0, 0, 20, 20]]), objects()])
    assert set(score.compute().values()) == {0}
    assert all((values == 0).all() for values in score.resampled(np.array([[1, 1], [2, 0]])).values())


def test_miou_and_accuracies_are_those_of_the_confusion_matrix():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (4, 9, 7), generator=generator)
    predicted = torch.where(torch.rand(labels.shape, generator=generator) < 0.6, labels, 2 - labels)
    predicted[0, 0, 0] = 4  # class 4 is never right, class 3 is nowhere
    score = SegmentationScore(5, ('aAcc', 'mAcc', 'mIoU'))
    labels[:, :2] = 255
    predicted[:, 2, 0] = 4
    for pair in zip(predicted.split(2), labels.split(2), strict=True):
        score.update({'masks': pair[0]}, pair[1])
    confusion = np.zeros((5, 5))
    for true, guess in zip(labels.flatten().tolist(), predicted.flatten().tolist(), strict=True):
        if true != 255:
            confusion[true, guess] += 1
    right, true, guessed = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid='ignore'):
        iou = right / (true + guessed - right)
        assert score.compute() == {'aAcc': pytest.approx(right.sum() / confusion.sum()),
                                   'mAcc': pytest.approx(np.nanmean(right / true)),
                                   'mIoU': pytest.approx(np.nanmean(iou))}
    assert iou[4] == 0 and np.isnan(iou[3])
    assert list(score.per_class()['mIoU'].values()) == pytest.approx(iou, nan_ok=True)


def test_top1_and_top5_count_right_answers():
    score = ClassificationScore()
    answers = torch.tensor([[3, 1, 2, 4, 5, 0], [3, 1, 2, 4, 5, 0], [3, 1, 2, 4, 5, 0]])
    for i, label in enumerate((3, 5, 0)):
        score.update({'labels': answers[i:i + 1]}, torch.tensor([label]))
    assert len(score) == 3 and score.compute() == {'top1': pytest.approx(1 / 3), 'top5': pytest.approx(2 / 3)}


# --------------------------------------------------------------------------------------- the evaluators end to end

@pytest.mark.slow
@pytest.mark.parametrize('name, mode', [('voc07', '11points'), ('voc12', 'area')])
def test_voc_map_is_the_one_of_mmdet(name, mode):
    from mmdet.evaluation import VOCMetric
    predictions, labels = detection_set()
    metric = VOCMetric(eval_mode=mode)
    metric.dataset_meta = {'classes': tuple('abcd')}
    for prediction, label in zip(predictions, labels, strict=True):
        pick = {key: {k: label[k][label['ignore'] == ignored] for k in ('boxes', 'labels')}
                for key, ignored in (('gt_instances', False), ('ignored_instances', True))}
        metric.process(None, [{key: {'bboxes': v['boxes'], **v} for key, v in
                               {**pick, 'pred_instances': prediction}.items()}])
    assert scored(predictions, labels).compute()[f'{name}_mAP'] == pytest.approx(
        metric.compute_metrics(metric.results)['mAP'], abs=1e-7)


def coco_stats(predictions, labels, kind, folder, num_classes=4):
    """The first three numbers of pycocotools' summary, from files as its users have them."""
    import pycocotools.mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def entries():
        for image, label in enumerate(found):
            for i, (box, kind_) in enumerate(zip(label['boxes'].tolist(), label['labels'].tolist(), strict=True)):
                x1, y1, x2, y2 = box
                entry = {'image_id': image + 10, 'category_id': kind_ + 1, 'bbox': [x1, y1, x2 - x1, y2 - y1],
                         'area': (x2 - x1) * (y2 - y1)}
                if 'masks' in label:
                    rle = pycocotools.mask.encode(np.asfortranarray(label['masks'][i].numpy().astype(np.uint8)))
                    entry['segmentation'] = {**rle, 'counts': rle['counts'].decode()}
                if 'scores' in label:
                    entry['score'] = label['scores'][i].item()
                else:
                    entry['iscrowd'] = int(label['ignore'][i])
                yield entry

    found = labels
    truth = {'images': [{'id': i + 10, 'height': 90, 'width': 100} for i in range(len(labels))],
             'categories': [{'id': i + 1, 'name': str(i)} for i in range(num_classes)],
             'annotations': [{'id': i + 1, **entry} for i, entry in enumerate(entries())]}
    found = predictions
    for name, content in (('truth', truth), ('found', list(entries()))):
        (folder / f'{name}.json').write_text(json.dumps(content))
    data = COCO(folder / 'truth.json')
    evaluator = COCOeval(data, data.loadRes(str(folder / 'found.json')), kind)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator.stats[:3]


@pytest.mark.parametrize('name, kind', [('coco', 'bbox'), ('coco_segm', 'segm')])
def test_coco_map_is_the_one_of_pycocotools_on_files(name, kind, tmp_path):
    predictions, labels = detection_set(masks=kind == 'segm')
    for prediction in predictions:
        prediction['scores'] = (prediction['scores'] * 10).round() / 10  # many equal scores
    values = scored(predictions, labels, name).compute()
    assert list(values) == [f'{name}_mAP', f'{name}_mAP_50', f'{name}_mAP_75']
    assert list(values.values()) == pytest.approx(coco_stats(predictions, labels, kind, tmp_path), abs=1e-12)


def test_coco_takes_the_first_hundred_of_an_image(tmp_path):
    box = [10, 10, 40, 40]
    prediction = objects([[60, 60, 80, 80]] * 100 + [box], scores=torch.linspace(1, 0.1, 101))
    values = scored([prediction], [objects([box], ignore=[False])], 'coco').compute()
    assert values['coco_mAP'] == coco_stats([prediction], [objects([box], ignore=[False])], 'bbox', tmp_path)[0] == 0


def test_segmentation_is_the_one_of_mmseg():
    from mmseg.evaluation import IoUMetric
    metric = IoUMetric()
    metric.dataset_meta = {'classes': tuple('abcde')}
    score = SegmentationScore(5, ('aAcc', 'mIoU', 'mAcc'))
    for predicted, label in segmentation_set():
        score.update({'masks': predicted[None]}, label[None])
        metric.process(None, [{'pred_sem_seg': {'data': predicted[None]}, 'gt_sem_seg': {'data': label[None]}}])
    theirs = metric.compute_metrics(metric.results)
    assert {name: round(100 * value, 2) for name, value in score.compute().items()} == pytest.approx(theirs, abs=0.0101)
    assert 5 < theirs['mIoU'] < 95


def segmentation_set(images=8, seed=0):
    """Pairs (predicted, label) ``(12, 10)`` of 5 classes; the last is absent, and a border is ignored."""
    generator = torch.Generator().manual_seed(seed)
    for index in range(images):
        label = torch.randint(0, 2 + index % 3, (12, 10), generator=generator)
        predicted = torch.where(torch.rand(label.shape, generator=generator) < 0.7, label, label.flip(0))
        label[:, 8:] = 255
        yield predicted, label


# --------------------------------------------------------------------------------------- resamples and intervals

def detection_score(pairs):
    return scored(*(zip(*pairs, strict=True) if pairs else ((), ())), metrics=(*ALL, 'coco_segm'))


def segmentation_score(pairs):
    score = SegmentationScore(5, ('mIoU', 'aAcc', 'mAcc'))
    for predicted, label in pairs:
        score.update({'masks': predicted[None]}, label[None])
    return score


def classification_score(pairs):
    score = ClassificationScore()
    for answers, label in pairs:
        score.update({'labels': answers}, label)
    return score


TASKS = {
    'detection': (detection_score, lambda: list(zip(*detection_set(masks=True), strict=True))),
    'segmentation': (segmentation_score, lambda: list(segmentation_set())),
    'classification': (classification_score, lambda: [
        (torch.rand(1, 12).argsort(1), torch.randint(0, 12, (1,))) for _ in range(20)]),
}


@pytest.mark.slow
@pytest.mark.parametrize('task', TASKS)
def test_a_resample_scores_as_the_images_themselves_would(task):
    make, pairs = TASKS[task]
    pairs = pairs()
    score = make(pairs)
    counts = np.random.default_rng(1).multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), 6)
    counts[0], counts[1] = 1, 0
    counts[1, 0] = 3  # one image alone
    values = score.resampled(counts)
    assert list(values) == score.names == list(score.compute())
    for i, row in enumerate(counts):
        literal = make(list(itertools.chain.from_iterable([pair] * n
                                                          for pair, n in zip(pairs, row, strict=True)))).compute()
        for name, value in literal.items():  # VOC's is computed in float32
            assert values[name][i] == pytest.approx(value, abs=2e-7 if 'voc' in name else 1e-12), (name, i)
    assert len({round(v, 6) for v in values[score.names[0]]}) > 3  # the resamples do differ


def test_resamples_are_scored_in_parts_that_fit_the_memory(monkeypatch):
    score = scored(*detection_set())
    counts = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), 50)
    whole = score.resampled(counts)
    monkeypatch.setattr('ra_plugin.metrics.matched_detections._CELLS', 100)
    for name, values in score.resampled(counts).items():
        assert np.array_equal(values, whole[name])


def answers_that_are_right(right):
    score = ClassificationScore('top1')
    answers = torch.as_tensor(right, dtype=torch.long)
    score.update({'labels': answers[:, None]}, torch.ones_like(answers))
    return score


def test_a_resample_that_misses_every_class_does_not_count():
    box = [[0, 0, 20, 20]]
    score = scored([objects(box, scores=[0.5]), objects(box, scores=[0.9])], [objects(box), objects()], 'voc12')
    found = sample({}, {(): score}, 2, resamples=100)['voc12_mAP',]
    # one draw in four is the second image twice, with nothing to find; one the first, 1; two are both, 1/2
    assert found.value == 0.5 and set(found.draws[~np.isnan(found.draws)]) == {0.5, 1} and np.isnan(found.draws).any()
    nothing = scored([objects(box, scores=[0.5])], [objects()], 'voc12')
    assert all(map(math.isnan, vars(sample({}, {(): nothing}, 1)['voc12_mAP',].share_estimate()).values()))


def test_images_that_hold_each_class_are_counted_by_their_labels():
    box = [[0, 0, 20, 20]]
    boxes = scored([objects(box, [1], scores=[0.5])] * 3,
                   [objects(box * 2, [0, 0]), objects(box, [1]), objects(box, [0], ignore=[True])], num_classes=3)
    assert boxes.images_of_classes().tolist() == [1, 1, 0]
    masks = SegmentationScore(3)
    masks.update({'masks': torch.ones(3, 2, 2, dtype=torch.long)},
                 torch.tensor([[[0, 0], [0, 1]], [[0, 255], [255, 0]], [[255, 255], [255, 255]]]))
    assert masks.images_of_classes().tolist() == [2, 1, 0]


# ------------------------------------------------------------------------------------------------------- errors

def test_pycocotools_prints_nothing(capfd):
    score = scored(*detection_set(4, masks=True), metrics=(*ALL, 'coco_segm'))
    score.compute(), score.per_class(), sample({}, {(): score}, 4, resamples=5)
    assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize('task, names', [
    ('classification', ['top1', 'top5']), ('detection', ['voc12_mAP']), ('segmentation', ['mIoU', 'aAcc'])])
def test_the_task_picks_the_score(task, names):
    info = RecognizerInfo('r', task, num_classes=3, classes=('a', 'b', 'c'))
    assert build_score(info).names == names
    with pytest.raises(ValueError, match=r"^\w+Score: unknown metric 'mAPP'\..*Known: \w+, \w+"):
        build_score(info, ['mAPP'])
    with pytest.raises(ValueError, match='expected a metric, got none'):
        build_score(info, [])


def test_errors_are_one_line_each():
    with pytest.raises(ValueError, match="r: no score for the task 'pose'. Known: classification, detection"):
        build_score(RecognizerInfo('r', 'pose'))
    box = [[0, 0, 9, 9]]
    for call, message in (
            (lambda: scored([], [objects(box)]), 'got 0 predictions and 1 labels'),
            (lambda: scored([objects(box, scores=[0.5])], [objects(box, [7])]), r'labels in 0\.\.3, got 7\.\.7'),
            (lambda: scored([objects(box, scores=[0.5])], [objects(box)], 'coco_segm'), 'the recognizer gives none'),
            (lambda: scored([objects(box, scores=[0.5], masks=filled(torch.tensor(box)))],
                            [objects(box, masks=filled(torch.tensor(box), (9, 9)))], 'coco_segm'), 'size of the true'),
            (lambda: SegmentationScore(3).update({'masks': torch.zeros(1, 4, 4)}, torch.zeros(1, 4, 5)), 'one shape'),
            (lambda: SegmentationScore(3).update({'masks': torch.zeros(1, 2, 2)}, torch.full((1, 2, 2), 3)), r'0\.\.2'),
            (lambda: sample({}, {(): ClassificationScore()}, 0), 'at least one image')):
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert '\n' not in str(error.value)


def test_a_missing_package_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.split('.')[0] == 'pycocotools']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, 'path', [])
    with pytest.raises(ImportError, match='needs pycocotools.*, which is not installed. Install it with: pip install'):
        DetectionScore(3, 'coco')
