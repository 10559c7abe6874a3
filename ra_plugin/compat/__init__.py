"""Mends for packages that this one builds on: the only code here that changes another package.

One patch is one small function that says what breaks, with which versions, and why it changes nothing elsewhere.
"""
import functools
import importlib.util
import sys
from collections.abc import Callable
from typing import Any


@functools.cache
def mend_basicsr() -> None:
    """Mend BasicSR for current torch, torchvision, numpy and opencv and for machines without a GPU.

    Call it before the first ``import basicsr``; a second call does nothing. Imports BasicSR, which takes seconds.

    Raises:
        ImportError: BasicSR or something that it needs is not installed, or does not import.
    """
    if not installed('basicsr'):
        raise ImportError('Training and evaluation need BasicSR, which is not installed here: '
                          'pip install "ra_plugin[basicsr]"')
    from ra_plugin.compat import basicsr_imports
    basicsr_imports.apply()
    from ra_plugin.compat import basicsr_, basicsr_cpu, basicsr_metrics  # these import basicsr
    basicsr_.apply()
    basicsr_cpu.apply()
    basicsr_metrics.small_images()


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
