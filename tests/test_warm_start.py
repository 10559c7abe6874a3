"""A program that starts warm is as `subprocess` would have it, and imports this package itself."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import warm_start

pytestmark = pytest.mark.slow
REPORT = '''
import json, os, sys
print(json.dumps([sys.argv, sys.path, os.getcwd(), dict(os.environ), __name__, os.getpgid(0), sys.stdin.read()]))
print('heard', file=sys.stderr)
sys.exit(3)
'''


@pytest.mark.slow
@pytest.mark.parametrize('words', [['-c', REPORT, '-x', 'y'], ['-m', 'report', '-x'], ['report.py', 'y']],
                         ids=['code', 'module', 'file'])
def test_it_is_as_one_that_starts_cold(words, tmp_path):
    (tmp_path / 'report.py').write_text(REPORT)
    env = {**os.environ, 'PYTHONPATH': f'/x{os.pathsep}/y', 'OMP_NUM_THREADS': '1', 'WORD': 'w'}
    cold = subprocess.run([sys.executable, *words], cwd=tmp_path, env=env, text=True, capture_output=True,
                          stdin=subprocess.DEVNULL)
    warm = warm_start.run(words, tmp_path, env)
    assert (warm.returncode, warm.stderr) == (cold.returncode, cold.stderr) == (3, 'heard\n')
    expected, found = json.loads(cold.stdout), json.loads(warm.stdout)
    assert found == expected


@pytest.mark.parametrize('code, status, errors', [
    ('', 0, ''), ('raise SystemExit', 0, ''), ('raise SystemExit("no")', 1, 'no\n'),
    ('1 / 0', 1, 'ZeroDivisionError: division by zero\n'), ('raise KeyboardInterrupt', -2, 'KeyboardInterrupt\n'),
    ('import os; os.kill(os.getpid(), 9)', -9, '')])
def test_its_end(code, status, errors):
    done = warm_start.run(['-c', f'import atexit; atexit.register(print, "end"); {code}'])
    assert done.returncode == status and done.stderr.endswith(errors) and bool(errors) == bool(done.stderr)
    assert done.stdout == ('' if status == -9 else 'end\n')


def test_what_a_test_is_about_is_imported_by_the_program():
    code = 'import sys; print(sorted({name.partition(".")[0] for name in sys.modules}))'
    imported = warm_start.run(['-c', code]).stdout
    assert "'torch'" in imported
    assert not [name for name in ('basicsr', 'mmcv', 'ra_plugin', 'timm', 'transformers') if f"'{name}'" in imported]


def test_several_run_at_a_time_and_draw_by_themselves(tmp_path):
    code = ('import os, pathlib, random, sys, time\nimport numpy as np\nimport torch\n'
            'pathlib.Path(sys.argv[1]).touch()\nwhile len(os.listdir()) < 2:\n    time.sleep(0.01)\n'
            'print(random.random(), np.random.rand(), torch.rand(1).item())')
    programs = [subprocess.Popen([warm_start.python(), '-c', code, name], cwd=tmp_path, text=True,
                                 stdout=subprocess.PIPE) for name in 'ab']
    first, second = (program.communicate(timeout=60)[0].split() for program in programs)
    assert len(first) == 3 and not set(first) & set(second)


WAITS = '''
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit('told'))
print(os.getpid(), flush=True)
time.sleep(60)
'''


def waiting():
    program = subprocess.Popen([warm_start.python(), '-c', WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    return program, int(program.stdout.readline())


def test_a_signal_reaches_it():
    program, number = waiting()
    program.terminate()
    assert program.communicate(timeout=60)[1] == 'told\n' and program.returncode == 1


def test_it_ends_with_the_process_that_stands_for_it():
    program, number = waiting()
    program.kill()
    assert program.communicate(timeout=60) == ('', '') and program.returncode == -signal.SIGKILL
    end = time.monotonic() + 10
    while os.path.exists(f'/proc/{number}'):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_it_starts_is_warm_and_options_of_the_interpreter_are_not():
    code = 'import sys; print("torch" in sys.modules, sys.flags.isolated, sys.stdin.read())'
    inner = f'import subprocess, sys; subprocess.run([sys.executable, "-c", {code!r}], input=b"given", check=True)'
    assert warm_start.run(['-W', 'error', '-c', 'import warnings; warnings.warn("said")']).returncode == 1
    assert warm_start.run(['-c', inner]).stdout == 'True 0 given\n'
    assert warm_start.run(['-I', '-c', code]).stdout == 'False 1 \n'
