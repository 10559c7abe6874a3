"""Import hook that tells those who import BasicSR before ``ra_plugin.basicsr`` what to do."""
import sys
from typing import NoReturn

_REMOVED = ('torchvision.transforms.functional_tensor', 'distutils')  # BasicSR 1.4.2 imports them


def apply() -> None:
    """Name ``ra_plugin.basicsr`` where BasicSR fails to import for want of a module that newer environments lack.

    Without it the message is "No module named 'torchvision.transforms.functional_tensor'". Changes the text of that
    error alone: the finder is the last one that Python asks, and answers only while BasicSR is being imported.
    """
    if ForgottenImport not in sys.meta_path:
        sys.meta_path.append(ForgottenImport)


class ForgottenImport:
    """Module finder that finds nothing, and says why BasicSR cannot be imported."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> NoReturn | None:
        spec = getattr(sys.modules.get('basicsr'), '__spec__', None)
        if name in _REMOVED and getattr(spec, '_initializing', False):
            raise ModuleNotFoundError(f"No module named {name!r}, which this BasicSR needs. Put `import "
                                      "ra_plugin.basicsr` before the first import of basicsr.", name=name)
        return None
