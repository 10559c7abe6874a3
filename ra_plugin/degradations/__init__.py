"""Degradations that turn a clean image into the input of the restoration network. This package needs no BasicSR."""
from collections.abc import Mapping

from ra_plugin.degradations.base import Degradation
from ra_plugin.degradations.classic import BicubicDownsample, Compose, GaussianNoise, JPEGCompression
from ra_plugin.degradations.high_order import HighOrderDegradation
from ra_plugin.degradations.imagenet_c import ImageNetC
from ra_plugin.registry import DEGRADATION_REGISTRY

__all__ = [
    'BicubicDownsample', 'Compose', 'Degradation', 'GaussianNoise', 'HighOrderDegradation', 'ImageNetC',
    'JPEGCompression', 'build_degradation'
]


def build_degradation(opt: Mapping | None, where: str) -> Degradation:
    """Build the degradation of an option block.

    Args:
        opt: ``{type: ..., ...}``, or None for no degradation: an empty :class:`Compose`, which returns its input.
        where: The block's place in the options, for messages.
    """
    return Compose(()) if opt is None else DEGRADATION_REGISTRY.build(opt, where)
