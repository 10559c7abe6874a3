"""Where shipped files are found, in a clone and in an installed package."""
import shutil
from pathlib import Path

import pytest

from ra_plugin.shipped import find
from ra_plugin.shipped.find import locate, option_file, option_files, option_text, shown_name

ROOT = Path(__file__).parents[2]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def installed(elsewhere, monkeypatch):
    """A package beside others, with the option files in it."""
    package = elsewhere / 'site-packages' / 'ra_plugin'
    shutil.copytree(ROOT / 'options', package / 'shipped' / 'options')
    (package / 'weights').mkdir()
    (package / 'weights' / 'x.safetensors').touch()
    (package.parent / 'datasets').mkdir()
    monkeypatch.setattr(find, '_PACKAGE', package)
    monkeypatch.setattr(find, '_IN_PACKAGE', package / 'shipped')
    return package


@pytest.mark.parametrize('name', ['options/ra_rdn_x4.yml', 'ra_rdn_x4.yml', 'ra_rdn_x4'])
def test_a_file_of_the_current_folder_comes_first(name, elsewhere):
    assert option_file(name) == ROOT / 'options' / 'ra_rdn_x4.yml'
    (elsewhere / 'options').mkdir()
    (elsewhere / 'options/ra_rdn_x4.yml').touch()
    assert option_file(name) == Path('options/ra_rdn_x4.yml')
    (elsewhere / name).touch()
    assert option_file(name) == Path(name)


def test_what_is_nowhere_stays_as_it_was(elsewhere):
    for name in ('nothing', 'eval', 'nothing.yml', '/nothing/ra_rdn_x4.yml'):
        assert option_file(name) == Path(name)
    assert locate('datasets/nothing', elsewhere) == elsewhere / 'datasets/nothing' and find.find('nothing') is None


def test_a_clone_has_its_folders(elsewhere):
    assert locate('ra_plugin/weights/cifar10_vgg.safetensors', elsewhere) == (
        ROOT / 'ra_plugin/weights/cifar10_vgg.safetensors')
    (elsewhere / 'ra_plugin').mkdir()
    assert locate('ra_plugin', elsewhere) == elsewhere / 'ra_plugin'


def test_an_installed_package_has_its_own_files_alone(installed, elsewhere):
    assert option_file('demo/ra_srresnet_x2_cifar10').is_relative_to(installed / 'shipped' / 'options' / 'demo')
    assert find.find('options/mm/fcos_mobilenetv2_bccd.py').is_relative_to(installed)
    assert find.find('ra_plugin/weights/x.safetensors') == installed / 'weights/x.safetensors'
    assert find.find('datasets') is None  # another package of that name
    assert shown_name(option_file('ra_rdn_x4')) == 'options/ra_rdn_x4.yml'


def test_written_ones_are_files_with_the_name_of_the_option_file(elsewhere):
    for name in ('ra_dbpn_x4', 'options/ra_dbpn_x4.yml', 'plain_srresnet_noise0.1', 'small/joint_srresnet_x2_cifar10'):
        file = option_file(name)
        shown = shown_name(file)
        assert file.is_file() and shown in option_files() and shown.endswith(f'/{file.name}')
        assert file.read_text() == option_text(shown) == option_file(shown).read_text()
        assert not list(elsewhere.iterdir())
    assert find.find('ra_dbpn_x4') is None and find.find('ra_dbpn_x4.yml') is None  # only a command line may shorten


def test_other_paths_are_shown_as_they_are(elsewhere):
    for path in ('options/mine.yml', str(elsewhere / 'options' / 'x.yml'), 'train:total_iter=5'):
        assert shown_name(path) == path
    assert shown_name(ROOT / 'options' / 'eval' / 'cifar10.yml') == 'options/eval/cifar10.yml'
