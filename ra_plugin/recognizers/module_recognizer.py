"""Any importable network, by its dotted path, for each task that has an answer of a usual form."""
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import nn

from ra_plugin.checkpoint import read_record
from ra_plugin.option_types import ModuleName, WeightsPath
from ra_plugin.options import check_type
from ra_plugin.recognizers.answer_path import picked
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.by_task import ByTask
from ra_plugin.recognizers.class_names import KeepClasses
from ra_plugin.recognizers.classification import ClassificationRecognizer, Fit, InputSize, resolve_input_size
from ra_plugin.recognizers.dense_logits import DenseLogitsRecognizer
from ra_plugin.recognizers.facts import RecognizerInfo, TaskError
from ra_plugin.recognizers.module_network import built_network, normalization
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing, recorded_beside
from ra_plugin.recognizers.smp_networks import encoder_normalization, is_smp, size_divisor
from ra_plugin.recognizers.vectors import VectorRecognizer
from ra_plugin.registry import RECOGNIZER_REGISTRY

ModuleTask = Literal['classification', 'segmentation', 'detection', 'text', 'embedding']


@RECOGNIZER_REGISTRY.register
class ModuleRecognizer(ByTask, Recognizer):
    """A network from an ``nn.Module`` class, a function that returns one, or (from Python) the module itself.

    A module from Python is copied, and stays as it is: what is frozen, made faster or, with ``trainable: true``, learns
    is the copy, the recognizer's ``model``. A network whose first layer takes one channel is given the luma of the
    images.

    A classifier gives logits ``(N, C)``. A network without a head gives features of the same form, and nothing but
    ``task: embedding``, or its own ``num_classes`` of 0, says that they are no classes. A segmenter gives logits
    ``(N, C, h, w)`` at any resolution, one channel for a class against the background, and its loss is the
    cross-entropy at that of the labels. An embedding network gives vectors ``(N, D)``. A detector is called as
    torchvision's: with a list of images, for which it gives ``boxes``, ``labels`` and ``scores`` each, and in training
    mode with a list of targets, for which it gives its losses; it counts its ``classes`` from 1. One that normalizes
    images itself has a mean of 0 and a std of 1. Networks of segmentation_models_pytorch bring mean and std of their
    encoder where it has a record, and are given sizes that they can take: the last row and column are repeated.

    Args:
        module: ``package.module.Name``. It is imported: name only code that you trust.
        module_kwargs: Arguments of the class or function.
        pretrained: Without a checkpoint: ``true``: the class or function loads weights of its own; ``false``: random
            weights are meant. Default: a warning, since nobody would notice.
        checkpoint: File with the weights, ``.safetensors`` or a torch file of tensors.
        mean, std: Normalization of the weights, RGB on the ``[0, 1]`` scale; one number for a network of one channel.
            Default: the record in the safetensors file; an error where there is none, since a wrong guess would go
            unnoticed.
        classes: Class names in the order of the ids. Default: the record. Not for embedding.
        input_size: ``~``: images as they come; a number or ``[height, width]``.
        fit: ``'crop'``: resize the shorter side, crop the center; ``'stretch'``: resize both sides; ``'border'``:
            resize the longer side, pad with the mean color. A segmenter with an ``input_size`` must not crop.
        feature_layer: Dotted name of the layer whose output is compared by the feature loss. Default: the input of the
            layer that classifies; the vectors.
        task: ``'classification'`` | ``'segmentation'`` | ``'detection'`` | ``'embedding'``. Readers of words are for
            `CTCRecognizer`. Default: embedding for a network with a ``num_classes`` of 0, else classification.
        output: The part of the network's answer that is the logits or vectors, by key, attribute or index, dotted:
            ``logits``, ``0``, ``out.0``. Default: the answer itself.
        keep_classes: Names or ids of a classifier's classes that count, as a list or a text file with one a line, for
            data with fewer classes. Labels are then their places in this list. Default: all.

    Raises:
        ImportError: The path cannot be imported.
        ValueError: No normalization known, an answer of another form (TaskError), or a checkpoint that does not fit.
    """

    can_learn = True
    task: Any  # from the class of the task
    output: str | int | None = None

    @classmethod
    def task_of(cls, *args: Any, task: Any = None, **kwargs: Any) -> str:
        check_type(task, ModuleTask | None, 'ModuleRecognizer: task')
        if task is None:
            module, arguments = kwargs.get('module'), kwargs.get('module_kwargs') or {}
            counts = getattr(module, 'num_classes', None), arguments.get('num_classes')
            task = 'embedding' if any(type(count) is int and not count for count in counts) else 'classification'
        if task not in cls._classes:
            raise TaskError('ModuleRecognizer: task: readers of words are for CTCRecognizer, which has their '
                            'characters. Use {type: CTCRecognizer, module: ..., characters: ...}.')
        return task

    def __init__(self, module: ModuleName | nn.Module, module_kwargs: Mapping[str, Any] | None = None,
                 checkpoint: WeightsPath | None = None, mean: Sequence[float] | None = None,
                 std: Sequence[float] | None = None, classes: Sequence[str] | None = None,
                 input_size: InputSize = None, fit: Fit = 'crop', feature_layer: str | None = None,
                 pretrained: bool | None = None, *, task: ModuleTask | None = None,
                 output: str | int | None = None, keep_classes: KeepClasses | None = None):
        name = module.rpartition('.')[2] if isinstance(module, str) else type(module).__name__
        where = f'{self.users_name()}({name})'
        if task not in (None, self.task):
            raise TypeError(f'{where}: task: {task}, but its class is made for {self.task}. Derive it from the class '
                            f'of that task, or give task in the call.')
        if keep_classes is not None and self.task != 'classification':
            raise ValueError(f'{where}: keep_classes is for classifiers, and this is for {self.task}. Leave it out.')
        if classes is not None and self.task == 'embedding':
            raise ValueError(f'{where}: classes: an embedding has none. Leave it out, or give a network that '
                             'classifies (task: classification).')
        model = built_network(module, module_kwargs or {}, checkpoint, pretrained, where)
        record = read_record(checkpoint) if checkpoint else {}
        mean, std = mean or record.get('mean'), std or record.get('std')
        if mean is None and std is None and is_smp(model):
            mean, std = encoder_normalization(model, where) or (None, None)
        means, stds, if_not_gray = normalization(mean, std, where)
        classes = () if self.task == 'embedding' else tuple(classes or record.get('classes') or ())
        self.output = output  # first: building takes an image through `read`
        self._take(model, RecognizerInfo(
            name=name, task=self.task, classes=classes or None, mean=means, std=stds,
            input_size=resolve_input_size(input_size, None, where),
            source=checkpoint or ('random weights' if pretrained is False else
                                  module if isinstance(module, str) else name)), fit, feature_layer, keep_classes)
        if if_not_gray and self.info.channels != 1:
            raise ValueError(if_not_gray)

    def _take(self, model: nn.Module, info: RecognizerInfo, fit: Fit, feature_layer: str | None,
              keep_classes: KeepClasses | None) -> None:
        """Take the network as the class of the task does."""
        raise NotImplementedError(f'{type(self).__name__} has no _take().')

    def read(self, answer: Any) -> Any:
        return picked(answer, self.output, str(self))

    def own_preprocessing(self) -> OwnPreprocessing:
        return recorded_beside(self.info.source)


class ModuleClassifier(ModuleRecognizer, ClassificationRecognizer):
    """A classifier."""

    def _take(self, model: nn.Module, info: RecognizerInfo, fit: Fit, feature_layer: str | None,
              keep_classes: KeepClasses | None) -> None:
        ClassificationRecognizer.__init__(self, model, info, fit, feature_layer, keep_classes)


class ModuleSegmenter(ModuleRecognizer, DenseLogitsRecognizer):
    """A segmenter."""

    def _take(self, model: nn.Module, info: RecognizerInfo, fit: Fit, feature_layer: str | None,
              keep_classes: KeepClasses | None) -> None:
        divisor = size_divisor(model) if is_smp(model) else 1
        DenseLogitsRecognizer.__init__(self, model, info, fit, feature_layer, divisor)


class ModuleEmbedder(ModuleRecognizer, VectorRecognizer):
    """An embedding network."""

    can_learn = False  # it has no loss against labels

    def _take(self, model: nn.Module, info: RecognizerInfo, fit: Fit, feature_layer: str | None,
              keep_classes: KeepClasses | None) -> None:
        VectorRecognizer.__init__(self, model, info, fit, feature_layer)
