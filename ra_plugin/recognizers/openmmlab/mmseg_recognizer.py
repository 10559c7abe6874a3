"""Any segmenter of mmsegmentation whose loss takes a label map."""
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from ra_plugin.recognizers.facts import IGNORED, Outputs, TaskError
from ra_plugin.recognizers.networks import widened
from ra_plugin.recognizers.openmmlab.base import OpenMMLabRecognizer
from ra_plugin.recognizers.openmmlab.geometry import Size, fit_masks
from ra_plugin.recognizers.openmmlab.model import reduces_zero_label
from ra_plugin.recognizers.segmentation import SegmentationRecognizer
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.utils.optional import require

_DIVISOR = 32  # of height and width while the loss is computed; crops of any size come in
_GIVES_SCORES = ('Mask2FormerHead', 'MaskFormerHead')  # sums of probabilities instead of logits
_OTHER_INPUTS = {'PIDHead': 'maps of the edges', 'VPDDepthHead': 'depth maps', 'DepthEstimator': 'depth maps',
                 'MultimodalEncoderDecoder': 'text'}


@RECOGNIZER_REGISTRY.register
class MMSegRecognizer(OpenMMLabRecognizer, SegmentationRecognizer):
    """A frozen segmenter of mmsegmentation; arguments as in `OpenMMLabRecognizer`."""

    package = 'mmseg'

    def adapt_config(self, config: Any) -> None:
        preprocessor = config.model.get('data_preprocessor') or config.get('data_preprocessor')
        if preprocessor is not None and 'type' in preprocessor:  # pad to what the batch needs, not to a fixed crop
            preprocessor.update(size=None, size_divisor=_DIVISOR)

    def check_class(self, model_class: type, settings: Mapping[str, Any], where: str) -> None:
        head = settings.get('decode_head') or {}
        kinds = {cls.__name__ for cls in model_class.__mro__} | {head.get('type') if isinstance(head, Mapping) else ''}
        needs = next((what for kind, what in _OTHER_INPUTS.items() if kind in kinds), None)
        if needs:
            raise TaskError(f'{where}: the loss of this model needs {needs}, not a label map alone. '
                            'Choose another segmenter.')
        if not issubclass(model_class, require('mmseg.models.segmentors.base', where).BaseSegmentor):
            raise TaskError(f'{where}: {model_class.__name__} is no segmenter of mmsegmentation. '
                            'For detectors: MMDetRecognizer.')

    def adapt_model(self, model: nn.Module) -> None:
        module: Any
        for module in model.modules():
            if type(module).__name__ == 'CrossEntropyLoss' and type(module).__module__.startswith('mmseg.') and (
                    module.class_weight is not None and not module.use_sigmoid and not module.use_mask):
                module.cls_criterion = partial(_weighted_mean, module.cls_criterion)

    def count_classes(self, model: nn.Module) -> int:
        head = getattr(model, 'decode_head', None)
        head = head[-1] if isinstance(head, nn.ModuleList) else head
        return int(getattr(head, 'num_classes', 0) or 0)

    def reduces_zero_label(self, config: Any) -> bool | None:
        return reduces_zero_label(config, self.package)

    def sample(self, size: Size, index: int) -> Any:
        structures = require('mmseg.structures', str(self))
        below, right = (after - before for after, before in zip(size.padded, size.resized, strict=True))
        return structures.SegDataSample(metainfo={
            'img_path': '', 'ori_shape': size.original, 'img_shape': size.padded, 'pad_shape': size.padded,
            'scale_factor': size.scale_factor, 'padding_size': [0, right, 0, below],
            'flip': False, 'flip_direction': None})

    def loss(self, images: torch.Tensor, label: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the segmenter's own training loss, term by term (auxiliary heads too), each a scalar over the batch.
        """
        self.check_label(label, len(images), str(self))
        self.check_label_size(label, images)
        pixels = require('mmengine.structures', str(self)).PixelData
        fitted = fit_masks(label.to(images.device), self.geometry.size(*images.shape[-2:]), IGNORED)

        def annotate(sample: Any, size: Size, index: int) -> None:
            sample.gt_sem_seg = pixels(data=fitted[index:index + 1])

        return self.native_loss(images, None, annotate)

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return ``{'logits': (N, C, h, w)}`` at the resolution of the model's input; a single class as two."""
        with self.calling(images):
            inputs, samples = self.feed(images, training=True)  # padded, as for the loss
            whole = {'img_shape': inputs.shape[-2:], 'pad_shape': inputs.shape[-2:]}
            logits = widened(self.model.encode_decode(inputs, [{**sample.metainfo, **whole} for sample in samples]))
        height, width = self.geometry.size(*images.shape[-2:]).resized
        logits = logits[..., :height, :width]
        if type(self.model.decode_head).__name__ in _GIVES_SCORES:
            logits = logits.clamp_min(1e-6).log()
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        return {'logits': logits}

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``{'masks': (N, H, W)}``, the class of each pixel."""
        with self.calling(images):
            results = self.model.predict(*self.feed(images))
        return {'masks': torch.stack([result.pred_sem_seg.data[0] for result in results]).long()}


def _weighted_mean(criterion: Callable, pred: torch.Tensor, label: torch.Tensor, *args, class_weight: torch.Tensor,
                   reduction: str = 'mean', avg_factor: float | torch.Tensor | None = None, ignore_index: int = -100,
                   **kwargs) -> torch.Tensor:
    """Call mmseg's cross-entropy with class weights; its own mean looks up a weight for the ignored label and fails."""
    if avg_factor is None and reduction == 'mean':
        counted = label != ignore_index
        avg_factor = (class_weight[label.where(counted, 0)] * counted).sum()
    return criterion(pred, label, *args, class_weight=class_weight, reduction=reduction, avg_factor=avg_factor,
                     ignore_index=ignore_index, **kwargs)
