"""Import of optional packages, with the pip command that installs a missing one."""
import importlib
from types import ModuleType

# import name -> pip requirement, where the two differ or a version matters
_REQUIREMENTS = {
    'ai_edge_litert': 'ai-edge-litert>=2.0',
    'basicsr': 'basicsr>=1.4.2',
    'doctr': 'python-doctr>=1.0',
    'ftfy': 'ftfy>=6.0',
    'mmcv': 'mmcv-lite>=2.1.0,<2.2',
    'mmdet': 'mmdet>=3.3,<3.4',
    'mmengine': 'mmengine>=0.10.7,<1.0',
    'mmseg': 'mmsegmentation>=1.2.2,<1.3',
    'onnx': 'onnx>=1.17',
    'onnx2torch': 'onnx2torch>=1.5.15',
    'onnxruntime': 'onnxruntime>=1.20',
    'open_clip': 'open_clip_torch>=3.3,<4',
    'pycocotools': 'pycocotools>=2.0.7',
    'pyiqa': 'pyiqa>=0.1.16',
    'segmentation_models_pytorch': 'segmentation-models-pytorch>=0.6,<0.7',
    'spandrel': 'spandrel>=0.4.2,<0.5',
    'timm': 'timm>=1.0',
    'transformers': 'transformers>=5.20,<6',
    'ultralytics': 'ultralytics>=8.4.190,<8.5',
}
# BasicSR's build asks for these and for torch: isolated, it would fetch PyTorch once more, or fail.
INSTALL_BASICSR = ('pip install setuptools wheel cython && '
                   f'pip install --no-build-isolation "{_REQUIREMENTS["basicsr"]}"')
_LICENCES = {'ultralytics': 'AGPL-3.0'}  # those that bind what is built on the package
# Installed together by the extra mm: these import each other without requiring each other, and few versions fit.
_OPENMMLAB = {'ftfy', 'mmcv', 'mmdet', 'mmengine', 'mmseg', 'regex'}
_EXTRAS = {**dict.fromkeys(_OPENMMLAB, 'ra_plugin[mm]'), 'pycocotools': 'ra_plugin[coco]'}


def has_requirement(package: str) -> bool:
    """True for an optional package whose pip requirement is known."""
    return package in _REQUIREMENTS


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
        line = INSTALL_BASICSR if missing == 'basicsr' else f'pip install "{_EXTRAS.get(missing, requirement)}"'
        licence = f'. Its licence is {_LICENCES[missing]}.' if missing in _LICENCES else ''
        raise ImportError(f'{needed_by} needs {requirement}, which is not installed. Install it with: {line}{licence}'
                          ) from None
