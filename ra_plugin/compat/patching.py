"""Tools of the mends: is a package there, and put one function in the place of another."""
import functools
import importlib.util
import sys
from collections.abc import Callable
from typing import Any


def installed(name: str) -> bool:
    """Return whether a module called ``name`` can be found; it is not imported, the packages that hold it are.

    Raises:
        ImportError: A package that should hold the module is missing or broken.
    """
    if name in sys.modules:  # a stand-in that someone else put there has no spec, which find_spec refuses
        return sys.modules[name] is not None
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return False


def replace(owner: Any, name: str) -> Callable[[Callable], Callable]:
    """Put the decorated function in the place of ``owner.name``; it gets the original as its first argument."""
    original = getattr(owner, name)

    def install(function: Callable) -> Callable:

        @functools.wraps(original)
        def replacement(*args, **kwargs):
            return function(original, *args, **kwargs)

        setattr(owner, name, replacement)
        return replacement

    return install
