"""Transforms for mmdet and mmseg configs, and programs that run such a config without mmcv's compiled operators.

With ``custom_imports = dict(imports=['ra_plugin.mm'], allow_failed_imports=False)`` a config can use ``DegradeImage``,
``RestoreImage``, ``ScaleToOriShape`` and ``IgnoreLabels`` in its pipelines; importing this module registers them in
mmengine's root registry, where mmdet and mmseg look up what they do not have. In a config with ``_base_``, a plain
``import ra_plugin.mm`` has to come after it; before it, mmengine takes the file for its other kind of config. With a
compiled mmcv nothing else is needed, and the libraries' own tools work. With mmcv-lite those tools fail before they
read the config; use ``python -m ra_plugin.mm.train CONFIG`` and ``python -m ra_plugin.mm.test CONFIG CHECKPOINT``.

A config is a Python program that runs when it is read, so use only configs that you trust. Checkpoints are read as
data.
"""
from ra_plugin.compat import installed
from ra_plugin.mm.degrade_image import DegradeImage
from ra_plugin.mm.ignore_labels import IgnoreLabels
from ra_plugin.mm.restore_image import RestoreImage
from ra_plugin.mm.scale_to_ori_shape import ScaleToOriShape
from ra_plugin.utils.optional import require

if installed('basicsr'):  # for `RestoreImage`, and for modules of custom_imports that register networks in it
    import ra_plugin.basicsr  # noqa: F401

__all__ = ['DegradeImage', 'IgnoreLabels', 'RestoreImage', 'ScaleToOriShape']

for _transform in (DegradeImage, IgnoreLabels, RestoreImage, ScaleToOriShape):
    require('mmengine.registry', 'ra_plugin.mm').TRANSFORMS.register_module(module=_transform)
