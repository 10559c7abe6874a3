"""Any detector of mmdetection (Chen et al., arXiv:1906.07155) whose loss takes boxes, and masks where it has them."""
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import nn

from ra_plugin.recognizers.detection import DetectionLabel, DetectionRecognizer, solid_and_ignored
from ra_plugin.recognizers.facts import Outputs, TaskError
from ra_plugin.recognizers.networks import widened
from ra_plugin.recognizers.openmmlab.base import OpenMMLabRecognizer
from ra_plugin.recognizers.openmmlab.geometry import Size, fit_masks
from ra_plugin.recognizers.openmmlab.mmdet_outputs import detector_outputs
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.optional import require
from ra_plugin.utils.text import first_line

# Detectors that are no function of an image and its boxes alone, by class name, and what they need besides.
_OTHER_INPUTS = {
    'PanopticFPN': 'panoptic labels', 'SemiBaseDetector': 'a teacher and unlabeled images', 'SoftTeacher': 'a teacher',
    'FastRCNN': 'proposals from elsewhere', 'GLIP': 'text', 'GroundingDINO': 'text', 'BaseMOTModel': 'videos',
    'KnowledgeDistillationSingleStageDetector': 'a teacher'
}


@RECOGNIZER_REGISTRY.register
class MMDetRecognizer(OpenMMLabRecognizer, DetectionRecognizer):
    """A frozen detector of mmdetection; arguments as in `OpenMMLabRecognizer`."""

    package = 'mmdet'

    def check_class(self, model_class: type, settings: Mapping[str, Any], where: str) -> None:
        kinds = [cls.__name__ for cls in model_class.__mro__]
        needs = next((_OTHER_INPUTS[kind] for kind in kinds if kind in _OTHER_INPUTS), None)
        if (settings.get('panoptic_head') or {}).get('num_stuff_classes'):
            needs = 'panoptic labels'
        if (settings.get('roi_head') or {}).get('semantic_head'):  # HTC, SCNet
            needs = 'semantic segmentation labels'
        if needs:
            raise TaskError(f'{where}: the loss of {kinds[0]} needs {needs}, not boxes alone. Choose another detector.')
        if not issubclass(model_class, require('mmdet.models.detectors.base', where).BaseDetector):
            raise TaskError(f'{where}: {kinds[0]} is no detector of mmdetection. For segmenters: MMSegRecognizer.')

    def adapt_model(self, model: nn.Module) -> None:
        for head in _heads(model):
            if not hasattr(head, 'loss_cls'):
                head.loss_cls = None  # predict() asks SSD's head for it

    def count_classes(self, model: nn.Module) -> int:
        if type(model).__name__ == 'RPN':  # finds objects of any class
            return 0
        for head in _heads(model):
            count = getattr(head, 'num_classes', None) or getattr(head, 'num_things_classes', None)
            if count:
                return int(count)
        return 0

    def sample(self, size: Size, index: int) -> Any:
        structures = require('mmdet.structures', str(self))
        height, width = size.padded
        return structures.DetDataSample(metainfo={
            'img_id': index, 'img_path': '', 'ori_shape': size.original, 'img_shape': size.padded,
            'scale_factor': size.scale_factor, 'flip': False, 'flip_direction': None,
            'border': [0, height, 0, width]})  # of CenterNet, whose own pipeline centers the image

    def loss(self, images: torch.Tensor, label: DetectionLabel) -> dict[str, torch.Tensor]:
        """Return the detector's own training loss, term by term, each a scalar over the batch."""
        self.check_label(label, len(images), str(self))
        needs_masks = _needs_masks(self.model)

        def annotate(sample: Any, size: Size, index: int) -> None:
            self._annotate(sample, size, label[index], images.device, needs_masks)

        return self.native_loss(images, self.sizes(images, label), annotate)

    def _annotate(self, sample: Any, size: Size, item: Mapping[str, Any], device: torch.device, masks: bool) -> None:
        instances = require('mmengine.structures', str(self)).InstanceData
        width, height = size.scale_factor
        # chosen where they are: on a GPU each choice would make the computer wait for it
        scale = item['boxes'].new_tensor([width, height, width, height], dtype=torch.float32)
        boxes, labels = item['boxes'].float() * scale, item['labels']
        solid, ignored = solid_and_ignored({**item, 'boxes': boxes})
        used, left_out = solid & ~ignored, solid & ignored
        sample.gt_instances = instances(bboxes=boxes[used].to(device), labels=labels[used].to(device))
        sample.ignored_instances = instances(bboxes=boxes[left_out].to(device), labels=labels[left_out].to(device))
        if masks:
            fitted = fit_masks(self.masks_of(item, size.original)[used], size, 0)
            bitmaps = require('mmdet.structures.mask', str(self)).BitmapMasks
            sample.gt_instances.masks = bitmaps(fitted.cpu().numpy().astype('uint8'), *size.padded)

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return the detector's answers at all places before boxes are chosen, see `mmdet_outputs`."""
        if self._one_by_one and len(images) > 1:
            raise ValueError(f'{self}: its guided anchors take one image at a time. Set batch_size_per_gpu: 1, or use '
                             'RecogFeatureLoss, which compares features.')
        with self.calling(images):
            batch = self.feed(images)
            try:
                return widened(detector_outputs(self.model, *batch, reference, str(self)))
            except (AttributeError, KeyError, TypeError) as error:  # a head that answers in a way of its own
                raise ValueError(f'{self}: the answers of {type(self.model).__name__} cannot be compared '
                                 f'({type(error).__name__}: {first_line(error)}). Use RecogFeatureLoss, which compares '
                                 'features.') from error

    @cached_property
    def _one_by_one(self) -> bool:
        """True if a layer takes single images only in inference."""
        return any(type(module).__name__ == 'MaskedConv2d' for module in self.model.modules())

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        """Return for each image ``{'boxes': (K, 4) xyxy in its pixels, 'labels': (K,), 'scores': (K,)}``, best first.

        Models with masks add ``'masks'``, ``(K, H, W)`` bool. How many boxes there are, and from which score on, the
        config says under ``test_cfg``.
        """
        found = []
        with self.calling(images):
            for batch in images.split(1) if self._one_by_one else (images,):
                found += self.model.predict(*self.feed(batch), rescale=True)
        return [_decoded(result.pred_instances) for result in found]


def _heads(model: nn.Module) -> list[Any]:
    """Return the heads that decide on the class, the deciding one first."""
    heads = [getattr(getattr(model, 'roi_head', None), 'bbox_head', None)]
    heads += [getattr(model, name, None) for name in ('bbox_head', 'mask_head', 'panoptic_head', 'query_head',
                                                      'rpn_head')]
    return [head[-1] if isinstance(head, nn.ModuleList) else head for head in heads if isinstance(head, nn.Module)]


def _needs_masks(model: nn.Module) -> bool:
    """True if the loss reads masks; some heads that find masks do not say so."""
    return bool(model.with_mask or hasattr(model, 'panoptic_head')
                or 'Ins' in type(getattr(model, 'bbox_head', None)).__name__)


def _decoded(instances: Any) -> dict[str, torch.Tensor]:
    scores, order = instances.scores.sort(descending=True, stable=True)
    found = {'boxes': instances.bboxes[order], 'labels': instances.get('labels', torch.zeros_like(order))[order],
             'scores': scores}
    if 'masks' in instances:
        found['masks'] = instances.masks[order].bool()
    return found
