"""Run a program of traiNNer-redux with the recognition losses: python -m ra_plugin.hosts.trainner_redux train.py ...

In a checkout of traiNNer-redux, which stays as it is. The words after the program are its own.
"""
import importlib
import os
import runpy
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ra_plugin.compat.trainner_redux import after_building, before_each_batch
from ra_plugin.data.class_check import check_classes
from ra_plugin.hosts.redux_labels import ImageLabels, check_labels_last
from ra_plugin.hosts.redux_losses import LOSSES, RecogLoss, ReduxLoss
from ra_plugin.library_errors import is_worded
from ra_plugin.options import OptionError
from ra_plugin.utils.text import one_line

_USAGE = 'usage: python -m ra_plugin.hosts.trainner_redux train.py -opt FILE.yml, in a checkout of traiNNer-redux'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program that the first argument names; return the exit status.

    An error of this package is printed as one line, and the status is 2; ``RA_PLUGIN_DEBUG=1`` shows the traceback.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ('-h', '--help'):
        print(_USAGE, file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    sys.argv[:] = words  # traiNNer-redux reads its name, too, as it is imported
    sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
    try:
        if not os.path.isfile(words[0]):
            raise OptionError(f"no program '{words[0]}'. {_USAGE}")
        register()
        runpy.run_path(words[0], run_name='__main__')
    except Exception as error:
        if os.environ.get('RA_PLUGIN_DEBUG') or not is_worded(error):
            raise
        print(f'ra_plugin.hosts.trainner_redux: {one_line(error)}', file=sys.stderr)
        return 2
    return 0


def register() -> None:
    """Register the losses, and connect them with the models that are built."""
    try:
        registry = importlib.import_module('traiNNer.utils.registry').LOSS_REGISTRY
        models = importlib.import_module('traiNNer.models')
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] != 'traiNNer':
            raise ImportError(f'traiNNer-redux needs {error.name}, which is not installed. Install what its '
                              'pyproject.toml lists.') from None
        raise ImportError(f'no package traiNNer beside the program. {_USAGE}') from None
    for loss in LOSSES:
        registry.register(loss)
    after_building(models, connect)


def connect(model: Any) -> None:
    """Check how a model uses the losses, and give those with labels the labels of its batches.

    Args:
        model: traiNNer-redux's, once it is built.

    Raises:
        OptionError: A loss is there twice, images are normalized, or labels do not fit the data or the recognizer.
    """
    own = [loss for loss in getattr(model, 'losses', {}).values() if isinstance(loss, ReduxLoss)]
    if not own:
        return
    _check_once_each(model.opt.train.losses)
    data = model.opt.datasets['train']
    if data.mean is not None or data.std is not None:
        raise OptionError('datasets.train: mean and std: expected none, as recognizers take RGB in [0, 1] and '
                          'normalize it. Remove them.')
    for loss in own:
        if isinstance(loss, RecogLoss):
            check_labels_last(model.opt, loss.where)
            roots = [data.dataroot_gt] if isinstance(data.dataroot_gt, str) else data.dataroot_gt
            loss.labels = ImageLabels(loss.options, roots, data.meta_info, loss.where)
            check_classes(loss.labels, [loss.loss.recognizer], f'{loss.where}.labels')
            before_each_batch(model, loss.take)


def _check_once_each(blocks: Sequence[dict[str, Any]]) -> None:
    """Check that no loss is listed twice: of those of one type traiNNer-redux uses the last alone."""
    count = Counter(str(block['type']).lower() for block in blocks if float(block['loss_weight']))
    for loss in LOSSES:
        if count[loss.__name__.lower()] > 1:
            raise OptionError(f'train.losses: expected one {loss.__name__}, got {count[loss.__name__.lower()]}: '
                              'traiNNer-redux keeps the last of a type alone. Give one of them an EnsembleRecognizer.')


if __name__ == '__main__':
    sys.exit(main())
