"""The identity that an embedding is nearest to, for the images that a report shows."""
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ra_plugin.evaluation.statistics.transfer import Matrix
from ra_plugin.metrics.embedding import EmbeddingScore
from ra_plugin.recognizers.class_names import class_word
from ra_plugin.results import Answer


def with_nearest(answer: Answer, matrix: Matrix, name: str, judge: str, number: int, names: Sequence[str] | None
                 ) -> Answer:
    """Return an answer with the identity of the most similar other image, processed in the same way.

    Args:
        answer: Answer of a recognizer to an image.
        matrix: Scores of all images of the condition.
        name: Way of processing, of the first seed.
        judge: Name of the recognizer.
        number: Number of the image in the data set.
        names: Names of the identities. Default: their numbers.

    Returns:
        The answer as it is, where identities are not scored, or `EmbeddingScore.nearest` finds none.
    """
    score = next((part for part in matrix.processings[name, 0].scores[judge].parts
                  if isinstance(part, EmbeddingScore)), None)
    found = None if score is None else score.nearest(int(np.flatnonzero(matrix.index == number)[0]))
    if found is None:
        return answer
    identity, similarity, is_right = found
    return replace(answer, text=f'{answer.text}; nearest to {class_word(identity, names)} ({similarity:.2f})',
                   right=is_right)
