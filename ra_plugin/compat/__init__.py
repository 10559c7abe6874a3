"""Patches for the packages that this one builds on; the only code here that changes another package.

Each patch is one small function that says what breaks, with which versions, and why nothing else changes.
"""
import functools
import importlib.util
import sys
from collections.abc import Callable
from typing import Any


@functools.cache
def mend_basicsr() -> None:
    """Patch BasicSR for current torch, torchvision, numpy and opencv, and for machines without a GPU.

    Call it before the first ``import basicsr``; a second call does nothing. It imports BasicSR, which takes seconds.

    Raises:
        ImportError: BasicSR or one of its requirements is not installed, or fails to import.
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
