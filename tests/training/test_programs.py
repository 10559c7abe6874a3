"""Subprocesses end with their parent, and save before."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm_start

from ra_plugin.shipped.find import option_file
from ra_plugin.training.programs import run_program, signals_passed_on, this_command

ROOT = Path(__file__).parents[2]
# says that it runs; on a signal says which, as a training saves, and ends well
CHILD = '''import pathlib, signal, sys, time
name = pathlib.Path(sys.argv[1])
def save(number, frame):
    name.with_suffix('.told').write_text(signal.Signals(number).name)
    sys.exit(0)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, save)
name.with_suffix('.begun').touch()
time.sleep(60)
'''
PARENTS = {
    'alone': "run_program(['child.py', 'a'])",
    'side by side': "run_all([lambda threads, x=x: run_program(['child.py', x], threads) for x in 'abc'], jobs=2)"}


def begin(folder, parent):
    (folder / 'child.py').write_text(CHILD)
    (folder / 'parent.py').write_text('import os, pathlib, signal\n'
                                      'from ra_plugin.training.programs import run_program\n'
                                      'signal.signal(signal.SIGINT, signal.default_int_handler)\n'  # as at a terminal,
                                      'signal.signal(signal.SIGHUP, signal.SIG_DFL)\n'  # wherever the tests are run
                                      'from ra_plugin.training.train_if_needed import run_all\n'
                                      'os.setsid()\npathlib.Path("number").write_text(str(os.getpid()))\n'
                                      f'{PARENTS[parent]}\n')
    return subprocess.Popen([warm_start.python(), 'parent.py'], cwd=folder, stderr=subprocess.DEVNULL,
                            env={**os.environ, 'PYTHONPATH': str(ROOT)})


def wait_for(condition, seconds=60):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize('parent, number', [('alone', signal.SIGINT), ('alone', signal.SIGHUP),
                                            ('side by side', signal.SIGINT), ('side by side', signal.SIGTERM)])
def test_a_signal_reaches_what_runs_and_no_other_begins(parent, number, tmp_path):
    program = begin(tmp_path, parent)
    names = ['a'] if parent == 'alone' else ['a', 'b']
    try:
        wait_for(lambda: all((tmp_path / f'{name}.begun').exists() for name in names))
        tell = os.killpg if number == signal.SIGINT else os.kill  # a terminal tells all of its group
        tell(int((tmp_path / 'number').read_text()), number)
        assert program.wait(30) in (128 + number, -number)
    finally:
        program.kill()  # and what it stands for, if that has not ended
        program.wait()
    told = {path.stem: path.read_text() for path in tmp_path.glob('*.told')}
    assert told == dict.fromkeys(names, number.name)  # before the parent has ended
    assert not (tmp_path / 'c.begun').exists()


def test_one_that_begins_as_the_signal_comes_gets_it(tmp_path, monkeypatch):
    (tmp_path / 'child.py').write_text('import time\ntime.sleep(60)\n')
    begin_program = subprocess.Popen

    def in_another_thread(*args, **kwargs):
        program = begin_program(*args, **kwargs)
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGTERM)  # the main thread's, before this one is known to run
        return program

    monkeypatch.setattr(subprocess, 'Popen', in_another_thread)
    with signals_passed_on():
        assert run_program([tmp_path / 'child.py']) == -signal.SIGTERM
    monkeypatch.undo()
    (tmp_path / 'child.py').write_text('')
    assert run_program([tmp_path / 'child.py']) == 0  # what was told is told no later one


def test_handlers_are_as_before(tmp_path):
    (tmp_path / 'child.py').write_text('import os, sys\nsys.exit(int(os.environ["OMP_NUM_THREADS"]))')
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    assert run_program([tmp_path / 'child.py'], threads=3) == 3
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    try:
        with signals_passed_on():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != before[0]
    finally:
        signal.signal(signal.SIGHUP, ignored)


@pytest.mark.parametrize('argv, said', [
    (['tools/train.py', '-opt', 'x_y.yml', '--auto_resume', '--force_yml', 'a_b=1'],
     'python tools/train.py -opt x_y.yml --force-yml a_b=1 --auto-resume'),
    (['ra-plugin train', '-opt', option_file('ra_dbpn_x4')],
     'ra-plugin train -opt options/ra_dbpn_x4.yml --auto-resume')])
def test_the_command_that_goes_on_is_the_one_that_was_typed(argv, said, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [str(word) for word in argv])
    assert this_command('--auto-resume') == said
