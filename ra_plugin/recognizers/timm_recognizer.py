"""Any classifier or image tower of timm (Wightman, PyTorch Image Models)."""
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import nn

from ra_plugin.checkpoint import load_weights
from ra_plugin.option_types import WeightsPath
from ra_plugin.options import OptionError, check_type
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.by_task import ByTask
from ra_plugin.recognizers.class_names import KeepClasses
from ra_plugin.recognizers.classification import ClassificationRecognizer, Fit, InputSize, resolve_input_size
from ra_plugin.recognizers.facts import RecognizerInfo, TaskError
from ra_plugin.recognizers.further_arguments import check_further, check_one_source
from ra_plugin.recognizers.networks import unwrapped, widened
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing, one_image
from ra_plugin.recognizers.timm_models import create_model, short_name, weights_of
from ra_plugin.recognizers.timm_records import class_names, is_embedding, record_of
from ra_plugin.recognizers.vectors import VectorRecognizer
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.optional import require

Task = Literal['classification', 'embedding']
_RECOGNIZERS = "is the recognizer's own key. Set it there, beside model_kwargs."
_OWN = {'model_name': _RECOGNIZERS, 'pretrained': _RECOGNIZERS, 'checkpoint_path': 'expected checkpoint: FILE, beside '
        'model_kwargs.', 'features_only': 'the network would give feature maps and no logits. Leave it out: '
        'RecogFeatureLoss takes the features of a whole network.'}
_UNSET = ('features_only', 'checkpoint_path')  # timm's defaults of these, False and '', may be spelled out
_OVERLAY = {'mean': Sequence[float], 'std': Sequence[float], 'input_size': Sequence[int], 'crop_mode': str,
            'interpolation': str, 'label_names': Sequence[str]}
_FITS: dict[str, Fit] = {'center': 'crop', 'squash': 'stretch', 'border': 'border'}  # by the crop_mode of timm's record


@RECOGNIZER_REGISTRY.register
class TimmRecognizer(ByTask, Recognizer):
    """A timm classifier or image tower with timm's own record of mean, std, size, interpolation and crop mode.

    The record's margin (``crop_pct``) is left out: how much of a file an image shows is the data set's to say. Networks
    without a head, as DINOv2, and the towers of CLIP and SigLIP are for the task embedding: the vector of an image is
    what they give, and `features` are timm's ``forward_features`` for both tasks. With ``in_chans: 1`` the network is
    given the luma of the images.

    Args:
        model_name: As in ``timm.list_models()``, with or without a tag: ``resnet18.a1_in1k``; ``hf-hub:OWNER/NAME``, or
            ``local-dir:FOLDER`` with a ``config.json``, which brings class names, mean and std.
        pretrained: Take timm's weights (downloaded once by timm). ``False`` without a checkpoint: random weights.
        checkpoint: File with the weights, ``.safetensors`` or a torch file of tensors.
        input_size: ``'model'``: the size in timm's record; ``~``: images as they come; a number or ``[height, width]``.
        fit: ``'crop'``: resize the shorter side, crop the center; ``'stretch'``: resize both sides; ``'border'``:
            resize the longer side, pad with the mean color. Default: the crop mode of timm's record.
        model_kwargs: Further arguments of ``timm.create_model``, e.g. ``{num_classes: 100}``. What the record says is
            replaced by ``{pretrained_cfg_overlay: {mean: [0.5, 0.5, 0.5], crop_mode: squash}}``. With ``label_names``
            in it, as many outputs as CLIP's towers have are classes all the same.
        keep_classes: Names or ids of a classifier's classes that count, as a list or a text file with one a line, for
            data with fewer classes. Labels are then their places in this list. Default: all.
        task: ``'classification'`` | ``'embedding'``: of a classifier, what its head is given, pooled. Default: by the
            model.

    Raises:
        ImportError: timm is not installed.
        ValueError: Unknown model, no weights chosen, or a checkpoint that does not fit; a model without a head for
            classification (TaskError).
    """

    can_learn = True  # as a classifier
    task: Any  # from the class of the task

    @classmethod
    def task_of(cls, model_name: Any = None, *args: Any, model_kwargs: Mapping[str, Any] | None = None,
                task: Any = None, **kwargs: Any) -> str:
        where = f'TimmRecognizer({model_name})'
        check_type(task, Task | None, f'{where}: task')
        if task:
            return task
        if cls.__init__ is not cls._registered.__init__:  # of a user's own: its arguments may be others
            return 'classification'
        timm = require('timm', where)
        _check_kwargs(model_kwargs or {}, f'{where}: model_kwargs')
        record = record_of(timm, model_name, model_kwargs or {}, where)
        return 'embedding' if is_embedding(timm, record) else 'classification'

    def __init__(self, model_name: str, pretrained: bool | None = None, checkpoint: WeightsPath | None = None,
                 input_size: InputSize = 'model', fit: Fit | None = None,
                 model_kwargs: Mapping[str, Any] | None = None, keep_classes: KeepClasses | None = None,
                 task: Task | None = None):
        where = f'TimmRecognizer({model_name})'
        if task not in (None, self.task):
            raise TaskError(f'{where}: task: {task}, but {type(self).__name__} is for {self.task}. Use TimmRecognizer, '
                            'which takes both.')
        if keep_classes is not None and self.task != 'classification':
            raise ValueError(f'{where}: keep_classes is for classifiers, and this is for {self.task}. Leave it out.')
        timm = require('timm', where)
        check_one_source(pretrained, checkpoint, where)
        model_kwargs = model_kwargs or {}
        _check_kwargs(model_kwargs, f'{where}: model_kwargs')
        model: Any = create_model(timm, model_name, bool(pretrained), model_kwargs, where)
        if checkpoint:
            load_weights(model, checkpoint, where)
        config = timm.data.resolve_data_config(model=model)
        if config['interpolation'] not in ('bilinear', 'bicubic'):
            raise ValueError(f"{where}: timm's record has the interpolation {config['interpolation']!r}, which has no "
                             'gradient here. Set model_kwargs: {pretrained_cfg_overlay: {interpolation: bicubic}}.')
        if config['crop_mode'] not in _FITS:
            raise ValueError(f"{where}: timm's record has the crop_mode {config['crop_mode']!r}; expected "
                             f'{" | ".join(_FITS)}. Set model_kwargs: {{pretrained_cfg_overlay: {{crop_mode: '
                             'center}}.')
        has_names = self.task == 'classification' and 'num_classes' not in model_kwargs
        self.start(model, RecognizerInfo(
            name=short_name(model_name), task=self.task,
            classes=class_names(timm, model.pretrained_cfg) if has_names else None,
            mean=tuple(config['mean']), std=tuple(config['std']),
            input_size=resolve_input_size(input_size, tuple(config['input_size'][1:]), where),
            interpolation=config['interpolation'],
            source=checkpoint or (weights_of(model, model_name) if pretrained else 'random weights')),
            fit or _FITS[config['crop_mode']], keep_classes)

    # --------------------------------------------------- for subclasses
    def start(self, model: nn.Module, info: RecognizerInfo, fit: Fit, keep_classes: KeepClasses | None) -> None:
        """Call the constructor of the task's class."""
        raise NotImplementedError(f'{type(self).__name__} has no start().')

    # ------------------------------------------------------------ shared
    def own_preprocessing(self) -> OwnPreprocessing:
        data = require('timm', str(self)).data
        config = data.resolve_data_config(model=self.model)
        if self.info.channels == 1:  # it is given the luma, as the recognizer weighs the record for it
            mean, std = self.luma_normalization()
            config = {**config, 'mean': (mean,), 'std': (std,)}
        transform = one_image(data.create_transform(**{**config, 'crop_pct': 1.0}), self.info.channels)
        record = self.model.pretrained_cfg
        return OwnPreprocessing(tuple(record['mean']), tuple(record['std']),
                                transform if self.info.input_size else None)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return timm's ``forward_features``: ``(N, C, H, W)``, ``(N, H, W, C)`` or ``(N, L, C)``, by the model."""
        prepared = self.prepare(images)
        with self.autocast(images):
            return widened(cast(Any, unwrapped(self.model)).forward_features(prepared))


class TimmClassifier(TimmRecognizer, ClassificationRecognizer):
    """A timm classifier; arguments as in `TimmRecognizer`."""

    _has_own_features = True

    def start(self, model: nn.Module, info: RecognizerInfo, fit: Fit, keep_classes: KeepClasses | None) -> None:
        ClassificationRecognizer.__init__(self, model, info, fit, keep_classes=keep_classes)


class TimmEmbedder(TimmRecognizer, VectorRecognizer):
    """A timm network without a head, or the tower of a CLIP; arguments as in `TimmRecognizer`."""

    can_learn = False  # it has no loss against labels
    _has_own_features = True
    _remedy = 'Leave out global_pool if it is set. Its features are for RecogFeatureLoss.'

    def start(self, model: Any, info: RecognizerInfo, fit: Fit, keep_classes: KeepClasses | None) -> None:
        timm = require('timm', info.name)
        if not is_embedding(timm, {**model.pretrained_cfg, 'num_classes': model.num_classes}):
            model.reset_classifier(0)
        VectorRecognizer.__init__(self, model, info, fit)


def _check_kwargs(arguments: Mapping[str, Any], where: str) -> None:
    check_further({name: value for name, value in arguments.items() if value or name not in _UNSET}, _OWN, where)
    if arguments.get('global_pool') == '' and arguments.get('num_classes') != 0:
        raise OptionError(f"{where}.global_pool: '' leaves out the pooling, so that there are answers at each place "
                          'and no logits. Leave it out.')
    overlay = arguments.get('pretrained_cfg_overlay') or {}
    check_type(overlay, Mapping, f'{where}.pretrained_cfg_overlay')
    for key, hint in _OVERLAY.items():
        if overlay.get(key) is not None:
            check_type(overlay[key], hint, f'{where}.pretrained_cfg_overlay.{key}')
    if len(overlay.get('input_size') or (3, 0, 0)) != 3:
        raise OptionError(f'{where}.pretrained_cfg_overlay.input_size: expected [channels, height, width], got '
                          f'{overlay["input_size"]}.')
