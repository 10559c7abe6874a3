"""What the processes of a distributed run tell one another; a run of one process tells itself."""
from typing import Any

import torch
from torch import distributed as dist


def anywhere(holds: bool) -> bool:
    """Whether it holds in any process: all of them have to ask."""
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


def _device() -> str:
    return 'cuda' if dist.get_backend() == 'nccl' else 'cpu'
