"""Small networks of ultralytics for tests, saved as its trainer saves them, and the library's own batches for them."""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from ra_plugin.recognizers.ultralytics_models.library import library

library('ultralytics', 'tests')  # quietly, before anything else imports it

from ultralytics.cfg import get_cfg  # noqa: E402
from ultralytics.data.augment import Format, LetterBox  # noqa: E402
from ultralytics.data.dataset import YOLODataset  # noqa: E402
from ultralytics.nn import tasks  # noqa: E402
from ultralytics.nn.tasks import guess_model_task, load_checkpoint, yaml_model_load  # noqa: E402
from ultralytics.utils import ASSETS  # noqa: E402
from ultralytics.utils.instance import Instances  # noqa: E402

PHOTOGRAPH = ASSETS / 'bus.jpg'
CLASSES = ('bus', 'person', 'tie')
GAINS = {'box': 6.5, 'cls': 0.6, 'dfl': 1.4, 'imgsz': 128}  # others than the library's
_KINDS = {'detect': tasks.DetectionModel, 'segment': tasks.SegmentationModel, 'classify': tasks.ClassificationModel}


def photograph(height: int, width: int, top: int = 0, left: int = 0) -> np.ndarray:
    """Part of a photograph at a quarter of its size, RGB ``(height, width, 3)``."""
    whole = cv2.cvtColor(cv2.imread(str(PHOTOGRAPH)), cv2.COLOR_BGR2RGB)
    small = cv2.resize(whole, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[top:top + height, left:left + width])


def as_images(*pictures: np.ndarray) -> torch.Tensor:
    return torch.stack([torch.from_numpy(picture) for picture in pictures]).permute(0, 3, 1, 2).float() / 255


def network(name: str, classes: Sequence[str] = CLASSES) -> nn.Module:
    """A network with random weights that answers differently in different places, as a trained one does."""
    torch.manual_seed(3)
    table = yaml_model_load(name)
    made = _KINDS[guess_model_task(table)](table, nc=len(classes), verbose=False)
    made.names = dict(enumerate(classes))
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
                module.reset_running_stats()
        head = made.model[-1]
        made.train()(as_images(photograph(128, 128), photograph(128, 128, 90, 60)))
        for part in ('cv3', 'one2one_cv3'):
            for level in getattr(head, part, ()):
                level[-1].bias.fill_(-3)
                level[-1].weight.normal_(std=0.3)
    return made.eval()


def save(made: nn.Module, path: Path, **further) -> Path:
    """Write a checkpoint with the keys and types that the library's trainer writes, in 16 bits."""
    made.args = get_cfg(overrides={**GAINS, 'task': guess_model_task(made.yaml)})
    torch.save({'epoch': -1, 'best_fitness': None, 'model': None, 'ema': made.half(), 'updates': 7, 'optimizer': None,
                'modelopt': None, 'train_args': vars(made.args), 'train_metrics': {'fitness': np.float64(0.5)},
                'date': '2026-11-30T12:00:00', 'version': '8.4.190', 'git': {'root': '.'}, **further}, path)
    return path


def of_library(path: Path) -> nn.Module:
    """The network as the library loads it, with the settings of its training."""
    made, checkpoint = load_checkpoint(str(path))
    made.args = get_cfg(overrides=checkpoint['train_args'])
    return made.requires_grad_(False)


def batch_of_library(pictures: Sequence[np.ndarray], boxes: Sequence, labels: Sequence, size: int | None,
                     masks: bool = False) -> dict:
    """A batch from the library's own transforms: letterbox, labels of boxes (with rectangular outlines) and collation.

    Args:
        pictures: RGB.
        boxes: Of each picture ``(K, 4)`` xyxy.
        labels: Of each picture ``(K,)``.
        size: Side of the square; None: the pictures as they are.
        masks: Labels have masks.
    """
    items = []
    for picture, own, classes in zip(pictures, boxes, labels, strict=True):
        own = np.asarray(own, np.float32).reshape(-1, 4)
        outlines = np.stack([own[:, [0, 2, 2, 0]], own[:, [1, 1, 3, 3]]], 2)  # (K, 4, 2)
        item = {'img': picture[..., ::-1].copy(), 'cls': np.asarray(classes, np.float32).reshape(-1, 1),
                'ori_shape': picture.shape[:2], 'resized_shape': picture.shape[:2], 'im_file': '',
                'instances': Instances(own.copy(), outlines.copy(), bbox_format='xyxy', normalized=False)}
        if size:
            item = LetterBox(size, auto=True, stride=32)(item)
        items.append(Format(bbox_format='xywh', normalize=True, return_mask=masks, batch_idx=True, bgr=0.0)(item))
    batch = YOLODataset.collate_fn(items)
    return {**batch, 'img': batch['img'].float() / 255}
