"""``--help`` of each program imports nothing heavy, and the names and flags that are repeated for that are right."""
import runpy
import subprocess
import sys

import pytest
from basicsr.utils import options
from programs import TOOLS

from dev.benchmarks.steps import NETWORKS, RECOGNIZERS
from ra_plugin.paper.experiments import scales
from ra_plugin.studies.boundary.measure import Search

NAMES = sorted(path.stem for path in TOOLS.glob('*.py'))
CODE = '''import runpy, sys
name, sys.argv = sys.argv[1], [sys.argv[1], '--help']
sys.path[0] = name.rpartition('/')[0]
try:
    runpy.run_path(name, run_name='__main__')
except SystemExit as end:
    heavy = {'torch', 'basicsr', 'numpy', 'ra_plugin'} & set(sys.modules)
    sys.exit(f'imports {heavy}' if heavy or end.code else 0)
'''


@pytest.mark.parametrize('name', NAMES)
def test_help_imports_nothing_heavy(name):
    done = subprocess.run([sys.executable, '-c', CODE, str(TOOLS / f'{name}.py')], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('usage:')


@pytest.fixture(autouse=True)
def beside_programs(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)


def program(name: str) -> dict:
    return runpy.run_path(str(TOOLS / f'{name}.py'))


def test_names_that_are_repeated():
    benchmark = program('benchmark')
    assert benchmark['NETWORK_NAMES'] == tuple(NETWORKS) and benchmark['RECOGNIZER_NAMES'] == tuple(RECOGNIZERS)
    assert program('reproduce')['SCALES'] == scales(TOOLS.parent)
    assert f'default={Search.factor:g},' in (TOOLS / 'boundary.py').read_text()


@pytest.mark.parametrize('name', ['train', 'test'])
def test_flags_are_those_of_basicsr(name, monkeypatch, tmp_path):
    theirs = {}

    class Seen(Exception):
        pass

    def look(parser):
        theirs.update({flag: action.nargs for action in parser._actions for flag in action.option_strings})
        raise Seen

    monkeypatch.setattr('argparse.ArgumentParser.parse_args', look)
    monkeypatch.setattr(sys, 'argv', [name])
    with pytest.raises(Seen):
        options.parse_options(str(tmp_path))
    ours = {flag: action.nargs for action in program(name)['parser']()._actions for flag in action.option_strings}
    ours.pop('--local-rank')
    assert ours == theirs
