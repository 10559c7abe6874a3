"""Networks of torchvision by name: their task, their weights, and the record of these."""
import contextlib
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ra_plugin.checkpoint import load_file
from ra_plugin.library_errors import translated
from ra_plugin.options import OptionError, suggestion
from ra_plugin.recognizers.further_arguments import built_with, check_annotated, check_further
from ra_plugin.state_dicts import load_fitting
from ra_plugin.utils.optional import require

_OWN: dict[str, str] = dict.fromkeys(
    ('weights', 'name'), "is the recognizer's own key. Set it there, beside model_kwargs.")
# Published weights whose frozen batch norms had no eps while they were trained: torchvision takes it away after it has
# fetched them.
_WITHOUT_EPS = {f'{name}_resnet50_fpn' for name in ('fasterrcnn', 'maskrcnn', 'keypointrcnn', 'retinanet')}
# Names of detectors' parameters in older versions, in which the weights of 2020 and 2021 were published -> names now.
_OLD_NAMES = [(re.compile(old), new) for old, new in (
    (r'\b(inner|layer)_blocks\.(\d+)\.(weight|bias)$', r'\1_blocks.\2.0.\3'),
    (r'\brpn\.head\.conv\.(weight|bias)$', r'rpn.head.conv.0.0.\1'),
    *((rf'\bmask_head\.mask_fcn{i + 1}\.', f'mask_head.{i}.0.') for i in range(4)))]
_OLD_NAMES_OF_RETINANET = [(re.compile(rf'_head\.conv\.{2 * i}\.(weight|bias)$'), rf'_head.conv.{i}.0.\1')
                           for i in range(4)]


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights.

    Attributes:
        model: The network.
        arguments: Further arguments that it was built with, those of the user.
        record: Member of torchvision's enumeration of its weights; for weights that are not torchvision's, of those
            that it has for this architecture.
        published: Name of torchvision's own weights that it has, also where they came as a checkpoint; else None.
        source: Origin of the weights.
        is_checkpoint: They came as a file.
    """

    model: Any
    arguments: Mapping[str, Any]
    record: Any
    published: str | None
    source: str
    is_checkpoint: bool


def task_of_model(name: str, where: str) -> str:
    """Return the task of a model by its name.

    Raises:
        ValueError: torchvision has no such model, or it is of none of the tasks.
    """
    models = require('torchvision', where).models
    known = {found: task for task, module in (('classification', models), ('detection', models.detection),
                                              ('segmentation', models.segmentation))
             for found in models.list_models(module=module)}
    if name not in known:
        raise ValueError(f'{where}: torchvision has no such classifier, detector or segmenter.'
                         f'{suggestion(name, known)}')
    return known[name]


def load(name: str, weights: str | None, checkpoint: str | None, pretrained: bool | None,
         arguments: Mapping[str, Any], where: str) -> LoadedNetwork:
    """Build a network and load its weights.

    Args:
        name: As in ``torchvision.models.list_models()``.
        weights: Name in torchvision's weights enum.
        checkpoint: File with the weights.
        pretrained: False: random weights.
        arguments: Further arguments of the model.
        where: For messages.

    Raises:
        ValueError: No weights are chosen or more than one, they are not known, or do not fit; or an argument does not.
    """
    models = require('torchvision', where).models
    if pretrained:
        raise ValueError(f'{where}: pretrained: true does not say which weights. Set weights: DEFAULT.')
    if (weights is not None) + (checkpoint is not None) + (pretrained is False) != 1:
        raise ValueError(f'{where}: set one of weights (e.g. DEFAULT) and checkpoint: FILE, or pretrained: false for '
                         'random weights.')
    enum = models.get_model_weights(name)
    weights = weights and weights.removeprefix(f'{enum.__name__}.')  # as torchvision's get_weight() has it
    if weights is not None and weights not in enum.__members__:
        raise ValueError(f'{where}: no weights {weights!r}. Known: {", ".join(enum.__members__)}')
    own = _published_as(checkpoint, enum) if checkpoint else None
    record = own or enum[weights or 'DEFAULT']  # of a checkpoint that is not torchvision's: as the architecture has it
    place = f'{where}: model_kwargs'
    check_further(arguments, _OWN, place)
    builder = models.get_model_builder(name)
    with (translated(where, f'{torch.hub.get_dir()}/checkpoints'), built_with(arguments, place),
          _tensors_alone(models.WeightsEnum, where)):
        model = models.get_model(name, weights=record if weights else None,
                                 **{**_defaults(builder, own), **arguments})
        _check_known(builder, type(model), arguments, place)
        check_annotated(type(model), arguments, place)
    if checkpoint:
        load_fitting(model, _renamed(load_file(Path(checkpoint), where), name), checkpoint, where)
        if own is not None and own.name == 'COCO_V1' and name in _WITHOUT_EPS:
            set_norm_eps(model, 0.0)
    return LoadedNetwork(model, arguments, record, own.name if own else weights,
                         checkpoint or (f'torchvision {weights}' if weights else 'random weights'), bool(checkpoint))


@contextlib.contextmanager
def _tensors_alone(enum: Any, where: str) -> Iterator[None]:
    """Let torchvision read published weights as tensors alone within the context, and only files of the right hash.

    By itself it would run code in them, and check what it downloads but not what lies in the cache. The rest of its
    builders is needed: they know what goes with the weights.
    """
    library_s = enum.get_state_dict

    def read(record: Any, *args: Any, **kwargs: Any) -> Any:
        cached, digest = Path(torch.hub.get_dir(), 'checkpoints', Path(record.url).name), _digest_in(record.url)
        if digest and cached.is_file() and not (found := _digest(cached)).startswith(digest):
            raise OptionError(f'{where}: {cached}: expected a hash that starts with {digest}, got {found[:8]}. Delete '
                              'the file, and it is downloaded again.')
        return library_s(record, *args, **{**kwargs, 'check_hash': True, 'weights_only': True})

    enum.get_state_dict = read
    try:
        yield
    finally:
        enum.get_state_dict = library_s


def _defaults(builder: Any, own: Any) -> dict[str, Any]:
    """Return arguments in place of torchvision's defaults.

    It would fetch the weights of a backbone; and the weights that it publishes for a segmenter have an auxiliary head.
    """
    known = inspect.signature(builder).parameters
    defaults: dict[str, Any] = {'weights_backbone': None} if 'weights_backbone' in known else {}
    return {**defaults, 'aux_loss': True} if own is not None and 'aux_loss' in known else defaults


def _check_known(builder: Callable, cls: type, arguments: Mapping[str, Any], where: str) -> None:
    """Check that a detector or segmenter has such arguments: all but classifiers take any, and leave them unread.

    Raises:
        OptionError: It has not.
    """
    room = builder.__module__.split('.')[2]  # of torchvision.models
    if room not in ('detection', 'segmentation'):
        return
    takers = (builder, cls) if room == 'detection' else (builder,)
    known = [parameter.name for taker in takers for parameter in inspect.signature(taker).parameters.values()
             if parameter.kind is not parameter.VAR_KEYWORD]
    for name in arguments:
        if name not in known:
            raise OptionError(f"{where}: {builder.__name__} takes no '{name}'.{suggestion(name, known)}")


def _renamed(content: Any, name: str) -> Any:
    """Return the content of a checkpoint with the names that a detector's parameters have now, at any depth."""
    if not isinstance(content, Mapping):
        return content
    return {_name_now(key, name) if isinstance(key, str) else key: _renamed(value, name)
            for key, value in content.items()}


def _name_now(key: str, name: str) -> str:
    for old, new in (*_OLD_NAMES, *(_OLD_NAMES_OF_RETINANET if name.startswith('retinanet') else ())):
        key = old.sub(new, key)
    return key


def has_unknown_eps(name: str, network: LoadedNetwork) -> bool:
    """True for a checkpoint that may have been trained on from weights whose batch norms had no eps."""
    return network.is_checkpoint and network.published is None and name in _WITHOUT_EPS


def set_norm_eps(model: Any, eps: float) -> None:
    """Set the eps of the batch norms in a detector's backbone, which no checkpoint says, in place."""
    for module in model.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = eps


def _published_as(checkpoint: str, enum: Any) -> Any:
    """Return torchvision's own weights that a file holds, by the hash in their addresses; None for any others."""
    if not Path(checkpoint).is_file():
        return None  # the loader says so
    digest = _digest(Path(checkpoint))
    return next((member for member in enum if (own := _digest_in(member.url)) and digest.startswith(own)), None)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while part := file.read(2 ** 20):
            digest.update(part)
    return digest.hexdigest()


def _digest_in(url: str) -> str | None:
    """Return the start of a file's hash that its address has."""
    found = re.search(r'-([0-9a-f]{8,})\.pth$', url)
    return found[1] if found else None
