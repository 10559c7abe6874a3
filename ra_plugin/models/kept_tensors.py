"""Copies of tensors to restore, and scalars to read later, without waiting for the device."""
from collections.abc import Iterable

import torch


class KeptTensors:
    """Copies of many tensors, made and restored by few operations.

    Args:
        tensors: Tensors to copy, of any shapes, dtypes and devices.
    """

    def __init__(self, tensors: Iterable[torch.Tensor]):
        groups: dict[tuple, list[torch.Tensor]] = {}
        for tensor in tensors:
            groups.setdefault((tensor.device, tensor.dtype), []).append(tensor.detach())
        self._groups = [(group, _joined(group)) for group in groups.values()]

    @torch.no_grad()
    def restore(self, where: torch.Tensor | bool = True) -> None:
        """Restore the values in place if the scalar ``where`` is true; a tensor stays on its device."""
        if where is False:
            return
        for group, kept in self._groups:
            values = kept if where is True else torch.where(where.to(kept.device), kept, _joined(group))
            parts = values.split([tensor.numel() for tensor in group])
            views = [part.view(tensor.shape) for part, tensor in zip(parts, group, strict=True)]
            torch._foreach_copy_(group, views)  # pyright: ignore[reportPrivateImportUsage]


def _joined(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


class Later:
    """Scalar that is being copied to CPU memory asynchronously.

    Args:
        value: Scalar tensor on any device.
    """

    def __init__(self, value: torch.Tensor):
        self._value = value.detach().to('cpu', non_blocking=True)
        self._event = torch.cuda.Event() if value.is_cuda else None
        if self._event is not None:
            self._event.record()

    def read(self) -> bool | float:
        """Return the number, after waiting for the work that was queued before the copy."""
        if self._event is not None:
            self._event.synchronize()
        return self._value.item()
