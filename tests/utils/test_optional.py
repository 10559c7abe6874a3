"""Messages for missing optional packages agree with the requirements in setup.cfg."""
import configparser
import re
import sys
from pathlib import Path

import pytest

from ra_plugin.utils import optional
from ra_plugin.utils.optional import require

SETUP = Path(__file__).parents[2] / 'setup.cfg'


@pytest.fixture
def hide(monkeypatch):
    """Return ``hide(package)``, after which the package cannot be found."""

    def hidden(package):
        class Hiding:

            @staticmethod
            def find_spec(name, path=None, target=None):
                if name.split('.')[0] == package:
                    raise ModuleNotFoundError(f'No module named {name!r}', name=name)

        for name in [name for name in sys.modules if name.split('.')[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, 'meta_path', [Hiding, *sys.meta_path])

    return hidden


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return ``package(name, code)``, which creates a package."""

    def make(name, code):
        (tmp_path / name).mkdir()
        (tmp_path / name / '__init__.py').write_text(code)
        for loaded in [loaded for loaded in sys.modules if loaded.split('.')[0] == name]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.syspath_prepend(str(tmp_path))

    yield make
    for name in tmp_path.iterdir():
        sys.modules.pop(name.name, None)


@pytest.mark.parametrize('name, message', [
    ('timm', 'Test needs timm>=1.0, which is not installed. Install it with: pip install "timm>=1.0"'),
    ('mmdet', 'Test needs mmdet>=3.3,<3.4, which is not installed. Install it with: pip install "ra_plugin[mm]"'),
    ('mmseg.models',
     'Test needs mmsegmentation>=1.2.2,<1.3, which is not installed. Install it with: pip install "ra_plugin[mm]"'),
    ('mmcv.ops',
     'Test needs mmcv-lite>=2.1.0,<2.2, which is not installed. Install it with: pip install "ra_plugin[mm]"'),
    ('pycocotools.mask',
     'Test needs pycocotools>=2.0.7, which is not installed. Install it with: pip install "ra_plugin[coco]"'),
    ('basicsr', 'Test needs basicsr>=1.4.2, which is not installed. Install it with: pip install setuptools wheel '
                'cython && pip install --no-build-isolation "basicsr>=1.4.2"'),
    ('some_package', 'Test needs some_package, which is not installed. Install it with: pip install "some_package"'),
])
def test_a_missing_package_is_named_with_the_line_that_installs_it(name, message, hide):
    hide(name.split('.')[0])
    with pytest.raises(ImportError) as error:
        require(name, 'Test')
    assert str(error.value) == message


@pytest.mark.parametrize('missing, requirement', [('mmcv', 'mmcv-lite>=2.1.0,<2.2'), ('regex', 'regex')])
def test_what_openmmlab_imports_without_asking_for_it_is_named(missing, requirement, package, hide):
    package('mmseg', f'import {missing}')
    hide(missing)
    with pytest.raises(ImportError, match=rf'^Test needs {requirement}, .* pip install "ra_plugin\[mm\]"$'):
        require('mmseg', 'Test')


def test_another_package_that_is_missing_inside_one_is_its_own_error(package):
    package('some_package', 'import a_module_that_is_missing')
    with pytest.raises(ModuleNotFoundError, match="^No module named 'a_module_that_is_missing'$"):
        require('some_package', 'Test')


def test_basicsr_is_installed_as_the_script_for_a_clone_does():
    """What its build asks for comes first; torch and torchvision are requirements of this package."""
    script = (SETUP.parent / 'tools' / 'setup_venv.sh').read_text()
    first, = re.findall(r'^pip (setuptools .*?) +#', script, re.MULTILINE)
    assert re.search(r'^pip --no-build-isolation basicsr ', script, re.MULTILINE)
    setup = configparser.ConfigParser()
    setup.read(SETUP)
    ours = {re.split('[>=<]', line)[0] for line in setup['options']['install_requires'].split()}
    named = optional.INSTALL_BASICSR.partition(' && ')[0].removeprefix('pip install ').split()
    assert set(first.split()) - ours == set(named)


def test_the_versions_are_those_of_setup_cfg():
    setup = configparser.ConfigParser()
    setup.read(SETUP)
    extras = setup['options.extras_require']
    asked = {line for text in (*extras.values(), setup['options']['install_requires']) for line in text.split('\n')}
    assert set(optional._REQUIREMENTS.values()) <= asked
    assert {optional._REQUIREMENTS.get(name, name) for name in optional._OPENMMLAB} <= set(extras['mm'].split('\n'))


def test_extras_that_messages_name_have_what_is_missing():
    setup = configparser.ConfigParser()
    setup.read(SETUP)
    extras = setup['options.extras_require']
    for name, extra in optional._EXTRAS.items():
        key = extra.removeprefix('ra_plugin[').removesuffix(']')
        assert optional._REQUIREMENTS.get(name, name) in extras[key].split('\n'), name
    assert 'ra_plugin[coco]' in extras['mm'].split('\n')
    assert [key for key, text in extras.items() if 'pycocotools' in text] == ['coco']
