"""Python's, numpy's and torch's random streams: what they are at, and back to it."""
import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch


def random_streams() -> dict[str, Any]:
    """The states of Python's, numpy's and torch's random streams on the CPU, of tensors and plain numbers."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {'python': random.getstate(), 'numpy': (kind, torch.from_numpy(np.asarray(keys, np.int64)), *rest),
            'torch': torch.get_rng_state()}


def set_random_streams(states: Mapping[str, Any]) -> None:
    """Set what `random_streams` gave."""
    version, internal, gauss = states['python']
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = states['numpy']
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states['torch'])


@contextlib.contextmanager
def kept_random_streams() -> Iterator[None]:
    """Whatever is drawn within, the streams go on afterwards as if nothing had been."""
    kept = random_streams()
    try:
        yield
    finally:
        set_random_streams(kept)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Random streams that start from ``seed`` within, and outside go on as if nothing had happened."""
    devices = [device] if device.type == 'cuda' else []
    with kept_random_streams(), torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would touch the other GPUs, too
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        yield
