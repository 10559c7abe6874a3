"""The project's degradations as a transform: a data set of clean images is degraded as it is read."""
from collections.abc import Mapping

import numpy as np

from ra_plugin.degradations import build_degradation
from ra_plugin.mm.loaded_image import get_rgb, put_rgb
from ra_plugin.options import check_arguments


class DegradeImage:
    """A degraded version of the image; the same image of a data set gets the same noise in every run and epoch.

    Put it right after ``LoadImageFromFile``, and ``RestoreImage`` after it. An image whose size the scale does not
    divide is first extended by repeating its last row and column, and ``RestoreImage`` cuts the extension off again:
    annotations need no change. (The project's own data sets cut off what is over, and their labels with it.)

    ``ori_shape`` stays the shape of the clean image, which is the grid of the annotations; ``clean_shape`` says so to
    ``RestoreImage``. Without the latter, ``ScaleToOriShape`` lets mmdet predict on that grid.

    Args:
        degradation: Block as in an option file, e.g. ``dict(type='BicubicDownsample', scale=4)``.
        seed: Of the noise. Image ``i`` of a data set draws from ``numpy.random.default_rng((seed, i))``, as in the
            project's own data sets. Default: 0.

    Shape:
        BGR ``(H, W, 3)`` in ``[0, 255]``, uint8 or float32, to ``(ceil(H / scale), ceil(W / scale), 3)``: float32
        where the degradation does not round (``GaussianNoise``), else uint8 for uint8.
    """

    def __init__(self, degradation: Mapping, seed: int = 0):
        check_arguments(type(self), {'degradation': degradation, 'seed': seed}, 'DegradeImage')
        self.degradation = build_degradation(degradation, 'DegradeImage.degradation')
        self.seed = seed

    def __call__(self, results: dict) -> dict:
        image = get_rgb(results, 'DegradeImage')
        height, width = results['clean_shape'] = image.shape[:2]
        scale = self.degradation.scale
        image = np.pad(image, ((0, -height % scale), (0, -width % scale), (0, 0)), mode='edge')
        if image.dtype != np.uint8:
            image = np.clip(image / np.float32(255), 0, 1)
        image = self.degradation(image, np.random.default_rng((self.seed, results.get('sample_idx', 0))))
        return put_rgb(results, image if image.dtype == np.uint8 else image * np.float32(255))
