"""Keep the memory of freed tensors, on a CPU.

For each large tensor glibc asks the system for pages and returns them when it is freed; the system clears every page
anew. In training, where each step frees what the next one takes, that is a fifth of the time (docs/PERFORMANCE.md).
"""
import ctypes
import os

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h
_ENVIRONMENT = ('MALLOC_MMAP_MAX_', 'MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_')


def keep_freed_memory() -> bool:
    """Let this process take its memory from one heap, which it keeps: no result changes.

    The process stays as large as it was at its largest. Nothing is done where glibc's variables of the environment say
    otherwise, nor with another allocator.

    Returns:
        Whether it was done.
    """
    if any(name in os.environ for name in _ENVIRONMENT) or 'glibc.malloc' in os.environ.get('GLIBC_TUNABLES', ''):
        return False
    library = ctypes.CDLL(None)
    return hasattr(library, 'gnu_get_libc_version') and all(
        [library.mallopt(_MMAP_MAX, 0), library.mallopt(_TRIM_THRESHOLD, -1)])  # never
