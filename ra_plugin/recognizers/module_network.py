"""Networks by dotted path, with their weights and normalization."""
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ra_plugin.checkpoint import load_weights
from ra_plugin.library_errors import translated
from ra_plugin.options import suggestion
from ra_plugin.recognizers.further_arguments import built_with, check_further
from ra_plugin.recognizers.networks import copy_of
from ra_plugin.utils.optional import has_requirement, require
from ra_plugin.utils.text import shown
from ra_plugin.utils.warn import warn


def built_network(module: Any, arguments: Mapping[str, Any], checkpoint: str | None, pretrained: bool | None,
                  where: str) -> nn.Module:
    """Return a network from its class or a function, or a copy of one that is built already, with its weights.

    Args:
        module: ``package.module.Name``, or the network.
        arguments: Those of the class or function.
        checkpoint: File with the weights.
        pretrained: Without a checkpoint: the class or function loads weights of its own; None is warned of.
        where: Place in the options, for messages.

    Raises:
        ImportError: The path cannot be imported.
        TypeError: It leads to no network.
        ValueError: Options that do not go together, or a checkpoint that does not fit.
    """
    if arguments and not isinstance(module, str):
        raise ValueError(f'{where}: module_kwargs are for a dotted path; this module is built already.')
    if pretrained and checkpoint:
        raise ValueError(f'{where}: both pretrained and checkpoint are set. Keep one.')
    if isinstance(module, str):
        maker = import_name(module, where)
        place = f'{where}: module_kwargs'
        check_further(arguments, {}, place)
        with translated(where), built_with(arguments, place):
            model = maker(**arguments)
    else:
        model = copy_of(module, where) if isinstance(module, nn.Module) else module
    if not isinstance(model, nn.Module):
        raise TypeError(f'{where}: expected an nn.Module, got {type(model).__name__}.')
    if checkpoint:
        load_weights(model, checkpoint, where)
    elif isinstance(module, str) and pretrained is None:
        warn(f'{where}: no checkpoint, so random weights unless {module} loads some. Set checkpoint: FILE; or '
             'pretrained: true if it does, false if random weights are meant.')
    return model


def normalization(mean: Sequence[float] | None, std: Sequence[float] | None, where: str,
                  ) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Return mean and std as three numbers each, and the error if the network does not take one channel ('': it may).

    Raises:
        ValueError: They are not three numbers each, nor one each.
    """
    given: list[Any] = [mean, std]
    problem = (f'{where}: mean and std: expected three numbers each, std positive, got {shown(given[0])} and '
               f'{shown(given[1])}. Give those the network was trained with ([0, 0, 0] and [1, 1, 1] for none).')
    is_gray = all(_numbers(value, 1) for value in given)
    if not is_gray and not all(_numbers(value, 3) for value in given) or min(given[1]) <= 0:
        raise ValueError(problem)
    means, stds = (tuple(value) * 3 if is_gray else tuple(value) for value in given)
    return means, stds, problem if is_gray else ''


def _numbers(value: Any, count: int) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == count and all(isinstance(v, (int, float)) for v in value)


def import_name(path: str, where: str) -> Any:
    """Return the object at ``package.module.Name``.

    Raises:
        ImportError: With the part that does not exist.
    """
    module_name, _, name = path.rpartition('.')
    if not module_name:
        raise ImportError(f"{where}: module: expected 'package.module.Name', got {path!r}.")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not f'{module_name}.'.startswith(f'{error.name}.'):
            raise  # it is there; something that it imports is not
        if has_requirement(str(error.name)):
            require(str(error.name), where)  # says how to install it
        raise ImportError(f"{where}: module: no module '{error.name}'. Is its folder on PYTHONPATH?") from None
    if not hasattr(module, name):
        raise ImportError(f"{where}: {module_name} has no '{name}'.{suggestion(name, dir(module))}")
    return getattr(module, name)
