"""Keep the memory of freed tensors, on a CPU.

For each large tensor glibc asks the system for pages and returns them when it is freed; the system clears every page
anew. In training, where each step frees what the next one takes, that is a fifth of the time (docs/PERFORMANCE.md).
"""
import ctypes
import os

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h
_TUNABLES = ('mmap_max', 'mmap_threshold', 'trim_threshold')  # in the environment MALLOC_MMAP_MAX_, ..., too


def keep_freed_memory() -> bool:
    """Let this process take its memory from one heap, which it keeps: no result changes.

    The process stays as large as it was at its largest. What the environment says of this stays. Where another
    allocator serves torch, this has no effect on tensors.

    Returns:
        Whether glibc has accepted it.
    """
    tunables = os.environ.get('GLIBC_TUNABLES', '')
    if any(f'MALLOC_{name.upper()}_' in os.environ or f'glibc.malloc.{name}=' in tunables for name in _TUNABLES):
        return False
    library = ctypes.CDLL(None)
    return hasattr(library, 'gnu_get_libc_version') and all(
        [library.mallopt(_MMAP_MAX, 0), library.mallopt(_TRIM_THRESHOLD, -1)])  # never
