"""Any importable classifier: a colleague's network, by dotted path."""
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ra_plugin.checkpoint import load_weights, read_record
from ra_plugin.library_errors import translated
from ra_plugin.options import suggestion
from ra_plugin.recognizers.base import RecognizerInfo
from ra_plugin.recognizers.classification import ClassificationRecognizer, Fit, InputSize, resolve_input_size
from ra_plugin.registry import RECOGNIZER_REGISTRY


@RECOGNIZER_REGISTRY.register
class ModuleRecognizer(ClassificationRecognizer):
    """An ``nn.Module`` class, a function that returns one, or (from Python) the module itself.

    Args:
        module: ``package.module.Name``. It is imported: name only code that you trust.
        module_kwargs: Arguments of the class or function.
        checkpoint: File with the weights, ``.safetensors`` or a torch file of tensors. None: the module brings its own.
        mean, std: Normalization of the weights, RGB on the ``[0, 1]`` scale. Default: the record in the safetensors
            file; an error where there is none, since a wrong guess would go unnoticed.
        classes: Class names in the order of the ids. Default: the record.
        input_size: ``~``: images as they come; a number or ``[height, width]``.
        fit: ``'crop'`` | ``'stretch'``, see `Recognizer`.
        feature_layer: Dotted name of the layer whose output is compared by the feature loss. Default: the input of the
            last linear layer.

    Raises:
        ImportError: The path cannot be imported.
        ValueError: No normalization known, not logits, or a checkpoint that does not fit.
    """

    def __init__(self, module: str | nn.Module, module_kwargs: Mapping[str, Any] | None = None,
                 checkpoint: str | None = None, mean: Sequence[float] | None = None,
                 std: Sequence[float] | None = None, classes: Sequence[str] | None = None,
                 input_size: InputSize = None, fit: Fit = 'crop', feature_layer: str | None = None):
        name = module.rpartition('.')[2] if isinstance(module, str) else type(module).__name__
        where = f'ModuleRecognizer({name})'
        if module_kwargs and not isinstance(module, str):
            raise ValueError(f'{where}: module_kwargs are for a dotted path; this module is built already.')
        model = module
        if isinstance(module, str):
            maker = import_name(module, where)
            with translated(f'{where}: module_kwargs' if module_kwargs else where):
                model = maker(**(module_kwargs or {}))
        if not isinstance(model, nn.Module):
            raise TypeError(f'{where}: expected an nn.Module, got {type(model).__name__}.')
        if checkpoint:
            load_weights(model, checkpoint, where)
        record = read_record(checkpoint) if checkpoint else {}
        mean, std = mean or record.get('mean'), std or record.get('std')
        if not _three_numbers(mean) or not _three_numbers(std) or min(std) <= 0:
            raise ValueError(f'{where}: mean and std: expected three numbers each, std positive, got {mean} and {std}. '
                             'Give those the network was trained with ([0, 0, 0] and [1, 1, 1] for none).')
        classes = tuple(classes or record.get('classes') or ())
        super().__init__(model, RecognizerInfo(
            name=name, task='classification', classes=classes or None, mean=tuple(mean), std=tuple(std),
            input_size=resolve_input_size(input_size, None, where),
            source=checkpoint or (module if isinstance(module, str) else name)), fit, feature_layer)


def _three_numbers(value: Any) -> bool:
    return isinstance(value, Sequence) and len(value) == 3 and all(isinstance(v, (int, float)) for v in value)


def import_name(path: str, where: str) -> Any:
    """The object at ``package.module.Name``.

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
