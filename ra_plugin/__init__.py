"""Recognition-aware training for BasicSR: restored images that machines recognize better (arXiv:1910.09185).

Importing this package mends what an old BasicSR breaks on current libraries and registers the recognition losses,
``RecogAwareModel``, the labeled data set and the architectures in it. Without BasicSR the losses work alone.
"""
from ra_plugin import compat
from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.recognizers import Recognizer, build_recognizer
from ra_plugin.version import __version__

__all__ = [
    'RecogConsistencyLoss', 'RecogFeatureLoss', 'RecogLoss', 'Recognizer', '__version__', 'build_recognizer'
]

if compat.apply():  # BasicSR is installed
    from ra_plugin.register import register_in_basicsr
    register_in_basicsr()
