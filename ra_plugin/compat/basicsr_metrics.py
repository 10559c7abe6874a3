"""Patch of BasicSR's image quality metrics: NaN and a warning, not an exception, for images that are too small."""
import inspect
import warnings
from typing import Any

import numpy as np
from basicsr.metrics import niqe, psnr_ssim
from basicsr.utils.registry import METRIC_REGISTRY

from ra_plugin.compat.patching import replace

_SSIM_WINDOW = 11  # side in pixels; only positions where the whole window fits are counted
_NIQE_BLOCK = 96  # side in pixels; the covariance over blocks needs two of them


def small_images() -> None:
    """Make PSNR, SSIM and NIQE return NaN with a warning for images that are too small within ``crop_border``.

    Otherwise they raise (the exception depends on the version of opencv, and ends a training in its first validation)
    or return NaN silently. Results for larger images are unchanged. BasicSR looks metrics up by name when they are
    used, so all models use the patch.
    """
    for module, name in ((psnr_ssim, 'calculate_psnr'), (psnr_ssim, 'calculate_ssim'), (niqe, 'calculate_niqe')):
        measured = _measured(module, name)
        METRIC_REGISTRY._obj_map[name] = measured  # register() rejects a name that exists


def _measured(module: Any, name: str) -> Any:
    parameters = inspect.signature(getattr(module, name)).parameters

    @replace(module, name)
    def measured(original, *args, **kwargs):
        given = {**dict(zip(parameters, args, strict=False)), **kwargs}
        image, border = np.asarray(given['img']), given['crop_border']
        height, width = image.shape[-2:] if given.get('input_order') == 'CHW' else image.shape[:2]
        if _is_large_enough(name, height - 2 * border, width - 2 * border):
            return original(*args, **kwargs)
        warnings.warn(f'{name} is not defined for images of {width}x{height} pixels with crop_border {border}; '
                      'returning NaN.', stacklevel=3)
        return float('nan')

    return measured


def _is_large_enough(name: str, height: int, width: int) -> bool:
    if name == 'calculate_niqe':
        return (max(height, 0) // _NIQE_BLOCK) * (max(width, 0) // _NIQE_BLOCK) >= 2
    return min(height, width) >= (_SSIM_WINDOW if name == 'calculate_ssim' else 1)
