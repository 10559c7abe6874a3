"""Optional packages: one place that imports them, and says how to get them."""
import importlib
from types import ModuleType

# import name -> what pip installs, where the two differ or a version matters
_REQUIREMENTS = {'timm': 'timm>=1.0', 'basicsr': 'basicsr>=1.4.2'}


def require(name: str, needed_by: str) -> ModuleType:
    """Import ``name`` (a package, or a module of one), or say who needs it and the pip line that installs it.

    Raises:
        ImportError: The package is not installed. A package that is installed and broken raises its own error.
    """
    package = name.split('.')[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise  # the package is there; something that it imports is not
        requirement = _REQUIREMENTS.get(package, package)
        raise ImportError(f'{needed_by} needs {requirement}, which is not installed. '
                          f'Install it with: pip install "{requirement}"') from None
