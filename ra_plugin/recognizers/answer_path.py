"""The part of a network's answer that counts, by its key, attribute or index."""
import re
from collections.abc import Mapping
from typing import Any

import torch

from ra_plugin.utils.suggestions import suggestion

_SHOWN = 8  # names in a message


def picked(answer: Any, path: str | int | None, where: str) -> Any:
    """Return the part of an answer at a dotted path of keys, attributes and indices: ``logits``, ``0``, ``out.0``.

    Args:
        answer: Tensor, mapping, sequence or object with attributes.
        path: None: the whole.
        where: The recognizer, for messages.

    Raises:
        ValueError: The path leads nowhere.
    """
    steps = [] if path is None else str(path).split('.')
    for place, step in enumerate(steps):
        found = _step(answer, step)
        if found is None:
            before = '.'.join(steps[:place]) or "the network's answer"
            raise ValueError(f"{where}: output: no '{step}' in {before}, {_in_words(answer, step)}")
        answer = found
    return answer


def _step(answer: Any, step: str) -> Any:
    if isinstance(answer, torch.Tensor):  # an index would be of the batch
        return None
    index = int(step) if re.fullmatch(r'-?\d+', step) else None
    if isinstance(answer, Mapping):
        for key in (step, index):
            if key is not None and key in answer:
                return answer[key]
        return None
    if isinstance(answer, (list, tuple)) and index is not None:
        return answer[index] if -len(answer) <= index < len(answer) else None
    return getattr(answer, step, None) if index is None else None


def _in_words(answer: Any, step: str) -> str:
    """Return what an answer is, and the names in it."""
    if isinstance(answer, torch.Tensor):
        return f'a tensor {tuple(answer.shape)}. Leave out what comes after it.'
    if isinstance(answer, Mapping):
        names = [str(key) for key in answer]
    elif isinstance(answer, (list, tuple)):
        names = [*getattr(answer, '_fields', ()), *map(str, range(len(answer)))]
    else:
        names = [name for name in vars(answer)] if hasattr(answer, '__dict__') else []
    listed = f' with {", ".join(names[:_SHOWN])}' if names else ''
    return f'a {type(answer).__name__}{listed}.{suggestion(step, names)}'
