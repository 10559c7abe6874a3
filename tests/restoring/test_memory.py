"""Memory: measured, limited by a container, and tiles that it allows."""
import pytest
import torch

from ra_plugin.options import OptionError
from ra_plugin.restoring import memory
from ra_plugin.restoring.photograph import Header
from ra_plugin.restoring.reach import Reach
from ra_plugin.restoring.tile_choice import Choice, _tiling
from ra_plugin.restoring.tiles import Tiling

CPU = torch.device('cpu')


def test_the_peak_of_a_call():
    size = 2 ** 27
    assert 0.9 * size < memory.peak_of(lambda: torch.ones(size // 4).add_(1), CPU) < 1.3 * size
    assert memory.peak_of(lambda: None, CPU) < 0.1 * size


def limits(root, version, most):
    folder = root / 'memory' if version == 1 else root
    folder.mkdir(exist_ok=True)
    names = ('memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file') if version == 1 else (
        'memory.max', 'memory.current', 'inactive_file')
    for name, text in zip(names, (f'{most}\n', '700000\n'), strict=False):
        (folder / name).write_text(text)
    (folder / 'memory.stat').write_text(f'anon 5\n{names[2]} 200000\n')


@pytest.mark.parametrize('version', [1, 2])
def test_a_container_has_less(tmp_path, monkeypatch, version):
    monkeypatch.setattr(memory, '_CGROUP', tmp_path)
    of_machine = memory.available(CPU)
    assert of_machine > 10 ** 8
    limits(tmp_path, version, 1000000)
    assert memory.available(CPU) == 500000
    limits(tmp_path, version, 600000)  # what is used above the limit are files
    assert memory.available(CPU) == 100000
    if version == 2:
        limits(tmp_path, version, 'max')
        assert memory.available(CPU) > 10 ** 8


@pytest.mark.parametrize('reach, tile, affordable, expected', [
    (Reach(20, 1, 0.01), None, 10 ** 9, Tiling(512, 36, 16)), (Reach(20, 1, 0.01), None, 300 ** 2, Tiling(228, 36, 16)),
    (Reach(20, 8, 0.01), 100, 10 ** 9, Tiling(104, 40, 16, 8)),
    (Reach(20, 64, 0.01), 1, 10 ** 9, Tiling(64, 64, 16, 64)),
    (Reach(60, 1, 0.7), None, 2000 ** 2, Tiling(1848, 76, 16))])
def test_tiles_fit_the_memory(reach, tile, affordable, expected):
    found = _tiling(reach, tile, affordable, 100.)
    assert found == expected and found.side ** 2 <= affordable


def test_memory_for_no_tile():
    with pytest.raises(OptionError, match=r'expected 0.2 GB of free memory for tiles of 32 pixels with 36 around'):
        _tiling(Reach(20, 1, 0.01), None, 100 ** 2, 10000.)


def test_what_is_cut_and_what_is_restored_together():
    choice = Choice(2, Tiling(512, 24, 16), 560 ** 2, None, 10 ** 8, CPU, 1)
    assert [choice.is_cut(size) for size in ((560, 560), (560, 561), (10000, 31), (10000, 32))] == [
        False, True, False, True]
    assert [choice.batch(size) for size in ((32, 32), (280, 280), (560, 561))] == [64, 4, 1]
    small, large = (choice.needed(Header((side, side), 8)) for side in (1000, 4000))
    assert 10 ** 8 < small < large < 16 * small
