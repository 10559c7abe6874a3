"""Import of optional packages, with the pip command that installs a missing one."""
import importlib
from types import ModuleType

# import name -> pip requirement, where the two differ or a version matters
_REQUIREMENTS = {
    'ai_edge_litert': 'ai-edge-litert>=2.0',
    'basicsr': 'basicsr>=1.4.2',
    'ftfy': 'ftfy>=6.0',
    'mmcv': 'mmcv-lite>=2.1.0,<2.2',
    'mmdet': 'mmdet>=3.3,<3.4',
    'mmengine': 'mmengine>=0.10.7,<1.0',
    'mmseg': 'mmsegmentation>=1.2.2,<1.3',
    'onnx': 'onnx>=1.17',
    'onnx2torch': 'onnx2torch>=1.5.15',
    'onnxruntime': 'onnxruntime>=1.20',
    'pycocotools': 'pycocotools>=2.0.7',
    'pyiqa': 'pyiqa>=0.1.16',
    'timm': 'timm>=1.0',
    'transformers': 'transformers>=5.20,<6',
}
# Installed together by the extra mm: these import each other without requiring each other, and few versions fit.
_OPENMMLAB = {'ftfy', 'mmcv', 'mmdet', 'mmengine', 'mmseg', 'regex'}


def require(name: str, needed_by: str) -> ModuleType:
    """Import and return ``name`` (a package or a module of one).

    Args:
        name: Dotted name of the module.
        needed_by: Object that needs it, for the message.

    Raises:
        ImportError: The package is not installed; the message has the pip command. A package that is installed but
            broken raises its own error.
    """
    package = name.split('.')[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or package
        if missing != package and not {missing, package} <= _OPENMMLAB:
            raise  # the package is installed; one of its own imports is missing
        requirement = _REQUIREMENTS.get(missing, missing)
        line = 'ra_plugin[mm]' if missing in _OPENMMLAB else requirement
        raise ImportError(f'{needed_by} needs {requirement}, which is not installed. '
                          f'Install it with: pip install "{line}"') from None
