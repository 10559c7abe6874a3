"""Patches for the packages that this one builds on; the only code here that changes another package.

Each patch is one small function that says what breaks, with which versions, and why nothing else changes.
"""
import functools

from ra_plugin.compat.patching import installed
from ra_plugin.utils.optional import INSTALL_BASICSR


@functools.cache
def mend_basicsr() -> None:
    """Patch BasicSR for current torch, torchvision, numpy and opencv, and for machines without a GPU.

    Call it before the first ``import basicsr``; a second call does nothing. It imports BasicSR, which takes seconds.

    Raises:
        ImportError: BasicSR or one of its requirements is not installed, or fails to import.
    """
    if not installed('basicsr'):
        raise ImportError('Training and evaluation need BasicSR, which is not installed. Install it with: '
                          f'{INSTALL_BASICSR}')
    from ra_plugin.compat import basicsr_imports
    basicsr_imports.apply()
    from ra_plugin.compat import basicsr_checkpoints, basicsr_cpu, basicsr_metrics, basicsr_patches  # import basicsr
    basicsr_patches.apply()
    basicsr_checkpoints.safe_checkpoints()
    basicsr_cpu.apply()
    basicsr_metrics.small_images()
