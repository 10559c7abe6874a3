"""Check that the images of a data set have the pairs that scores of embeddings compare."""
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ra_plugin.data.given import Given, untouched
from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.metrics.base import Metrics
from ra_plugin.metrics.embedding import EmbeddingScore, check_identities
from ra_plugin.metrics.task_scores import build_score
from ra_plugin.metrics.verification import FAR
from ra_plugin.options import OptionError
from ra_plugin.recognizers import Recognizer
from ra_plugin.utils.random_streams import kept_random_streams
from ra_plugin.utils.text import how_many

_NEEDS = {'tar_at_far': f'{FAR} pairs of two and a pair of one',
          'recall_at_1': 'two identities, and two images of one of them'}


def check_pairs(dataset: ImageDataset, recognizers: Mapping[str, Recognizer], metrics: Mapping[str, Metrics],
                given: Given, where: str, numbers: Sequence[int] | None = None) -> Iterator[str]:
    """Yield a sentence for each embedding recognizer with a metric that has no value on these images.

    Args:
        dataset: Data set that they judge.
        recognizers: Name -> recognizer.
        metrics: Task -> metrics, as in `build_score`.
        given: Parts that the data set has.
        where: Its place, for messages.
        numbers: Numbers of the images that are judged. Default: all.

    Raises:
        OptionError: Labels are no identities, or no metric of a recognizer has a value.
    """
    for name, recognizer in recognizers.items():
        if recognizer.info.task != 'embedding' or not given.labels:
            continue
        score = build_score(recognizer.info, metrics.get('embedding'), given.labels, given.clean)
        asked = next((part for part in score.parts if isinstance(part, EmbeddingScore)), None)
        if asked is None:
            continue
        identities = _identities(dataset, f'{where}: {name}')
        if identities is None:
            continue
        chosen = [identities[number] for number in (range(len(identities)) if numbers is None else numbers)]
        likely = EmbeddingScore(asked.metrics)
        likely.add_records((np.array(identity), np.zeros(1, np.float32)) for identity in chosen)
        if missing := [metric for metric in likely.names if not likely.is_determined(metric)]:
            text = (f'{where}: {", ".join(missing)} of {name} cannot be computed: {_counted(chosen)}. '
                    f'{" ".join(f"{metric} needs {_NEEDS[metric]}." for metric in missing)}')
            if len(missing) == len(score.names):
                raise OptionError(f'{text} Judge more images of each identity, or take recognition_metrics: '
                                  '{embedding: mean_cosine}.')
            yield text


def _identities(dataset: ImageDataset, where: str) -> Sequence[int] | None:
    """Return the identity of each image; None where the data set does not list them.

    Raises:
        OptionError: Its labels are no identities.
    """
    with kept_random_streams():
        label: Any = untouched(dataset)[0]['label']
    if isinstance(label, (int, np.integer)) and not isinstance(label, bool):
        label = torch.tensor([int(label)])
    elif isinstance(label, torch.Tensor) and not label.dim():
        label = label[None]
    try:
        check_identities(label, 1, where)
    except ValueError as error:
        raise OptionError(str(error)) from None
    listed = getattr(dataset, 'labels', None)
    return listed if isinstance(listed, Sequence) and len(listed) == len(dataset) else None


def _counted(identities: Sequence[int]) -> str:
    sizes = np.unique(identities, return_counts=True)[1]
    genuine, pairs = int((sizes * (sizes - 1) // 2).sum()), len(identities) * (len(identities) - 1) // 2
    images = 'the image is' if len(identities) == 1 else f'the {len(identities)} images are'
    return (f'{images} of {how_many(len(sizes), "identity")}, with {how_many(genuine, "pair")} of one identity and '
            f'{how_many(pairs - genuine, "pair")} of two')
