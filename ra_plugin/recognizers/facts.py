"""Facts about recognizers, and the words that all of them share."""
from dataclasses import dataclass

import torch

Outputs = dict[str, torch.Tensor]
NO_HEAD = ('it has no head, so no classes. Compare its vectors (task: embedding), its features (RecogFeatureLoss), or '
           'use a network with a head.')
DETECTORS = 'TorchvisionRecognizer, TransformersRecognizer, UltralyticsRecognizer or MMDetRecognizer'
IGNORED = 255  # in label maps: a pixel of no class, whatever number the files have for it


class TaskError(ValueError):
    """Raised for a model of another task than its recognizer's, or whose loss needs more than that task's labels."""


@dataclass(frozen=True)
class RecognizerInfo:
    """Facts about a recognizer, from its weights' own record."""

    name: str
    task: str  # 'classification' | 'detection' | 'segmentation' | 'text' | 'embedding'
    num_classes: int = 0
    classes: tuple[str, ...] | None = None  # names in the order of the class ids, where known
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)  # RGB, on the [0, 1] scale
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    input_size: tuple[int, int] | None = None  # (height, width) that images are resized to; None: as they come
    interpolation: str = 'bilinear'
    differentiable: bool = True  # False: may judge, but not serve as a loss
    gives_probabilities: bool = False  # `predict` has those of all classes, as 'log_probabilities'
    source: str = ''  # origin of the weights
    channels: int = 3  # 1: it is given the luma of the images
    reduce_zero_label: bool | None = None  # segmentation: trained on masks in which 0 is no class; None: not on record
