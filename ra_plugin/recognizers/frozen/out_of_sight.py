"""A module whose network is invisible to the modules around it, but moves with them."""
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ra_plugin.utils.warn import warn


class OutOfSight(nn.Module):
    """A module that holds networks, parameters and buffers where ``parameters()``, ``modules()``, ``apply()`` ... do
    not look.

    Thus no optimizer, initialization, ``requires_grad_(True)``, average of weights, DDP or checkpoint of a system
    reaches them, whatever walks over it. What moves or casts a system (``to()``, ``cuda()``, ``half()``), ``train()``,
    ``copy.deepcopy`` and pickle still reach them: a copy has a copy.

    While `trainable` is true, networks are registered as in any module. Others of this class always are: each hides its
    own network.

    This module itself gives the weights: its own ``state_dict()`` and ``load_state_dict()`` have them, the
    state dict of a module around it does not. In one that is loaded into such a module, as older versions saved it,
    they are passed over; a warning says where they differ from those here.
    """

    trainable = False

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, (nn.Module, nn.Parameter)) and not self.trainable and not _hides_its_own(value):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def register_buffer(self, name: str, tensor: torch.Tensor | None, persistent: bool = True) -> None:
        object.__setattr__(self, name, tensor)

    def hidden(self) -> dict[str, nn.Module]:
        """Return the hidden networks of this module, by attribute."""
        return {name: value for name, value in vars(self).items() if isinstance(value, nn.Module)}

    def networks(self) -> Iterator[nn.Module]:
        """Yield all networks within, hidden or registered, also those of modules of this class within."""
        for module in (*self.hidden().values(), *self.children()):
            for part in module if isinstance(module, nn.ModuleList) and _hides_its_own(module) else [module]:
                if isinstance(part, OutOfSight):
                    yield from part.networks()
                else:
                    yield part

    def show(self) -> None:
        """Register the hidden networks; call it once `trainable` is set."""
        for name, value in list(vars(self).items()):
            if isinstance(value, (nn.Module, nn.Parameter)):
                setattr(self, name, value)

    # ------------------------------------------------------------ moves and modes
    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> 'OutOfSight':
        super()._apply(fn, recurse)
        for module in self.hidden().values() if recurse else ():
            module._apply(fn)
        with torch.no_grad():
            for name, value in vars(self).items():
                if isinstance(value, nn.Parameter):
                    value.data = fn(value.data)
                elif isinstance(value, torch.Tensor):
                    vars(self)[name] = fn(value)
        return self

    def train(self, mode: bool = True) -> 'OutOfSight':
        for module in self.hidden().values():
            module.train(mode)
        return super().train(mode)

    def _replicate_for_data_parallel(self) -> nn.Module:
        if self.hidden():
            raise ValueError(f'{self}: DataParallel cannot copy a frozen recognizer to several GPUs. Use '
                             'DistributedDataParallel, or compute the loss outside of what it wraps.')
        return super()._replicate_for_data_parallel()

    # ------------------------------------------------------------ state dicts
    def state_dict(self, *args, **kwargs) -> dict[str, Any]:
        """Return the weights when this module itself is asked; nothing for a module around it."""
        state = super().state_dict(*args, **kwargs)
        if not args and kwargs.get('destination') is None:
            for prefix, network in self._named_hidden():
                network.state_dict(destination=state, prefix=f'{kwargs.get("prefix", "")}{prefix}',
                                   keep_vars=kwargs.get('keep_vars', False))
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load the result of `state_dict` of this module."""
        hidden = dict(self._named_hidden())
        own = {key: value for key, value in state_dict.items() if not key.startswith(tuple(hidden))}
        result = super().load_state_dict(own, strict, assign)
        for prefix, network in hidden.items():
            found = network.load_state_dict(_part(state_dict, prefix), strict, assign)
            result.missing_keys.extend(prefix + key for key in found.missing_keys)
            result.unexpected_keys.extend(prefix + key for key in found.unexpected_keys)
        return result

    def _named_hidden(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield each hidden network with the prefix of its keys."""
        for path, module in self.named_modules():
            if isinstance(module, OutOfSight):
                for name, network in module.hidden().items():
                    yield f'{path}.{name}.' if path else f'{name}.', network

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        for name, network in self.hidden().items():
            start = f'{prefix}{name}.'
            given = {key[len(start):]: state_dict.pop(key) for key in list(state_dict) if key.startswith(start)}
            if given and not _same(given, network.state_dict()):
                warn(f'{self}: the checkpoint has other weights under {start[:-1]} than this frozen recognizer, which '
                     'keeps its own. To take them, load them into the recognizer itself (recognizer.load_state_dict).')
        super()._load_from_state_dict(state_dict, prefix, *args)


def networks_within(module: nn.Module) -> Iterator[nn.Module]:
    """Yield a module, and all networks that are hidden in it."""
    yield module
    for part in module.modules():
        if isinstance(part, OutOfSight):
            yield from part.hidden().values()


def _hides_its_own(value: Any) -> bool:
    """True for a module of this class, or a list of such."""
    return isinstance(value, OutOfSight) or isinstance(value, nn.ModuleList) and all(map(_hides_its_own, value))


def _part(state_dict: Mapping[str, Any], prefix: str) -> OrderedDict[str, Any]:
    """Return the entries of a state dict below a prefix, with the versions that modules note in it."""
    part = OrderedDict((key[len(prefix):], value) for key, value in state_dict.items() if key.startswith(prefix))
    versions = getattr(state_dict, '_metadata', None)
    if versions is not None:
        vars(part)['_metadata'] = {f'{key}.'[len(prefix):-1]: value for key, value in versions.items()
                                   if f'{key}.'.startswith(prefix)}
    return part


def _same(given: Mapping[str, Any], own: Mapping[str, torch.Tensor]) -> bool:
    """True if both hold the same weights within the rounding of other machines."""
    return given.keys() == own.keys() and all(
        isinstance(value, torch.Tensor) and value.shape == own[key].shape
        and torch.allclose(value.detach().cpu().double(), own[key].cpu().double(), rtol=1e-4, atol=1e-6)
        for key, value in given.items())
