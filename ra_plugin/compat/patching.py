"""Helpers of the patches: look up a module without importing it, and replace a function."""
import functools
import importlib.util
import sys
from collections.abc import Callable
from typing import Any


def installed(name: str) -> bool:
    """Return True if the module ``name`` can be found; its parent packages are imported, it is not.

    Raises:
        ImportError: A parent package is missing or broken.
    """
    if name in sys.modules:  # find_spec raises for a stand-in of another package, which has no spec
        return sys.modules[name] is not None
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return False


def replace(owner: Any, name: str) -> Callable[[Callable], Callable]:
    """Replace ``owner.name`` by the decorated function, which receives the original as its first argument."""
    original = getattr(owner, name)

    def install(function: Callable) -> Callable:

        @functools.wraps(original)
        def replacement(*args, **kwargs):
            return function(original, *args, **kwargs)

        setattr(owner, name, replacement)
        return replacement

    return install
