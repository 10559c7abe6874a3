"""What must be in place before ``import basicsr`` works."""
import sys
import types

from ra_plugin.compat.patching import installed


def apply() -> None:
    """Supply the modules that BasicSR imports and that newer environments no longer have."""
    functional_tensor()
    distutils()


def functional_tensor() -> None:
    """``torchvision.transforms.functional_tensor``: gone since torchvision 0.17, BasicSR takes one function from it.

    Without it ``import basicsr`` fails. Inert where the module exists.
    """
    name = 'torchvision.transforms.functional_tensor'
    if installed(name):
        return
    from torchvision.transforms import functional
    module = types.ModuleType(name, 'Stands in for a module that torchvision removed.')
    module.rgb_to_grayscale = functional.rgb_to_grayscale
    sys.modules[name] = module


def distutils() -> None:
    """``distutils.version.LooseVersion``: gone since Python 3.12 unless setuptools brings it.

    Without it ``import basicsr`` fails. Inert where the module exists. ``packaging`` comes with scikit-image, which
    BasicSR requires; its ``Version`` orders all that BasicSR compares, the version of torchvision.
    """
    if installed('distutils'):
        return
    from packaging.version import Version
    package, version = types.ModuleType('distutils'), types.ModuleType('distutils.version')
    package.version, version.LooseVersion = version, Version
    package.__path__ = []  # marks a package: other submodules are reported as missing in the usual way
    sys.modules.update({'distutils': package, 'distutils.version': version})
