"""Photographs that a gate takes as they are given, and a line on them at the end."""
from dataclasses import replace

import numpy as np
import torch

from ra_plugin.metrics.gate import Gate
from ra_plugin.restoring.photograph import Photograph
from ra_plugin.restoring.pixels import of_depth
from ra_plugin.utils.text import how_many

_SHOWN = 20  # names in the line


class KeptPhotographs:
    """Record of what a gate finds in photographs.

    Args:
        gate: It.
        bits: 8 or 16 bits per channel of the results; None: as the photographs have.
    """

    def __init__(self, gate: Gate, bits: int | None):
        self.gate, self.bits = gate, bits
        self._names: list[str] = []
        self._levels: list[float] = []

    def keeps(self, name: str, photograph: Photograph) -> bool:
        """Return True if a photograph is taken as it is given."""
        pixels = torch.from_numpy(np.require(photograph.pixels, requirements='W'))
        level = self.gate.level(pixels.permute(2, 0, 1)[None])
        self._levels.append(level.item())
        kept = bool(self.gate.keeps(level))
        if kept:
            self._names.append(name)
        return kept

    def result(self, photograph: Photograph) -> Photograph:
        """Return a photograph as it is, with the bits of the results."""
        dtype = {None: photograph.pixels.dtype.type, 8: np.uint8, 16: np.uint16}[self.bits]
        alpha = photograph.alpha
        return replace(photograph, pixels=of_depth(photograph.pixels, dtype),
                       alpha=None if alpha is None else of_depth(alpha, dtype))

    def in_words(self) -> str:
        """Return which photographs are kept, and between which numbers the estimates of all of them are."""
        names = sorted(self._names)
        listed = f': {", ".join(names[:_SHOWN])}{", ..." if len(names) > _SHOWN else ""}' if names else ''
        found = [level for level in self._levels if np.isfinite(level)]
        told = ''
        if found:
            low, most, high = np.quantile(found, [0, 0.9, 1])
            told = f' Found: {low:.3g} to {high:.3g}, in nine of ten {most:.3g} or less.'
        return (f'Gate {self.gate}: {len(names)} of {how_many(len(self._levels), "photograph")} taken as given'
                f'{listed}.{told}')
