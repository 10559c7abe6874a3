"""A metric for BasicSR's ``val.metrics``: any of pyiqa's, e.g. ``{type: calculate_pyiqa, metric: lpips}``."""
import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ra_plugin.metrics.pyiqa_metrics import QualityMetric
from ra_plugin.option_types import FilePath
from ra_plugin.options import OptionError


def calculate_pyiqa(img: np.ndarray, img2: np.ndarray | None = None, *, metric: str, crop_border: int = 0,
                    better: str | None = None, pretrained_model_path: FilePath | None = None,
                    **options: Any) -> float:
    """Return the value of one image.

    Args:
        img: Restored image as BasicSR has it: ``(H, W, 3)`` BGR or ``(H, W)``, uint8.
        img2: Clean image in the same form; None where there is none.
        metric: As in ``pyiqa.list_models()``.
        crop_border: Pixels at each side that are left out.
        better: ``'higher'`` or ``'lower'``: for BasicSR, which tracks the best value. Default: as pyiqa says.
        pretrained_model_path: File of the metric's weights. Default: those that pyiqa fetches.
        options: Further arguments of the metric's class in pyiqa.
    """
    if pretrained_model_path is not None:
        options['pretrained_model_path'] = pretrained_model_path
    device = 'cuda' if torch.cuda.is_initialized() else 'cpu'  # where the run is: num_gpu may be 0 beside a GPU
    measure = _built(metric, json.dumps(options, sort_keys=True), device)
    if img2 is None and measure.needs_reference:
        raise OptionError(f'val.metrics: {metric} compares with clean images, and the data set gives none.')
    clean = None if img2 is None else _as_tensor(img2, crop_border)
    return float(measure(_as_tensor(img, crop_border), clean)[0])


def check_pyiqa(block: Mapping[str, Any], where: str) -> str:
    """Build the metric of an option block, so that missing packages or weights show before a run.

    Returns:
        ``'lower'`` or ``'higher'``: what is better.

    Raises:
        OptionError, FileNotFoundError, ImportError: As `QualityMetric`.
    """
    if not isinstance(block.get('metric'), str):
        raise OptionError(f"{where}.metric: expected the name of one of pyiqa's metrics, e.g. lpips, "
                          f'got {block.get("metric")!r}.')
    options = {key: value for key, value in block.items() if key not in ('type', 'metric', 'crop_border', 'better')}
    return QualityMetric(block['metric'], options, where=where).better


@functools.cache
def _built(metric: str, options: str, device: str) -> QualityMetric:
    return QualityMetric(metric, json.loads(options), device, 'calculate_pyiqa')


def _as_tensor(image: np.ndarray, crop_border: int) -> torch.Tensor:
    """Return ``(1, 3, H, W)``, RGB, ``[0, 1]``."""
    height, width = image.shape[:2]
    image = image.reshape(height, width, -1)[crop_border:height - crop_border, crop_border:width - crop_border, ::-1]
    tensor = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None] / 255
    return tensor.expand(-1, 3, -1, -1)  # gray, three times
