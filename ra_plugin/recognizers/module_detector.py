"""A detector of one's own that is called as torchvision's are."""
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.class_names import KeepClasses
from ra_plugin.recognizers.class_slots import ClassSlots
from ra_plugin.recognizers.classification import Fit
from ra_plugin.recognizers.facts import DETECTORS, RecognizerInfo, TaskError
from ra_plugin.recognizers.feature_layers import captured, check_feature_layer
from ra_plugin.recognizers.frozen.loss_mode import LossMode
from ra_plugin.recognizers.list_detector import ListDetector
from ra_plugin.recognizers.module_recognizer import ModuleRecognizer
from ra_plugin.recognizers.networks import unwrapped, widened
from ra_plugin.utils.text import first_line

_PARTS = {'boxes', 'labels', 'scores'}
_NO_PLACES = ('its answers before boxes are chosen have no common form, so nothing can be compared. Use RecogLoss, or '
              f'RecogFeatureLoss with a feature_layer, or a network of {DETECTORS}.')


class ModuleDetector(ModuleRecognizer, ListDetector):
    """A detector."""

    can_learn = False
    feature_layer: str | None

    def _take(self, model: Any, info: RecognizerInfo, fit: Fit, feature_layer: str | None,
              keep_classes: KeepClasses | None) -> None:
        where = f'{self.users_name()}({info.name})'
        if info.input_size or self.output is not None:
            raise ValueError(f'{where}: input_size and output: a detector takes images as they come, and its whole '
                             'answer counts. Leave them out.')
        if not info.classes:
            raise ValueError(f'{where}: classes: expected the names of its classes, which it counts from 1. List them.')
        count = len(info.classes) + 1
        self.slots = ClassSlots(count, tuple(range(1, count)), info.classes)
        Recognizer.__init__(self, model, replace(info, num_classes=count - 1), fit)
        check_feature_layer(self.model, feature_layer, str(self))
        self.feature_layer = feature_layer
        self.wants_masks = getattr(getattr(self.model, 'roi_heads', None), 'mask_head', None) is not None
        self._loss_mode = LossMode(self.model)
        self._check_answer()

    def _check_answer(self) -> None:
        """Check the form of an answer in inference mode; that of the losses shows in the first one."""
        images = self.mean.new_full((1, 3, 64, 64), 0.5)
        try:
            with torch.no_grad(), self.autocast(images):
                answer = self.model(list(self.fed(images)))
        except Exception as error:  # of any network
            raise TaskError(f'{self}: cannot take a list with an image of 64x64 ({first_line(error)}). Is it called as '
                            f"torchvision's detectors are? Others are for {DETECTORS}.") from error
        if not isinstance(answer, (list, tuple)) or not all(
                isinstance(found, Mapping) and set(found) >= _PARTS for found in answer):
            raise TaskError(f'{self}: expected a list of {{boxes, labels, scores}} from the network, one an image, as '
                            f"torchvision's detectors give it, got {type(answer).__name__}. Other detectors are for "
                            f'{DETECTORS}.')

    def fed(self, images: torch.Tensor) -> torch.Tensor:
        return self.prepare(images)

    def loss(self, images: torch.Tensor, label: Any) -> dict[str, torch.Tensor]:
        terms: Any = super().loss(images, label)
        if not isinstance(terms, Mapping) or not all(isinstance(term, torch.Tensor) for term in terms.values()):
            raise TaskError(f'{self}: expected losses by name from the network in training mode, as from the detectors '
                            f'of torchvision, got {type(terms).__name__}.')
        return dict(terms)

    def check_gives(self, method: str, where: str) -> None:
        super().check_gives(method, where)
        if method == 'outputs':
            raise ValueError(f'{where}: {self}: {_NO_PLACES}')

    def outputs(self, images: torch.Tensor, reference: Any = None) -> Any:
        raise ValueError(f'{self}: {_NO_PLACES}')

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output of ``feature_layer``."""
        if self.feature_layer is None:
            raise ValueError(f'{self}: no layer to take features from. Name one: feature_layer.')
        with self._calling(images):
            return widened(captured(unwrapped(self.model), self.feature_layer, list(self.fed(images)), str(self)))

    def call_layers(self, images: torch.Tensor) -> Any:
        with self._calling(images):
            return unwrapped(self.model)(list(self.fed(images)))
