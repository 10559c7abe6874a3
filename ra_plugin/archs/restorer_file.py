"""Files of restorers, whatever program made them: spandrel finds the architecture, and the result is written alike."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ra_plugin.checkpoint import load_file, read_metadata
from ra_plugin.state_dicts import Weights, candidates, listed, spellings
from ra_plugin.utils.atomic import written_aside
from ra_plugin.utils.optional import require
from ra_plugin.utils.text import how_many, one_line

_OF_VIDEOS = ('spynet.', 'pcd_align.', 'backward_trunk.', 'forward_trunk.', 'flow_net.')  # parts of such networks
_FACES_ALONE = 512  # side of the aligned faces that networks such as GFPGAN take; their minimum is their only size
_SHOWN = 3  # names of weights in a message


@dataclass(frozen=True)
class Layout:
    """Names and types with which a file stores the weights of a network.

    Attributes:
        names: Name in the network's state dict -> name in the file.
        dtypes: Name in the file -> dtype there.
        others: What the file has beside the network's weights, by name.
        metadata: Texts in the head of a safetensors file.
    """

    names: Mapping[str, str]
    dtypes: Mapping[str, torch.dtype]
    others: Weights = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def tensors(self, network: nn.Module) -> Weights:
        """Return the weights of the network as the file has them, on the CPU."""
        own = network.state_dict()
        found = {name: own[inner].to('cpu', self.dtypes[name]) for inner, name in self.names.items()}
        return {name: found.get(name, self.others.get(name)) for name in self.dtypes}


class _Copies(TorchFunctionMode):
    """Context that records which tensor is copied into which while a network takes its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.copy_ and len(args) > 1:
            self.pairs.append((args[0], args[1]))
        return func(*args, **(kwargs or {}))


def read_restorer(path: Path, where: str) -> tuple[Any, Layout]:
    """Return spandrel's descriptor of the network in a file, in float32 on the CPU, and the layout of the file.

    Args:
        path: ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors``, read by `load_file`: no code in it is executed. Of
            several sets of weights in it averaged ones come first.
        where: Name of the caller, for messages.

    Raises:
        ImportError: spandrel is not installed.
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, contains code or NaN, or no network that restores single images of any size.
    """
    spandrel = require('spandrel', where)
    in_file, weights, name = _detected(spandrel, load_file(path, where), path, where)
    broken = [key for key, value in in_file.items() if value.is_floating_point() and value.isnan().any()]
    if broken:
        raise ValueError(f'{where}: {path} contains NaN: {listed("with NaN", broken)}. Its training diverged: use an '
                         'earlier checkpoint.')
    with _Copies() as copies:
        try:
            descriptor = spandrel.ModelLoader().load_from_state_dict(dict(weights))
        except Exception as error:  # spandrel's architectures read sizes from names, and raise whatever comes
            raise ValueError(f'{where}: {path} looks like {name}, but its weights do not fit '
                             f'({type(error).__name__}: {one_line(error, 200)}).') from None
    if reason := _why_not(spandrel, descriptor):
        raise ValueError(f'{where}: {path} is {name}, {reason}')
    return descriptor, _layout(descriptor.model, in_file, copies, read_metadata(path))


def _layout(network: nn.Module, in_file: Weights, copies: '_Copies', metadata: Mapping[str, str]) -> Layout:
    keys = {id(value): key for key, value in in_file.items()}
    copied = {id(into): keys[id(value)] for into, value in copies.pairs if id(value) in keys}
    own = network.state_dict(keep_vars=True)
    names = {inner: copied[id(value)] for inner, value in own.items() if id(value) in copied}
    if any(isinstance(value, nn.Parameter) and inner not in names for inner, value in own.items()):
        # computed from what is in the file, which therefore cannot be written as it was
        dtype = next(value.dtype for value in in_file.values() if value.is_floating_point())
        return Layout({inner: inner for inner in own}, {inner: dtype if value.is_floating_point() else value.dtype
                                                        for inner, value in own.items()}, metadata=metadata)
    taken = set(names.values())
    return Layout(names, {key: value.dtype for key, value in in_file.items()},
                  {key: value for key, value in in_file.items() if key not in taken}, metadata)


def save_restorer(network: nn.Module, path: str | Path) -> None:
    """Write the weights of a restorer as safetensors: flat, for any program that opens such files.

    A `SpandrelNetwork` is written as its file was: the same names, dtypes (weights of half precision are trained in
    float32) and metadata; with spandrel's names where spandrel computes weights from those in the file. Other networks
    are written as they are.

    Args:
        network: The network itself, without a wrapper such as DistributedDataParallel.
        path: The file, which ends in ``.safetensors``.

    Raises:
        ValueError: The file has another ending.
    """
    path = Path(path)
    if path.suffix != '.safetensors':
        raise ValueError(f'save_restorer: expected a file that ends in .safetensors, got {path}.')
    layout = getattr(network, 'layout', None)
    weights = layout.tensors(network) if isinstance(layout, Layout) else network.state_dict()
    # copies: the format has no tensors that share memory
    flat = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in weights.items()}
    metadata = layout.metadata if isinstance(layout, Layout) else {}
    content = require('safetensors.torch', 'save_restorer').save(flat, {'format': 'pt', **metadata})
    with written_aside(path) as file:
        file.write(content)


def _detected(spandrel: Any, content: Any, path: Path, where: str) -> tuple[Weights, Weights, str]:
    """Return a set of weights by their names in the file and as spandrel knows them, and the architecture's name."""
    seen: list[Weights] = []
    for _, found in candidates(content):
        # views: each name has a tensor of its own, also where the file has one under two names
        in_file = {key: value.detach() for key, value in found.items()}
        seen.append(in_file)
        for weights in spellings(in_file):
            for known in spandrel.MAIN_REGISTRY.architectures('detection'):
                if known.detect(spandrel.canonicalize_state_dict(weights)):
                    return in_file, weights, known.architecture.name
    if not seen:
        raise ValueError(f'{where}: {path} has no weights.')
    raise ValueError(f'{where}: {path} {_unknown(seen[0], spandrel)}')


def _unknown(weights: Weights, spandrel: Any) -> str:
    if any(part in name for name in weights for part in _OF_VIDEOS):
        return 'is a network for videos. Recognition losses take single images: use a network for those.'
    first = ', '.join(list(weights)[:_SHOWN])
    return (f'is no restorer that spandrel {spandrel.__version__} knows ({how_many(len(weights), "weight")}: {first}, '
            '...). Of an architecture of BasicSR or your own, give its type in place of SpandrelNetwork. Of one with a '
            'restrictive licence: pip install spandrel_extra_arches, and name a module that calls '
            'spandrel_extra_arches.install() in custom_imports.')


def _why_not(spandrel: Any, descriptor: Any) -> str:
    """Return why a network cannot be used; '' if it can."""
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        return 'which fills holes: it takes a mask beside the image. Use a network that takes the image alone.'
    least = descriptor.size_requirements.minimum
    if descriptor.purpose == 'FaceSR' and least >= _FACES_ALONE:
        return (f'which takes aligned faces of {least}x{least} pixels, not images of any size. Use a network for '
                'restoration or super-resolution.')
    return ''
