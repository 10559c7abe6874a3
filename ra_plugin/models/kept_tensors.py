"""Values that may have to come back, and values that are read later: both without waiting for a device."""
from collections.abc import Iterable

import torch


class KeptTensors:
    """Copies of the values of many tensors, by few operations however many they are.

    Args:
        tensors: What changes later, of any shapes, types and devices.
    """

    def __init__(self, tensors: Iterable[torch.Tensor]):
        groups: dict[tuple, list[torch.Tensor]] = {}
        for tensor in tensors:
            groups.setdefault((tensor.device, tensor.dtype), []).append(tensor.detach())
        self._groups = [(group, _joined(group)) for group in groups.values()]

    @torch.no_grad()
    def restore(self, where: torch.Tensor | bool = True) -> None:
        """Put the values back in place, where the scalar ``where`` is true; its value stays on the device."""
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
    """A scalar on its way to the computer's memory.

    Args:
        value: On any device.
    """

    def __init__(self, value: torch.Tensor):
        self._value = value.detach().to('cpu', non_blocking=True)
        self._event = torch.cuda.Event() if value.is_cuda else None
        if self._event is not None:
            self._event.record()

    def read(self) -> bool | float:
        """Return the number; waits for the work that was asked for before it."""
        if self._event is not None:
            self._event.synchronize()
        return self._value.item()
