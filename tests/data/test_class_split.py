"""Halves of a data set's classes: reproducible from the seed, and written as lists for option files."""
from pathlib import Path

import pytest
from programs import run_tool

from ra_plugin.data.class_split import split_classes
from ra_plugin.options import OptionError

ROOT = Path(__file__).resolve().parents[2]
NAMES = [f'n{number:08d}' for number in range(101)]


def test_halves_have_each_class_once_whatever_the_order_they_are_listed_in():
    first, second = split_classes(NAMES)
    assert (len(first), len(second)) == (50, 51) and sorted(first + second) == NAMES
    assert first == sorted(first) and second == sorted(second)
    assert split_classes(reversed(NAMES)) == (first, second)
    assert split_classes(NAMES, seed=1) != (first, second)
    assert 15 < sum(name < NAMES[50] for name in first) < 35  # drawn at random: neither the first ones nor every other


@pytest.mark.parametrize('names', [['a', 'b', 'c'], ['a', 'b', 'c', 'd', 'a']])
def test_names_that_cannot_be_split_are_refused(names):
    with pytest.raises(OptionError, match='expected four or more different classes, got'):
        split_classes(names)


def test_the_tool_writes_the_lists(tmp_path, monkeypatch, capsys):
    for name in ('cat', 'dog', 'emu', 'fox', '.hidden'):
        (tmp_path / 'train' / name).mkdir(parents=True)
    (tmp_path / 'train' / 'readme.txt').touch()

    def program(data):
        return run_tool(monkeypatch, 'split_classes', data, '--out', tmp_path / 'lists')

    assert program(tmp_path / 'train') == 0
    lists = [(tmp_path / 'lists' / f'half_{letter}.txt').read_text().split() for letter in 'ab']
    assert lists == list(split_classes(['cat', 'dog', 'emu', 'fox']))
    assert capsys.readouterr().out.splitlines()[-1] == f'Written to {tmp_path}/lists: half_a.txt, half_b.txt.'
    assert program(tmp_path / 'none') == 2
    assert capsys.readouterr().err.count('\n') == 2  # the first says that it loads
