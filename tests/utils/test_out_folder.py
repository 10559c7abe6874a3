"""Unwritable output folders and invalid command lines are reported before anything is built."""
import os
import re
from pathlib import Path

import pytest
from programs import ROOT, run_tool

from ra_plugin.cli.main import COMMANDS
from ra_plugin.evaluation.options import evaluation_options
from ra_plugin.evaluation.program_flags import check_loading, device_of
from ra_plugin.options import OptionError
from ra_plugin.utils.out_folder import check_out_folder, say_written

BLOCKS = {'datasets': {'d': {}}, 'restorers': {'r': {}}, 'recognizers': {}}


def test_folders(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    (tmp_path / 'broken').symlink_to('nowhere')
    monkeypatch.chdir(tmp_path)
    for good in (tmp_path, tmp_path / 'new' / 'er', Path('new'), Path('.')):
        check_out_folder(good)
    for bad in ('file', 'file/below/it', 'broken/x'):
        with pytest.raises(OptionError, match=f"got '{bad}', but '.*' is not a folder"):
            check_out_folder(Path(bad))
    monkeypatch.setattr(os, 'access', lambda place, mode: False)  # root may write anywhere
    with pytest.raises(OptionError, match='is not writable'):
        check_out_folder(Path('new'), '--out')
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('place, files, line', [
    ('HERE/results/x', (), 'results/x'), ('results/x', ('a.json', 'b.md'), 'results/x: a.json, b.md'),
    ('./results/../y', (), 'y'), ('HERE', (), 'HERE'), ('.', ('key.json',), 'HERE: key.json'),
    ('HERE/../beside', (), 'ABOVE/beside'), ('../beside', (), 'ABOVE/beside'), ('HERE2/x', (), 'HERE2/x')])
def test_where_results_are_is_relative_below_the_current_folder(place, files, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    place, line = (text.replace('HERE', str(tmp_path)).replace('ABOVE', str(tmp_path.parent)) for text in (place, line))
    say_written(Path(place), *files)
    assert capsys.readouterr().out == f'Written to {line}.\n'


def test_every_command_says_so_in_the_same_way():
    texts = {path.relative_to(ROOT): path.read_text() for folder in ('ra_plugin', 'dev')
             for path in (ROOT / folder).rglob('*.py')}
    assert [str(path) for path, text in texts.items() if 'Written to' in text] == ['ra_plugin/utils/out_folder.py']
    in_pipelines = {'demo.py': 'demo/run.py', 'train.py': 'training/pipeline.py', 'test.py': 'training/pipeline.py'}
    for name in COMMANDS:
        file = f'{name.replace("-", "_")}.py'
        assert 'say_written(' in texts[Path('ra_plugin', in_pipelines.get(file, f'cli/{file}'))], name


@pytest.mark.parametrize('name, arguments', [
    ('evaluate', []), ('boundary', ['plain', 'RA']), ('survey', ['plain', 'RA', '--judge', 'x']),
    ('sweep', ['--loss-weight', 0, 1, '--eval', 'x.yml'])])
def test_programs_look_at_it_first(name, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'x.yml').write_text('{name: a}')
    (tmp_path / 'file').touch()
    assert run_tool(monkeypatch, name, *arguments, '-opt', 'x.yml', '--out', 'file') == 2
    assert capsys.readouterr().err.splitlines()[1].startswith(f'{name}.py: --out: expected a folder for results')


@pytest.mark.parametrize('name', ['gpu', 'cuda:99', ''])
def test_devices(name):
    if name:
        with pytest.raises(OptionError, match=f"^--device: expected a device that torch can use here.*got '{name}'"):
            device_of(name)
    else:
        assert device_of('cpu').type == 'cpu' and device_of(None).type in ('cpu', 'cuda')


@pytest.mark.parametrize('given, message', [
    ({'batch_size': 0}, '--batch-size: expected a whole number >= 1, got 0'),
    ({'batch_size': 1, 'num_workers': -1}, '--num-workers: expected a whole number >= 0, got -1')])
def test_loading(given, message):
    check_loading(1, 0)
    with pytest.raises(OptionError, match=message):
        check_loading(**given)


@pytest.mark.parametrize('change, message', [
    ({'name': '../x'}, "name: expected the name of a folder below results, got '../x'"),
    ({'name': ''}, 'name: expected the name of a folder below results'),
    ({'seed': -1}, 'seed: expected a whole number >= 0'), ({'seed': 2 ** 70}, 'seed: expected a whole number'),
    ({'restorers': {1: {}}}, "restorers: name 1: expected text, got 1. YAML reads this as a number"),
    ({'recognizers': {True: {}}}, 'recognizers: name True: expected text, got True. YAML reads yes, no')])
def test_names_and_seeds_of_an_evaluation(change, message):
    options = {'name': 'a', **BLOCKS, 'recognizers': {'x': {
        'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrained': False}}, **change}
    with pytest.raises(OptionError, match=f'^{re.escape(message)}'):
        evaluation_options(options, Path())


@pytest.mark.parametrize('name', ['5', '~', '../x'])
def test_a_sweeps_name_is_text_and_a_folders(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'x.yml').write_text(f'name: {name}')
    assert run_tool(monkeypatch, 'sweep', '--loss-weight', 0, 1, '--eval', 'x.yml', '-opt', 'x.yml', '--out', 'o') == 2
    assert capsys.readouterr().err.splitlines()[1].startswith('sweep.py: x.yml: name: expected ')


@pytest.mark.parametrize('name, arguments, said', [
    ('boundary', ['plain', 'RA', '-opt', 'x', '--factor', 'inf'], 'factor: expected a number > 1, got inf'),
    ('doctor', ['-opt', 'x', '--expect', 'vgg=x'], "expected NAME=SHARE with a share from 0 to 1, got 'vgg=x'"),
    ('survey', ['plain', 'RA', '-opt', 'x', '--judge', 'j', '--out', 'o', '--seed', -1],
     'survey: seed: expected a whole number >= 0, got -1')])
def test_numbers_of_command_lines(name, arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'x').touch()
    try:
        status = run_tool(monkeypatch, name, *arguments)
    except SystemExit as end:  # of argparse
        status = end.code
    assert status == 2 and said in capsys.readouterr().err.splitlines()[-1]
