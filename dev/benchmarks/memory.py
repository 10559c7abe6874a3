"""Measurement of the peak memory of tensors."""
import weakref
from collections.abc import Callable
from functools import partial

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_memory(run: Callable[[], object], device: torch.device) -> float:
    """Return the peak memory in MiB of tensors during ``run()``, without those that existed before.

    On a GPU it is the allocator's count; elsewhere the storages that operations return, without their internal memory.
    """
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 2 ** 20
    with _Storages() as storages:
        run()
    return storages.peak / 2 ** 20


class _Storages(TorchDispatchMode):
    """Dispatch mode that counts the bytes of storages from their creation by an operation until they are freed."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self._meet((args, kwargs), is_new=False)
        output = func(*args, **(kwargs or {}))
        self._meet(output, is_new=True)
        return output

    def _meet(self, values: object, is_new: bool) -> None:
        for tensor in tree_leaves(values):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._known:
                    size = storage.nbytes() if is_new else 0
                    self._known[storage._cdata] = weakref.ref(storage, partial(self._freed, storage._cdata, size))
                    self.now += size
                    self.peak = max(self.peak, self.now)

    def _freed(self, key: int, size: int, _: weakref.ref) -> None:
        del self._known[key]
        self.now -= size
