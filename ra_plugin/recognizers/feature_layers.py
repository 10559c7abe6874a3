"""Inputs and outputs of layers by forward hooks, and the search for the layer that classifies."""
import contextlib
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn

from ra_plugin.options import suggestion
from ra_plugin.recognizers.frozen.folding import FOLDED

_LAYERS = (nn.Linear, nn.Conv2d)


def classifying_layer(model: nn.Module, ask: Callable[[], object], num_classes: int) -> str | None:
    """Return the dotted name of the last layer that is called and has an output for each class.

    A layer that is defined last need not be it: a gate may come after the head in the class, and before it in the pass.

    Args:
        model: The network, in inference mode.
        ask: Calls it.
        num_classes: Outputs of the layer, linear or, in a network that has linear ones, too, a convolution. Where none
            has as many, it is the last linear layer that is called.

    Returns:
        None where there is no linear layer; one that is not called where none is.
    """
    called = _called_layers(model, ask)
    linear = [name for name, layer in called if isinstance(layer, nn.Linear)]
    if not linear:  # what a convolution is given can be anything, also the image
        return next((name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)), None)
    deciding = [name for name, layer in called if layer.weight.shape[0] == num_classes]
    return (deciding or linear)[-1]


def dense_classifying_layer(model: nn.Module, ask: Callable[[], object], num_classes: int) -> str | None:
    """Return the dotted name of the last layer, linear or a convolution, with an output for each class of a pixel.

    Args: as of `classifying_layer`.

    Returns:
        None where there is none but the first layer, which is given the image.
    """
    called = _called_layers(model, ask)
    deciding = [name for name, layer in called[1:] if layer.weight.shape[0] == num_classes]
    return deciding[-1] if deciding else None


def _called_layers(model: nn.Module, ask: Callable[[], object]) -> list[tuple[str, Any]]:
    """Return names and layers, linear and convolutions, in the order in which ``ask`` calls them."""
    called: list[tuple[str, Any]] = []
    hooks = [layer.register_forward_hook(lambda layer, *_, name=name: called.append((name, layer)))
             for name, layer in model.named_modules() if isinstance(layer, _LAYERS)]
    try:
        with _eager():
            ask()
    finally:
        for hook in hooks:
            hook.remove()
    return called


def check_feature_layer(model: nn.Module, name: str | None, where: str) -> None:
    """Check the option ``feature_layer``.

    Raises:
        ValueError: The network has no such layer.
    """
    layers = dict(model.named_modules())
    if name is not None and name not in layers:
        raise ValueError(f'{where}: feature_layer: no layer {name!r}.{suggestion(name, layers)}')


def captured(model: nn.Module, name: str, images: Any, where: str, of_input: bool = False,
             **kwargs: Any) -> torch.Tensor:
    """Return the output (or the input) of the layer called ``name`` during ``model(images, **kwargs)``.

    Of a tuple it is the first item; of inputs given by name alone the first.

    Raises:
        ValueError: The layer is not called, or gives no tensor.
    """
    seen = _seen(model, [name], lambda: model(images, **kwargs),
                 lambda inputs, output: inputs[0] if of_input else _first(output))
    found = seen.get(name)
    if not isinstance(found, torch.Tensor):
        got = type(found).__name__ if found is not None else 'nothing: the network did not call it'
        raise ValueError(f'{where}: expected a tensor from the layer of the features, got {got}. Name another: '
                         'feature_layer.')
    return found


def captured_layers(model: nn.Module, names: Collection[str], call: Callable[[], object], count: int, where: str,
                    ) -> dict[str, torch.Tensor]:
    """Return the outputs of layers during one call of the network; of a tuple its first item.

    Args:
        model: The network.
        names: Dotted names of the layers.
        call: Calls it with ``count`` images.
        count: Number of images.
        where: The recognizer, for messages.

    Raises:
        ValueError: A layer is not called, gives no tensor, or none with an entry for each image; or batch norm has
            become part of it.
    """
    for name in names:
        if vars(model.get_submodule(name)).get(FOLDED):
            raise ValueError(f"{where}: layer '{name}': the batch norm after it has become part of it. Name that, or "
                             'build the recognizer with fold_batch_norm=False.')
    found = _seen(model, names, call, lambda _, output: _first(output))
    for name in names:
        answer = found.get(name)
        if not isinstance(answer, torch.Tensor):
            got = type(answer).__name__ if name in found else 'nothing: the network did not call it'
            raise ValueError(f"{where}: layer '{name}': expected a tensor, got {got}. Name another layer.")
        if not answer.dim() or len(answer) != count:
            raise ValueError(f"{where}: layer '{name}': expected an output with the batch first, ({count}, ...), got "
                             f'{tuple(answer.shape)}. Name the block around it.')
        found[name] = answer.float() if answer.dtype in (torch.bfloat16, torch.float16) else answer
    return {name: found[name] for name in names}


def _first(output: Any) -> Any:
    """Return a tensor, or the first item of a tuple, as it is now: what follows may change it in place."""
    output = output[0] if isinstance(output, (list, tuple)) and output else output
    return output.clone() if isinstance(output, torch.Tensor) else output


def _seen(model: nn.Module, names: Collection[str], call: Callable[[], object],
          keep: Callable[[tuple, Any], Any]) -> dict[str, Any]:
    """Return ``keep(inputs, output)`` of the last call of each of the named layers."""
    seen: dict[str, Any] = {}
    hooks = [model.get_submodule(name).register_forward_hook(
        lambda _, args, kwargs, output, name=name: seen.__setitem__(name, keep((*args, *kwargs.values()), output)),
        with_kwargs=True) for name in names]
    try:
        with _eager():
            call()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _eager() -> contextlib.AbstractContextManager:
    """Run uncompiled code within the context: compiled code skips hooks that were added after compilation."""
    return contextlib.nullcontext() if torch.compiler.is_compiling() else torch.compiler.set_stance('force_eager')
