"""The base of models of transformers as frozen losses, of any task."""
import contextlib
import inspect
from collections.abc import Iterator
from typing import Any, Literal

import torch
from PIL import Image

from ra_plugin.option_types import ModelFolder
from ra_plugin.options import check_number, check_type
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.by_task import ByTask
from ra_plugin.recognizers.classification import InputSize
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.recognizers.networks import widened
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing
from ra_plugin.recognizers.transformers_models.hooks import clear_hooks, let_hooks_stay
from ra_plugin.recognizers.transformers_models.model import (
    build_model,
    class_names,
    model_class,
    read_config,
    read_processor,
    short_name,
    task_of,
)
from ra_plugin.recognizers.transformers_models.processor import FloatProcessor, recorded_normalization
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.random_streams import seeded
from ra_plugin.utils.text import first_line

Task = Literal['classification', 'detection', 'segmentation', 'embedding']
_FEATURES = ('encoder_last_hidden_state', 'last_hidden_state', 'feature_maps', 'hidden_states')  # the first there is
# in torch's messages
_NOT_ABOUT_SIZE = ('CUDA', 'cuDNN', 'CUBLAS', 'NCCL', 'memory', 'same device', 'scalar type', 'dtype')
_OF_TASK = {'feature_layer': 'classification', 'score_threshold': 'detection'}  # options of one task alone


@RECOGNIZER_REGISTRY.register
class TransformersRecognizer(ByTask, Recognizer):
    """A classifier, detector, segmenter or image tower of transformers, with its own processor, loss and decoding.

    The model's config says which of them it is. Its image processor, run on float tensors, prepares the images, and its
    loss is the library's own, computed in inference mode: training mode would add random queries and dropout. Random
    sampling within a loss starts from the same seed in each call, and leaves the random states as they were.

    Weights are read from safetensors files alone, and no code that comes with a model is executed.

    Args:
        model: Folder that ``save_pretrained()`` of a model and of its image processor wrote, or a name of the hub,
            ``facebook/detr-resnet-50`` (downloaded once).
        pretrained: Take the weights that are there. ``False``: random weights.
        revision: Branch, tag or commit of the hub's repository.
        task: ``classification``, ``detection``, ``segmentation``, or ``embedding`` for features alone. Default: that
            of the architecture in the config.
        input_size: ``'model'``: as the model's image processor resizes, right for whole images, of which a classifier
            is shown no smaller part; ``~``: images as they come, right for crops; a number or ``[height, width]``: a
            classifier's images are cropped to that shape, others stretched.
        feature_layer: Dotted name of a classifier's layer whose output is compared by the feature loss. Default: the
            last hidden states, or the last feature map.
        score_threshold: Boxes of a lower score are left out. Default: 0, as average precision is computed over all.
        seed: Seed of the random sampling within a loss.

    Raises:
        ImportError: transformers is not installed, or timm where the model has a backbone of it.
        ValueError: No such folder or name, an architecture of another task (TaskError), a config with code of its own,
            no weights in safetensors files, weights that do not fit, no image processor.
    """

    task: str  # from the class of the task

    @classmethod
    def task_of(cls, model: str, pretrained: bool = True, revision: str | None = None, task: Task | None = None,
                *args: Any, **kwargs: Any) -> str:
        where = f'{cls.__name__}({short_name(model)})'
        check_type(task, Task | None, f'{where}: task')
        return task or task_of(read_config(model, revision, where), where)

    def __init__(self, model: ModelFolder, pretrained: bool = True, revision: str | None = None,
                 task: Task | None = None, input_size: InputSize = 'model', feature_layer: str | None = None,
                 score_threshold: float | None = None, seed: int = 0):
        where = f'{self._registered.__name__}({short_name(model)})'
        check_number(seed, f'{where}: seed', least=0, most=2 ** 32 - 1, whole=True)
        check_number(score_threshold or 0.0, f'{where}: score_threshold', least=0, most=1)
        for name, value in (('feature_layer', feature_layer), ('score_threshold', score_threshold)):
            if value is not None and _OF_TASK[name] != self.task:
                raise ValueError(f'{where}: {name} is for {_OF_TASK[name]}, this is for {self.task}. Leave it out.')
        config = read_config(model, revision, where)
        cls = model_class(config, self.task, where)
        self.check_class(cls, config, where)
        count, classes = (0, None) if self.task == 'embedding' else self.classes_of(
            len(config.id2label), class_names(config, where))
        processor = FloatProcessor(read_processor(model, revision, where), self.task, input_size, where)
        self.check_processor(processor.processor, where)
        network = build_model(cls, model, config, pretrained, revision, where)
        self.score_threshold = score_threshold or 0.0
        self.processor, self.seed = processor, seed
        self._takes = set(inspect.signature(cls.forward).parameters)
        self._trained_size = _size(getattr(config, 'image_size', None))
        info = RecognizerInfo(
            name=short_name(model), task=self.task, num_classes=count, classes=classes, mean=processor.mean,
            std=processor.std, interpolation=processor.interpolation,
            input_size=processor.size if self.task in ('classification', 'embedding') else None,
            reduce_zero_label=self.reduces_zero_label(processor.processor),
            source=f'{model}@{revision}' if pretrained and revision else model if pretrained else 'random weights')
        further: dict[str, Any] = {'feature_layer': feature_layer} if self.task == 'classification' else {}
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

    def feed(self, images: torch.Tensor) -> dict[str, Any]:
        """Return what the model is given for images of one size, by argument."""
        cast = self.cast(images)
        with self._worded(images):
            inputs = self.processor(cast, self.mean, self.std)
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
        with self._worded(images), seeded(self.seed, images.device), self.autocast(images):
            found = (network or self.model)(**inputs, **further)
        for name, value in found.items():
            found[name] = widened(value)
        return found

    @contextlib.contextmanager
    def _worded(self, images: torch.Tensor) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, IndexError, AssertionError, ValueError, ZeroDivisionError) as error:
            if str(error).startswith(str(self)) or any(word in str(error) for word in _NOT_ABOUT_SIZE):
                raise
            size = 'x'.join(str(side) for side in images.shape[-2:])
            raise ValueError(f'{self}: cannot take {len(images)} images of {size} ({first_line(error)}). Give larger '
                             'images or crops, or another input_size.') from error

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

    @contextlib.contextmanager
    def _images_as_they_come(self) -> Iterator[None]:
        """Keep small images of detectors and segmenters small within the context: they would take seconds."""
        kept = self.processor
        if self.spatial_labels and self._trained_size is None:
            self.processor = FloatProcessor(kept.processor, self.task, None, str(self))
        try:
            yield
        finally:
            self.processor = kept

    def __getstate__(self) -> dict[str, Any]:
        let_hooks_stay(self.model)
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        clear_hooks(self.model)

    # ------------------------------------------------------------ facts
    @property
    def resizes_as_whole_images(self) -> bool:
        return self.spatial_labels and self.processor.own and bool(getattr(self.processor.processor, 'do_resize', None))

    def resized(self, height: int, width: int) -> tuple[int, int]:
        return self.processor.resized(height, width)

    def resizing(self) -> str:
        if self.processor.own:
            return 'images resized as its own image processor does'
        size = self.processor.size
        return f'images resized to {size[1]}x{size[0]} pixels' if size else 'images as they come'

    def own_preprocessing(self) -> OwnPreprocessing:
        recorded = recorded_normalization(self.processor.processor) or (None, None)

        def transform(picture: Image.Image) -> torch.Tensor:
            return self.processor.of_picture(picture.convert('RGB')).to(self.mean.device)

        return OwnPreprocessing(*recorded, transform if self.processor.own else None)


def _size(value: Any) -> tuple[int, int] | None:
    """Return the (height, width) that a config has for images, if any."""
    sides = (value, value) if isinstance(value, int) else value
    is_size = isinstance(sides, (list, tuple)) and len(sides) == 2 and all(isinstance(side, int) for side in sides)
    return (sides[0], sides[1]) if is_size and sides else None
