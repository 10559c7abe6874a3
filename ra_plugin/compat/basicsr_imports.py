"""Patches that ``import basicsr`` itself needs."""
import sys
import types

from ra_plugin.compat.patching import installed


def apply() -> None:
    """Supply the modules that BasicSR imports and that newer environments no longer have."""
    functional_tensor()
    distutils()


def functional_tensor() -> None:
    """Provide ``torchvision.transforms.functional_tensor``, removed in torchvision 0.17.

    BasicSR imports one function from it. Has no effect if the module exists.
    """
    name = 'torchvision.transforms.functional_tensor'
    if installed(name):
        return
    from torchvision.transforms import functional
    module = types.ModuleType(name, 'Stands in for a module that torchvision removed.')
    vars(module)['rgb_to_grayscale'] = functional.rgb_to_grayscale
    sys.modules[name] = module


def distutils() -> None:
    """Provide ``distutils.version.LooseVersion``, removed in Python 3.12 (setuptools may provide it).

    BasicSR imports it to compare versions of torchvision, which the ``Version`` of ``packaging`` orders as well;
    ``packaging`` is a requirement of scikit-image, which BasicSR requires. Has no effect if the module exists.
    """
    if installed('distutils'):
        return
    from packaging.version import Version
    package, version = types.ModuleType('distutils'), types.ModuleType('distutils.version')
    vars(package)['version'], vars(version)['LooseVersion'] = version, Version
    package.__path__ = []  # marks a package: other submodules are reported as missing in the usual way
    sys.modules.update({'distutils': package, 'distutils.version': version})
