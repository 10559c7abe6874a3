"""Processes that share a ledger never spend a request twice, with the locks of POSIX and with those of Windows."""
import subprocess
import textwrap

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
import sys
from ra_plugin.recognizers.blackbox.answer_ledger import AnswerLedger
ledger = AnswerLedger(sys.argv[1])
print('ready', flush=True)
sys.stdin.readline()
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
    command = [warm_start.python(), '-c', system + SPEND, str(path)]
    processes = [subprocess.Popen([*command, str(i)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                 for i in range(3)]
    for process in processes:
        assert process.stdout.readline() == 'ready\n'
    for process in processes:  # all at once
        process.stdin.write('\n')
        process.stdin.flush()
    spent = [int(process.communicate(timeout=120)[0]) for process in processes]
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
