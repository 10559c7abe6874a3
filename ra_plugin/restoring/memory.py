"""Memory: how much there is, how much a call takes, and how much the files of a photograph take."""
import ctypes
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

_PAGE = os.sysconf('SC_PAGE_SIZE')
_CGROUP = Path('/sys/fs/cgroup')
_SECONDS = 0.001  # between two looks at the size of the process


def available(device: torch.device) -> int:
    """Return the bytes of memory that a process may still take on a device."""
    if device.type == 'cuda':
        return torch.cuda.mem_get_info(device)[0]
    return min((_of_machine(), *_of_container()))


def in_use() -> int:
    """Return the bytes of main memory that this process has."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * _PAGE


def peak_of(call: Callable[[], object], device: torch.device) -> int:
    """Return by how many bytes the memory in use grows while a call runs."""
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    _give_back_freed()
    before, ended = in_use(), threading.Event()
    peak = [before]

    def look() -> None:
        while not ended.wait(_SECONDS):
            peak[0] = max(peak[0], in_use())

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        call()
    finally:
        ended.set()
        watch.join()
    return max(*peak, in_use()) - before


def _give_back_freed() -> None:
    """Make glibc return freed memory, which a call would take again without the process growing."""
    library = ctypes.CDLL(None)
    if hasattr(library, 'malloc_trim'):
        library.malloc_trim(0)


def _of_machine() -> int:
    lines = Path('/proc/meminfo').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable:'))


def _of_container() -> Iterable[int]:
    """Yield what the limit of a container (cgroup, version 2 and 1) leaves; the files that it has read can go."""
    for limit, used, cached in (('memory.max', 'memory.current', 'inactive_file'),
                                ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes',
                                 'total_inactive_file')):
        try:
            most, now = (_CGROUP / limit).read_text().strip(), int((_CGROUP / used).read_text())
            lines = (_CGROUP / used).with_name('memory.stat').read_text().splitlines()
        except (OSError, ValueError):  # no container, or of the other version
            continue
        if most != 'max':
            yield max(int(most) - now + sum(int(line.split()[1]) for line in lines if line.split()[0] == cached), 0)


def of_files(size: tuple[int, int], scale: int, bits: int, band: int) -> int:
    """Return the bytes of main memory that reading, collecting and writing one photograph take at most.

    Args:
        size: Width and height.
        scale: Enlargement.
        bits: Bits per channel of the result.
        band: Height in pixels of the input of a row of tiles, which is collected in float32.
    """
    width, height = size
    pixels, restored, depth = width * height, width * height * scale ** 2, bits // 8
    one = 4 * depth  # bytes of a pixel with alpha
    reading = pixels * (one + 4 + 2 * one)  # the file, Pillow's copy, the copies of `turned`
    collecting = pixels * one + restored * one + 3 * 4 * 3 * scale ** 2 * width * min(band, height)
    writing = pixels * one + restored * (2 * one + 4)  # the copy with alpha; Pillow's, or that of compressed strips
    return max(reading, collecting, writing)
