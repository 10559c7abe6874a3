"""What the processes of a distributed run tell one another; a run of one process tells itself."""
import gc
from typing import Any

import torch
import torch.distributed.nn
import torch.distributed.optim
from torch import distributed as dist


def anywhere(holds: bool) -> bool:
    """Return whether it holds in any process: all of them have to ask."""
    if not dist.is_initialized():
        return holds
    count = torch.tensor(int(holds), device=_device())
    dist.all_reduce(count)
    return bool(count)


def of_first(number: int) -> int:
    """The number that the first process has."""
    if not dist.is_initialized():
        return number
    shared = torch.tensor(number, device=_device())
    dist.broadcast(shared, 0)
    return int(shared)


def gathered(value: Any) -> list | None:
    """Every process's value, in order, for the first one; None for the others."""
    if not dist.is_initialized():
        return [value]
    values = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(value, values)
    return values


def leave() -> None:
    """End the process group, when the caller has no model any more; nothing where there is none.

    gloo's threads live as long as anything holds the group: at the end of the interpreter such a thread, about to free
    a tensor, may abort the process. What holds it is a model in DistributedDataParallel, in reference cycles, and the
    defaults of functions in torch's modules that are imported when there is a group, as mmcv does (so here, above).
    """
    if dist.is_initialized():
        gc.collect()
        dist.destroy_process_group()


def _device() -> str:
    return 'cuda' if dist.get_backend() == 'nccl' else 'cpu'
