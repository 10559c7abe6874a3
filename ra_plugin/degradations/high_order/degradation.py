"""Two stages of blur, resizing, noise and JPEG, as a degradation; docs/REAL_WORLD.md has differences from BasicSR."""
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ra_plugin.degradations.base import Degradation, check_divisible, check_image, to_bytes
from ra_plugin.degradations.high_order.kernels import draw_final_sinc, draw_kernel
from ra_plugin.degradations.high_order.options import CONSTANTS, KernelSize, Probability, Stage
from ra_plugin.degradations.high_order.steps import add_noise, blur, compress, draw_factor, resize
from ra_plugin.option_types import Positive
from ra_plugin.options import build_block, check_value
from ra_plugin.registry import DEGRADATION_REGISTRY


@DEGRADATION_REGISTRY.register
class HighOrderDegradation(Degradation):
    """Real-world degradation of Real-ESRGAN (Wang et al., ICCVW 2021, arXiv:2107.10833), with an 8-bit result.

    Two stages of blur, resizing, noise and JPEG, with a last sinc filter before or after the second JPEG. All is drawn
    for each image. The content does not move, so boxes, masks and words stay valid.

    Args:
        scale: Factor by which height and width shrink, >= 1; it has to divide them.
        constants: Set of constants that ``first`` and ``second`` begin with: ``real_esrgan``, of its option files for
            scales 4 and 2, or ``restoration``, made for scale 1, where lengths in pixels of the clean image are those
            of the result. Default: ``restoration`` at scale 1, else ``real_esrgan``.
        first: Keys of the first stage that are to differ from the constants, e.g. ``{noise_range: [1, 15]}``.
        second: Keys of the second stage that are to differ.
        final_sinc_prob: Probability of the last sinc filter.
        final_kernel_size: ``[smallest, largest]`` side of its kernel in pixels, odd.
        final_jpeg_prob: Probability that the second JPEG comes last, after the resizing to the size of the result and
            the last sinc filter; otherwise it comes before them.
    """

    def __init__(self, scale: int, constants: Literal['real_esrgan', 'restoration'] | None = None,
                 first: Mapping[str, Any] | None = None, second: Mapping[str, Any] | None = None,
                 final_sinc_prob: Probability = 0.8, final_kernel_size: KernelSize = (7, 21),
                 final_jpeg_prob: Probability = 0.5):
        where = 'HighOrderDegradation'
        self.scale = check_value(scale, Positive, f'{where}.scale')
        constants = constants or ('restoration' if scale == 1 else 'real_esrgan')
        self.first, self.second = (
            build_block(Stage, {**preset, **(given or {})}, f'{where}.{name}')
            for name, preset, given in zip(('first', 'second'), CONSTANTS[constants], (first, second), strict=True))
        self.final_sinc_prob = check_value(final_sinc_prob, Probability, f'{where}.final_sinc_prob')
        self.final_kernel_size = check_value(final_kernel_size, KernelSize, f'{where}.final_kernel_size')
        self.final_jpeg_prob = check_value(final_jpeg_prob, Probability, f'{where}.final_jpeg_prob')

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the degraded image as uint8 ``(H / scale, W / scale, 3)``."""
        check_image(image, 'HighOrderDegradation')
        check_divisible(image, self.scale, 'HighOrderDegradation')
        height, width = image.shape[:2]
        image = image / np.float32(255) if image.dtype == np.uint8 else image
        image = self._stage(image, self.first, height, width, rng)
        image = compress(image, self.first.jpeg_range, rng)
        height, width = height // self.scale, width // self.scale
        image = self._stage(image, self.second, height, width, rng)
        is_jpeg_last = rng.random() < self.final_jpeg_prob
        if not is_jpeg_last:
            image = compress(image, self.second.jpeg_range, rng)
        image = resize(image, height, width, rng)
        if rng.random() < self.final_sinc_prob:
            image = blur(image, draw_final_sinc(self.final_kernel_size, rng))
        if is_jpeg_last:
            image = compress(image, self.second.jpeg_range, rng)
        return to_bytes(np.clip(image, 0, 1))

    @staticmethod
    def _stage(image: np.ndarray, stage: Stage, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """Return the image after blur, resizing to about ``height`` and ``width``, and noise."""
        if rng.random() < stage.blur_prob:
            image = blur(image, draw_kernel(stage, rng))
        factor = draw_factor(stage, rng)
        return add_noise(resize(image, height * factor, width * factor, rng), stage, rng)
