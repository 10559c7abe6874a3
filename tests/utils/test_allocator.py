"""The process keeps the memory of freed tensors, measured by the page faults of new tensors."""
import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from ra_plugin.utils.allocator import keep_freed_memory

def step():
    import torch
    tensors = [torch.empty(2 ** size) for size in (24, 25, 10, 26)]  # 64, 128 and 256 MiB, and a small one
    for tensor in tensors:
        tensor[::1024] = 1  # each page of 4 KiB

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] != 'usual':
    print(keep_freed_memory())
if sys.argv[1] == 'ask':
    sys.exit()
# the heap grows until all of a step has a place in it: 2 to 7 steps, by where it begins; without one each is the first
for _ in range(1 if sys.argv[1] == 'usual' else 20):
    step()
before = faults()
step()
print(faults() - before)
"""


def run(mode: str, **environment: str) -> list[str]:
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(('MALLOC_', 'GLIBC_', 'LD_PRELOAD'))}
    return subprocess.run([sys.executable, '-c', SCRIPT, mode], capture_output=True, text=True, check=True,
                          env={**env, **environment}).stdout.split()


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != 'x86_64', reason='where torch may bring an allocator of its own')
def test_a_step_that_takes_what_the_last_one_freed_needs_no_new_pages():
    usual = int(run('usual')[0])
    assert usual > 200  # 448 MiB are 114,688 pages, or 224 of the largest that a system may supply
    done, kept = run('keep')
    assert done == 'True' and int(kept) < usual / 10


@pytest.mark.slow
@pytest.mark.parametrize('name, value', [('MALLOC_TRIM_THRESHOLD_', '131072'),
                                         ('GLIBC_TUNABLES', 'glibc.malloc.arena_max=2:glibc.malloc.mmap_max=65536')])
def test_what_the_environment_says_stays(name, value):
    assert run('ask', **{name: value}) == ['False']


@pytest.mark.slow
def test_what_the_environment_says_of_other_things_is_no_matter():
    assert run('ask', GLIBC_TUNABLES='glibc.malloc.arena_max=2') == ['True']


def test_a_program_that_runs_keeps_its_memory(monkeypatch):
    from ra_plugin.utils import command_line
    called = []
    monkeypatch.setattr(command_line, 'keep_freed_memory', lambda: called.append(True))
    assert command_line.run(lambda: None, 'program') == 0 and called == [True]
