"""A duplicate key in an option file is an error of one line with both places, in all programs."""
import pytest
import yaml
from basicsr.utils.options import ordered_yaml

from ra_plugin.evaluation.options import read_options
from ra_plugin.options import OptionError
from ra_plugin.utils.yaml_file import load_yaml

TWICE = {
    'at the top': ('name: a\nscale: 2\nname: b\n', "line 3: duplicate key 'name', first used in line 1"),
    'within': ('train:\n  optim_g:\n    lr: 1\n    type: Adam\n    lr: 2\n',
               "line 5: duplicate key 'lr', first used in line 3"),
    'in a list': ('a:\n- {x: 1, y: 2}\n- {x: 1,\n   y: 3, x: 2}\n', "line 4: duplicate key 'x', first used in line 3"),
    'in one line': ('a: {x: 1, x: 1}\n', "line 1: duplicate key 'x', first used in line 1"),
    'quoted': ('a: 1\n"a": 2\n', "line 2: duplicate key 'a'"),
}


@pytest.mark.parametrize('case', TWICE)
@pytest.mark.parametrize('read', [load_yaml, lambda text: yaml.load(text, Loader=ordered_yaml()[0])],
                         ids=['ours', 'of a training'])
def test_a_key_twice_is_refused(case, read):
    text, message = TWICE[case]
    with pytest.raises(OptionError, match=message) as error:
        read(text)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('text', ['a: {x: 1}\nb: {x: 1}\n', '1: a\n"1": b\n',
                                  'a: &a {x: 1}\nb: {<<: *a, x: 2}\nc: *a\n', '- a\n- a\n', 'a: !!float 1e-3\n', ''])
def test_others_are_as_the_safe_loader_reads_them(text):
    assert load_yaml(text) == yaml.safe_load(text)


def test_code_is_none(tmp_path):
    with pytest.raises(yaml.YAMLError):
        load_yaml('a: !!python/object/apply:os.getcwd []')


def test_an_evaluation_is_refused(tmp_path):
    (tmp_path / 'eval.yml').write_text('name: a\nimages: 5\nimages: 6\n')
    with pytest.raises(OptionError, match="line 3: duplicate key 'images'"):
        read_options(tmp_path / 'eval.yml')
