"""Detectors of transformers: DETR and what came of it."""
from collections.abc import Mapping
from typing import Any

import torch

from ra_plugin.recognizers.class_slots import ClassSlots
from ra_plugin.recognizers.detection import DetectionLabel, DetectionRecognizer, counted
from ra_plugin.recognizers.detector_outputs import place_outputs
from ra_plugin.recognizers.facts import Outputs, TaskError
from ra_plugin.recognizers.frozen.resizing import judging
from ra_plugin.recognizers.transformers_models.base import TransformersRecognizer
from ra_plugin.recognizers.transformers_models.whole_images import HasProcessorResize
from ra_plugin.utils.tensors import total

# By the start of a term's name: the weight in the config, where the library's sum is over what is not weighted yet.
_WEIGHTS = {'loss_ce': 'class_loss_coefficient', 'loss_bbox': 'bbox_loss_coefficient',
            'loss_giou': 'giou_loss_coefficient'}
_NO_LOSS = ('PPDocLayout', 'PPOCR')  # starts of names of classes that cannot be trained


class TransformersDetector(HasProcessorResize, TransformersRecognizer, DetectionRecognizer):
    """A detector of transformers; arguments as in `TransformersRecognizer`.

    The ids that COCO leaves unused, ``N/A`` in the config, are no classes: DETR has 80 of 91. Objects of them are left
    out of the answers.
    """

    slots: ClassSlots
    _has_terms: bool | None = None  # they add up to the library's loss

    def check_class(self, model_class: type, config: Any, where: str) -> None:
        if model_class.__name__.startswith(_NO_LOSS):
            raise TaskError(f'{where}: transformers has no loss for {model_class.__name__}. Choose another detector.')

    def check_processor(self, processor: Any, where: str) -> None:
        if not hasattr(processor, 'post_process_object_detection'):
            raise ValueError(f'{where}: {type(processor).__name__} cannot decode boxes. Save the image processor of a '
                             'detector in the folder.')

    def classes_of(self, count: int, names: tuple[str, ...] | None) -> tuple[int, tuple[str, ...] | None]:
        self.slots = ClassSlots.of(count, names, first=0)
        return len(self.slots.places), self.slots.names

    def loss(self, images: torch.Tensor, label: DetectionLabel) -> dict[str, torch.Tensor]:
        """Return the detector's own training loss, each a scalar over the batch.

        It is split into weighted terms where the library's is a sum of those, else ``{'loss': ...}``. Images of several
        sizes, each with its ``size`` in the labels, are one batch of the library, padded as the image processor pads
        them and with the mask that says so. Where images that come out in several sizes are not padded (``resize`` of a
        number or ``~``, and a model without masks), the loss is the mean over the losses of each image alone.
        """
        self.check_label(label, len(images), str(self))
        sizes = self.sizes(images, label)
        each = [image[:, :height, :width] for image, (height, width) in zip(images, sizes, strict=True)]
        alone = len({self.resized(*size) for size in set(sizes)}) > 1 and not self._pads
        batches = [[i] for i in range(len(images))] if alone else [list(range(len(images)))]
        parts = [self._judged([each[i] for i in batch], [label[i] for i in batch], images[batch]) for batch in batches]
        return {name: total(part[name] for part in parts) / len(parts) for name in parts[0]}

    @property
    def _pads(self) -> bool:
        """True if images of several sizes become one batch."""
        return self.processor.pads and (self.processor.is_own or 'pixel_mask' in self._takes)

    def _judged(self, each: list[torch.Tensor], label: DetectionLabel, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the terms of one batch of the library."""
        sizes = [(image.shape[-2], image.shape[-1]) for image in each]
        inputs = self.feed(torch.stack(each) if len(set(sizes)) == 1 else each)
        targets = [self._target(item, size, inputs['pixel_values']) for item, size in zip(label, sizes, strict=True)]
        return self.terms_or_nan(self._terms, inputs, images, labels=targets)

    def _target(self, item: Mapping[str, Any], size: tuple[int, int], inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return an image's objects as the library has them: boxes as center and size, in shares of the input."""
        used = counted(item)
        boxes = item['boxes'][used].to(inputs.device, torch.promote_types(inputs.dtype, torch.float32))
        boxes = torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
        sides = [side * padding for side, padding in zip(size, self._padding(size, inputs), strict=True)]
        return {'class_labels': self.slots.to_network(item['labels'][used]).to(inputs.device),
                'boxes': boxes / boxes.new_tensor([*sides[::-1], *sides[::-1]])}

    def _padding(self, size: tuple[int, int], inputs: torch.Tensor) -> list[float]:
        """Return height and width of the input, as multiples of those of the image within it."""
        return [whole / side for whole, side in zip(inputs.shape[-2:], self.resized(*size), strict=True)]

    def _terms(self, found: Any) -> dict[str, torch.Tensor]:
        config, terms = self.model.config, {}
        for name, value in found.loss_dict.items():
            if hasattr(config, 'weight_loss_bbox'):
                terms[name] = value
            else:
                key = _WEIGHTS.get('_'.join(name.split('_')[:2]))
                terms |= {name: value * getattr(config, key, 1.0)} if key else {}
        if self._has_terms is None:  # once: a GPU waits for it
            has_terms = bool(terms) and torch.allclose(total(terms.values()), found.loss, rtol=1e-4, equal_nan=True)
            if not found.loss.isfinite():
                return terms if has_terms else {'loss': found.loss}  # which may not be so of numbers
            self._has_terms = has_terms
        return terms if self._has_terms else {'loss': found.loss}

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return the answers of the learned queries, or at all places that queries are chosen from.

        Raises:
            ValueError: It chooses its queries for each image and does not tell from what.
        """
        found = self.answers(images)
        scores, boxes = found.logits, found.pred_boxes
        if found.get('enc_outputs_class') is not None:
            if hasattr(self.model.config, 'group_detr'):
                raise ValueError(f'{self}: {type(self.model).__name__} selects its queries for each image, so that the '
                                 'answers on two images do not belong together. Use RecogFeatureLoss, which compares '
                                 'features.')
            scores, boxes = found.enc_outputs_class, found.enc_outputs_coord_logits.sigmoid()
        sigmoid = scores.shape[-1] == self.slots.count  # else one more, the last, is for no object
        return place_outputs([scores.movedim(1, 2)[:, :, None]], [[boxes.movedim(1, 2)]], sigmoid, reference)

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        """Return the objects of each image, decoded by its own image processor, best first."""
        with judging():
            inputs = self.feed(images)
            found = self.ask(inputs, images)
        size = (images.shape[-2], images.shape[-1])
        padding = self._padding(size, inputs['pixel_values'])
        target = [side * factor for side, factor in zip(size, padding, strict=True)]
        sizes = torch.tensor([target] * len(images), device=images.device)
        decoded = self.processor.processor.post_process_object_detection(found, threshold=self.score_threshold,
                                                                         target_sizes=sizes)
        return [self._best_first(one) for one in decoded]

    def _best_first(self, found: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        labels = self.slots.from_network(found['labels'])
        order = found['scores'].argsort(descending=True, stable=True)
        order = order[labels[order] >= 0]
        return {'boxes': found['boxes'][order], 'labels': labels[order], 'scores': found['scores'][order]}

