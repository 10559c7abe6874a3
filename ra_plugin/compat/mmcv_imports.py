"""What must be in place before ``import mmcv.ops``, and so ``mmdet.models`` and ``mmseg.models``, works."""
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

_EXTENSION = 'mmcv._ext'
_STAND_IN = Path(__file__).with_name('mmcv_ext.py')


def apply() -> None:
    """``mmcv._ext``: the compiled operators of mmcv 2, which the wheel of mmcv-lite 2 leaves out.

    Without it ``import mmcv.ops`` fails. Inert where it exists: the finder is the last one that Python asks, and it
    imports nothing until then.
    """
    if StandInFinder not in sys.meta_path:
        sys.meta_path.append(StandInFinder)


class StandInFinder:
    """Finds ``mmcv_ext.py`` for whoever imports ``mmcv._ext``, and no other module."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, _STAND_IN) if name == _EXTENSION else None
