"""The key ``trainable`` in the block of a loss's recognizer: it learns together with what restores its images."""
from collections.abc import Mapping
from typing import Annotated, Any

from ra_plugin.options import OptionError, check_type
from ra_plugin.registry import RECOGNIZER_REGISTRY


def is_trainable(block: Any) -> bool:
    """True if the block of a recognizer says that it is to learn."""
    return isinstance(block, Mapping) and bool(block.get('trainable'))


def frozen(block: Any) -> Any:
    """Return the block without the key, for the recognizer before it learns; anything but a block is returned
    unchanged.
    """
    return {key: value for key, value in block.items() if key != 'trainable'} if isinstance(block, Mapping) else block


class _MayLearn:
    """Note in an annotation: the block of a recognizer, which may have the key ``trainable``."""

    kind = 'recognizer'

    def check(self, block: Mapping[str, Any], where: str) -> None:
        """Check the block of the recognizer as it is before it learns, and the key.

        Raises:
            OptionError: As `Registry.check`; or ``trainable`` is not true or false.
        """
        RECOGNIZER_REGISTRY.check(frozen(block), where)
        check_type(block.get('trainable'), bool | None, f'{where}.trainable')


LearnerBlock = Annotated[Mapping[str, Any], _MayLearn()]


def check_learner(loss: type, kind: type, loss_weight: float, gradient_checkpointing: bool, where: str,
                  is_shared: bool = True) -> None:
    """Check that a recognizer can learn from a loss, or that the loss can share one that learns from another.

    Args:
        loss: Class of the loss.
        kind: Class of the recognizer.
        loss_weight: Of the loss.
        gradient_checkpointing: Of the loss.
        where: The place of the loss, for messages.
        is_shared: Another loss may train the recognizer.

    Raises:
        OptionError: It cannot.
    """
    place = f'{where}.recognizer.trainable'
    teaches = loss.needs == 'label'
    if not teaches and loss.shares_learner and not is_shared:
        raise OptionError(f'{place}: {loss.__name__} does not train it. Give it the recognizer of the loss that does: '
                          'RecogLoss(...).recognizer.')
    if not teaches and not loss.shares_learner:
        raise OptionError(f'{place}: {loss.__name__} compares with the answers on clean images, which move as the '
                          'recognizer learns. Use RecogLoss.')
    if not kind.can_learn:
        raise OptionError(f'{place}: {kind.__name__} cannot learn. Expected a classifier of timm, torchvision or your '
                          'own (ModuleRecognizer).')
    if gradient_checkpointing:
        raise OptionError(f'{place}: gradient_checkpointing is for frozen recognizers. Leave one of them out.')
    if teaches and not loss_weight > 0:
        raise OptionError(f'{where}.loss_weight: expected a number > 0 for a trainable recognizer, got {loss_weight}.')
