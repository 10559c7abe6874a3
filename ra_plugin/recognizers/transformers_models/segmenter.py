"""Semantic segmenters of transformers: a score for each pixel, or masks with a class each."""
from typing import Any

import torch

from ra_plugin.recognizers.facts import IGNORED, Outputs
from ra_plugin.recognizers.frozen.resizing import judging
from ra_plugin.recognizers.segmentation import SegmentationRecognizer
from ra_plugin.recognizers.transformers_models.base import TransformersRecognizer
from ra_plugin.recognizers.transformers_models.whole_images import HasProcessorResize

_SMALL = 1e-6


class TransformersSegmenter(HasProcessorResize, TransformersRecognizer, SegmentationRecognizer):
    """A segmenter of transformers; arguments as in `TransformersRecognizer`."""

    def check_processor(self, processor: Any, where: str) -> None:
        if not hasattr(processor, 'post_process_semantic_segmentation'):
            raise ValueError(f'{where}: {type(processor).__name__} cannot decode label maps. Save the image processor '
                             'of a segmenter in the folder, e.g. a SegformerImageProcessor.')

    def reduces_zero_label(self, processor: Any) -> bool | None:
        if hasattr(processor, 'do_split_image'):  # EoMT's says it with another word
            return processor.ignore_index is not None
        return bool(processor.do_reduce_labels) if hasattr(processor, 'do_reduce_labels') else None

    @property
    def _finds_masks(self) -> bool:
        return 'mask_labels' in self._takes

    def loss(self, images: torch.Tensor, label: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``{'loss': ...}``, the segmenter's own training loss, which the library does not split into terms.

        A network of masks has a mask for each class in an image, as the library makes them of a label map.
        """
        self.check_label(label, len(images), str(self))
        self.check_label_size(label, images)
        inputs = self.feed(images)
        fitted = self.processor.fit_labels(label.to(images.device))
        if self._finds_masks:
            targets = _masks(fitted, inputs['pixel_values'])
        else:
            config = self.model.config
            ignored = getattr(config, 'semantic_loss_ignore_index', getattr(config, 'loss_ignore_index', IGNORED))
            targets = {'labels': fitted.where(fitted != IGNORED, ignored)}
        is_empty = not self._finds_masks and not (fitted != IGNORED).any()  # a mean over nothing
        return self.terms_or_nan(lambda found: {'loss': 0 * found.logits.sum() if is_empty else found.loss}, inputs,
                                 images, **targets)

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return ``{'logits': (N, C, h, w)}``; of masks the logarithm of the sum over them, each with its class's
        probability.
        """
        found = self.answers(images)
        if not self._finds_masks:
            logits = found.logits
            return {'logits': logits if logits.shape[1] > 1 else torch.cat([torch.zeros_like(logits), logits], 1)}
        scores = [one.segmentation_scores for one in self._decoded(found, images, return_segmentation_scores=True)]
        return {'logits': torch.stack(scores).clamp_min(_SMALL).log()}

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``{'masks': (N, H, W)}``, the class of each pixel, decoded by its own image processor."""
        with judging():
            found = self.answers(images)
        return {'masks': torch.stack(list(self._decoded(found, images))).long()}

    def _decoded(self, found: Any, images: torch.Tensor, **arguments: Any) -> Any:
        sizes = [(images.shape[-2], images.shape[-1])] * len(images)
        return self.processor.processor.post_process_semantic_segmentation(found, target_sizes=sizes, **arguments)


def _masks(label: torch.Tensor, inputs: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """Return a mask ``(K, h, w)`` for each class in a label map, and the classes."""
    classes = [one.unique() for one in label]
    classes = [found[found != IGNORED] for found in classes]
    masks = [(one[None] == found[:, None, None]).to(inputs.dtype) for one, found in zip(label, classes, strict=True)]
    return {'mask_labels': masks, 'class_labels': classes}
