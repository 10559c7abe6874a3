"""Look up and check blocks of BasicSR's registries, and build networks for inference."""
from collections.abc import Mapping
from typing import Any

from basicsr.models.swinir_model import SwinIRModel
from basicsr.utils import registry
from torch import nn

from ra_plugin.archs import SpandrelNetwork
from ra_plugin.builders.block_classes import SUFFIX, registered_entry
from ra_plugin.checkpoint import load_weights
from ra_plugin.library_errors import translated
from ra_plugin.models.own_validation import has_own_validation
from ra_plugin.options import OptionError, check_arguments, type_of, unknown
from ra_plugin.type_hints import OF_A_TYPE
from ra_plugin.utils.text import how_many, shown


def registered(target: registry.Registry, name: Any, where: str, kind: str) -> Any:
    """Return what a registry of BasicSR's has under a name.

    Raises:
        OptionError: There is no such name; the message has the nearest one.
    """
    entry = registered_entry(target, name)
    if entry is not None:
        return entry
    known = sorted({key.removesuffix(SUFFIX) for key, _ in target})
    raise unknown(kind, name, known, where, 'Registered')


def check_network(block: Any, where: str) -> type:
    """Check the block of a network, as ``network_g`` in an option file, and return its class.

    Raises:
        OptionError: No such architecture, or arguments that it does not take.
    """
    if not isinstance(block, Mapping):
        raise OptionError(f'{where}: expected a block with a type, got {shown(block)}. Write {OF_A_TYPE}.')
    cls = registered(registry.ARCH_REGISTRY, type_of(block, where), f'{where}.type', 'architecture')
    check_arguments(cls, _arguments(block), where)
    return cls


def dataset_class(block: Mapping[str, Any], where: str) -> type:
    """Return the class of a data set's block.

    Raises:
        OptionError: There is none of that name.
    """
    return registered(registry.DATASET_REGISTRY, block.get('type'), f'{where}.type', 'data set')


def pads_to_window(run: Mapping[str, Any]) -> bool:
    """Return True if the model class of a run's option file pads images to ``window_size`` in its validation."""
    name = run.get('base_model_type') or run.get('model_type')
    kind = registered_entry(registry.MODEL_REGISTRY, name)
    return isinstance(kind, type) and (issubclass(kind, SwinIRModel) or has_own_validation(kind))


def place_of_block(error: BaseException, opt: Mapping[str, Any]) -> str | None:
    """Return the place of the network or loss that BasicSR was building when an error was raised; None for neither."""
    traceback = error.__traceback__
    while traceback is not None:
        code, names = traceback.tb_frame.f_code, traceback.tb_frame.f_locals
        if traceback.tb_frame.f_globals.get('__name__') in ('basicsr.archs', 'basicsr.losses') and code.co_name in (
                'build_network', 'build_loss'):
            kind = names.get('network_type') or names.get('loss_type')
            blocks = [*opt.items(), *((f'train.{key}', block) for key, block in (opt.get('train') or {}).items())]
            return next((f'{place}: {kind}' for place, block in blocks
                         if isinstance(block, Mapping) and block.get('type') == kind), f'{kind}')
        traceback = traceback.tb_next
    return None


def trained_network(block: Mapping, checkpoint: str | None, where: str) -> nn.Module:
    """Build a network for inference, with its weights.

    Raises:
        OptionError: As `check_network`, or weights without a checkpoint.
        ValueError: The checkpoint does not fit.
    """
    cls = check_network(block, where)
    with translated(f'{where}: {block["type"]}'):
        network = cls(**_arguments(block))
    if checkpoint is not None:
        load_weights(network, checkpoint, f'{where}: checkpoint')
    elif network.state_dict() and not isinstance(network, SpandrelNetwork):  # which has those of its file
        raise OptionError(f'{where}: {block["type"]} would restore with random weights. Give the checkpoint of trained '
                          'ones, e.g. experiments/NAME/models/net_g_latest.pth.')
    return network.eval().requires_grad_(False)


def check_color(network: nn.Module, where: str, remedy: str) -> None:
    """Check that a network takes the RGB images that it will be given.

    Raises:
        OptionError: Its first convolution takes one channel; or its file says that it takes others.
    """
    if isinstance(network, SpandrelNetwork):
        if network.input_channels != 3:
            raise OptionError(f'{where}: the network takes images of '
                              f'{how_many(network.input_channels, "channel")}, and is given RGB. {remedy}')
        return
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    if first is not None and first.in_channels == 1:
        raise OptionError(f'{where}: the network takes images of one channel, and is given RGB. {remedy}')


def check_scale(network: nn.Module, scale: int | None, where: str) -> None:
    """Check that a network enlarges as much as the data say; it can be asked of those in a file alone.

    Args:
        network: The network itself, without a wrapper.
        scale: How much larger the clean images are. None: as large.
        where: Its place in the options.

    Raises:
        OptionError: It enlarges otherwise.
    """
    wanted = scale or 1
    if isinstance(network, SpandrelNetwork) and network.scale != wanted:
        raise OptionError(f'{where}: expected a network of scale {wanted}, as the option scale says, got one of scale '
                          f'{network.scale} ({network.architecture}, {network.checkpoint}). Set scale: {network.scale} '
                          'or use another file.')


def _arguments(block: Mapping) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key != 'type'}
