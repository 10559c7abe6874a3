"""Pairs of images of one and of two identities: true accept rate at a false accept rate, and recall at 1.

A resample has whole identities: images of one person are not independent, and every impostor pair depends on two
(Fogliato, Patil and Perona, arXiv:2306.01198). An identity that is drawn twice is not compared with its copy, which is
the same images and no other person.
"""
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

FAR = 1000  # one impostor pair in so many may be accepted
_CELLS = 2_000_000  # of one array of similarities or weights: 16 MB
# Similarities that differ by no more are equal: vectors are rounded to float32, and otherwise in another batch.
EQUAL = 3e-7
_ERROR = 0.05  # of what tells a recall from chance
_SPARE = 3  # times as many of the highest impostor pairs are kept as all images need; some resamples need more

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # similarities, and the two identities


@dataclass(frozen=True)
class PermutedRecall:
    """Recall at 1 beside that of identities in other orders; NaN where there is none.

    Attributes:
        value: The recall.
        p: Share of the orders, this one included, whose recall is as high.
        least: The least recall that would be told from chance; above 1 where none would, as of few images.
    """

    value: float
    p: float
    least: float

    @property
    def is_told(self) -> bool:
        """True where the recall is surely above chance (95 %, one-sided)."""
        return self.p <= _ERROR


class Verification:
    """Embeddings with identities, and what their cosine similarities tell.

    Args:
        embeddings: ``(N, D)``, each of length 1, or zero.
        identities: ``(N,)`` numbers 0 to G - 1, each in use.

    Attributes:
        sizes: ``(G,)`` images of each identity.
        genuine_pairs: ``(G,)`` pairs of two images of each identity.
        impostor_pairs: Number of pairs of two identities.
    """

    def __init__(self, embeddings: np.ndarray, identities: np.ndarray):
        order = np.argsort(identities, kind='stable')  # the images of an identity side by side
        self._vectors, self._identity = embeddings[order].astype(float), identities[order]
        self.sizes = np.bincount(identities)
        self._starts = np.cumsum(self.sizes) - self.sizes
        self.genuine_pairs = self.sizes * (self.sizes - 1) // 2
        self.impostor_pairs = len(order) * (len(order) - 1) // 2 - int(self.genuine_pairs.sum())
        self._highest: Pairs | None = None
        self._recall: tuple[float, np.ndarray] | None = None

    # ------------------------------------------------------------ true accept rate
    def true_accept_rate(self, times: np.ndarray) -> np.ndarray:
        """Return the share of genuine pairs above the threshold, ``(R,)``; NaN where there are too few pairs.

        Args:
            times: ``(R, G)`` whole numbers: how often each resample has each identity.
        """
        thresholds = self._thresholds(times)
        accepted = np.zeros(len(times))
        for identity in np.flatnonzero(self.genuine_pairs).tolist():
            similarities = np.sort(self._genuine(identity))
            above = len(similarities) - np.searchsorted(similarities, thresholds + EQUAL, side='right')
            accepted += times[:, identity] * above
        with np.errstate(invalid='ignore'):
            return np.where(np.isnan(thresholds), np.nan, accepted / (times @ self.genuine_pairs))

    def _genuine(self, identity: int) -> np.ndarray:
        own = self._vectors[self._starts[identity]:self._starts[identity] + self.sizes[identity]]
        return (own @ own.T)[np.triu_indices(len(own), 1)]

    def _thresholds(self, times: np.ndarray) -> np.ndarray:
        """Return the similarity ``(R,)`` of the most similar impostor pair that must be rejected."""
        images = times * self.sizes
        pairs = (images.sum(1) ** 2 - (images ** 2).sum(1)) // 2
        found = np.full(len(times), np.nan)
        left = np.flatnonzero(pairs >= FAR)
        kept = _SPARE * (self.impostor_pairs // FAR + 1)
        while len(left):
            kept = min(kept, self.impostor_pairs)
            similarities, first, second = self._highest_impostors(kept)
            step = max(1, _CELLS // kept)
            for rows in (left[start:start + step] for start in range(0, len(left), step)):
                drawn = times[rows]
                too_many = FAR * (drawn[:, first] * drawn[:, second]).cumsum(1) > pairs[rows, None]
                found[rows] = np.where(too_many[:, -1], similarities[too_many.argmax(1)], np.nan)
            left, kept = left[np.isnan(found[left])], 2 * kept
        return found

    def _highest_impostors(self, count: int) -> Pairs:
        """Return the impostor pairs of the highest similarities, in descending order."""
        if self._highest is None or len(self._highest[0]) < count:
            found: Pairs = np.empty(0), np.empty(0, int), np.empty(0, int)
            least = -np.inf
            for start, similarities in self._blocks():
                places, others = np.nonzero(similarities >= least)
                rows = places + start
                impostors = (others > rows) & (self._identity[rows] != self._identity[others])
                places, rows, others = places[impostors], rows[impostors], others[impostors]
                more = similarities[places, others], self._identity[rows], self._identity[others]
                found = _chosen(found, more, count)
                least = found[0].min() if len(found[0]) == count else -np.inf
            order = np.argsort(-found[0], kind='stable')
            self._highest = found[0][order], found[1][order], found[2][order]
        similarities, first, second = self._highest
        return similarities[:count], first[:count], second[:count]

    # ------------------------------------------------------------ recall at 1
    def recall(self, times: np.ndarray) -> np.ndarray:
        """Return the share of images whose most similar other image is of their identity, ``(R,)``.

        That of a resample is to first order, by the change that each identity makes where it is left out: a resample
        has fewer identities than the images have, and among fewer the most similar image is right more often. The
        variance is the jackknife's, which is too large rather than too small (Efron and Stein, 1981).
        """
        if self._recall is None:
            self._recall = self._recall_and_changes()
        value, changes = self._recall
        return value + (times - 1) @ changes

    def _recall_and_changes(self) -> tuple[float, np.ndarray]:
        """Return the recall, and its change ``(G,)`` to first order where an identity is drawn once more."""
        images = np.where(self.sizes > 1, self.sizes, 0)
        total, number = images.sum(), len(self.sizes)
        if not total or number < 2:
            return np.nan, np.zeros(number)
        right, freed = np.zeros(number), np.zeros(number)
        for start, similarities in self._blocks():
            here = np.arange(len(similarities))
            own = self._identity[start + here]
            similarities[here, start + here] = -np.inf  # an image is no other image
            best = np.maximum.reduceat(similarities, self._starts, axis=1)
            same = best[here, own]
            best[here, own] = -np.inf
            rival = best.argmax(1)
            of_rival = best[here, rival]
            best[here, rival] = -np.inf
            paired = self.sizes[own] > 1
            wins = same > of_rival + EQUAL
            right += np.bincount(own, paired & wins, number)
            alone = paired & ~wins & (same > best.max(1) + EQUAL)  # wrong because of one identity
            freed += np.bincount(rival, alone, number)
        value = right.sum() / total
        others = np.maximum(total - images, 1)  # without the only identity of several images nothing is known
        without = np.where(total > images, (right.sum() - right + freed) / others, value)
        changes = (number - 1) * (value - without) / number
        return float(value), changes - changes.mean()

    # ------------------------------------------------------------ recall against chance
    def recall_by_permutation(self, permutations: int = 1999, seed: int = 0) -> PermutedRecall:
        """Compare the recall with what it is where the same identities are given to the same images in other orders.

        Which image is the most similar one does not change. Embeddings that know nothing of identities make all orders
        as likely, so that `PermutedRecall.is_told` is wrong in at most 5 % of such cases, however few images there are.
        """
        first, second, never = self._closest()
        images = np.where(self.sizes > 1, self.sizes, 0)
        if not images.any() or len(self.sizes) < 2:
            return PermutedRecall(math.nan, math.nan, math.nan)

        def right(identities: np.ndarray) -> int:
            found = images[identities] > 0
            found[never] = False
            found[first[identities[first] != identities[second]]] = False
            return int(found.sum())

        rng, actual = np.random.default_rng(seed), right(self._identity)
        counts = np.sort([right(rng.permutation(self._identity)) for _ in range(permutations)])[::-1]
        orders = permutations + 1  # with the one that is there
        as_good = int(math.floor(_ERROR * orders)) - 1  # so many others may be as good
        return PermutedRecall(actual / images.sum(), (1 + int((counts >= actual).sum())) / orders,
                              (counts[as_good] + 1) / images.sum())

    def _closest(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each image with those that are, as far as can be told, the most similar to it.

        Returns:
            Places of images, of the others, and of images that have more of them than any identity has images.
        """
        found, never = [], []
        for start, similarities in self._blocks():
            here = np.arange(len(similarities))
            similarities[here, start + here] = -np.inf
            closest = similarities >= similarities.max(1, keepdims=True) - EQUAL
            too_many = closest.sum(1) >= self.sizes.max()
            closest[too_many] = False
            never.append(start + here[too_many])
            places, others = np.nonzero(closest)
            found.append((places + start, others))
        first, second = (np.concatenate(part) for part in zip(*found, strict=True))
        return first, second, np.concatenate(never)

    # ------------------------------------------------------------ similarities
    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the place of an image, and the similarities of it and those after it to all images."""
        step = max(1, _CELLS // len(self._vectors))
        for start in range(0, len(self._vectors), step):
            yield start, self._vectors[start:start + step] @ self._vectors.T


def _chosen(some: Pairs, others: Pairs, count: int) -> Pairs:
    """Return the pairs of the highest similarities among two sets, in any order."""
    similarities, first, second = (np.concatenate(both) for both in zip(some, others, strict=True))
    if len(similarities) > count:
        best = np.argpartition(-similarities, count - 1)[:count]
        return similarities[best], first[best], second[best]
    return similarities, first, second
