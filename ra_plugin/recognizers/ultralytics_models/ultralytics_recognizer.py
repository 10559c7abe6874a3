"""Networks of ultralytics (YOLO) for detection, with masks or without, and for classification."""
import math
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal

from torch import nn

from ra_plugin.checkpoint import load_weights
from ra_plugin.option_types import ClassNames, WeightsPath
from ra_plugin.options import Limits
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.by_task import ByTask
from ra_plugin.recognizers.class_names import KeepClasses, read_classes
from ra_plugin.recognizers.facts import RecognizerInfo, TaskError
from ra_plugin.recognizers.resize_option import Resize, check_resize
from ra_plugin.recognizers.ultralytics_models.architecture import build_network, read_layers
from ra_plugin.recognizers.ultralytics_models.layer_table import task_of
from ra_plugin.recognizers.ultralytics_models.library import library
from ra_plugin.recognizers.ultralytics_models.saved_model import SavedModel, read_saved_model
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.state_dicts import load_fitting
from ra_plugin.type_hints import fits
from ra_plugin.utils.text import how_many, shown

ImageSize = Literal['model'] | int | Sequence[int]
Share = Annotated[float, Limits(least=0, most=1)]
_SIDE = {'detection': 640, 'classification': 224}  # of the library, where a file has none on record
_STRIDE = 32  # the least one that its predictor rounds sizes to
# Settings of a training that its loss depends on.
_GAINS = {'box': float, 'cls': float, 'dfl': float, 'overlap_mask': bool, 'mask_ratio': int}
# Name and content of the file that `task_of` has read for the object that is built next.
_read_before: ContextVar[tuple[str, SavedModel] | None] = ContextVar('read_before', default=None)


@RECOGNIZER_REGISTRY.register
class UltralyticsRecognizer(ByTask, Recognizer):
    """A frozen network of ultralytics: a detector, one with masks (``-seg``), or a classifier (``-cls``).

    The package ultralytics is licensed under AGPL-3.0, and so are its weights: read what that asks of you before you
    give away, or let others use over a network, what you build with it. It is imported when such a recognizer is built,
    without its telemetry, and nothing is downloaded.

    Args:
        model: ``FILE.pt``, as ultralytics saves its networks, which is read without running code of it; or a yaml file
            with the layers, or the name of one that the package brings with its scale: ``yolo11n.yaml``.
        pretrained: ``False`` with a yaml file and no checkpoint: random weights.
        checkpoint: File with the weights alone for a yaml file, ``.safetensors`` or a torch file of tensors.
        classes: Names of the classes for a yaml file, a text file with one a line, or their number. Default: as many as
            it says.
        imgsz: Side of the square that images are resized to fit into, or ``[height, width]``, rounded up to multiples
            of the network's stride. ``'model'``: that of its training, else 640, of a classifier 224.
        resize: ``'model'``: as the library's predictor; right for whole images. A number: a factor on height and width;
            right for crops, which the predictor would blow up to the size of whole images. ``~``: as they come.
            A classifier takes ``'model'`` or ``~``.
        conf: Least score of an object in `predict`; the library's own for mean average precision is 0.001, for pictures
            0.25.
        iou: Largest overlap of two objects of a class in `predict`.
        end2end: Answer by the head that gives each object once, without suppression of overlaps (YOLO26, YOLOv10).
            Default: by the other one, as the library does.
        keep_classes: Of a classifier. Names or ids of the classes that count, as a list or a text file with one a line,
            for data with fewer classes. Labels are then their places in this list. Default: all.

    Raises:
        ImportError: ultralytics is not installed.
        FileNotFoundError: No such file.
        ValueError: No weights chosen, a file that does not fit or has code in it, or a network for another task.
    """

    task: str  # from the class of the task

    @classmethod
    def task_of(cls, model: WeightsPath, *args: Any, **kwargs: Any) -> str:
        where = _place(model)
        found = _read(str(model), where)
        _read_before.set((str(model), found))
        return task_of(found.layers, where)

    def __init__(self, model: WeightsPath, pretrained: bool | None = None, checkpoint: WeightsPath | None = None,
                 classes: ClassNames | int | None = None, imgsz: ImageSize = 'model', resize: Resize = 'model',
                 conf: Share = 0.001, iou: Share = 0.7, end2end: bool = False,
                 keep_classes: KeepClasses | None = None):
        where = _place(model)
        found = _taken(str(model)) or _read(model, where)
        _check_choice(found, model, (pretrained, checkpoint, classes), where)
        check_resize(resize, where)
        names = found.names if classes is None else read_classes(classes)
        layers = found.layers if classes is None else {
            **found.layers, 'nc': classes if isinstance(classes, int) else len(names or ())}
        task = task_of(layers, where)
        if task != self.task:
            raise TaskError(f'{where}: {model} is for {task}, {type(self).__name__} is for {self.task}. Use '
                            'UltralyticsRecognizer, which takes both.')
        network: Any = build_network(layers, where)
        if names and len(names) != layers['nc']:
            raise ValueError(f"{where}: {model} names {how_many(len(names), 'class')}, its network has {layers['nc']}.")
        if found.weights is not None:
            load_fitting(network, found.weights, model, where)
        elif checkpoint:
            load_weights(network, checkpoint, where)
        network.args = library('ultralytics.cfg', where).get_cfg(overrides=_gains(found.settings, f'{where}: {model}'))
        self.size = _sides(found.settings.get('imgsz', _SIDE[self.task]) if imgsz == 'model' else imgsz,
                           max(int(network.stride.max()), _STRIDE), where)
        self.resize, self.conf, self.iou, self.end2end = resize, conf, iou, end2end
        self.check_options(network, where)
        of_task: dict[str, Any] = {}
        if keep_classes is not None:
            if self.task != 'classification':
                raise ValueError(f'{where}: keep_classes: is an option of a classifier, and this is for {self.task}. '
                                 'Leave it out.')
            of_task['keep_classes'] = keep_classes
        super().__init__(network, RecognizerInfo(
            name=Path(model).stem, task=self.task, num_classes=layers['nc'], classes=_words(names),
            input_size=self.size if self.task == 'classification' and resize else None,
            source=str(checkpoint or ('random weights' if found.weights is None else model))), **of_task)

    def check_options(self, network: nn.Module, where: str) -> None:
        """Raise ValueError for options that networks of the task, or this one, do not have."""


def _place(model: Any) -> str:
    return f'UltralyticsRecognizer({Path(str(model)).stem})'


def _taken(model: str) -> SavedModel | None:
    """Return what `task_of` has read last, if that was this file, and forget it."""
    before = _read_before.get()
    _read_before.set(None)
    return before[1] if before and before[0] == model else None


def _read(model: str, where: str) -> SavedModel:
    """Return the content of a file of a network, or the layers in a yaml file, without weights."""
    path = Path(model)
    library('ultralytics', where)
    if path.suffix in ('.yaml', '.yml'):
        return SavedModel(None, read_layers(model, where), ())
    if path.suffix != '.pt':
        raise ValueError(f'{where}: model: expected a .pt file of ultralytics or a yaml file, got {model!r}. For '
                         'weights alone: model: yolo11n.yaml, checkpoint: FILE.')
    if not path.is_file():
        raise FileNotFoundError(f'{where}: model: no file {model}, and none is downloaded. Fetch it from '
                                'https://github.com/ultralytics/assets/releases and name it with its folder.')
    return read_saved_model(path, where)


def _check_choice(found: SavedModel, model: str, given: tuple[Any, Any, Any], where: str) -> None:
    """Check that the options ``pretrained``, ``checkpoint`` and ``classes`` choose weights, and once."""
    pretrained, checkpoint, _ = given
    if found.weights is not None and any(value is not None for value in given):
        raise ValueError(f'{where}: {model} has weights and classes of its own. Leave out pretrained, checkpoint and '
                         'classes, or name a yaml file.')
    if found.weights is None and (pretrained or pretrained is None and not checkpoint):
        raise ValueError(f'{where}: no weights, and none are downloaded. Set model: FILE.pt, or with a yaml file '
                         'checkpoint: FILE or pretrained: false.')
    if checkpoint and pretrained is False:
        raise ValueError(f'{where}: both pretrained and checkpoint are set. Keep one.')


def _gains(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    gains = {name: settings[name] for name in _GAINS if name in settings}
    for name, value in gains.items():
        if not fits(value, _GAINS[name]) or _GAINS[name] is not bool and not 0 <= value < math.inf:
            raise ValueError(f'{where}: {name} in the settings of its training: expected {_GAINS[name].__name__}, got '
                             f'{shown(value, 80)}.')
    return gains


def _words(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return names of classes, None for their numbers alone, which networks have without a data set."""
    return tuple(names) if names and any(name != str(i) for i, name in enumerate(names)) else None


def _sides(size: Any, stride: int, where: str) -> tuple[int, int]:
    sides = size if isinstance(size, (list, tuple)) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 1 for side in sides):
        raise ValueError(f"{where}: imgsz: expected 'model', a number or [height, width], got {size!r}.")
    height, width = (math.ceil(side / stride) * stride for side in sides)
    return height, width
