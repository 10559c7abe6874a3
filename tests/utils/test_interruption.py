"""Ctrl-C, SIGTERM and a lost terminal end every program with one line and the exit status of shells."""
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from programs import ROOT, TOOLS

from ra_plugin.cli.main import COMMANDS
from ra_plugin.utils import children, command_line
from ra_plugin.utils.interruption import Interruption
from ra_plugin.utils.signals import SIGNALS, Interrupted

ARGUMENTS = {
    'blend': ['a', 'b', '--out', 'z.safetensors'],
    'boundary': ['a', 'b', '-opt', 'x.yml'], 'demo': [], 'doctor': ['-opt', 'x.yml'],
    'evaluate': ['-opt', 'x.yml'], 'export': ['x', '--out', 'z.onnx'], 'prepare_data': ['cifar10'], 'reproduce': ['T1'],
    'restore': ['x', 'y', '--out', 'z'], 'split_classes': ['x', '--out', 'y'],
    'survey': ['a', 'b', '-opt', 'x.yml', '--judge', 'j', '--out', 'y'],
    'sweep': ['-opt', 'x.yml', '--loss-weight', '0', '1', '--eval', 'y.yml'], 'test': ['-opt', 'x.yml'],
    'train': ['-opt', 'x.yml'], 'train_recognizer': ['TinyVGG', '--data', 'x', '--out', 'y'],
    'tune': ['x', '--images', 'y', '--recognizer', 'z']}
OF_MAINTAINERS = {'benchmark': ['data'], 'check_options': ['x'], 'convert_efficientnet_lite': ['x'],
                  'convert_mobilenet_v2': ['x'], 'export_check': [], 'zoo_check': ['timm']}
# the signal comes as the first heavy package is asked for, whatever the load of the machine
SIGNAL_AT_IMPORT = '''import runpy, signal, sys
number, name, sys.argv = int(sys.argv[1]), sys.argv[2], sys.argv[2:]
sys.path[0] = name.rpartition('/')[0]
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
class Finder:
    def find_spec(package, *more):
        if package in ('torch', 'basicsr', 'numpy'):
            signal.raise_signal(number)
sys.meta_path.insert(0, Finder)
runpy.run_path(name, run_name='__main__')
'''


@pytest.fixture(autouse=True)
def as_at_a_terminal():
    """Restore the signal handlers of a terminal, since a suite in the background ignores signals."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield
    assert all(signal.getsignal(number) == signal.default_int_handler for number in SIGNALS)  # put back by all
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_arguments_are_of_all_programs():
    assert ARGUMENTS.keys() == {name.replace('-', '_') for name in COMMANDS} - {'options'}  # which imports nothing
    assert ARGUMENTS.keys() == {path.stem for path in TOOLS.glob('*.py')}


@pytest.mark.slow
@pytest.mark.parametrize('name', [*ARGUMENTS, *OF_MAINTAINERS])
def test_a_program_speaks_before_it_imports_and_ends_with_a_line(name, tmp_path):
    number = SIGNALS[len(name) % len(SIGNALS)]
    for option_file in ('x.yml', 'y.yml'):
        (tmp_path / option_file).touch()
    file = (TOOLS if name in ARGUMENTS else ROOT / 'dev') / f'{name}.py'
    arguments = ARGUMENTS.get(name) or OF_MAINTAINERS.get(name, [])
    done = subprocess.run([sys.executable, '-c', SIGNAL_AT_IMPORT, str(int(number)), str(file), *arguments],
                          capture_output=True, text=True, timeout=60, cwd=tmp_path,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == 128 + number
    assert done.stderr.splitlines() == [
        f'{name}.py: loading PyTorch and BasicSR ...',
        f'{name}.py: Stopped by {number.name} before it began; nothing has changed.']


@pytest.mark.parametrize('number', SIGNALS)
def test_a_program_ends_with_the_line_of_what_is_kept(number, capsys):
    assert command_line.run(lambda: signal.raise_signal(number), 'x', 'all is kept') == 128 + number
    assert capsys.readouterr().err == f'x: Stopped by {number.name}; all is kept.\n'


def test_where_it_was_stopped_and_that_it_has_been_told(capsys):
    def stop(**said):
        raise Interrupted(signal.SIGTERM, **said)

    assert command_line.run(lambda: stop(where=' at image 3'), 'x') == 143
    assert capsys.readouterr().err == 'x: Stopped by SIGTERM at image 3; the same command starts again.\n'
    assert command_line.run(lambda: stop(is_told=True), 'x') == 143 and capsys.readouterr().err == ''


def test_a_second_signal_ends_at_once_with_a_line(capsys):
    def main():
        with Interruption():  # the loop of a training notes the first
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)

    assert command_line.run(main, 'x') == 130
    assert 'second signal' in capsys.readouterr().err


def test_an_ignored_signal_stays_ignored(capsys):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    try:
        assert command_line.run(lambda: signal.raise_signal(signal.SIGHUP), 'x') == 0
    finally:
        signal.signal(signal.SIGHUP, signal.default_int_handler)


def test_children_that_save_nothing_end_with_what_asked_for_them():
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(Interrupted), children.children_end():
            asked = pool.submit(children.output, ['-c', 'import time; time.sleep(60)'], 60)
            while not children._running and not asked.done():
                time.sleep(0.01)
            raise Interrupted(signal.SIGINT)
        assert asked.result().returncode == -signal.SIGTERM


@pytest.mark.slow
def test_output_of_a_child_and_its_time_limit():
    assert children.output(['-c', 'print(3)'], 60).stdout == '3\n'
    with pytest.raises(subprocess.TimeoutExpired):
        children.output(['-c', 'import time; time.sleep(60)'], 0.2)
    assert not children._running
