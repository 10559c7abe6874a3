"""YOLO detectors, with masks or without, as losses and judges."""
import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from ra_plugin.recognizers.detection import DetectionLabel, DetectionRecognizer, counted
from ra_plugin.recognizers.detector_outputs import place_outputs
from ra_plugin.recognizers.facts import Outputs
from ra_plugin.recognizers.networks import widened
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing
from ra_plugin.recognizers.resize_option import HasResize
from ra_plugin.recognizers.ultralytics_models.instance_masks import decoded_masks, mask_targets
from ra_plugin.recognizers.ultralytics_models.letterbox import (
    Letterbox,
    Place,
    place_boxes,
    place_image,
    within_image,
)
from ra_plugin.recognizers.ultralytics_models.library import library
from ra_plugin.recognizers.ultralytics_models.ultralytics_recognizer import UltralyticsRecognizer

_MOST = 300  # objects of an image, as in the library's settings
_GRID = ('anchors', 'strides', 'shape')  # that the head keeps from call to call


class UltralyticsDetector(HasResize, UltralyticsRecognizer, DetectionRecognizer):
    """A YOLO detector, with masks or without; arguments as in `UltralyticsRecognizer`.

    Its loss is the library's, as it computes it in its validation: with batch norm in inference mode, the gains of the
    file's training (else the library's), and divided by the number of images, by which the library multiplies it. With
    two heads (YOLO26, YOLOv10) it is the library's sum over both with the weights that it begins a training with.
    """

    def check_options(self, network: Any, where: str) -> None:
        head = network.model[-1]
        if self.end2end and not hasattr(head, 'one2one_cv2'):
            raise ValueError(f'{where}: end2end: its one head gives an object several times. Leave it out.')
        network.end2end = self.end2end
        self._has_masks = hasattr(head, 'proto')
        self.own_resizing = f'images resized to fit into {self.size[1]}x{self.size[0]} pixels'

    # ------------------------------------------------------------ images
    @property
    def _letterbox(self) -> Letterbox:
        size, factor = (self.size, 1.0) if self.resize == 'model' else (None, float(self.resize or 1))
        return Letterbox(size, factor, int(self.model.stride.max()))

    def _fed(self, images: torch.Tensor, sizes: Sequence[tuple[int, int]]) -> tuple[torch.Tensor, list[Place]]:
        """Return the input for images of these sizes within a padded batch, and their places in it."""
        images, places = self.cast(images), self._letterbox.places(sizes)
        if len(set(sizes)) == 1:
            height, width = sizes[0]
            return place_image(images[..., :height, :width], places[0]), places
        return torch.cat([place_image(image[None, :, :height, :width], place) for image, place, (height, width) in zip(
            images, places, sizes, strict=True)]), places

    def _fed_whole(self, images: torch.Tensor) -> tuple[torch.Tensor, Place]:
        inputs, places = self._fed(images, [(images.shape[-2], images.shape[-1])] * len(images))
        return inputs, places[0]

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's input as the library's predictor makes it; differentiable."""
        return self._fed_whole(images)[0]

    def own_preprocessing(self) -> OwnPreprocessing:
        """Return the library's own preprocessing, which its predictor does."""
        letterbox = library('ultralytics.data.augment', str(self)).LetterBox(
            self.size, auto=True, stride=int(self.model.stride.max()))

        def transform(picture: Image.Image) -> torch.Tensor:
            pixels = letterbox(image=np.asarray(picture)).transpose(2, 0, 1)
            return torch.from_numpy(np.ascontiguousarray(pixels))[None].to(self.mean) / 255

        return OwnPreprocessing(self.info.mean, self.info.std, transform if self.resize == 'model' else None)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        return self._letterbox.resized(height, width)

    # ------------------------------------------------------------ answers
    def _answers(self, inputs: torch.Tensor) -> tuple[Any, dict[str, Any]]:
        """Return the network's answers in inference mode: decoded, and as its loss takes them."""
        with self.autocast(inputs), _kept_grid(self.model.model[-1]):
            decoded, raw = self.model(inputs)
        return decoded, widened(raw)

    def loss(self, images: torch.Tensor, label: DetectionLabel) -> dict[str, torch.Tensor]:
        """Return the library's training loss of a batch, term by term, each a scalar, as a mean over the images."""
        self.check_label(label, len(images), str(self))
        inputs, places = self._fed(images, self.sizes(images, label))
        batch = self._targets(label, places, images.device)
        criterion = self.model.init_criterion()
        terms, _ = criterion(self._answers(inputs)[1], batch)
        names = getattr(criterion, 'one2one', criterion).loss_names
        # the last term of masks is about a part of the network that is there in training mode alone
        return {name: term / len(images) for name, term in zip(names, terms, strict=True) if name != 'sem_loss'}

    def _targets(self, label: DetectionLabel, places: Sequence[Place], device: torch.device) -> dict[str, torch.Tensor]:
        """Return the labels of a batch as the library's loss takes them."""
        boxes, labels, images, masks = [], [], [], []
        for i, (item, place) in enumerate(zip(label, places, strict=True)):
            used = counted(item)
            own, classes = item['boxes'][used].float(), item['labels'][used]
            if self._has_masks:
                targets, order = mask_targets(self.masks_of(item, place.original)[used], place, self.model.args)
                own, classes = own[order], classes[order]
                masks.append(targets)
            height, width = place.padded
            left, top, right, bottom = place_boxes(own, place).unbind(1)
            shares = torch.stack([(left + right) / 2 / width, (top + bottom) / 2 / height,
                                  (right - left) / width, (bottom - top) / height], 1)
            boxes.append(shares)
            labels.append(classes)
            images.append(torch.full((len(classes),), i))
        batch = {'bboxes': torch.cat(boxes), 'cls': torch.cat(labels).float(), 'batch_idx': torch.cat(images).float()}
        if self._has_masks:
            batch['masks'] = torch.cat(masks)
        return {name: value.to(device) for name, value in batch.items()}

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return class scores and the distances to the sides of boxes, in strides, at all places of the image.

        They are those of the head that `predict` decodes.
        """
        inputs, place = self._fed_whole(images)
        raw = self._answers(inputs)[1]
        chosen, head = self._chosen(raw), self.model.model[-1]
        cells = [level.shape[-2:] for level in chosen['feats']]
        scores, distances = ([within_image(part.unflatten(2, tuple(size)), place).flatten(2) for part, size in zip(
            answer.split([height * width for height, width in cells], 2), cells, strict=True)]
            for answer in (chosen['scores'], widened(head.dfl(chosen['boxes'].to(self.dtype)))))
        return place_outputs([level[:, :, None] for level in scores], [distances], True, reference)

    def _chosen(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        return raw['one2one' if self.end2end else 'one2many'] if 'one2many' in raw else raw

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last (coarsest) level of the features that the head is given, ``(N, C, h, w)``, without border."""
        inputs, place = self._fed_whole(images)
        return within_image(self._chosen(self._answers(inputs)[1])['feats'][-1], place)

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        """Return for each image ``{'boxes': (K, 4) xyxy in its pixels, 'labels': (K,), 'scores': (K,)}``, best first.

        They are decoded as in the library's validation: an object of each class that reaches ``conf``, at most 300 of
        an image. Networks with masks add ``'masks'``, ``(K, H, W)`` bool, in the pixels of the image.
        """
        ops = library('ultralytics.utils.ops', str(self))
        inputs, place = self._fed_whole(images)
        decoded, prototypes = self._answers(inputs)[0], None
        if self._has_masks:
            decoded, prototypes = decoded
        found = library('ultralytics.utils.nms', str(self)).non_max_suppression(
            decoded.float(), self.conf, self.iou, multi_label=True, max_det=_MOST, nc=self.info.num_classes,
            end2end=self.end2end, max_time_img=math.inf)  # whatever the time: answers are the same on any machine
        results = []
        for i, objects in enumerate(found):
            boxes = ops.scale_boxes(place.padded, objects[:, :4], place.original,
                                    ratio_pad=(place.scale, (place.left, place.top)))
            result = {'boxes': boxes, 'labels': objects[:, 5].long(), 'scores': objects[:, 4]}
            if prototypes is not None:
                result['masks'] = decoded_masks(prototypes[i].float(), objects[:, 6:], boxes, place, ops)
            results.append(result)
        return results


@contextlib.contextmanager
def _kept_grid(head: nn.Module) -> Iterator[None]:
    """Let a head compute its grid again within the context, and forget it: one of inference mode has no gradient."""
    kept = {name: vars(head).pop(name) for name in _GRID if name in vars(head)}
    try:
        yield
    finally:
        for name in _GRID:
            vars(head).pop(name, None)
        vars(head).update(kept)
