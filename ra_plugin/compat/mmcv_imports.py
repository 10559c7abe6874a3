"""Import hook that ``mmcv.ops``, and with it ``mmdet.models`` and ``mmseg.models``, needs under mmcv-lite."""
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

_EXTENSION = 'mmcv._ext'
_STAND_IN = Path(__file__).with_name('mmcv_ext.py')


def apply() -> None:
    """Provide ``mmcv._ext``, the compiled operators of mmcv 2 that the wheel of mmcv-lite 2 lacks.

    Without it ``import mmcv.ops`` fails. Has no effect if it exists: the finder is the last one that Python asks, and
    it imports nothing before.
    """
    if StandInFinder not in sys.meta_path:
        sys.meta_path.append(StandInFinder)


class StandInFinder:
    """Module finder that resolves ``mmcv._ext`` to ``mmcv_ext.py``, and no other module."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, _STAND_IN) if name == _EXTENSION else None
