"""Recognition-aware image restoration: losses of frozen recognizers for restoration networks (arXiv:1910.09185).

Names are imported when they are first used. ``import ra_plugin.basicsr`` patches BasicSR and registers the losses, the
model, the data sets and the architectures in it; the losses need no BasicSR.
"""
import importlib
from typing import TYPE_CHECKING, Any

from ra_plugin.compat import basicsr_first, mmcv_imports
from ra_plugin.version import __version__

if TYPE_CHECKING:
    from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
    from ra_plugin.recognizers import Recognizer, build_recognizer

__all__ = ['RecogConsistencyLoss', 'RecogFeatureLoss', 'RecogLoss', 'Recognizer', '__version__', 'build_recognizer']

_HOME = {'RecogConsistencyLoss': 'losses', 'RecogFeatureLoss': 'losses', 'RecogLoss': 'losses',
         'Recognizer': 'recognizers', 'build_recognizer': 'recognizers'}

basicsr_first.apply()
mmcv_imports.apply()  # costs nothing until mmcv's operators are imported and missing


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    found = getattr(importlib.import_module(f'{__name__}.{_HOME[name]}'), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
