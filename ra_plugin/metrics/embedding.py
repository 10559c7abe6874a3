"""Scores of embeddings: how well they tell identities apart, and how near each is to that of the clean image."""
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ra_plugin.metrics.base import CLEAN_ANSWERS, GroupedScore, Groups, Metrics, TaskScore
from ra_plugin.metrics.verification import EQUAL, FAR, PermutedRecall, Verification

_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class EmbeddingScore(GroupedScore):
    """Scores of embeddings against identities, by the cosine similarity of pairs of images.

    Both images of a pair are processed in the same way, restored with restored, as recall at k of metric learning has
    one set for queries and gallery, and verification of low-quality faces restores whatever comes. It needs no clean
    images, and a score of clean images is that of the usual benchmark. Papers also match restored probes with a clean
    gallery; what that adds, that a restored face is still the one of its clean image and not the same other face each
    time, `EmbeddingAgreement` measures directly, as papers on face restoration do.

    ``tar_at_far``: true accept rate at a false accept rate of 1e-3: the share of genuine pairs (two images of one
    identity) that are accepted at the lowest threshold at which at most one in 1000 impostor pairs (of two identities)
    is. A pair is accepted where its similarity is above that of the most similar impostor pair that must not be:
    pairs equal to that one (to within 3e-7), genuine or not, are rejected. NaN with fewer than 1000 impostor pairs or
    no genuine one.

    ``recall_at_1``: share of images, of identities with at least two, whose most similar other image is of the same
    identity; as similar (to within 3e-7) is not more similar. NaN without such an identity, or with a single one.

    An embedding that is zero or not finite has no direction, and a similarity of 0 to all; `without_answer` counts
    them.

    Args:
        metrics: One or both. Default: both.
    """

    known = default = ('tar_at_far', 'recall_at_1')
    drawn = 'identities'

    def __init__(self, metrics: Metrics = None):
        super().__init__(metrics)
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []  # of each image: identity, embedding (D,)
        self._pairs: Verification | None = None  # of these rows

    def __len__(self) -> int:
        return len(self._rows)

    def update(self, predictions: Mapping[str, torch.Tensor], labels: torch.Tensor) -> None:
        """Add a batch: ``predictions['embeddings']`` is ``(N, D)``; ``labels``, the identities, ``(N,)`` whole numbers.

        Raises:
            ValueError: The labels are no identities.
        """
        vectors = directions(predictions['embeddings'])
        check_identities(labels, len(vectors), type(self).__name__)
        self.add_records(zip(labels.cpu().numpy().astype(int), vectors, strict=True))

    def records(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the identity of each image and its embedding, ``(D,)`` float32 of length 1."""
        return self._rows

    def add_records(self, records: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        self._rows.extend(records)
        self._pairs = None

    def without_answer(self, of_clean: bool = False) -> int:
        return 0 if of_clean else sum(not vector.any() for _, vector in self._rows)

    def is_determined(self, name: str) -> bool:
        sizes = self._verification().sizes if self._rows else np.empty(0, int)
        if name == 'tar_at_far':
            return bool((sizes > 1).any()) and self._verification().impostor_pairs >= FAR
        return bool((sizes > 1).any()) and len(sizes) > 1

    def groups(self) -> Groups:
        pairs = self._verification()
        images = np.where(pairs.sizes > 1, pairs.sizes, 0)
        weights = {'tar_at_far': pairs.genuine_pairs, 'recall_at_1': images}
        one = 1 / max(images.sum(), 1)
        return Groups(len(pairs.sizes), {name: _equal_parts(weights[name]) for name in self.metrics},
                      {'tar_at_far': 2 * one, 'recall_at_1': one})  # a pair has two images

    def group_of_images(self) -> np.ndarray:
        return np.unique([identity for identity, _ in self._rows], return_inverse=True)[1]

    def groups_resampled(self, times: np.ndarray) -> dict[str, np.ndarray]:
        if not self._rows:
            return {name: np.full(len(times), np.nan) for name in self.metrics}
        pairs = self._verification()
        makers = {'tar_at_far': pairs.true_accept_rate, 'recall_at_1': pairs.recall}
        return {name: makers[name](times) for name in self.metrics}

    def nearest(self, place: int) -> tuple[int, float, bool | None] | None:
        """Return the identity of the image that is the most similar to the image at a place, of all others.

        Returns:
            The identity; the similarity; and whether it is surely that of the image itself, as `recall_at_1` counts:
            None where no other image is of its identity. None without another image, or an embedding with a direction.
        """
        if len(self) < 2 or not self._rows[place][1].any():
            return None
        identities, vectors = (np.array(part) for part in zip(*self._rows, strict=True))
        similarities = vectors.astype(float) @ vectors[place]
        similarities[place] = -np.inf
        own = identities == identities[place]
        best, same, other = (np.max(similarities[mask], initial=-np.inf) for mask in (..., own, ~own))
        is_right = bool(same > other + EQUAL) if own.sum() > 1 else None
        nearest = np.flatnonzero((similarities >= best - EQUAL) & (own == bool(is_right)))
        return int(identities[nearest[0]]), float(best), is_right

    def recall_by_chance(self) -> float:
        """Return `recall_by_chance` of these images."""
        return recall_by_chance(self.group_of_images())

    def recall_by_permutation(self) -> PermutedRecall:
        """Return `Verification.recall_by_permutation` of these images."""
        return self._verification().recall_by_permutation()

    def _verification(self) -> Verification:
        if self._pairs is None:
            self._pairs = Verification(np.stack([vector for _, vector in self._rows]), self.group_of_images())
        return self._pairs


class EmbeddingAgreement(TaskScore):
    """``mean_cosine``: mean over the images of the cosine similarity of the restored and the clean image's embeddings.

    It is in ``[-1, 1]``, and 1 for equal directions. What it is worth depends on how alike the embeddings of different
    images are: see `alikeness`. Where either embedding is zero or not finite it counts as 0.

    Args:
        metrics: ``'mean_cosine'``.
    """

    known = default = ('mean_cosine',)
    against = CLEAN_ANSWERS
    units = {'mean_cosine': 'cosine'}

    def __init__(self, metrics: Metrics = None):
        super().__init__(metrics)
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []  # of each image: cosine, embedding of the clean image (D,)

    def __len__(self) -> int:
        return len(self._rows)

    def update(self, predictions: Mapping[str, torch.Tensor], clean: Mapping[str, torch.Tensor]) -> None:
        """Add a batch: ``predict`` of the restored images, and of the clean ones, with ``embeddings`` ``(N, D)``."""
        ours, theirs = directions(predictions['embeddings']), directions(clean['embeddings'])
        found = np.where(ours.any(1), cosines(ours, theirs), np.nan)
        self._rows.extend(zip(found, theirs, strict=True))

    def records(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the cosine of each image, NaN without an embedding of it; and the embedding of its clean version,
        ``(D,)`` float32 of length 1.
        """
        return self._rows

    def without_answer(self, of_clean: bool = False) -> int:
        return sum(not clean.any() if of_clean else bool(np.isnan(cosine)) for cosine, clean in self._rows)

    def add_records(self, records: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        self._rows.extend(records)

    def alikeness(self) -> float:
        """Return the mean cosine of two different clean images: what an embedding of another image would have."""
        vectors = np.stack([vector for _, vector in self._rows]).astype(float)
        n = len(vectors)
        return float((np.square(vectors.sum(0)).sum() - np.square(vectors).sum()) / (n * (n - 1)))

    def per_image(self) -> dict[str, np.ndarray]:
        """Map the metric to ``(N,)`` cosines."""
        return {'mean_cosine': np.nan_to_num(np.array([cosine for cosine, _ in self._rows], float))}

    def resampled(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(invalid='ignore'):
            return {name: counts @ values / counts.sum(1) for name, values in self.per_image().items()}


def recall_by_chance(identities: Sequence[int] | np.ndarray) -> float:
    """Return what ``recall_at_1`` is on average where any other image is as likely to be the most similar one."""
    sizes = np.unique(identities, return_counts=True)[1]
    paired = sizes[sizes > 1]
    return float((paired * (paired - 1)).sum() / max(paired.sum(), 1) / max(sizes.sum() - 1, 1))


def cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the cosine of each of two sets of `directions`, ``(N,)``; 1 for equal ones, 0 where one is zero."""
    ours, theirs = ours.astype(float), theirs.astype(float)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)  # 1 but for the rounding of float32
    return np.clip((ours * theirs).sum(1) / np.where(lengths > 0, lengths, 1), -1, 1)


def directions(embeddings: torch.Tensor) -> np.ndarray:
    """Return embeddings ``(N, D)`` scaled to length 1, float32; those without a direction are zero."""
    vectors = embeddings.detach().double().cpu().numpy()
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    known = np.isfinite(lengths) & (lengths > 0)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=known).astype(np.float32)


def check_identities(labels: Any, count: int, where: str) -> None:
    """Check that labels are one whole number for each of ``count`` images.

    Raises:
        ValueError: They are not.
    """
    if not isinstance(labels, torch.Tensor) or labels.shape != (count,) or labels.dtype not in _WHOLE:
        got = f'{labels.dtype} {tuple(labels.shape)}' if isinstance(labels, torch.Tensor) else type(labels).__name__
        raise ValueError(f'{where}: expected identities, whole numbers ({count},), got {got}. Use a '
                         'LabeledImageDataset with a folder for each; or recognition_metrics: '
                         '{embedding: mean_cosine}, which takes clean images and no labels.')


def _equal_parts(weights: Sequence[int] | np.ndarray) -> int:
    """Return how many equal parts would vary as much as parts of these weights do (Kish, 1965)."""
    weights = np.asarray(weights, float)
    return int(weights.sum() ** 2 / np.square(weights).sum() + 1e-9) if weights.any() else 0
