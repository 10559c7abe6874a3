"""Communication between the processes of a distributed run; each function also works in a single process."""
import gc
from typing import Any

import torch
import torch.distributed.nn
import torch.distributed.optim
from torch import distributed as dist


def anywhere(holds: bool) -> bool:
    """Return True if ``holds`` is true in any process; all processes have to call this."""
    if not dist.is_initialized():
        return holds
    count = torch.tensor(int(holds), device=_device())
    dist.all_reduce(count)
    return bool(count)


def of_first(number: int) -> int:
    """Return the number that the first process passes; all processes have to call this."""
    if not dist.is_initialized():
        return number
    shared = torch.tensor(number, device=_device())
    dist.broadcast(shared, 0)
    return int(shared)


def gathered(value: Any) -> list | None:
    """Return the values of all processes, in order of rank, in the first process; None in the others."""
    if not dist.is_initialized():
        return [value]
    values = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(value, values)
    return values


def leave() -> None:
    """Destroy the process group, if there is one; call this when no model is referenced any more.

    gloo's threads live as long as anything references the group: at interpreter exit such a thread, about to free a
    tensor, may abort the process. The group is referenced by a model in DistributedDataParallel, through reference
    cycles, and by the default arguments of functions in torch modules that are first imported while a group exists, as
    mmcv does; this file therefore imports those modules at its top.
    """
    if dist.is_initialized():
        gc.collect()
        dist.destroy_process_group()


def _device() -> str:
    return 'cuda' if dist.get_backend() == 'nccl' else 'cpu'
