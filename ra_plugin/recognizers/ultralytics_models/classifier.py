"""YOLO classifiers as losses and judges."""
from typing import Any

import torch

from ra_plugin.recognizers.classification import ClassificationRecognizer
from ra_plugin.recognizers.networks import widened
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing, one_image
from ra_plugin.recognizers.ultralytics_models.library import library
from ra_plugin.recognizers.ultralytics_models.ultralytics_recognizer import UltralyticsRecognizer


class UltralyticsClassifier(UltralyticsRecognizer, ClassificationRecognizer):
    """A YOLO classifier; arguments as in `UltralyticsRecognizer`.

    Images are resized by their shorter side and cropped in the center, and not normalized.
    """

    def check_options(self, network: Any, where: str) -> None:
        if self.resize not in ('model', None):
            raise ValueError(f"{where}: resize: expected 'model' or ~ for a classifier, got {self.resize!r}.")
        if (self.conf, self.iou, self.end2end) != (0.001, 0.7, False):
            raise ValueError(f'{where}: conf, iou and end2end are about objects, and this is a classifier. Leave them '
                             'out.')

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits, ``(N, num_classes)``; the network itself gives them after the probabilities."""
        prepared = self.prepare(images)
        with self.autocast(images):
            answer = self.model(prepared)
        return widened(answer[1] if isinstance(answer, tuple) else answer)

    def own_preprocessing(self) -> OwnPreprocessing:
        transforms = library('ultralytics.data.augment', str(self)).classify_transforms(self.size)
        return OwnPreprocessing(self.info.mean, self.info.std,
                                one_image(transforms, 3) if self.info.input_size else None)
