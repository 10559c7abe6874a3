"""Check the block ``train.anchor_opt``, and what it needs in the rest of an option file."""
import inspect
from collections.abc import Mapping
from typing import Any

from basicsr.utils.registry import LOSS_REGISTRY

from ra_plugin.builders.built_blocks import check_loss
from ra_plugin.builders.networks import registered
from ra_plugin.models.anchor import AnchorOptions
from ra_plugin.options import OptionError, build_block

_WHERE = 'train.anchor_opt'
_ELSE = {'gt': 'For the clean image use train.pixel_opt.', 'output': 'It is the input of T: add network_t.'}


class AnchorBlock:
    """Note in an annotation: the block of an anchor."""

    kind = 'pixel loss, and what to stay near'

    def check(self, block: Mapping[str, Any], where: str) -> None:
        """Check the block: its own keys, and those of its loss.

        Raises:
            OptionError: No such loss, one that does not compare two images, or arguments that it does not take.
        """
        if block.get('to') == 'lq':
            raise OptionError(f'{where}.to: expected output, gt or start, got lq: the degraded image is what network_g '
                              'restores. The input of network_t is the image of network_g: write output.')
        build_block(AnchorOptions, {key: block[key] for key in ('type', 'to') if key in block}, where)
        kind = registered(LOSS_REGISTRY, block['type'], f'{where}.type', 'loss')
        takes = list(inspect.signature(getattr(kind, 'forward', kind)).parameters)
        if takes[1:3] != ['pred', 'target']:  # the names that BasicSR's pixel losses have
            raise OptionError(f'{where}.type: expected a loss of two images, got {block["type"]}. Use MSELoss, L1Loss '
                              'or CharbonnierLoss.')
        check_loss(kind, {key: value for key, value in block.items() if key != 'to'}, where)
        if block.get('reduction') == 'none':
            raise OptionError(f'{where}.reduction: training needs one number. Use mean or sum.')


def check_anchor(opt: Mapping[str, Any], block: Mapping[str, Any] | None, has_recognition_loss: bool) -> None:
    """Check what goes with ``train.anchor_opt``.

    Raises:
        OptionError: There is no recognition loss, or nothing of the kind that the images are to stay near.
    """
    if not block or not opt.get('is_train'):
        return
    if not has_recognition_loss:
        raise OptionError(f'{_WHERE}: there is no recognition loss that would move the images away. Add '
                          'train.recog_opt, or use train.pixel_opt.')
    to, has_t = block['to'], bool(opt.get('network_t'))
    if has_t and to == 'start':
        raise OptionError(f'{_WHERE}.to: expected output or gt for the images of network_t, got start: that network '
                          'starts from output. Write output.')
    if not has_t and to != 'start':
        raise OptionError(f'{_WHERE}.to: expected start for the images of network_g, got {to}. {_ELSE[to]}')
    if to == 'start' and starts_at_random(opt):
        raise OptionError(f'{_WHERE}.to: start is the network that the training starts from, which has random weights '
                          'here. Set path.pretrain_network_g to a trained one.')


def starts_at_random(opt: Mapping[str, Any]) -> bool:
    """Return whether ``network_g`` has no trained weights to start from."""
    return not (opt.get('path') or {}).get('pretrain_network_g') and not opt['network_g'].get('checkpoint')
