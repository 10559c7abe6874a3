"""Any importable classifier, by its dotted path."""
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ra_plugin.checkpoint import load_weights, read_record
from ra_plugin.library_errors import translated
from ra_plugin.option_types import ModuleName, WeightsPath
from ra_plugin.options import suggestion
from ra_plugin.recognizers.classification import ClassificationRecognizer, Fit, InputSize, resolve_input_size
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.recognizers.further_arguments import built_with, check_further
from ra_plugin.recognizers.networks import copy_of
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing, recorded_beside
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.text import shown
from ra_plugin.utils.warn import warn


@RECOGNIZER_REGISTRY.register
class ModuleRecognizer(ClassificationRecognizer):
    """A classifier from an ``nn.Module`` class, a function that returns one, or (from Python) the module itself.

    A module from Python is copied, and stays as it is: what is frozen, made faster or, with ``trainable: true``, learns
    is the copy, the recognizer's ``model``. A network whose first layer takes one channel is given the luma of the
    images.

    Args:
        module: ``package.module.Name``. It is imported: name only code that you trust.
        module_kwargs: Arguments of the class or function.
        pretrained: Without a checkpoint: ``true``: the class or function loads weights of its own; ``false``: random
            weights are meant. Default: a warning, since nobody would notice.
        checkpoint: File with the weights, ``.safetensors`` or a torch file of tensors.
        mean, std: Normalization of the weights, RGB on the ``[0, 1]`` scale; one number for a network of one channel.
            Default: the record in the safetensors file; an error where there is none, since a wrong guess would go
            unnoticed.
        classes: Class names in the order of the ids. Default: the record.
        input_size: ``~``: images as they come; a number or ``[height, width]``.
        fit: ``'crop'``: resize the shorter side, crop the center; ``'stretch'``: resize both sides; ``'border'``:
            resize the longer side, pad with the mean color.
        feature_layer: Dotted name of the layer whose output is compared by the feature loss. Default: the input of the
            layer that classifies.

    Raises:
        ImportError: The path cannot be imported.
        ValueError: No normalization known, not logits, or a checkpoint that does not fit.
    """

    def __init__(self, module: ModuleName | nn.Module, module_kwargs: Mapping[str, Any] | None = None,
                 checkpoint: WeightsPath | None = None, mean: Sequence[float] | None = None,
                 std: Sequence[float] | None = None, classes: Sequence[str] | None = None,
                 input_size: InputSize = None, fit: Fit = 'crop', feature_layer: str | None = None,
                 pretrained: bool | None = None):
        name = module.rpartition('.')[2] if isinstance(module, str) else type(module).__name__
        where = f'ModuleRecognizer({name})'
        if module_kwargs and not isinstance(module, str):
            raise ValueError(f'{where}: module_kwargs are for a dotted path; this module is built already.')
        if pretrained and checkpoint:
            raise ValueError(f'{where}: both pretrained and checkpoint are set. Keep one.')
        if isinstance(module, str):
            maker = import_name(module, where)
            place = f'{where}: module_kwargs'
            check_further(module_kwargs or {}, {}, place)
            with translated(where), built_with(module_kwargs or {}, place):
                model = maker(**(module_kwargs or {}))
        else:
            model = copy_of(module, where) if isinstance(module, nn.Module) else module
        if not isinstance(model, nn.Module):
            raise TypeError(f'{where}: expected an nn.Module, got {type(model).__name__}.')
        if checkpoint:
            load_weights(model, checkpoint, where)
        elif isinstance(module, str) and pretrained is None:
            warn(f'{where}: no checkpoint, so random weights unless {module} loads some. Set checkpoint: FILE; or '
                 'pretrained: true if it does, false if random weights are meant.')
        record = read_record(checkpoint) if checkpoint else {}
        given: list[Any] = [mean or record.get('mean'), std or record.get('std')]
        problem = (f'{where}: mean and std: expected three numbers each, std positive, got {shown(given[0])} and '
                   f'{shown(given[1])}. Give those the network was trained with ([0, 0, 0] and [1, 1, 1] for none).')
        is_gray = all(_numbers(value, 1) for value in given)
        if not is_gray and not all(_numbers(value, 3) for value in given) or min(given[1]) <= 0:
            raise ValueError(problem)
        means, stds = (tuple(value) * 3 if is_gray else tuple(value) for value in given)
        classes = tuple(classes or record.get('classes') or ())
        super().__init__(model, RecognizerInfo(
            name=name, task='classification', classes=classes or None, mean=means, std=stds,
            input_size=resolve_input_size(input_size, None, where),
            source=checkpoint or ('random weights' if pretrained is False else
                                  module if isinstance(module, str) else name)), fit, feature_layer)
        if is_gray and self.info.channels != 1:
            raise ValueError(problem)

    def own_preprocessing(self) -> OwnPreprocessing:
        return recorded_beside(self.info.source)


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
        raise ImportError(f"{where}: module: no module '{error.name}'. Is its folder on PYTHONPATH?") from None
    if not hasattr(module, name):
        raise ImportError(f"{where}: {module_name} has no '{name}'.{suggestion(name, dir(module))}")
    return getattr(module, name)
