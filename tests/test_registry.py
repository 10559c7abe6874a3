"""A registry builds what an option block describes, and says in one line what is wrong with the block."""
import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import pytest

from ra_plugin.degradations import build_degradation
from ra_plugin.options import OptionError
from ra_plugin.registry import Registry


class Blur:
    def __init__(self, sigma: float, size: int = 5):
        self.sigma, self.size = sigma, size


@pytest.fixture
def registry():
    registry = Registry('filter')
    registry.register(Blur)
    return registry


def another_blur():
    return type('Blur', (), {'__module__': 'elsewhere'})


def test_a_block_builds_the_class_that_its_type_names(registry):
    built = registry.build({'type': 'Blur', 'sigma': 2.0}, 'val')
    assert isinstance(built, Blur) and (built.sigma, built.size) == (2.0, 5)


def test_building_leaves_the_block_as_it_is(registry):
    block = {'type': 'Blur', 'sigma': 2.0}
    registry.build(block, 'val')
    assert block == {'type': 'Blur', 'sigma': 2.0}


def test_register_returns_the_class_so_that_it_serves_as_decorator():
    assert Registry('filter').register(Blur) is Blur


def test_names_are_listed_in_order(registry):
    registry.register(type('Anti', (), {}))
    assert list(registry) == ['Anti', 'Blur']


def test_registering_the_same_class_again_changes_nothing(registry):
    registry.register(Blur)
    assert list(registry) == ['Blur']


def test_a_duplicate_name_says_where_the_first_lives(registry):
    with pytest.raises(KeyError, match=f"filter 'Blur' from elsewhere is already registered by {__name__}"):
        registry.register(another_blur())


def test_a_refused_duplicate_leaves_the_first_in_place(registry):
    with pytest.raises(KeyError):
        registry.register(another_blur())
    assert registry.get('Blur', 'val') is Blur


def test_an_unknown_type_gets_place_suggestion_and_list(registry):
    with pytest.raises(OptionError, match=r"^val\.type: no filter 'Blurr'\. Did you mean 'Blur'\? Registered: Blur$"):
        registry.build({'type': 'Blurr', 'sigma': 1.0}, 'val')


def test_a_type_unlike_all_others_gets_no_suggestion(registry):
    with pytest.raises(OptionError, match=r"^val\.type: no filter 'Q'\. Registered: Blur$"):
        registry.check({'type': 'Q'}, 'val')


@pytest.mark.parametrize('value', [None, 3, ['Blur'], {'Blur': 1}])
def test_a_type_that_is_no_text_is_an_unknown_type(registry, value):
    with pytest.raises(OptionError, match=re.escape(f"val.type: no filter '{value}'.")):
        registry.check({'type': value}, 'val')


@pytest.mark.parametrize('block', ['Blur', None, ['Blur'], 3])
def test_what_is_no_block_is_refused_with_the_remedy(registry, block):
    with pytest.raises(OptionError, match=re.escape(f'val: expected a block with a type, got {block!r}. Write {{type')):
        registry.check(block, 'val')


def test_a_block_without_type_lists_the_types(registry):
    with pytest.raises(OptionError, match=r"^val: no 'type'\. Registered: Blur$"):
        registry.check({'sigma': 1.0}, 'val')


def test_an_unknown_key_is_refused_before_anything_is_built(registry):
    with pytest.raises(OptionError, match=r"^val: unknown key 'sigm'\. Did you mean 'sigma'\? Known: sigma, size$"):
        registry.build({'type': 'Blur', 'sigm': 1.0}, 'val')


def test_checking_builds_nothing():
    class Explosive:
        def __init__(self, force: int):
            raise AssertionError('was built')

    registry = Registry('filter')
    registry.register(Explosive)
    assert registry.check({'type': 'Explosive', 'force': 1}, 'val') is Explosive


def test_blocks_within_a_block_are_checked_with_their_place():
    registry = Registry('filter')

    class Inner:
        def __init__(self, size: int):
            pass

    class Outer:
        def __init__(self, inner: Annotated[Mapping, registry], more: Sequence[Annotated[Mapping, registry]] = ()):
            pass

    registry.register(Inner), registry.register(Outer)
    good = {'type': 'Inner', 'size': 1}
    assert registry.check({'type': 'Outer', 'inner': good, 'more': [good]}, 'val') is Outer
    with pytest.raises(OptionError, match=r"^val\.inner: unknown key 'a'"):
        registry.check({'type': 'Outer', 'inner': {**good, 'a': 1}}, 'val')
    with pytest.raises(OptionError, match=r"^val\.more\[1\]\.size: expected a whole number, got 'x'"):
        registry.check({'type': 'Outer', 'inner': good, 'more': [good, {**good, 'size': 'x'}]}, 'val')


@pytest.mark.parametrize('name, meant', [('JPEG', 'JPEGCompression'), ('jpegcompression', 'JPEGCompression'),
                                         ('gaussian', 'GaussianNoise'), ('Noise', 'GaussianNoise'),
                                         ('GaussianNoize', 'GaussianNoise'), ('imagenetc', 'ImageNetC'),
                                         ('Foo', None)])
def test_a_name_in_another_case_or_a_part_of_one_gets_the_nearest(name, meant):
    with pytest.raises(OptionError, match=f"degradation.type: no degradation '{name}'") as caught:
        build_degradation({'type': name}, 'degradation')
    assert (f"Did you mean '{meant}'?" in str(caught.value)) if meant else 'Did you mean' not in str(caught.value)
