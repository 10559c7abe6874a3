"""Hooks that transformers sets on a model at its first call, which cannot be pickled; a copy is made without them."""
from typing import Any

from torch import nn

_HOOKED = '_output_capturing_hooks_installed'  # a mark that transformers sets on a model; without it, it sets hooks


class _StaysHere:
    """A hook that works as before, in whose place a copy has None."""

    def __init__(self, hook: Any):
        self.hook = hook

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.hook(*args, **kwargs)

    def __reduce__(self) -> tuple:
        return type(None), ()


def let_hooks_stay(model: nn.Module) -> None:
    """Let copies of a model, by pickle or deepcopy, have None in place of transformers' hooks; in place."""
    for module in model.modules():
        for key, hook in module._forward_hooks.items():
            if getattr(hook, '__module__', '').startswith('transformers.'):
                module._forward_hooks[key] = _StaysHere(hook)


def clear_hooks(copied: nn.Module) -> None:
    """Take what copies have in place of hooks away, and the mark: the next call sets hooks again; in place."""
    for module in copied.modules():
        for key in [key for key, hook in module._forward_hooks.items() if hook is None]:
            for table in (module._forward_hooks, module._forward_hooks_with_kwargs,
                          module._forward_hooks_always_called):
                table.pop(key, None)
        if getattr(module, _HOOKED, False):
            setattr(module, _HOOKED, False)
