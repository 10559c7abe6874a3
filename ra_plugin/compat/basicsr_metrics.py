"""BasicSR's metrics of image quality of images that are too small for them: no value and a warning, no exception."""
import inspect
import warnings
from typing import Any

import numpy as np
from basicsr.metrics import niqe, psnr_ssim
from basicsr.utils.registry import METRIC_REGISTRY

from ra_plugin.compat.patching import replace

_SSIM_WINDOW = 11  # pixels a side; only places where all of it fits count
_NIQE_BLOCK = 96  # pixels a side; the covariance over blocks takes two of them


def small_images() -> None:
    """PSNR, SSIM and NIQE raise, or give NaN without a word, where nothing is left within ``crop_border``.

    Which exception it is depends on the version of opencv; it ends a training in its first validation. Images that are
    large enough are measured as before. BasicSR looks a metric up by name when it is asked for, so every model has it.
    """
    for module, name in ((psnr_ssim, 'calculate_psnr'), (psnr_ssim, 'calculate_ssim'), (niqe, 'calculate_niqe')):
        measured = _measured(module, name)
        METRIC_REGISTRY._obj_map[name] = measured  # the registry refuses a second one of a name


def _measured(module: Any, name: str) -> Any:
    parameters = inspect.signature(getattr(module, name)).parameters

    @replace(module, name)
    def measured(original, *args, **kwargs):
        given = {**dict(zip(parameters, args)), **kwargs}
        image, border = np.asarray(given['img']), given['crop_border']
        height, width = image.shape[-2:] if given.get('input_order') == 'CHW' else image.shape[:2]
        if _is_large_enough(name, height - 2 * border, width - 2 * border):
            return original(*args, **kwargs)
        warnings.warn(f'{name} is not defined for images of {width}x{height} pixels with crop_border {border}; they '
                      'have no value.')
        return float('nan')

    return measured


def _is_large_enough(name: str, height: int, width: int) -> bool:
    if name == 'calculate_niqe':
        return (max(height, 0) // _NIQE_BLOCK) * (max(width, 0) // _NIQE_BLOCK) >= 2
    return min(height, width) >= (_SSIM_WINDOW if name == 'calculate_ssim' else 1)
