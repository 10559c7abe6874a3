"""The key ``trainable`` in the block of a loss's recognizer: it learns together with what restores its images."""
from collections.abc import Mapping
from typing import Any

from ra_plugin.options import OptionError


def is_trainable(block: Any) -> bool:
    """True if the block of a recognizer says that it is to learn."""
    return isinstance(block, Mapping) and bool(block.get('trainable'))


def frozen(block: Any) -> Any:
    """Return the block without the key, for the recognizer before it learns; anything but a block is returned
    unchanged.
    """
    return {key: value for key, value in block.items() if key != 'trainable'} if isinstance(block, Mapping) else block


def check_trainable(kind: type, loss: type, where: str) -> None:
    """Check that a recognizer of this class can learn from a loss of that class.

    Raises:
        OptionError: It cannot.
    """
    if loss.needs != 'label':
        raise OptionError(f'{where}.trainable: {loss.__name__} compares with the answers on clean images, which move '
                          'as the recognizer learns. Use RecogLoss.')
    if not kind.can_learn:
        raise OptionError(f'{where}.trainable: {kind.__name__} cannot learn. Expected a classifier of timm, '
                          'torchvision or your own (ModuleRecognizer).')
