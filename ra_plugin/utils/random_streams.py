"""Save, restore and seed the random states of Python, numpy and torch."""
import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch


def random_streams() -> dict[str, Any]:
    """Return the CPU random states of Python, numpy and torch, as tensors and plain numbers."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {'python': random.getstate(), 'numpy': (kind, torch.from_numpy(np.asarray(keys, np.int64)), *rest),
            'torch': torch.get_rng_state()}


def set_random_streams(states: Mapping[str, Any]) -> None:
    """Restore the states that `random_streams` returned."""
    version, internal, gauss = states['python']
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = states['numpy']
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states['torch'])


@contextlib.contextmanager
def kept_random_streams() -> Iterator[None]:
    """Restore the CPU random states at the end of the block, whatever was drawn in it."""
    kept = random_streams()
    try:
        yield
    finally:
        set_random_streams(kept)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed all random states for the block (also the device's), and restore them at its end."""
    devices = [device] if device.type == 'cuda' else []
    with kept_random_streams(), torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would touch the other GPUs, too
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        yield
