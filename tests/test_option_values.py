"""Option values are checked against the signature of what they build; each mistake gives one line with its remedy."""
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Optional, Union

import pytest

from ra_plugin.options import OptionError, check_arguments, check_type, suggestion

FITS = [
    (1.5, float), (1, float), (1, int), (True, bool), ('a', str), (None, None), (None, float | None),
    ('l1', Literal['l1', 'l2']), (3, Literal['model'] | int), ('model', Literal['model'] | int | None),
    ([1, 2], Sequence[int]), ((1, 2), Sequence[int]), ([], Sequence[int]), ([1, 2.5], Sequence[float]),
    ([[1], [2, 3]], Sequence[Sequence[int]]), ([{'a': 1}], Sequence[Mapping[str, Any]]),
    ([1], list[int]), ((1, 2), tuple[int, ...]), ([1], list), ({'a': 1}, Mapping[str, Any]),
    (OrderedDict(a=1), Mapping), (['a', 1], tuple[str, int]), ([['', 1], ['b', 2]], tuple[tuple[str, int], ...]),
    ({'a': 1}, dict), ('x', str | Mapping), (object(), Any),
    (2, Optional[int]), (2, Union[str, int]),  # noqa: UP007, UP045 - the old forms must fit, too
]
MISFITS = [
    ('a', float, "expected a number, got 'a'."),
    (True, float, 'expected a number, got True.'),
    (True, int, 'expected a whole number, got True.'),
    (1.0, int, 'expected a whole number, got 1.0.'),
    (1, bool, 'expected true or false, got 1.'),
    (1, str, 'expected text, got 1.'),
    (None, int, 'expected a whole number, got None.'),
    ('x', int | None, "expected a whole number or nothing (~), got 'x'."),
    (True, Literal[1, 2], 'expected 1 | 2, got True.'),
    (3, Sequence[int], 'expected a list of whole numbers, got 3.'),
    ('12', Sequence[str], "expected a list of text, got '12'."),
    ([1, 'a'], Sequence[int], "expected a list of whole numbers, got [1, 'a']."),
    ([[1], [True]], Sequence[Sequence[int]], 'expected a list of a list of whole numbers, got [[1], [True]].'),
    (['a', 1.5], tuple[str, int], "expected a list of text or whole numbers, got ['a', 1.5]."),
    ({'a': 1}, list, "expected a list, got {'a': 1}."),
    ('a', Mapping[str, Any], "expected a block, got 'a'."),
    ([1], dict, 'expected a block, got [1].'),
]


def build(weight: float, name: str = 'a', *, size: int | None = None):
    """Stands for a constructor."""


@pytest.mark.parametrize('value, hint', FITS, ids=lambda value: re.sub(' at 0x.*', '', str(value)))
def test_a_value_of_the_annotated_type_passes(value, hint):
    check_type(value, hint, 'here')


@pytest.mark.parametrize('value, hint, message', MISFITS, ids=str)
def test_a_value_of_another_type_says_place_expectation_and_value(value, hint, message):
    with pytest.raises(OptionError, match=f'^{re.escape("here: " + message)}'):
        check_type(value, hint, 'here')


@pytest.mark.parametrize('text', ['1e-4', '1e4', '0.5', '-3', '.5', '+1E-3'])
def test_a_number_that_came_as_text_is_told_how_to_become_one(text):
    message = f"got '{text}'. YAML reads {text} as text: write '!!float {text}'."
    with pytest.raises(OptionError, match=re.escape(message)):
        check_type(text, float, 'here')


@pytest.mark.parametrize('text, number', [('100', 100), ('1e4', 10000)])
def test_a_whole_number_that_came_as_text_is_not_told_to_become_a_float(text, number):
    with pytest.raises(OptionError, match=f'YAML reads {text} as text: write {number}.$'):
        check_type(text, int, 'here')


@pytest.mark.parametrize('text', ['0.5', '1e999'])
def test_a_number_that_cannot_be_whole_gets_no_remedy(text):
    with pytest.raises(OptionError, match=f"expected a whole number, got '{text}'.$"):
        check_type(text, int, 'here')


@pytest.mark.parametrize('hint', [bool, Mapping, Literal['a']])
def test_text_where_no_number_is_expected_gets_no_remedy_for_numbers(hint):
    with pytest.raises(OptionError, match=r"got '1'\.( Write {KEY: \.\.\., \.\.\.}\.)?$"):
        check_type('1', hint, 'here')


@pytest.mark.parametrize('hint', [Literal['mean', 'sum'], Literal['mean', 'sum'] | None, int | Literal['mean']])
def test_a_mistyped_choice_gets_the_nearest(hint):
    with pytest.raises(OptionError, match=r"got 'maen'\. Did you mean 'mean'\?$"):
        check_type('maen', hint, 'here')


def test_arguments_that_fit_pass():
    check_arguments(build, {'weight': 1, 'size': None}, 'here')


def test_an_unknown_key_gets_the_nearest_and_the_list():
    message = "here: unknown key 'wieght'. Did you mean 'weight'? Known: weight, name, size"
    with pytest.raises(OptionError, match=f'^{re.escape(message)}$'):
        check_arguments(build, {'wieght': 1.0}, 'here')


def test_a_missing_key_is_named():
    with pytest.raises(OptionError, match=r"^here: 'weight' is missing\. Known: weight, name, size$"):
        check_arguments(build, {'name': 'b'}, 'here')


def test_a_wrong_value_is_placed_by_its_key():
    with pytest.raises(OptionError, match=r'^here\.weight: expected a number, got None'):
        check_arguments(build, {'weight': None}, 'here')


def test_a_constructor_is_checked_without_self():
    class Thing:
        def __init__(self, size: int):
            pass

    with pytest.raises(OptionError, match=r"^here: unknown key 'self'\. Known: size$"):
        check_arguments(Thing, {'self': 1}, 'here')


def test_a_class_without_constructor_takes_no_keys():
    with pytest.raises(OptionError, match="unknown key 'a'"):
        check_arguments(type('Bare', (), {}), {'a': 1}, 'here')


def test_keyword_arguments_open_the_block():
    def open_ended(size: int, **kwargs):
        pass

    check_arguments(open_ended, {'size': 1, 'anything': object()}, 'here')


def test_an_argument_without_annotation_takes_anything():
    check_arguments(lambda anything: None, {'anything': object()}, 'here')


def test_no_suggestion_where_nothing_is_near():
    assert suggestion('zzz', ['mean', 'sum']) == ''


def test_an_option_error_is_a_value_error():
    assert issubclass(OptionError, ValueError)
