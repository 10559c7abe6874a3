"""Populations of images with known scores, for simulations of the intervals of detectors, segmenters, embeddings."""
import numpy as np
import torch

from ra_plugin.metrics.average_precision import _at_101_recalls
from ra_plugin.metrics.base import TaskScore, mean_over_classes
from ra_plugin.metrics.embedding import EmbeddingScore
from ra_plugin.metrics.matched_detections import ClassMatches


class Population(TaskScore):
    """Score of drawn images; ``by_class(counts)`` returns ``(R, C)``."""

    known = default = ('mean',)

    def __init__(self, by_class, holds):
        super().__init__()
        self.by_class_scores, self.holds = by_class, holds

    def __len__(self):
        return len(self.holds)

    def by_class_resampled(self, counts):
        return {'mean': self.by_class_scores(counts)}

    def resampled(self, counts):
        return {'mean': mean_over_classes(self.by_class_scores(counts))}

    def images_of_classes(self):
        return self.holds.sum(0)


def area(tp, fp, positives):
    """Return the area under the curve of best precision, as in VOC since 2010, at the points of ``tp``."""
    if not tp.shape[1]:
        return np.zeros(len(tp))
    best = np.maximum.accumulate((tp / np.maximum(tp + fp, 1e-9))[:, ::-1], 1)[:, ::-1]
    return (np.diff(tp / np.maximum(positives[:, None], 1), axis=1, prepend=0) * best).sum(1)


def detections(objects, qualities, n, rng, coco=False):
    """Draw detectors of the given qualities on the same n images.

    ``objects`` is the mean number of objects of each class in an image, ``(C,)``; they come in clusters.
    """
    classes = len(objects)
    positives = rng.poisson(np.array(objects) * rng.exponential(size=(n, classes)))
    hard = rng.normal(size=n)
    images = [np.repeat(np.arange(n), positives[:, label]) for label in range(classes)]
    ease = [0.7 * rng.normal(size=len(image)) - 0.6 * hard[image] for image in images]
    thresholds = np.linspace(-0.6, 2.5, 10)[:, None] if coco else np.array([[-np.inf]])

    def detector(quality):
        matches = []
        for image, known, mean in zip(images, ease, objects, strict=True):
            seen = quality + known + 0.5 * rng.normal(size=len(image))
            found = seen > -0.7
            wrong = np.repeat(np.arange(n), rng.poisson(0.5 + 0.3 * mean, n))
            scores = np.concatenate([0.8 * seen[found], 0.9 * rng.normal(size=len(wrong)) - 0.6 - 0.2 * hard[wrong]])
            fits = seen[found] + 0.4 * rng.normal(size=found.sum()) > thresholds
            right = np.concatenate([fits, np.zeros((len(fits), len(wrong)), bool)], 1)
            order = np.argsort(-scores)
            matches.append(ClassMatches(scores[order], right[:, order], ~right[:, order],
                                        np.concatenate([image[found], wrong])[order], positives[:, len(matches)]))
        formula = _at_101_recalls if coco else area

        def by_class(counts):
            return np.stack([one.average_precision(counts, formula).mean(1) for one in matches], 1)
        return Population(by_class, positives > 0)

    return [detector(quality) for quality in qualities]


def segmentations(frequency, qualities, n, rng):
    """Draw segmenters of the given qualities on the same n images.

    ``frequency`` is the share of the images with each class, ``(C,)``; their areas differ greatly.
    """
    frequency = np.array(frequency)
    size = (n, len(frequency))
    holds = rng.random(size) < frequency
    areas = holds * rng.lognormal(-1, 1, size)
    areas *= 5000 / np.maximum(areas.sum(1, keepdims=True), 1e-9)
    ease = 0.7 * rng.normal(size=size) - 0.6 * rng.normal(size=(n, 1))

    def segmenter(quality):
        right = areas / (1 + np.exp(-(quality + ease + 0.5 * rng.normal(size=size))))
        share = frequency * rng.exponential(size=size)
        wrong = (areas - right).sum(1, keepdims=True) * share / share.sum(1, keepdims=True)

        def by_class(counts):
            with np.errstate(invalid='ignore'):
                return (counts @ right) / (counts @ (areas + wrong))
        return Population(by_class, holds)

    return [segmenter(quality) for quality in qualities]


def truth(make, images, seed=10 ** 6):
    """Return the scores of the whole population, from a large number of images."""
    return [score.compute()['mean'] for score in make(images, np.random.default_rng(seed))]


def embeddings(people, photos, noises, rng, unequal=False):
    """Scores of embeddings with so much noise, of the same photos of people, some of whom look other each time."""
    numbers = np.maximum(1, rng.geometric(1 / photos, people)) if unequal else np.full(people, photos)
    person = np.repeat(np.arange(people), numbers)
    faces = rng.normal(0.3, 1, (people, 16))
    poses = rng.normal(size=(len(person), 16)) * rng.gamma(4, 1 / 4, people)[person, None]
    found = []
    for noise in noises:
        vectors = faces[person] + noise * poses + rng.normal(0, 0.2, poses.shape)
        found.append(EmbeddingScore())
        found[-1].update({'embeddings': torch.from_numpy(vectors)}, torch.from_numpy(person))
    return found
