"""Any network of torchvision for one of the tasks, which its name tells."""
from collections.abc import Mapping
from typing import Any

from ra_plugin.option_types import WeightsPath
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.by_task import ByTask
from ra_plugin.recognizers.class_names import KeepClasses
from ra_plugin.recognizers.classification import Fit, InputSize
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.resize_option import Resize
from ra_plugin.recognizers.torchvision_models.loading import LoadedNetwork, load, task_of_model
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.optional import require

# Options of single tasks, with their defaults.
_OF_TASKS = {'input_size': 'model', 'fit': 'crop', 'feature_layer': None, 'resize': 'model', 'seed': 0,
             'keep_classes': None, 'norm_eps': None}
_IN_WORDS = {'classification': 'a classifier', 'detection': 'a detector', 'segmentation': 'a segmenter'}


@RECOGNIZER_REGISTRY.register
class TorchvisionRecognizer(ByTask, Recognizer):
    """A classifier, detector or segmenter of torchvision, by its name, with the preprocessing of its weights.

    A detector (Faster, Mask and Keypoint R-CNN, FCOS, RetinaNet, SSD, SSDLite) and a segmenter (DeepLabV3, FCN, LRASPP)
    have the classes of torchvision's weights: 80 of COCO, 21 of VOC. See `TorchvisionClassifier`, `TorchvisionDetector`
    and `TorchvisionSegmenter`.

    Args:
        model_name: As in ``torchvision.models.list_models()``: ``mobilenet_v2``, ``fasterrcnn_resnet50_fpn``,
            ``lraspp_mobilenet_v3_large``.
        weights: Name in torchvision's weights enum, e.g. ``IMAGENET1K_V1`` or ``DEFAULT`` (downloaded once).
        checkpoint: File with the weights instead, ``.safetensors`` or a torch file of tensors.
        input_size: Of a classifier. ``'model'``: the weights' crop size; ``~``: images as they come; a number or
            ``[height, width]``.
        fit: Of a classifier. ``'crop'``: resize the shorter side, crop the center; ``'stretch'``: resize both sides;
            ``'border'``: resize the longer side, pad with the mean color.
        feature_layer: Of a classifier. Dotted name of the layer whose output is compared by the feature loss. Default:
            the input of the layer that classifies.
        model_kwargs: Further arguments of the model, e.g. ``{num_classes: 100}``, which counts the background of
            detectors and segmenters. Inception and GoogLeNet need ``transform_input`` with a checkpoint: ``true`` where
            it was trained from torchvision's weights, ``false`` where from none; and ``aux_logits: false`` where it has
            no further heads. A segmenter needs ``aux_loss: true`` with a checkpoint that has an auxiliary head. Weights
            of a backbone are fetched only if ``weights_backbone`` names them.
        pretrained: ``false``, without ``weights`` and ``checkpoint``: random weights.
        resize: Of a detector or segmenter. ``'model'``: as its own preprocessing does; right for whole images. A
            number: a factor on height and width; right for crops, which it would blow up to the size of whole images.
            ``~``: as they come.
        seed: Of a detector: seed of the random sampling within its loss.
        keep_classes: Of a classifier. Names or ids of the classes that count, as a list or a text file with one a line,
            for data with fewer classes. Labels are then their places in this list. Default: all.
        norm_eps: Of a detector with a checkpoint, which does not say it: the eps of its backbone's batch norm. 0 if it
            was trained on from torchvision's ``COCO_V1`` of a network with ResNet-50 and FPN. Default: 1e-5; 0 for
            these weights themselves.

    Raises:
        ValueError: Unknown model or weights, none chosen, an option of another task, a checkpoint that does not fit, or
            whose ``transform_input`` is not known; a model of another task than that of the class (TaskError).

    Attributes:
        published: The name of torchvision's own weights that it has, also where they came as a checkpoint; else None.
    """

    can_learn = True  # as a classifier
    task: str  # from the class of the task
    takes: tuple[str, ...] = ()  # options that not every task has

    @classmethod
    def task_of(cls, model_name: str, *args: Any, **kwargs: Any) -> str:
        return task_of_model(model_name, f'TorchvisionRecognizer({model_name})')

    def __init__(self, model_name: str, weights: str | None = None, checkpoint: WeightsPath | None = None,
                 input_size: InputSize = 'model', fit: Fit = 'crop', feature_layer: str | None = None,
                 model_kwargs: Mapping[str, Any] | None = None, pretrained: bool | None = None,
                 resize: Resize = 'model', seed: int = 0, keep_classes: KeepClasses | None = None,
                 norm_eps: float | None = None):
        where = f'TorchvisionRecognizer({model_name})'
        task = task_of_model(model_name, where)
        if task != self.task:
            raise TaskError(f'{where}: expected {_IN_WORDS[self.task]}, got {_IN_WORDS[task]}. Use '
                            f'{self._classes[task].__name__}, or TorchvisionRecognizer for any.')
        given = {'input_size': input_size, 'fit': fit, 'feature_layer': feature_layer, 'resize': resize, 'seed': seed,
                 'keep_classes': keep_classes, 'norm_eps': norm_eps}
        for name, default in _OF_TASKS.items():
            if name not in self.takes and given[name] != default:
                others = [_IN_WORDS[task] for task, kind in self._classes.items() if name in kind.takes]
                raise ValueError(f'{where}: {name}: is an option of {" or ".join(others)}, and this is '
                                 f'{_IN_WORDS[self.task]}. Leave it out.')
        network = load(model_name, weights, checkpoint, pretrained, model_kwargs or {}, where)
        self.start(network, model_name, where, **{name: given[name] for name in self.takes})
        self.published = network.published

    def record(self) -> Any:
        """Return torchvision's record of its weights; of others, of those that it has for the architecture."""
        known = require('torchvision', str(self)).models.get_model_weights(self.info.name)
        return known[self.published or 'DEFAULT']

    # --------------------------------------------------- for subclasses
    def start(self, network: LoadedNetwork, name: str, where: str, **options: Any) -> None:
        """Call the constructor of the task's class.

        Args:
            network: The network.
            name: Its name.
            where: For messages.
            **options: Those of `takes`.
        """
        raise NotImplementedError(f'{type(self).__name__} has no start().')
