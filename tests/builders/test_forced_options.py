"""--force-yml of the programs that read an option file themselves: as BasicSR reads it for a training."""
import re

import pytest
from basicsr.utils.options import _postprocess_yml_value
from programs import run_tool

from ra_plugin.builders.forced_options import as_arguments, check_forced, forced, read_value
from ra_plugin.options import OptionError


@pytest.mark.parametrize('text', ['~', 'None', 'TRUE', 'false', '3', '03', '0.25', '.5', '5.', '!!float 1e-4', '1e-4',
                                  '-1', '[1, 2.5]', "['a', 'b']", '[]', 'L1Loss', 'datasets/x y', '1.2.3', 'n', 'inf'])
def test_values_are_what_basicsr_reads(text):
    ours, theirs = read_value(text), _postprocess_yml_value(text)
    assert ours == theirs and type(ours) is type(theirs)


def test_entries_change_a_copy_and_may_be_new_keys():
    opt = {'name': 'a', 'train': {'total_iter': 5, 'optim_g': {'lr': 1}}}
    changed = forced(opt, ['train:optim_g:lr=!!float 1e-4', 'name = b', 'train:ema_decay=0.9'])
    assert changed == {'name': 'b', 'train': {'total_iter': 5, 'optim_g': {'lr': 1e-4}, 'ema_decay': 0.9}}
    assert opt == {'name': 'a', 'train': {'total_iter': 5, 'optim_g': {'lr': 1}}}
    assert forced(opt, None) == opt and as_arguments(None) == [] == as_arguments([])
    assert as_arguments(['a=1', 'b=2']) == ['--force-yml', 'a=1', 'b=2']


@pytest.mark.parametrize('entry, message', [
    ('name', 'name: expected KEY:KEY=VALUE'), ('a=b=c', 'with one = sign'), ('=1', 'expected KEY:KEY=VALUE'),
    ('train::x=1', 'expected KEY:KEY=VALUE'), ('name=', 'expected KEY:KEY=VALUE'),
    ('trian:total_iter=1', "no 'trian' in the file. Did you mean 'train'?"),
    ('train:optim:lr=1', "no 'optim' in train. Did you mean 'optim_g'?"),
    ('name:x=1', 'name:x=1: name: expected'), ('x=[1', "a list as Python has it, e.g. ['a', 'b'], got [1."),
    ('x=[__import__("os").getcwd()]', 'a list as Python has it'), ('x=!!float y', 'expected a number, got !!float y.')])
def test_what_cannot_be_changed_is_said_in_a_line(entry, message):
    with pytest.raises(OptionError, match=re.escape(message)) as error:
        forced({'name': 'a', 'train': {'optim_g': {}}}, [entry])
    assert str(error.value).startswith('--force-yml')


def test_entries_for_basicsr_are_checked_before_it_unpacks_them():
    check_forced(['-opt', 'x', '--force_yml', 'a:b=1', 'c=2', '--auto_resume'])
    check_forced(['--force_yml'])  # argparse says so
    for arguments in (['--force-yml', 'a=1', 'total_iter', '--debug'], ['--force_yml=total_iter']):
        with pytest.raises(OptionError, match='--force-yml total_iter: expected KEY:KEY=VALUE'):
            check_forced(arguments)


@pytest.mark.slow
@pytest.mark.parametrize('name, more', [
    ('evaluate', []), ('boundary', ['plain', 'RA']), ('sweep', ['--loss-weight', 0, 1, '--eval', 'x.yml']),
    ('survey', ['plain', 'RA', '--judge', 'one', '--out', 'out'])])
def test_programs_that_read_an_option_file_take_it(name, more, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'x.yml').write_text('{name: a, train: {}}')
    assert run_tool(monkeypatch, name, *more, '-opt', 'x.yml', '--force_yml', 'name=b', 'trian:x=1') == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        f"{name}.py: --force-yml trian:x=1: no 'trian' in the file. Did you mean 'train'?"]
