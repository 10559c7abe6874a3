"""Processes that share a ledger never spend a request twice, with the locks of POSIX and with those of Windows."""
import textwrap
import time

import pytest
import warm_start

from ra_plugin.recognizers.blackbox.answer_ledger import AnswerLedger

# What msvcrt.locking does: refused at once where another handle has it, and kept when another one is closed, where
# lockf would lose it.
MSVCRT = '''
import os, sys, types
import fcntl

def locking(descriptor, mode, count):
    kind = fcntl.LOCK_UN if mode == 0 else fcntl.LOCK_EX | fcntl.LOCK_NB
    try:
        fcntl.flock(descriptor, kind)
    except BlockingIOError:
        raise PermissionError(13, 'Permission denied') from None

from ra_plugin.recognizers.blackbox import file_lock
sys.modules['msvcrt'] = types.SimpleNamespace(locking=locking, LK_NBLCK=2, LK_UNLCK=0)
file_lock.os = types.SimpleNamespace(name='nt', lseek=os.lseek, SEEK_SET=os.SEEK_SET)
'''
SPEND = '''
import pathlib, sys, time
from ra_plugin.recognizers.blackbox.answer_ledger import AnswerLedger
ledger = AnswerLedger(sys.argv[1])
pathlib.Path(f'{sys.argv[2]}.ready').touch()
while not pathlib.Path('go').exists():
    time.sleep(0.001)
spent = 0
while ledger.book(f'image of {sys.argv[2]}', 60):
    spent += 1
    ledger.add(f'image {spent} of {sys.argv[2]}', {'labels': ['cat']})
print(spent)
'''


@pytest.mark.slow
@pytest.mark.parametrize('system', ['', MSVCRT], ids=['posix', 'windows'])
def test_processes_never_spend_a_request_twice(system, tmp_path):
    path = tmp_path / 'ledger.jsonl'
    programs = [warm_start.Program(['-c', system + SPEND, path, i], tmp_path) for i in range(3)]
    end = time.monotonic() + 60
    while len(list(tmp_path.glob('*.ready'))) < len(programs) and time.monotonic() < end:
        time.sleep(0.01)
    (tmp_path / 'go').touch()  # all at once
    spent = [int(done.stdout) for done in warm_start.finish(*programs)]
    ledger = AnswerLedger(path)
    assert sum(spent) == ledger.requests == len(ledger) == 60
    assert all(line.endswith('}') for line in path.read_text().splitlines())  # none within another


@pytest.mark.slow
def test_the_package_is_imported_without_posix():
    code = textwrap.dedent('''
        import sys
        import torch, timm, torchvision  # what other packages import is theirs
        for name in ('fcntl', 'resource', 'termios', 'pwd', 'grp'):
            sys.modules[name] = None
        import ra_plugin.recognizers
    ''')
    done = warm_start.run(['-c', code])
    assert done.returncode == 0, done.stderr
