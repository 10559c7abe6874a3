"""Memory allocator settings that let a CPU process reuse the memory of freed tensors.

By default glibc requests pages from the system for each large tensor and returns them when it is freed; the system
zeroes every page again. In training, where each step frees what the next one allocates, this takes a fifth of the time
(docs/PERFORMANCE.md).
"""
import ctypes
import os

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h
_TUNABLES = ('mmap_max', 'mmap_threshold', 'trim_threshold')  # in the environment MALLOC_MMAP_MAX_, ..., too


def keep_freed_memory() -> bool:
    """Make glibc allocate from one heap and never return its memory to the system; results do not change.

    The process keeps its peak size. Settings in the environment take precedence. If torch uses another allocator, this
    has no effect on tensors.

    Returns:
        True if glibc accepted the settings.
    """
    tunables = os.environ.get('GLIBC_TUNABLES', '')
    if any(f'MALLOC_{name.upper()}_' in os.environ or f'glibc.malloc.{name}=' in tunables for name in _TUNABLES):
        return False
    library = ctypes.CDLL(None)
    return hasattr(library, 'gnu_get_libc_version') and all(
        [library.mallopt(_MMAP_MAX, 0), library.mallopt(_TRIM_THRESHOLD, -1)])  # -1: never trim
