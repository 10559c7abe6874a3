"""Transfer of batches to a GPU: checked in CPU memory, and copied while the GPU computes."""
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

Batch = dict[str, Any]
_READ_BY_THE_COMPUTER = ('size',)  # sizes of padded images, which stay on the CPU because the step reads them


def on_device(batches: Iterator[Batch], check: Callable[[Batch], None], device: torch.device,
              ahead: bool) -> Iterator[Batch]:
    """Yield batches with their tensors on ``device``; unchanged for a CPU.

    Copies from pinned memory are asynchronous, and ordered with the other work on the GPU.

    Args:
        batches: Tensors and other values by name. Lists (labels of detectors) are not moved.
        check: Function that raises ValueError for an invalid batch. On a GPU a label out of range ends the process.
        device: Device of the networks.
        ahead: Copy the next batch on a separate stream while the current one is processed; this needs the memory of
            one more batch.
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
                    value.record_stream(current)  # keep the next copy from reusing its memory while it is read
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
    """Yield the batches, fetching one batch ahead; an error of the next batch is raised in its turn."""
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
