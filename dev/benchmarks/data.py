"""Benchmark of the data pipeline: images per second and core, and the time of each degradation."""
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ra_plugin.data.labeled_image_dataset import LabeledImageDataset
from ra_plugin.degradations import build_degradation
from ra_plugin.degradations.corruptions import CORRUPTIONS
from ra_plugin.report.markdown_table import table

_PAPER = {'no degradation': None, 'bicubic x4': {'type': 'BicubicDownsample', 'scale': 4},
          'noise': {'type': 'GaussianNoise', 'sigma': 0.1}, 'JPEG': {'type': 'JPEGCompression', 'quality': 10}}
_FILE_SIZE = 500, 375  # width and height of most files of ImageNet
_FILES = 4


def data_benchmark(root: Path, device: torch.device, rounds: int = 3, size: int = 224,
                   repeats: int = 10) -> tuple[dict[str, Any], str]:
    """Measure the milliseconds of one core per item of a `LabeledImageDataset` in training.

    An item is a JPEG file of 500x375 pixels, resized to a shorter side of 256, cropped, flipped and degraded.

    Args:
        root: Not used.
        device: Not used: data are prepared on the CPU.
        rounds: Number of measurements, on ``repeats`` images each.
        size: Side of the crop in pixels.
        repeats: Images per round.

    Returns:
        The figures, and a table of them.
    """
    degradations = {name: [block] for name, block in _PAPER.items()}
    degradations.update({name: [{'type': 'ImageNetC', 'corruption': name, 'severity': severity}
                                for severity in range(1, 6)] for name in CORRUPTIONS})
    image = _photograph((size, size))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            _write_files(Path(folder))
            rows = {name: _row(blocks, folder, image, rounds * repeats) for name, blocks in degradations.items()}
    finally:
        cv2.setNumThreads(threads)
    cells = [[name, ' '.join(f'{value:.1f}' for value in row['degradation_ms']), f'{row["item_ms"]:.1f}',
              f'{1000 / row["item_ms"]:.0f}'] for name, row in rows.items()]
    return {'size': size, 'rows': rows}, table([
        ['degradation', 'ms alone (severity 1 to 5)', 'ms per item (severity 5)', 'images/s per core'], *cells])


def _row(blocks: list, folder: str, image: np.ndarray, repeats: int) -> dict[str, Any]:
    """Return the milliseconds of a degradation at each of its strengths, and of a whole item at the last one."""
    alone = []
    for block in blocks:
        degradation = build_degradation(block, 'degradation')
        alone.append(_milliseconds(
            lambda i, degradation=degradation: degradation(image, np.random.default_rng(i)), repeats))
    data = LabeledImageDataset({'phase': 'train', 'dataroot_gt': folder, 'resize': 256, 'crop_size': len(image),
                                'use_hflip': True, 'degradation': blocks[-1]})
    return {'degradation_ms': alone, 'item_ms': _milliseconds(lambda i: data[i % _FILES], repeats)}


def _milliseconds(run: Callable[[int], object], repeats: int) -> float:
    """Return the median CPU time in milliseconds; the first call, which fills caches, is not counted."""
    times = []
    for i in range(repeats + 1):
        start = time.process_time()
        run(i)
        times.append((time.process_time() - start) * 1000)
    return float(np.median(times[1:]))


def _photograph(size: tuple[int, int]) -> np.ndarray:
    """Return a smooth, grainy image ``(H, W, 3)`` uint8; ``size`` is width and height."""
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.uniform(32, 224, (8, 8, 3)), size, interpolation=cv2.INTER_CUBIC)
    return (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)


def _write_files(folder: Path) -> None:
    (folder / 'class').mkdir()
    for i in range(_FILES):
        cv2.imwrite(str(folder / 'class' / f'{i}.jpg'), np.roll(_photograph(_FILE_SIZE), 50 * i, 1))
