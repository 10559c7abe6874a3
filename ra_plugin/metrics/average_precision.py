"""Average precision of detectors with the numbers of VOC's and COCO's tools; the matches of each image are kept.

A detection and a truth are dicts of NumPy arrays of one image: ``boxes (K, 4)`` xyxy, ``labels (K,)``, ``scores (K,)``
or ``ignore (K,)`` bool, and ``masks (K, H, W)`` bool where there are some.
"""
import contextlib
import io
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from ra_plugin.metrics.matched_detections import Matches
from ra_plugin.utils.optional import require

Arrays = Mapping[str, np.ndarray]
Area = Callable[[np.ndarray, np.ndarray], np.ndarray]  # recall, best precision, both (R, m) -> (R,)


class VOCAveragePrecision:
    """AP at an IoU of 0.5 where the sides of a box count both of their pixels; equal to mmdet's ``VOCMetric``.

    Args:
        num_classes: C.
        modes: Name of a score -> ``'11points'`` (VOC 2007) | ``'area'`` (VOC 2010 and later).
    """

    def __init__(self, num_classes: int, modes: Mapping[str, str]):
        self.modes, self.matches = dict(modes), Matches(num_classes, num_thresholds=1)

    @property
    def names(self) -> list[str]:
        return list(self.modes)

    def add(self, detection: Arrays, truth: Arrays) -> None:
        """Match one image; a box to ignore does not count, nor do the detections on it."""
        labels, ignore = detection['labels'], truth['ignore']
        tp, fp = np.zeros((2, 1, len(labels)), bool)
        for label in np.unique(labels):
            chosen, true = labels == label, truth['labels'] == label
            tp[0, chosen], fp[0, chosen] = _matched_at_half(
                detection['boxes'][chosen], detection['scores'][chosen], truth['boxes'][true & ~ignore],
                truth['boxes'][true & ignore])
        positives = np.bincount(truth['labels'][~ignore], minlength=self.matches.num_classes)
        self.matches.add(labels, detection['scores'], tp, fp, positives)

    def per_class(self) -> dict[str, np.ndarray]:
        """Map each name to AP ``(C,)``; NaN for a class with no box to find."""
        everything = np.ones((1, len(self.matches)), int)
        return {name: values[0] for name, values in self.resampled(everything).items()}

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Map each name to AP ``(R, C)`` of resamples; ``counts`` as in `Matches.average_precision`."""
        return {name: self.matches.average_precision(counts, partial(_voc_average_precision, _AREAS[mode]))[..., 0]
                for name, mode in self.modes.items()}


def _matched_at_half(boxes: np.ndarray, scores: np.ndarray, wanted: np.ndarray,
                     ignored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which detections of one class in one image are right, and which are wrong; both ``(K,)`` bool.

    A detection belongs to the box that it overlaps most. The first one of a box, by score, is right, the others wrong.
    """
    tp, fp = np.zeros((2, len(boxes)), bool)
    truth = np.vstack([wanted, ignored])
    if not len(truth):
        return tp, ~fp
    overlaps = _pixel_overlap(boxes, truth)
    best, most = overlaps.argmax(1), overlaps.max(1)
    found = np.zeros(len(truth), bool)
    for i in np.argsort(-scores):  # not stable, as in mmdet: equal scores are matched in the same order as there
        if most[i] < 0.5:
            fp[i] = True
        elif best[i] < len(wanted):
            (fp if found[best[i]] else tp)[i] = True
            found[best[i]] = True
    return tp, fp


def _pixel_overlap(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the IoU ``(A, B)`` of boxes ``(A, 4)`` and ``(B, 4)`` whose last pixels count, in float32."""
    ours, theirs = ours.astype(np.float32)[:, None], theirs.astype(np.float32)[None]
    common = np.prod(np.maximum(
        np.minimum(ours[..., 2:], theirs[..., 2:]) - np.maximum(ours[..., :2], theirs[..., :2]) + 1, 0), -1)
    areas = [np.prod(boxes[..., 2:] - boxes[..., :2] + 1, -1) for boxes in (ours, theirs)]
    return common / np.maximum(areas[0] + areas[1] - common, np.float32(1e-6))


def _voc_average_precision(area: Area, tp: np.ndarray, fp: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Return AP ``(R,)`` in float32, from float32 precisions: the numbers of mmdet's ``eval_map``."""
    epsilon = np.finfo(np.float32).eps
    tp, fp = tp.astype(np.float32), fp.astype(np.float32)
    recall = tp / np.maximum(positives[:, None], epsilon)
    precision = tp / np.maximum(tp + fp, epsilon)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]  # at this recall or a larger one
    end = np.ones((len(tp), 1))  # the curve goes on at a precision of 0
    return area(np.hstack([recall, end]), np.hstack([best, 0 * end.astype(np.float32)]))


def _at_11_recalls(recall: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return the mean precision at recalls 0, 0.1 ... 1."""
    total = np.zeros(len(best), np.float32)
    for least in np.arange(0, 1.001, 0.1):
        total += np.take_along_axis(best, (recall[:, :-1] < least).sum(1, keepdims=True), 1)[:, 0]
    return total / np.float32(11)


def _under_the_curve(recall: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return the area under precision over recall."""
    steps = np.diff(recall, axis=1, prepend=0)
    return np.array([np.sum(step[step > 0] * height[step > 0])
                     for step, height in zip(steps, best, strict=True)], np.float32)


_AREAS: dict[str, Area] = {'11points': _at_11_recalls, 'area': _under_the_curve}


class COCOAveragePrecision:
    """AP over IoUs of 0.5 to 0.95, at 0.5 and at 0.75, by pycocotools' ``COCOeval``.

    Boxes of all areas count, and of each image and class the 100 detections with the highest scores.

    Args:
        num_classes: C.
        kind: ``'bbox'`` | ``'segm'``.
        name: Name of the first score; the others append ``_50`` and ``_75``.
    """

    def __init__(self, num_classes: int, kind: str, name: str):
        self._coco = require('pycocotools.coco', 'The COCO mAP').COCO
        self._evaluator = require('pycocotools.cocoeval', 'The COCO mAP').COCOeval
        self._mask = require('pycocotools.mask', 'The COCO mAP')
        self.kind, self.name = kind, name
        self.matches = Matches(num_classes, len(self._evaluator(iouType=kind).params.iouThrs))

    @property
    def names(self) -> list[str]:
        return [self.name, f'{self.name}_50', f'{self.name}_75']

    def add(self, detection: Arrays, truth: Arrays) -> None:
        """Match one image; a box to ignore is a crowd: it does not count, nor do the detections inside it."""
        positives = np.zeros(self.matches.num_classes, int)
        nothing = np.empty((self.matches.num_thresholds, 0), bool)
        parts = [(np.empty(0, int), np.empty(0), nothing, nothing)]
        for found in self._evaluate(detection, truth):
            label, scores, right = found['category_id'], found['dtScores'], found['dtMatches'] > 0
            positives[label] = np.sum(found['gtIgnore'] == 0)
            parts.append((np.full(len(scores), label), scores, right & ~found['dtIgnore'], ~right & ~found['dtIgnore']))
        labels, scores, right, wrong = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
        self.matches.add(labels, scores, right, wrong, positives)

    def _evaluate(self, detection: Arrays, truth: Arrays) -> list[dict]:
        """Return COCOeval's own matches of one image, for each class in it."""
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator = self._evaluator(
                self._dataset(truth, 'iscrowd', truth['ignore'].astype(int)),
                self._dataset(detection, 'score', detection['scores'].astype(float)), self.kind)
            evaluator.params.areaRng = evaluator.params.areaRng[:1]
            evaluator.evaluate()
        return [found for found in evaluator.evalImgs if found]

    def _dataset(self, objects: Arrays, key: str, values: np.ndarray):
        """Return one image as pycocotools reads it from an annotation file, with ``key: value`` in each annotation."""
        corners, ends = np.split(objects['boxes'].astype(float), 2, axis=1)
        annotations = [
            {'id': i + 1, 'image_id': 0, 'category_id': int(label), 'bbox': [*corner, *side],
             'area': side[0] * side[1], key: value}
            for i, (label, corner, side, value) in enumerate(zip(objects['labels'], corners, ends - corners, values,
                                                                 strict=True))]
        image = {'id': 0}
        if self.kind == 'segm':
            image['height'], image['width'] = objects['masks'].shape[1:]
            masks = self._mask.encode(np.asfortranarray(objects['masks'].transpose(1, 2, 0), np.uint8))
            for annotation, mask in zip(annotations, masks, strict=True):
                annotation.update(segmentation=mask, area=float(self._mask.area(mask)))
        dataset = self._coco()
        dataset.dataset = {'images': [image], 'annotations': annotations,
                           'categories': [{'id': label} for label in range(self.matches.num_classes)]}
        dataset.createIndex()
        return dataset

    def per_class(self) -> dict[str, np.ndarray]:
        """Map each name to AP ``(C,)``; NaN for a class with no box to find."""
        evaluator = self._evaluator(iouType=self.kind)
        params = evaluator.params
        classes = list(self.matches.classes())
        # accumulate() only joins the images of a class: joined before, they are one image
        params.imgIds, params.catIds, params.areaRng = [0], list(range(len(classes))), params.areaRng[:1]
        params.maxDets = [max((len(matches.scores) for matches in classes), default=0)]
        evaluator._paramsEval = params
        evaluator.evalImgs = [
            {'dtScores': matches.scores, 'dtMatches': matches.tp, 'dtIgnore': ~(matches.tp | matches.fp),
             'gtIgnore': np.zeros(matches.positives.sum())} for matches in classes]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator.accumulate()
        precision = evaluator.eval['precision'][..., 0, 0].mean(1).T  # (C, T)
        return self._named(np.where(precision < 0, np.nan, precision))

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Map each name to AP ``(R, C)`` of resamples; ``counts`` as in `Matches.average_precision`."""
        return self._named(self.matches.average_precision(counts, _at_101_recalls))

    def _named(self, values: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self.names, (values.mean(-1), values[..., 0], values[..., 5]), strict=True))


def _at_101_recalls(tp: np.ndarray, fp: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Return the mean of the best precision at recalls 0, 0.01 ... 1, as ``COCOeval.accumulate`` does, for many
    resamples.
    """
    recall = tp / np.maximum(positives[:, None], 1)
    precision = tp / (tp + fp + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(np.linspace(0, 1, 101), recall, side='right')  # recalls up to each point of the curve
    return (np.diff(reached, axis=1, prepend=0) * best).sum(1) / 101
