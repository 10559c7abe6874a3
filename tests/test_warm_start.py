"""A program that starts warm is as `subprocess` would have it, and imports this package itself."""
import json
import os
import subprocess
import sys
import time

import pytest
import warm_start

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
    ('1 / 0', 1, 'ZeroDivisionError: division by zero\n'), ('import os; os.kill(os.getpid(), 9)', -9, '')])
def test_its_end(code, status, errors):
    done = warm_start.run(['-c', f'import atexit; atexit.register(print, "end"); {code}'])
    assert done.returncode == status and done.stderr.endswith(errors) and bool(errors) == bool(done.stderr)
    assert done.stdout == ('end\n' if status >= 0 else '')


def test_what_a_test_is_about_is_imported_by_the_program():
    code = 'import sys; print(sorted({name.partition(".")[0] for name in sys.modules}))'
    imported = warm_start.run(['-c', code]).stdout
    assert "'torch'" in imported
    assert not [name for name in ('basicsr', 'mmcv', 'ra_plugin', 'timm', 'transformers') if f"'{name}'" in imported]


def test_several_run_at_a_time_and_draw_by_themselves(tmp_path):
    code = ('import os, pathlib, random, sys, time\nimport numpy as np\nimport torch\n'
            'pathlib.Path(sys.argv[1]).touch()\nwhile len(os.listdir()) < 2:\n    time.sleep(0.01)\n'
            'print(random.random(), np.random.rand(), torch.rand(1).item())')
    done = warm_start.finish(*(warm_start.Program(['-c', code, name], tmp_path) for name in 'ab'))
    first, second = (each.stdout.split() for each in done)
    assert len(first) == 3 and not set(first) & set(second)


def test_one_that_takes_too_long_is_ended():
    program = warm_start.Program(['-c', 'import time; time.sleep(60)'])
    with pytest.raises(subprocess.TimeoutExpired):
        program.result(0.1)
    program.close()
    end = time.monotonic() + 10
    while os.path.exists(f'/proc/{program.pid}'):
        assert time.monotonic() < end
        time.sleep(0.01)
