"""Transform that degrades the clean images of a data set on the fly with this project's degradations."""
from collections.abc import Mapping

import numpy as np

from ra_plugin.degradations import build_degradation
from ra_plugin.mm.loaded_image import get_rgb, put_rgb
from ra_plugin.options import check_arguments


class DegradeImage:
    """Degradation of the image; the same image of a data set has the same noise in all runs and epochs.

    Put it directly after ``LoadImageFromFile``, and ``RestoreImage`` after it. An image whose size is not divisible by
    the scale is first padded by repeating its last row and column, and ``RestoreImage`` removes the padding, so that
    annotations need no change. (The project's own data sets crop the image and its labels instead.)

    ``ori_shape`` stays the shape of the clean image, to which the annotations refer; ``clean_shape`` passes it on to
    ``RestoreImage``. Without ``RestoreImage``, use ``ScaleToOriShape`` so that mmdet predicts at that size.

    Args:
        degradation: Option block, e.g. ``dict(type='BicubicDownsample', scale=4)``.
        seed: Seed of the noise. Image ``i`` of a data set uses ``numpy.random.default_rng((seed, i))``, as in the
            project's own data sets. Default: 0.

    Shape:
        BGR ``(H, W, 3)`` in ``[0, 255]``, uint8 or float32, to ``(ceil(H / scale), ceil(W / scale), 3)``: float32 if
        the degradation does not round (``GaussianNoise``), otherwise uint8 for uint8.
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
