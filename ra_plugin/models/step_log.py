"""Logs of a step that stay on the device until they are read, because reading a loss makes the CPU wait."""
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ra_plugin.models.host import Host
from ra_plugin.models.stock import is_all_stock


class StepLogMixin(Host):
    """Mixin that reads the losses of BasicSR's models on request; put it directly before such a class in the bases.

    BasicSR reads all losses in every step. The GPU is then idle until the CPU has launched the work of the next step.
    """

    def reduce_loss_dict(self, loss_dict: Mapping[str, torch.Tensor]) -> OrderedDict[str, torch.Tensor]:
        """Return the mean of each loss as a scalar tensor; in the first process the mean over all processes."""
        values = [value.detach().mean() for value in loss_dict.values()]
        if self.opt['dist'] and values:
            together = torch.stack(values)
            torch.distributed.reduce(together, dst=0)
            values = (together / self.opt['world_size'] if self.opt['rank'] == 0 else together).unbind()
        return OrderedDict(zip(loss_dict, values, strict=True))

    def get_current_log(self) -> dict[str, Any]:
        """Return the log of the last step as numbers, read together."""
        self.log_dict = numbers(self.log_dict)
        return self.log_dict


def step_log(model: type) -> tuple[type, ...]:
    """Return the base to put before a model class; none if a user's code may replace or read its logs."""
    return (StepLogMixin,) if is_all_stock(model) and not issubclass(model, StepLogMixin) else ()


def numbers(log: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``log`` with one-element tensors as numbers, with one copy per device and dtype; the rest unchanged."""
    kinds: dict[tuple, dict[str, torch.Tensor]] = {}
    for name, value in log.items():
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            kinds.setdefault((value.device, value.dtype), {})[name] = value.detach().reshape(())
    read: dict[str, float] = {}
    for tensors in kinds.values():
        read.update(zip(tensors, torch.stack(list(tensors.values())).tolist(), strict=True))
    return OrderedDict((name, read.get(name, value)) for name, value in log.items())


def mean_log(logs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the means over the batches of a step; for other values, e.g. text, the last one."""
    found: dict[str, Any] = {}
    for log in logs:
        found.update({name: found.get(name, 0) + value if _is_number(value) else value for name, value in log.items()})
    return {name: value / len(logs) if _is_number(value) else value for name, value in found.items()}


def as_text(log: Mapping[str, Any]) -> str:
    """Return the numbers of ``log`` as one line of text."""
    return ', '.join(f'{name} {value:.4g}' for name, value in numbers(log).items() if isinstance(value, (int, float)))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, torch.Tensor))
