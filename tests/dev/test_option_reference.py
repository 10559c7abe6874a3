"""docs/OPTIONS.md is what the annotations and docstrings say today, and says something of every key."""
import re
from pathlib import Path

import pytest

from dev import option_reference, program_reference
from ra_plugin.cli.main import COMMANDS
from ra_plugin.registry import DEGRADATION_REGISTRY, RECOGNIZER_REGISTRY

FILE = Path(__file__).parents[2] / 'docs' / 'OPTIONS.md'


@pytest.fixture(scope='module')
def reference():
    return option_reference.reference()


def test_the_file_is_current(reference):
    assert FILE.read_text() == reference, 'run: python -m dev.option_reference > docs/OPTIONS.md'


def test_every_key_has_a_meaning_and_a_type(reference):
    rows = [line for line in reference.splitlines() if line.startswith('| `')]
    lacking = [row for row in rows if not all(cell.strip() for cell in row.split(' | ')) or row.endswith('|  |')]
    assert len(rows) > 200 and not lacking


def test_everything_that_is_registered_has_a_section(reference):
    for registry in (RECOGNIZER_REGISTRY, DEGRADATION_REGISTRY):
        for name in option_reference.ours(registry):
            assert f'\n### `{name}`\n' in reference


def test_a_table_says_what_the_annotation_does(reference):
    assert '| `loss_weight` | number >= 0 | `1.0` | Factor on the loss' in reference
    assert '| `checkpoint` | path or name or `~` | `~` | File with the weights' in reference
    assert '| `steps` | list of blocks (degradation) | required |' in reference
    assert not [word for word in ('<class', 'typing.', 'collections.abc', 'Annotated', 'factory') if word in reference]


def test_every_command_has_a_section_with_all_its_flags(reference):
    """A flag that is in the usage line of a command's own --help has a row."""
    for name in COMMANDS:
        rows = reference.split(f'\n### `ra-plugin {name}`\n')[1].split('\n### ')[0]
        usage = program_reference.parser_of(name).format_usage()
        flags = set(re.findall(r'(?<![\w-])--?[a-z][a-z-]*', usage)) - {'-h'}
        assert flags <= set(re.findall(r'`(--?[a-z-]+)`', rows)) and rows.count('| `') >= len(flags), name
    assert '| `--factor` | number | 1.1 | from each distance' in reference
    assert '| `--max-psnr-drop` | number | any | name the best' in reference
    assert '| `--judge` | text | none | ' in reference and '| `-k` | whole number | 100 | clean images' in reference


@pytest.mark.parametrize('name', COMMANDS)
def test_a_default_that_a_help_text_says_is_the_default(name):
    for _, action in program_reference.actions_of(program_reference.parser_of(name)):
        said, meaning = program_reference.default_of(action)
        assert meaning, action.dest
        if isinstance(action.default, (int, float)) and action.nargs != 0:
            assert float(said.strip('`')) == action.default, action.dest
        elif action.choices and action.default is not None:
            assert said.strip('`') == action.default, action.dest
