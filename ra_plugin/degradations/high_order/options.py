"""Options of a stage of the high-order degradation, and the sets of constants."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from ra_plugin.options import CHANGE, Limits, OptionError

KERNELS = ('iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso')
RESIZES = ('up', 'down', 'keep')


@dataclass(frozen=True)
class Span:
    """Note in an annotation: ``[low, high]`` within limits.

    Attributes:
        least: Smallest ``low``.
        most: Largest ``high``.
        around: Number that is in the span; None for none.
        odd: Both have to be odd.
    """

    least: float
    most: float
    around: float | None = None
    odd: bool = False

    def check(self, value: Sequence[float], where: str) -> None:
        """Check a span.

        Raises:
            OptionError: It is not as described.
        """
        if len(value) == 2 and self.least <= value[0] <= value[1] <= self.most and (
                self.around is None or value[0] <= self.around <= value[1]) and (
                not self.odd or all(end % 2 for end in value)):
            return
        numbers = 'two odd numbers' if self.odd else 'two numbers'
        around = '' if self.around is None else f' with {self.around:g} between them'
        raise OptionError(f'{where}: expected [low, high], {numbers} from {self.least:g} to {self.most:g}{around}, '
                          f'got {list(value)}. {CHANGE}')


def draw(span: Sequence[float], rng: np.random.Generator) -> float:
    """Draw a number uniformly from ``[low, high]``."""
    return rng.uniform(span[0], span[1])


@dataclass(frozen=True)
class Shares:
    """Note in an annotation: the probabilities of things of which one is drawn.

    Attributes:
        of: Names of the things, in the order of the probabilities.
    """

    of: tuple[str, ...]

    def check(self, value: Sequence[float], where: str) -> None:
        """Check probabilities.

        Raises:
            OptionError: There are too many or too few, one is negative, or their sum is not 1.
        """
        if len(value) != len(self.of) or min(value) < 0 or abs(sum(value) - 1) > 1e-6:
            raise OptionError(f'{where}: expected {len(self.of)} probabilities with a sum of 1, of '
                              f'{", ".join(self.of)}, got {list(value)}. {CHANGE}')


Probability = Annotated[float, Limits(least=0, most=1, remedy=CHANGE)]
KernelSize = Annotated[Sequence[int], Span(3, 99, odd=True)]
Beta = Annotated[Sequence[float], Span(0.05, 20, around=1)]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Stage of the degradation: blur, resizing, noise, JPEG; the defaults are those of Real-ESRGAN's first.

    Numbers are drawn uniformly from ``[low, high]``. Keys are named as in Real-ESRGAN's option files.

    Attributes:
        blur_prob: Probability of a blur. Default of ``second``: 0.8.
        kernel_size: ``[smallest, largest]`` side of the blur kernel in pixels, odd.
        sinc_prob: Probability that the kernel is a sinc filter, which leaves ringing.
        kernel_prob: Probabilities of the other kernels: iso, aniso (Gaussian), generalized_iso, generalized_aniso,
            plateau_iso, plateau_aniso.
        blur_sigma: Standard deviation of these along each axis, in pixels. Default of ``second``: [0.2, 1.5].
        betag_range: Shape of the generalized Gaussian: half of the draws are below 1, half above. 1 is a Gaussian.
        betap_range: Shape of the plateau, drawn likewise.
        resize_prob: Probabilities to enlarge, shrink, or keep the size. Default of ``second``: [0.3, 0.4, 0.3].
        resize_range: ``[smallest, largest]`` factor of resizing, of the clean image's size; in ``second`` of the
            result's. Default of ``second``: [0.3, 1.2].
        gaussian_noise_prob: Probability of Gaussian noise; otherwise the noise is Poisson noise.
        noise_range: Standard deviation of Gaussian noise in levels of 255. Default of ``second``: [1, 25].
        poisson_scale_range: Factor on the Poisson noise. Default of ``second``: [0.05, 2.5].
        gray_noise_prob: Probability that the noise is equal in all channels.
        jpeg_range: Quality of JPEG compression, rounded to a whole number.
    """

    blur_prob: Probability = 1.0
    kernel_size: KernelSize = (7, 21)
    sinc_prob: Probability = 0.1
    kernel_prob: Annotated[Sequence[float], Shares(KERNELS)] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    blur_sigma: Annotated[Sequence[float], Span(0.05, 100)] = (0.2, 3.0)
    betag_range: Beta = (0.5, 4.0)
    betap_range: Beta = (1.0, 2.0)
    resize_prob: Annotated[Sequence[float], Shares(RESIZES)] = (0.2, 0.7, 0.1)
    resize_range: Annotated[Sequence[float], Span(0.01, 10, around=1)] = (0.15, 1.5)
    gaussian_noise_prob: Probability = 0.5
    noise_range: Annotated[Sequence[float], Span(0, 255)] = (1.0, 30.0)
    poisson_scale_range: Annotated[Sequence[float], Span(0, 100)] = (0.05, 3.0)
    gray_noise_prob: Probability = 0.4
    jpeg_range: Annotated[Sequence[float], Span(1, 100)] = (30.0, 95.0)


_SECOND = {'blur_prob': 0.8, 'blur_sigma': (0.2, 1.5), 'resize_prob': (0.3, 0.4, 0.3), 'resize_range': (0.3, 1.2),
           'noise_range': (1.0, 25.0), 'poisson_scale_range': (0.05, 2.5)}
# A result of scale 4 is a quarter as large: in its pixels, lengths of the clean image are a quarter, and the noise of
# the first stage is about half, as shrinking averages it.
_QUARTER = {'blur_sigma': (0.05, 0.75)}
_RESTORATION = {**_QUARTER, 'resize_range': (0.6, 1.5), 'noise_range': (1.0, 15.0), 'poisson_scale_range': (0.05, 1.5)}

# By name: what differs from the defaults of `Stage` in the first and in the second stage.
CONSTANTS: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    'real_esrgan': ({}, _SECOND),
    'restoration': (_RESTORATION, {**_SECOND, **_QUARTER}),
}
