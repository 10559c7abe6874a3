"""Networks of open_clip for classification by texts, and their image towers for embedding."""
from pathlib import Path
from typing import Any, Literal

import torch

from ra_plugin.option_types import ClassNames, WeightsPath
from ra_plugin.options import check_type
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.by_task import ByTask
from ra_plugin.recognizers.class_names import read_classes
from ra_plugin.recognizers.classification import ClassificationRecognizer, Fit, InputSize, resolve_input_size
from ra_plugin.recognizers.facts import RecognizerInfo, TaskError
from ra_plugin.recognizers.frozen.resizing import resize
from ra_plugin.recognizers.networks import unwrapped, widened
from ra_plugin.recognizers.open_clip_models.library import library
from ra_plugin.recognizers.open_clip_models.model import LoadedModel, Preprocess, build, short_name
from ra_plugin.recognizers.open_clip_models.networks import ImageTower, TextClassifier, class_vectors
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing, one_image
from ra_plugin.recognizers.vectors import VectorRecognizer
from ra_plugin.registry import RECOGNIZER_REGISTRY

Task = Literal['classification', 'embedding']
PROMPTS = ('a photo of a {}.',)
_FITS: dict[str, Fit] = {'shortest': 'crop', 'squash': 'stretch', 'longest': 'border'}  # by open_clip's resize_mode


@RECOGNIZER_REGISTRY.register
class OpenClipRecognizer(ByTask, Recognizer):
    """A network of open_clip (CLIP, SigLIP, CoCa, EVA, ...) that classifies by texts, or its image tower alone.

    A class is the mean of the vectors of its texts, one for each prompt. The logits are the cosines of the image's
    vector with those, times the scale that the network has learned: zero-shot classification as in Radford et al.
    (2021). The texts are read once, when it is built, and the text tower is not kept. Images are prepared as
    open_clip's own test transform does. Weights are read without running code in their file.

    Args:
        model: As in ``open_clip.list_models()``: ``ViT-B-32``; ``hf-hub:OWNER/NAME``, or ``local-dir:FOLDER`` with an
            ``open_clip_config.json``.
        pretrained: A tag of the model, ``openai`` (downloaded once), which also says whether its activation is the
            quick GELU; a file, ``.safetensors`` or a torch file of tensors, for the activation that the model's name
            says (``ViT-B-32-quickgelu``); of a hub or a folder ``true``. ``false``: random weights.
        classes: Names of the classes, as a list or a text file with one a line. Not for embedding.
        prompts: Texts with ``{}`` in place of the class, as a list or a text file with one a line. Default: ``a photo
            of a {}.`` Not for embedding.
        task: ``'classification'`` | ``'embedding'``: the vectors of its image tower, without any text.
        input_size: ``'model'``: the size that it was trained with; ``~``: images as they come, for towers that take
            any size; a number or ``[height, width]``: positions are interpolated, as open_clip does.
        preprocess: What replaces the record of mean, std, ``resize_mode`` (``shortest`` | ``longest`` | ``squash``) and
            ``interpolation``: some of these four, or a tag whose record is taken. A file has none on record: where
            published weights of its model do not all have open_clip's default, it has to be given.
        feature_layer: Dotted name of the layer whose output is compared by the feature loss, e.g.
            ``visual.transformer.resblocks.8``. Default: the vectors of the image tower.

    Raises:
        ImportError: open_clip is not installed.
        ValueError: Unknown model, tag or file, no weights chosen, a checkpoint that does not fit, no classes, or a
            tokenizer that would be fetched though the weights are not.
    """

    task: Any  # from the class of the task
    open_vocabulary = True

    @classmethod
    def task_of(cls, *args: Any, task: Any = 'classification', **kwargs: Any) -> str:
        check_type(task, Task, f'{cls.__name__}: task')
        return task

    def __init__(self, model: str, pretrained: WeightsPath | bool | None = None, classes: ClassNames | None = None,
                 prompts: ClassNames | None = None, task: Task = 'classification', input_size: InputSize = 'model',
                 preprocess: Preprocess | None = None, feature_layer: str | None = None):
        where = f'OpenClipRecognizer({short_name(model)})'
        if task not in ('classification', self.task):
            raise TaskError(f'{where}: task: {task}, but {type(self).__name__} is for {self.task}. Use '
                            'OpenClipRecognizer, which takes both.')
        labels, texts = _names(classes, f'{where}: classes'), _names(prompts, f'{where}: prompts')
        self.check_texts(labels, texts, where)
        size = None if input_size in ('model', None) else resolve_input_size(input_size, None, where)
        loaded = build(model, pretrained, preprocess, size, self.task == 'classification', where)
        self.record = dict(loaded.record)
        height, width = _sides(self.record['size'])
        self.start(loaded, labels, texts or PROMPTS, RecognizerInfo(
            name=short_name(model), task=self.task, classes=labels, mean=tuple(self.record['mean']),
            std=tuple(self.record['std']), input_size=None if input_size is None else (height, width),
            interpolation=self.record['interpolation'], source=loaded.source),
            _FITS[self.record['resize_mode']], feature_layer)

    # --------------------------------------------------- for subclasses
    def check_texts(self, classes: tuple[str, ...] | None, prompts: tuple[str, ...] | None, where: str) -> None:
        """Raise ValueError for classes or prompts that are missing, or of no use."""

    def start(self, loaded: LoadedModel, classes: tuple[str, ...] | None, prompts: tuple[str, ...],
              info: RecognizerInfo, fit: Fit, feature_layer: str | None) -> None:
        """Call the constructor of the task's class."""
        raise NotImplementedError(f'{type(self).__name__} has no start().')

    # ------------------------------------------------------------ shared
    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        size = self.info.input_size
        if self.fit == 'border' and size and tuple(images.shape[-2:]) != size:  # with another border than the mean
            fill = (self.record['fill_color'] / 255,) * 3
            images = resize(self.cast(images), size, self.fit, self.info.interpolation, fill)
        return super().prepare(images)

    def own_preprocessing(self) -> OwnPreprocessing:
        transforms = library(str(self), 'transform')
        transform = one_image(transforms.image_transform_v2(transforms.PreprocessCfg(**self.record), is_train=False), 3)
        return OwnPreprocessing(tuple(self.record['mean']), tuple(self.record['std']),
                                transform if self.info.input_size else None)


class OpenClipClassifier(OpenClipRecognizer, ClassificationRecognizer):
    """A classifier by texts; arguments as in `OpenClipRecognizer`."""

    can_learn = False  # its classes would stay where they are
    _has_own_features = True

    def check_texts(self, classes: tuple[str, ...] | None, prompts: tuple[str, ...] | None, where: str) -> None:
        if classes and len(classes) < 2:
            raise ValueError(f'{where}: classes: expected two or more to tell apart, got {list(classes)}.')
        if not classes:
            raise ValueError(f'{where}: no classes to tell apart. Set classes: [cat, dog] or a text file with one a '
                             'line; or task: embedding, for its image tower alone.')

    def start(self, loaded: LoadedModel, classes: tuple[str, ...] | None, prompts: tuple[str, ...],
              info: RecognizerInfo, fit: Fit, feature_layer: str | None) -> None:
        vectors = class_vectors(loaded, classes or (), prompts, f'OpenClipRecognizer({info.name})')
        ClassificationRecognizer.__init__(self, TextClassifier(loaded.model, vectors), info, fit, feature_layer)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output of ``feature_layer``; by default the vectors of the image tower, ``(N, D)``."""
        if self.feature_layer is not None:
            return super().features(images)
        prepared = self.prepare(images)
        network: Any = unwrapped(self.model)
        with self.autocast(images):
            return widened(network.embed(prepared))


class OpenClipEmbedder(OpenClipRecognizer, VectorRecognizer):
    """An image tower; arguments as in `OpenClipRecognizer`."""

    def check_texts(self, classes: tuple[str, ...] | None, prompts: tuple[str, ...] | None, where: str) -> None:
        if classes or prompts:
            raise ValueError(f'{where}: classes and prompts are for classification, and this is for embedding. Leave '
                             'them out.')

    def start(self, loaded: LoadedModel, classes: tuple[str, ...] | None, prompts: tuple[str, ...],
              info: RecognizerInfo, fit: Fit, feature_layer: str | None) -> None:
        VectorRecognizer.__init__(self, ImageTower(loaded.model.visual), info, fit, feature_layer)


def _names(given: ClassNames | None, where: str) -> tuple[str, ...] | None:
    """Return the names in a list or a text file, each once.

    Raises:
        ValueError: As `read_classes`, or one twice.
    """
    if given is None:
        return None
    if isinstance(given, str) and not Path(given).is_file():
        raise ValueError(f'{where}: no file {given}. Write a list, [{given!r}], or name a text file with one a line.')
    try:
        names = read_classes(given) or ()
    except ValueError as error:
        raise ValueError(f'{where}: {str(error).removeprefix("classes: ")}') from None
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'{where}: expected each once, got {twice!r} more than once.')
    return names


def _sides(size: Any) -> tuple[int, int]:
    return (size[0], size[1]) if isinstance(size, (list, tuple)) else (size, size)
