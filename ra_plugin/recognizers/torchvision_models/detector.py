"""Any detector of torchvision whose loss takes boxes, and masks where it has them."""
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from PIL import Image

from ra_plugin.options import OptionError, check_number
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.class_slots import ClassSlots
from ra_plugin.recognizers.detection import DetectionLabel
from ra_plugin.recognizers.facts import Outputs, RecognizerInfo, TaskError
from ra_plugin.recognizers.frozen.loss_mode import LossMode
from ra_plugin.recognizers.list_detector import ListDetector
from ra_plugin.recognizers.networks import widened
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing
from ra_plugin.recognizers.resize_option import HasResize, Resize, check_resize
from ra_plugin.recognizers.torchvision_models.base import TorchvisionRecognizer
from ra_plugin.recognizers.torchvision_models.detector_answers import (
    backbone_features,
    count_classes,
    detector_answers,
    has_softmax,
    within_image,
)
from ra_plugin.recognizers.torchvision_models.loading import LoadedNetwork, has_unknown_eps, set_norm_eps
from ra_plugin.recognizers.torchvision_models.transform_sizes import set_resize
from ra_plugin.utils.warn import warn

_KEYPOINTS = ('its loss needs keypoints, which labels do not have. It may judge, and RecogConsistencyLoss and '
              'RecogFeatureLoss take it. Else choose another detector.')


class TorchvisionDetector(HasResize, TorchvisionRecognizer, ListDetector):
    """A torchvision detector with its own transform, loss and decoding.

    Its loss is that of training, with batch norm and dropout in inference mode; its images are resized as in inference.
    Random sampling of anchors and proposals starts from the same seed in each call. Boxes to ignore are left out.

    A head of 91 is COCO's, whatever its weights are: its classes are the 80 that COCO uses, without the background;
    data with 90 classes of its own does not fit, and is refused. Other heads, ``num_classes: 4`` with the background,
    have classes 0, 1 and 2 here, 1, 2 and 3 there. Objects of the numbers of no class are left out of the answers.

    A checkpoint is loaded into the network as torchvision builds it without weights, with an eps of 1e-5 in batch norm;
    its own weights ``COCO_V1`` of networks with ResNet-50 and FPN have none, and are known by their hash. For a network
    that was trained on from these, with its batch norm frozen, say so: ``norm_eps: 0``.
    """

    can_learn = False
    takes = ('resize', 'seed', 'norm_eps')
    own_resizing = 'images resized as its own transform does'

    def start(self, network: LoadedNetwork, name: str, where: str, resize: Resize = 'model', seed: int = 0,
              norm_eps: float | None = None) -> None:
        check_resize(resize, where)
        check_number(seed, f'{where}: seed', least=0, most=2 ** 32 - 1, whole=True)
        model = network.model
        count = count_classes(model)
        if count < 2:
            raise OptionError(f'{where}: model_kwargs.num_classes: expected 2 or more, since the background is one, '
                              f'got {count}.')
        if norm_eps is not None:
            if not network.is_checkpoint:
                raise OptionError(f"{where}: norm_eps: is for a checkpoint; torchvision's weights have their own. "
                                  'Leave it out.')
            check_number(norm_eps, f'{where}: norm_eps', least=0, most=1)
            set_norm_eps(model, norm_eps)
        elif has_unknown_eps(name, network):
            warn(f'{where}: the eps of its batch norm is not known, and taken as 1e-5. Set norm_eps: 0 if it was '
                 "trained on from torchvision's COCO_V1 (DEFAULT), norm_eps: 1e-5 if not.")
        self.slots = ClassSlots.of(count, network.record.meta['categories'])
        transform = model.transform
        Recognizer.__init__(self, model, RecognizerInfo(
            name=name, task='detection', num_classes=len(self.slots.places), classes=self.slots.names,
            mean=tuple(transform.image_mean), std=tuple(transform.image_std), source=network.source))
        self._loss_mode = LossMode(model)
        self.wants_masks = getattr(getattr(model, 'roi_heads', None), 'mask_head', None) is not None
        self.resize, self.seed = resize, seed
        transform.min_size = transform.min_size[-1:]  # that of inference; in training it would draw one
        set_resize(transform, resize)
        model.backbone.register_forward_hook(_in_32_bits)

    @contextlib.contextmanager
    def _images_as_they_come(self) -> Iterator[None]:
        transform = self.model.transform
        set_resize(transform, 'model' if transform.fixed_size else None)  # SSD takes no small ones
        try:
            yield
        finally:
            set_resize(transform, self.resize)

    def _large_part(self) -> torch.nn.Module:
        """Return the backbone: heads draw random numbers."""
        return self.model.backbone

    @property
    def _with_keypoints(self) -> bool:
        return getattr(getattr(self.model, 'roi_heads', None), 'keypoint_head', None) is not None

    def check_gives(self, method: str, where: str) -> None:
        super().check_gives(method, where)
        if method == 'loss' and self._with_keypoints:
            raise TaskError(f'{where}: {self}: {_KEYPOINTS}')

    # ------------------------------------------------------------ images
    def resized(self, height: int, width: int) -> tuple[int, int]:
        image, _ = self.model.transform.resize(torch.empty(1, height, width, device='meta'))
        return image.shape[-2], image.shape[-1]

    def own_preprocessing(self) -> OwnPreprocessing:
        """Return the library's own preprocessing: the conversion that goes with its weights, and its transform."""

        def transform(picture: Image.Image) -> torch.Tensor:
            image = self.record().transforms()(picture.convert('RGB')).to(self.mean)
            return self.model.transform([image])[0].tensors

        return OwnPreprocessing(self.info.mean, self.info.std, transform if self.resize == 'model' else None)

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's input as its own transform makes it, with its padding; differentiable."""
        return self._inputs(images).tensors

    def _inputs(self, images: torch.Tensor) -> Any:
        return self.model.transform(list(self.cast(images)))[0]

    # ------------------------------------------------------------ answers
    def loss(self, images: torch.Tensor, label: DetectionLabel) -> dict[str, torch.Tensor]:
        """Return the detector's own training loss, term by term, each a scalar over the batch."""
        if self._with_keypoints:
            raise TaskError(f'{self}: {_KEYPOINTS}')
        return super().loss(images, label)

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return the detector's answers at all places before boxes are chosen, see `detector_outputs`.

        Keypoints and masks are not compared.
        """
        with self._calling(images):
            return widened(detector_answers(self.model, self._inputs(images), self.slots.places,
                                            not has_softmax(self.model), reference))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last (coarsest) level of the backbone's features, of its pyramid if it has one, ``(N, C, h, w)``,
        without padding.

        The level ``pool`` of a Faster R-CNN's is none of them: it is every other place of the level before it.
        """
        with self._calling(images):
            inputs = self._inputs(images)
            found = [level for key, level in backbone_features(self.model, inputs).items() if key != 'pool'][-1]
        rows, columns = within_image(inputs, *found.shape[-2:])
        return widened(found[..., :rows, :columns])


def _in_32_bits(module: Any, args: Sequence[Any], features: Any) -> Any:
    """Widen the features of a backbone that runs in 16 bits: anchors are of their type, and no place fits into it."""
    if torch.is_autocast_enabled(args[0].device.type):
        return widened(dict(features) if isinstance(features, dict) else features)
    return None
