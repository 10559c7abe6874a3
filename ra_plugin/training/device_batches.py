"""Batches on their way to a GPU: checked while they are in the computer's memory, copied while it computes."""
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

Batch = dict[str, Any]
_READ_BY_THE_COMPUTER = ('size',)  # of padded images: the step depends on them


def on_device(batches: Iterator[Batch], check: Callable[[Batch], None], device: torch.device,
              ahead: bool) -> Iterator[Batch]:
    """Batches with their tensors on ``device``; those of a CPU are left as they are.

    Copies from pinned memory do not make the computer wait, and are in order with the work that it asks for.

    Args:
        batches: Tensors, and what is no tensor, by name. Lists (labels of detectors) stay where they are.
        check: Raises ValueError for a batch that cannot be used. On a GPU a label out of range ends the process.
        device: Of the networks.
        ahead: Whether a batch is copied while the one before it is learned from: by a stream of its own, which takes
            the memory of one more batch.
    """
    if device.type != 'cuda':
        yield from batches
        return
    stream = torch.cuda.Stream(device) if ahead else None
    for batch in _one_ahead(_copied(batches, check, device, stream)) if ahead else _copied(batches, check, device):
        if stream is not None:
            current = torch.cuda.current_stream(device)
            current.wait_stream(stream)
            for value in batch.values():
                if isinstance(value, torch.Tensor) and value.is_cuda:
                    value.record_stream(current)  # else its memory could serve the next copy while it is still read
        yield batch


def _copied(batches: Iterator[Batch], check: Callable[[Batch], None], device: torch.device,
            stream: Any = None) -> Iterator[Batch]:
    for batch in batches:
        check(batch)
        with contextlib.nullcontext() if stream is None else torch.cuda.stream(stream):
            moved = {name: value.to(device, non_blocking=True) if _is_for_device(name, value) else value
                     for name, value in batch.items()}
        yield moved


def _is_for_device(name: str, value: Any) -> bool:
    return isinstance(value, torch.Tensor) and name not in _READ_BY_THE_COMPUTER


def _one_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; the next one is asked for before one is given. What goes wrong with it comes in its place."""
    batch = _next(batches)
    while batch is not None:
        if isinstance(batch, Exception):
            raise batch
        following = _next(batches)
        yield batch
        batch = following


def _next(batches: Iterator[Batch]) -> Batch | Exception | None:
    try:
        return next(batches, None)
    except Exception as error:
        return error
