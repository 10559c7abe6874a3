"""Random weights of recognizers: the same wherever a block is built."""
from collections.abc import Mapping
from typing import Any

import torch

from ra_plugin.recognizers.base import Recognizer
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.random_streams import seeded

_SEED = 0
_CPU = torch.device('cpu')  # where networks are built


def build_frozen(block: Mapping[str, Any], where: str) -> Recognizer:
    """Build a recognizer; random weights are drawn from one fixed seed, whatever was drawn before.

    A training, its validation, an evaluation, each of them after a restart, and every process of a distributed one thus
    have the same network. The seed of the run plays no part: a recognizer is what its block says.

    Raises:
        OptionError: As `Registry.build`.
    """
    with seeded(_SEED, _CPU):
        return RECOGNIZER_REGISTRY.build(block, where)
