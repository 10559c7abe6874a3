"""Image-quality metrics of pyiqa, such as LPIPS, DISTS and PieAPP: a value for each image, without gradients."""
import inspect
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypedDict

import numpy as np
import torch

from ra_plugin.option_types import FilePath
from ra_plugin.options import OptionError, suggestion
from ra_plugin.utils.optional import require
from ra_plugin.utils.text import one_line

_TRIED = 192  # pixels a side of the images that each metric is tried on; some are not defined for smaller ones
_FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'


class PyiqaOptions(TypedDict, total=False):
    """Arguments of a metric's class in pyiqa; those that name a file.

    Attributes:
        pretrained_model_path: File of the metric's weights. Default: those that pyiqa fetches.
    """

    pretrained_model_path: FilePath | None


class QualityMetric:
    """One of pyiqa's metrics, with a value for each image.

    It is built with all that it needs, and tried once: what cannot work shows before an evaluation begins.

    Args:
        name: As in ``pyiqa.list_models()``, e.g. ``'lpips'``.
        options: Arguments of its class in pyiqa, e.g. ``{'pretrained_model_path': 'lpips.pth'}``.
        device: Device of the metric; images are moved to it.
        where: Place in the option file, for messages.

    Attributes:
        better: ``'lower'`` or ``'higher'``, as pyiqa says.
        needs_reference: True if images are compared with clean ones.
        source: The version of pyiqa.

    Raises:
        OptionError: pyiqa has no such metric, not with these options, or it gives no value to each image.
        FileNotFoundError: Its weights are not on the disk and cannot be fetched.
        ImportError: pyiqa is not installed.
    """

    def __init__(self, name: str, options: Mapping[str, Any], device: torch.device | str = 'cpu',
                 where: str = 'QualityMetric'):
        pyiqa = require('pyiqa', where)
        known = pyiqa.list_models()
        if name not in known:
            raise OptionError(f"{where}: pyiqa has no metric '{name}'.{suggestion(name, known)} "
                              'Known: python -c "import pyiqa; print(pyiqa.list_models())"')
        try:
            with _no_code_in_weights():
                self.metric = pyiqa.create_metric(name, device=torch.device(device), **options)
        except OSError as error:
            raise FileNotFoundError(
                f"{where}: the weights of pyiqa's {name} are not on the disk and cannot be fetched "
                f'({one_line(error, 200)}). pyiqa looks below {torch.hub.get_dir()} (pyiqa, checkpoints). Run this '
                'once with a network, or copy that folder from a machine that has them.') from None
        except Exception as error:  # of any type
            raise OptionError(f'{where}: pyiqa cannot build {name}: {type(error).__name__}: '
                              f'{one_line(error, 200)}') from error
        _check_keys(self.metric.net, options, where)
        self.metric.requires_grad_(False)
        self.name, self.source = name, f'pyiqa {pyiqa.__version__}'
        self.better = 'lower' if self.metric.lower_better else 'higher'
        self.needs_reference = self.metric.metric_mode == 'FR'
        trial = torch.rand(2, 3, _TRIED, _TRIED, generator=torch.Generator().manual_seed(0))
        try:
            self._values(trial, trial.flip(-1))
        except Exception as error:  # likewise; FID, for example, takes folders
            raise OptionError(f'{where}: {name} gives no value to each image of a batch ({type(error).__name__}: '
                              f'{one_line(error, 200)}). Choose another of pyiqa.list_models().') from error

    def __call__(self, images: torch.Tensor, reference: torch.Tensor | None = None) -> np.ndarray:
        """Return the value of each image.

        Args:
            images: ``(N, 3, H, W)``, RGB, ``[0, 1]``.
            reference: The clean ones, likewise. Metrics without reference ignore them.

        Returns:
            ``(N,)`` float64; NaN, with a warning, where images are too small for the metric.
        """
        try:
            return self._values(images, reference)
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            height, width = images.shape[-2:]
            if min(height, width) >= _TRIED:
                raise
            warnings.warn(f'{self.name} is not defined for images of {width}x{height} pixels, and is NaN there '
                          f'({one_line(error, 200)}).', stacklevel=2)
            return np.full(len(images), np.nan)

    @torch.no_grad()
    def _values(self, images: torch.Tensor, reference: torch.Tensor | None) -> np.ndarray:
        given = [images]
        if self.needs_reference and reference is not None:
            given.append(reference)
        found = self.metric(*(part.contiguous() for part in given))  # some take views of nothing else
        values = found.reshape(-1).double().cpu().numpy()
        if len(values) != len(images):
            raise ValueError(f'{len(values)} values of {len(images)} images')
        return values


def _check_keys(network: torch.nn.Module, options: Mapping[str, Any], where: str) -> None:
    """Check the keys of a metric's options: many of pyiqa's classes take ``**kwargs`` and ignore a misspelled key."""
    known = [name for name, p in inspect.signature(type(network)).parameters.items() if p.kind is not p.VAR_KEYWORD]
    for key in options:
        if key not in known:
            raise OptionError(f"{where}: unknown key '{key}'.{suggestion(key, known)} Known: {', '.join(known)}")


@contextmanager
def _no_code_in_weights() -> Iterator[None]:
    """Keep ``torch.load`` from running code in weights files within the context; pyiqa would allow it."""
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = '1'
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before
