"""Inputs and outputs of layers by forward hooks, and the search for the layer that classifies."""
import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

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
    called: list[tuple[str, Any]] = []  # names and layers
    hooks = [layer.register_forward_hook(lambda layer, *_, name=name: called.append((name, layer)))
             for name, layer in model.named_modules() if isinstance(layer, _LAYERS)]
    try:
        with _eager():
            ask()
    finally:
        for hook in hooks:
            hook.remove()
    linear = [name for name, layer in called if isinstance(layer, nn.Linear)]
    if not linear:  # what a convolution is given can be anything, also the image
        return next((name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)), None)
    deciding = [name for name, layer in called if layer.weight.shape[0] == num_classes]
    return (deciding or linear)[-1]


def captured(model: nn.Module, name: str, images: torch.Tensor, where: str, of_input: bool = False,
             **kwargs: Any) -> torch.Tensor:
    """Return the output (or the input) of the layer called ``name`` during ``model(images, **kwargs)``.

    Raises:
        ValueError: The layer is not called, or gives no tensor.
    """
    seen: list[Any] = []
    hook = model.get_submodule(name).register_forward_hook(
        lambda _, args, output: seen.append(args[0] if of_input else output))
    try:
        with _eager():
            model(images, **kwargs)
    finally:
        hook.remove()
    if not seen or not isinstance(seen[-1], torch.Tensor):
        got = type(seen[-1]).__name__ if seen else 'nothing: the network did not call it'
        raise ValueError(f'{where}: expected a tensor from the layer of the features, got {got}. Name another: '
                         'feature_layer.')
    return seen[-1]


def _eager() -> contextlib.AbstractContextManager:
    """Run uncompiled code within the context: compiled code skips hooks that were added after compilation."""
    return contextlib.nullcontext() if torch.compiler.is_compiling() else torch.compiler.set_stance('force_eager')
