"""The base of models of transformers as frozen losses, of any task."""
import contextlib
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from PIL import Image

from ra_plugin.compat.transformers_alone import without_other_processes
from ra_plugin.option_types import ModelFolder
from ra_plugin.options import check_number, check_type
from ra_plugin.recognizers.base import Recognizer, luma
from ra_plugin.recognizers.by_task import ByTask
from ra_plugin.recognizers.class_names import KeepClasses
from ra_plugin.recognizers.classification import InputSize
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.recognizers.networks import widened
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing
from ra_plugin.recognizers.resize_option import Resize, check_resize
from ra_plugin.recognizers.size_errors import about_size
from ra_plugin.recognizers.transformers_models.hooks import clear_hooks, let_hooks_stay
from ra_plugin.recognizers.transformers_models.loss_in_32_bits import compute_loss_in_32_bits
from ra_plugin.recognizers.transformers_models.model import (
    build_model,
    class_names,
    model_class,
    read_config,
    read_processor,
    short_name,
    task_of,
)
from ra_plugin.recognizers.transformers_models.normalization import picture_mode, recorded_normalization
from ra_plugin.recognizers.transformers_models.processor import FloatProcessor
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.random_streams import seeded
from ra_plugin.utils.tensors import total

Task = Literal['classification', 'detection', 'segmentation', 'embedding']
_FEATURES = ('encoder_last_hidden_state', 'last_hidden_state', 'feature_maps', 'hidden_states')  # the first there is
_ANSWERS = ('logits', 'pred_boxes', 'class_queries_logits', 'masks_queries_logits')
_TASKS_OF = {  # options of some tasks alone, with their defaults
    'input_size': ('model', ('classification', 'embedding')), 'resize': ('model', ('detection', 'segmentation')),
    'feature_layer': (None, ('classification',)), 'keep_classes': (None, ('classification',)),
    'score_threshold': (None, ('detection',)),
}


@RECOGNIZER_REGISTRY.register
class TransformersRecognizer(ByTask, Recognizer):
    """A classifier, detector, segmenter or image tower of transformers, with its own processor, loss and decoding.

    The model's config says which of them it is. Its image processor, run on float tensors, prepares the images, and its
    loss is the library's own, computed in inference mode: training mode would add random queries and dropout. Random
    sampling within a loss starts from the same seed in each call, and leaves the random states as they were. Where the
    library would divide a loss by the number of objects of all processes of a training, it is by that of this process.

    Weights are read from safetensors files alone, and no code that comes with a model is executed. A model of one
    channel is given the luma of the images.

    Args:
        model: Folder that ``save_pretrained()`` of a model and of its image processor wrote, or a name of the hub,
            ``facebook/detr-resnet-50`` (downloaded once).
        pretrained: Take the weights that are there. ``False``: random weights.
        revision: Branch, tag or commit of the hub's repository.
        task: ``classification``, ``detection``, ``segmentation``, or ``embedding`` for features alone. Default: that
            of the architecture in the config.
        input_size: Of a classifier or tower. ``'model'``: as the model's image processor resizes, right for whole
            images, of which no margin is left out; ``~``: images as they come, right for crops; a number or ``[height,
            width]``: cropped to that shape.
        feature_layer: Of a classifier. Dotted name of the layer whose output is compared by the feature loss. Default:
            the last hidden states, or the last feature map.
        score_threshold: Of a detector. Boxes of a lower score are left out. Default: 0, as average precision is
            computed over all.
        seed: Seed of the random sampling within a loss.
        resize: Of a detector or segmenter. ``'model'``: as the model's image processor resizes; right for whole images.
            A number: a factor on height and width; right for crops, which it would blow up to the size of whole images.
            ``~``: as they come.
        keep_classes: Of a classifier. Names or ids of the classes that count, as a list or a text file with one a line,
            for data with fewer classes. Labels are then their places in this list. Default: all.

    Raises:
        ImportError: transformers is not installed, or timm where the model has a backbone of it.
        ValueError: No such folder or name, an architecture of another task (TaskError), an option of another task, a
            config with code of its own, no weights in safetensors files, weights that do not fit, no image processor.
    """

    task: str  # from the class of the task
    size_option = 'input_size'

    @classmethod
    def task_of(cls, model: str, pretrained: bool = True, revision: str | None = None, task: Task | None = None,
                *args: Any, **kwargs: Any) -> str:
        where = f'{cls.__name__}({short_name(model)})'
        check_type(task, Task | None, f'{where}: task')
        return task or task_of(read_config(model, revision, where), where)

    def __init__(self, model: ModelFolder, pretrained: bool = True, revision: str | None = None,
                 task: Task | None = None, input_size: InputSize = 'model', feature_layer: str | None = None,
                 score_threshold: float | None = None, seed: int = 0, resize: Resize = 'model',
                 keep_classes: KeepClasses | None = None):
        where = f'{self._registered.__name__}({short_name(model)})'
        check_number(seed, f'{where}: seed', least=0, most=2 ** 32 - 1, whole=True)
        check_number(score_threshold or 0.0, f'{where}: score_threshold', least=0, most=1)
        check_resize(resize, where)
        given = {'input_size': input_size, 'resize': resize, 'feature_layer': feature_layer,
                 'keep_classes': keep_classes, 'score_threshold': score_threshold}
        for name, (default, tasks) in _TASKS_OF.items():
            if given[name] != default and self.task not in tasks:
                raise ValueError(f'{where}: {name} is for {" and ".join(tasks)}, this is for {self.task}. Leave it '
                                 'out.')
        config = read_config(model, revision, where)
        cls = model_class(config, self.task, where)
        self.check_class(cls, config, where)
        count, classes = (0, None) if self.task == 'embedding' else self.classes_of(
            config.num_labels, class_names(config, where))
        channels = getattr(config, 'num_channels', 3)
        if channels not in (1, 3):
            raise ValueError(f'{where}: expected a model of images of 3 channels or 1, got num_channels: {channels}. '
                             'Choose another model.')
        processor = FloatProcessor(read_processor(model, revision, where), self.task, channels, where, input_size,
                                   resize)
        self.check_processor(processor.processor, where)
        network = build_model(cls, model, config, pretrained, revision, where)
        compute_loss_in_32_bits(network)
        self.score_threshold = score_threshold or 0.0
        self.processor, self.seed = processor, seed
        self._takes = set(inspect.signature(cls.forward).parameters)
        self._trained_size = _size(getattr(config, 'image_size', None))
        info = RecognizerInfo(
            name=short_name(model), task=self.task, num_classes=count, classes=classes,
            mean=processor.mean * (3 // channels), std=processor.std * (3 // channels),
            interpolation=processor.interpolation,
            input_size=processor.size if self.task in ('classification', 'embedding') else None, channels=channels,
            reduce_zero_label=self.reduces_zero_label(processor.processor),
            source=f'{model}@{revision}' if pretrained and revision else model if pretrained else 'random weights')
        further: dict[str, Any] = {'feature_layer': feature_layer, 'keep_classes': keep_classes} if (
            self.task == 'classification') else {}
        super().__init__(network, info, **further)

    # --------------------------------------------------- for subclasses
    def check_class(self, model_class: type, config: Any, where: str) -> None:
        """Raise TaskError where the loss needs more than this task's labels."""

    def check_processor(self, processor: Any, where: str) -> None:
        """Raise ValueError where the processor has no decoding for this task."""

    def classes_of(self, count: int, names: tuple[str, ...] | None) -> tuple[int, tuple[str, ...] | None]:
        """Return the number and the names of the classes that labels have, of those that the config has."""
        return count, names

    def reduces_zero_label(self, processor: Any) -> bool | None:
        """Return ``RecognizerInfo.reduce_zero_label``."""
        return None

    # ------------------------------------------------------------ shared
    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Return the model's input as its own image processor makes it, in the type of the weights; differentiable."""
        return self.feed(images)['pixel_values']

    def feed(self, images: torch.Tensor | Sequence[torch.Tensor]) -> dict[str, Any]:
        """Return what the model is given, by argument.

        Args:
            images: ``(N, 3, H, W)``, or a list of ``(3, H, W)`` of several sizes, which are padded to one.
        """
        if isinstance(images, torch.Tensor):
            with self._about_size(images):
                return self._inputs(self._in_channels(images))
        return self._inputs([self._in_channels(image[None])[0] for image in images])

    def _in_channels(self, images: torch.Tensor) -> torch.Tensor:
        cast = self.cast(images)
        return luma(cast) if self.info.channels == 1 else cast

    def _inputs(self, images: torch.Tensor | Sequence[torch.Tensor]) -> dict[str, Any]:
        mean, std = (numbers[:, :self.info.channels] for numbers in (self.mean, self.std))
        inputs = self.processor(images, mean, std)
        given: dict[str, Any] = {name: value for name, value in inputs.items() if name in self._takes}
        size = tuple(given['pixel_values'].shape[-2:])
        if 'interpolate_pos_encoding' in self._takes and size != self._trained_size:
            given['interpolate_pos_encoding'] = True
        return given

    def answers(self, images: torch.Tensor) -> Any:
        """Return the library's output object for images of one size."""
        return self.ask(self.feed(images), images)

    def ask(self, inputs: dict[str, Any], images: torch.Tensor, network: Any = None, **further: Any) -> Any:
        """Return the output object of the model, or of a part of it, for what `feed` returned."""
        with self._about_size(images):
            return self._asked(inputs, network, **further)

    def _asked(self, inputs: dict[str, Any], network: Any = None, **further: Any) -> Any:
        images = inputs['pixel_values']
        with seeded(self.seed, images.device), self.autocast(images), without_other_processes(self.model):
            found = (network or self.model)(**inputs, **further)
        for name, value in found.items():
            found[name] = widened(value)
        return found

    def _about_size(self, images: torch.Tensor) -> contextlib.AbstractContextManager[None]:
        return about_size(images, str(self), f'another {self.size_option}',
                          lambda blank: self._asked(self._inputs(self._in_channels(blank))), self._trained_size)

    def terms_or_nan(self, terms: Callable[[Any], dict[str, torch.Tensor]], inputs: dict[str, Any],
                     images: torch.Tensor, **targets: Any) -> dict[str, torch.Tensor]:
        """Return the terms of a loss; NaN where the answers are not finite, which the library cannot match.

        Args:
            terms: Takes the library's output object.
            inputs: Those that `feed` returned.
            images: For messages.
            **targets: As the library's model takes them.
        """
        try:
            return terms(self.ask(inputs, images, **targets))
        except ValueError:
            found = self.ask(inputs, images)
            answers = [found[name] for name in _ANSWERS if found.get(name) is not None]
            if all(answer.isfinite().all() for answer in answers):
                raise
        with torch.no_grad():
            blank = {**inputs, 'pixel_values': torch.zeros_like(inputs['pixel_values'])}
            names = list(terms(self.ask(blank, images, **targets)))
        return dict.fromkeys(names, math.nan * total(answer.sum() for answer in answers))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last hidden states of the encoder, ``(N, L, C)``, or its last feature map, ``(N, C, h, w)``."""
        base = self.model.base_model
        takes = set(inspect.signature(base.forward).parameters)
        inputs = {name: value for name, value in self.feed(images).items() if name in takes}
        found = self.ask(inputs, images, base)
        if not any(found.get(name) is not None for name in _FEATURES):
            found = self.ask(inputs, images, base, output_hidden_states=True)
        value = next((found[name] for name in _FEATURES if found.get(name) is not None), None)
        while isinstance(value, (list, tuple)) and value:
            value = value[-1]
        if not isinstance(value, torch.Tensor):
            raise ValueError(f'{self}: {type(base).__name__} gives no hidden states or feature maps to compare.')
        # a processor may split images into windows, one image after the other
        return widened(value if len(value) == len(images) else value.unflatten(0, (len(images), -1)).flatten(1, 2))

    def __getstate__(self) -> dict[str, Any]:
        let_hooks_stay(self.model)
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        clear_hooks(self.model)

    # ------------------------------------------------------------ facts
    def resized(self, height: int, width: int) -> tuple[int, int]:
        return self.processor.resized(height, width)

    def resizing(self) -> str:
        if self.processor.is_own:
            return 'images resized as its own image processor does'
        return super().resizing()

    def own_preprocessing(self) -> OwnPreprocessing:
        recorded = recorded_normalization(self.processor.processor)
        mean, std = (numbers * (3 // self.info.channels) for numbers in recorded) if recorded else (None, None)

        def transform(picture: Image.Image) -> torch.Tensor:
            return self.processor.of_picture(picture.convert(picture_mode(self.info.channels))).to(self.mean.device)

        return OwnPreprocessing(mean, std, transform if self.processor.is_own else None)


def _size(value: Any) -> tuple[int, int] | None:
    """Return the (height, width) that a config has for images, if any."""
    sides = (value, value) if isinstance(value, int) else value
    is_size = isinstance(sides, (list, tuple)) and len(sides) == 2 and all(isinstance(side, int) for side in sides)
    return (sides[0], sides[1]) if is_size and sides else None
