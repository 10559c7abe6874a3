"""Losses of a step that stay where they were computed until they are read: reading one makes the computer wait."""
from collections import OrderedDict
from collections.abc import Mapping

import torch


class StepLogMixin:
    """Logs as BasicSR's models keep them, read when they are asked for; put it right before such a class in the bases.

    BasicSR reads every loss in every step. A GPU is then idle until the computer has launched the next step's work.
    """

    def reduce_loss_dict(self, loss_dict: Mapping[str, torch.Tensor]) -> OrderedDict[str, torch.Tensor]:
        """Return the mean of each loss as a scalar tensor, over all processes in the first of them."""
        values = [value.detach().mean() for value in loss_dict.values()]
        if self.opt['dist'] and values:
            together = torch.stack(values)
            torch.distributed.reduce(together, dst=0)
            values = (together / self.opt['world_size'] if self.opt['rank'] == 0 else together).unbind()
        return OrderedDict(zip(loss_dict, values))

    def get_current_log(self) -> dict[str, float]:
        """Return the log of the last step as numbers, all of them read at once."""
        self.log_dict = numbers(self.log_dict)
        return self.log_dict


def numbers(log: Mapping[str, torch.Tensor | float]) -> dict[str, float]:
    """Return ``log`` with scalar tensors as numbers; one copy from the device in all."""
    tensors = {name: value for name, value in log.items() if isinstance(value, torch.Tensor)}
    read = dict(zip(tensors, torch.stack(list(tensors.values())).tolist())) if tensors else {}
    return OrderedDict((name, read.get(name, value)) for name, value in log.items())
