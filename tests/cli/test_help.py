"""Help of all commands: quick, without heavy imports; names and flags that are repeated for that are right."""
import argparse
import re
import resource
import runpy
import subprocess
import sys

import pytest
from basicsr.utils import options
from programs import ROOT, TOOLS

from dev.benchmarks.steps import NETWORKS, RECOGNIZERS
from ra_plugin.cli.flags import Parser
from ra_plugin.cli.main import COMMANDS, main, run_command
from ra_plugin.cli.reproduce import scales, tables
from ra_plugin.paper.experiments import Experiments
from ra_plugin.studies.boundary.measure import Search

CODE = '''import runpy, sys
program, *sys.argv = sys.argv[1:]
try:
    runpy.run_path(program, run_name='__main__')
except SystemExit as end:
    heavy = {'torch', 'basicsr', 'numpy'} & set(sys.modules)
    sys.exit(f'imports {heavy}' if heavy or end.code else 0)
'''
MAIN = ROOT / 'ra_plugin' / '__main__.py'
OF_MAINTAINERS = [ROOT / 'dev' / f'{name}.py' for name in ('benchmark', 'check_options', 'export_check', 'zoo_check')]
CALLS = [(MAIN, ()), *((MAIN, (name,)) for name in COMMANDS),
         *((program, ()) for program in [*sorted(TOOLS.glob('*.py')), *OF_MAINTAINERS])]


@pytest.mark.slow
@pytest.mark.parametrize('program, words', CALLS, ids=lambda value: getattr(value, 'stem', None) or '-'.join(value))
def test_help_is_quick_and_imports_nothing_heavy(program, words, tmp_path):
    command = [sys.executable, '-c', CODE, str(program), str(program), *words, '--help']
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('usage:') and (program.stem == '__main__' or program.name in done.stdout)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5  # seconds, whatever else runs


def test_each_command_has_a_file_and_each_tool_is_a_command():
    files = {path.stem for path in (ROOT / 'ra_plugin' / 'cli').glob('*.py')} - {'__init__', 'flags', 'main', 'start'}
    assert {name.replace('-', '_') for name in COMMANDS} == files
    assert {tool.stem for tool in TOOLS.glob('*.py')} <= files


@pytest.mark.parametrize('words, status, said', [
    ([], 2, ''), (['--version'], 0, ''), (['evalaute'], 2, "no command 'evalaute'. Did you mean 'evaluate'?"),
    (['xyz'], 2, "no command 'xyz'. `ra-plugin --help` lists all.")])
def test_without_a_command(words, status, said, capsys):
    assert main(words) == status
    output, errors = capsys.readouterr()
    assert errors == (f'ra-plugin: {said}\n' if said else '') and bool(output) == (not said)
    assert words or all(re.search(rf'^  {name} ', output, re.MULTILINE) for name in COMMANDS)


@pytest.mark.slow
def test_names_that_are_repeated(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'dev')
    benchmark = runpy.run_path(str(ROOT / 'dev' / 'benchmark.py'))
    assert benchmark['NETWORK_NAMES'] == tuple(NETWORKS) and benchmark['RECOGNIZER_NAMES'] == tuple(RECOGNIZERS)
    assert scales() == ['imagenet_sample', 'paper', 'small']
    names = Experiments(ROOT, 'small').tables
    assert [name.split(', ')[0] for name in tables()] == list(names)
    assert f'default={Search.factor:g},' in (ROOT / 'ra_plugin' / 'cli' / 'boundary.py').read_text()


def parsed(name, words, monkeypatch):
    """Return the arguments that a command is run with."""
    from ra_plugin.cli import boundary, train
    command, found = {'train': train, 'boundary': boundary}[name], []
    monkeypatch.setattr('pathlib.Path.exists', lambda path: True)  # option files are looked for
    monkeypatch.setattr(command, 'run', lambda args: found.append(args) or 0)
    assert run_command(name, name, words) == 0
    return found[0]


@pytest.mark.parametrize('flag', ['--num-images', '--num_images'])
def test_dashes_and_underscores_are_one(flag, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['boundary'])
    for words in ([flag, '5'], [f'{flag}=5']):
        args = parsed('boundary', ['a_b', 'c', '--opt', 'x_y.yml', *words, '--force_yml', 'a_b=c_d'], monkeypatch)
        assert args.num_images == 5 and args.names == ['a_b', 'c'] and args.force_yml == ['a_b=c_d']
        assert str(args.opt) == 'x_y.yml'


@pytest.mark.parametrize('words', [
    ['--auto_resume', '--local_rank', '3', '--force_yml', 'a=1', 'b=2', '--launcher', 'pytorch', '--debug'],
    ['--auto-resume', '--local-rank=3', '--force-yml', 'a=1', 'b=2', '--launcher=pytorch', '--debug']])
def test_basicsr_gets_its_own_spelling(words, monkeypatch, tmp_path):
    from ra_plugin.cli.flags import basicsr_arguments
    monkeypatch.setattr(sys, 'argv', ['train'])
    args = parsed('train', [*words, '-opt', 'x.yml'], monkeypatch)
    assert basicsr_arguments(args) == ['-opt', 'x.yml', '--launcher', 'pytorch', '--auto_resume', '--debug',
                                       '--local_rank', '3', '--force_yml', 'a=1', 'b=2']
    assert basicsr_arguments(parsed('train', ['-opt', 'x.yml'], monkeypatch)) == ['-opt', 'x.yml']


@pytest.mark.parametrize('name', ['train', 'test', 'doctor'])
def test_flags_are_those_of_basicsr(name, monkeypatch, tmp_path):
    from ra_plugin.cli import doctor, test, train
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
    parser = Parser(name, None)
    {'train': train, 'test': test, 'doctor': doctor}[name].add_arguments(parser)
    ours = {flag: action.nargs for action in parser._actions for flag in action.option_strings
            if action.help != argparse.SUPPRESS}
    del ours['--opt']
    assert {flag.replace('_', '-'): nargs for flag, nargs in theirs.items()}.items() <= ours.items()
    assert name == 'doctor' or len(ours) == len(theirs)


def test_a_package_that_is_missing_is_one_line(monkeypatch, capsys):
    from ra_plugin.cli import split_classes

    def run(args):
        raise ImportError('Training needs BasicSR:\npip install "basicsr"')

    monkeypatch.setattr(split_classes, 'run', run)
    monkeypatch.setattr(sys, 'argv', ['pytest'])
    assert main(['split-classes', 'x', '--out', 'y']) == 2
    assert capsys.readouterr().err == (
        'ra-plugin split-classes: Training needs BasicSR: pip install "basicsr"\n')
    monkeypatch.setenv('RA_PLUGIN_DEBUG', '1')
    with pytest.raises(ImportError):
        main(['split-classes', 'x', '--out', 'y'])
