"""The contract of recognizers: frozen networks that take images as the restorer makes them."""
import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import nn

from ra_plugin.checked_arguments import ChecksArguments
from ra_plugin.recognizers.facts import NO_HEAD, Outputs, RecognizerInfo
from ra_plugin.recognizers.feature_layers import captured_layers
from ra_plugin.recognizers.frozen.checkpointing import checkpoint_unchanged
from ra_plugin.recognizers.frozen.folding import fold_batch_norm
from ra_plugin.recognizers.frozen.out_of_sight import OutOfSight
from ra_plugin.recognizers.frozen.resizing import FITS, resize
from ra_plugin.recognizers.networks import copy_of, float_tensors, unwrapped, with_plain_gradient
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing
from ra_plugin.utils.suggestions import suggestion
from ra_plugin.utils.tensors import total

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Recognizer(ChecksArguments, OutOfSight):
    """A frozen recognition network R (Liu et al., arXiv:1910.09185) as a loss function and as a judge.

    Frozen means frozen: parameters need no gradient, batch norm and dropout stay in inference mode whatever ``train()``
    says, and the gradient passes through to the images. The network is at ``model`` and out of sight of whatever walks
    over modules and parameters, see `OutOfSight`. `unfreeze` is for the one experiment in which it learns, too.

    A subclass derives from the class of its task, which says what `loss`, `outputs`, `features` and `predict` take and
    give: `ClassificationRecognizer`, `DetectionRecognizer`, `SegmentationRecognizer`, `EmbeddingRecognizer`.

    Args:
        model: The network. That of a subclass with a constructor is its own, and frozen in place; one that comes from
            elsewhere is copied, and stays as it is.
        info: Facts about it.
        fit: Way of resizing to ``info.input_size``. ``'crop'``: shorter side resized, center cropped, as in the usual
            evaluation protocol; ``'stretch'``: both sides resized; ``'border'``: longer side resized, a border of the
            mean color added. Square images come out the same.

    Shape:
        images: ``(N, 3, H, W)``, RGB, ``[0, 1]``, not normalized, any H and W.

    Attributes:
        autocast_to: Type that the network computes in, e.g. ``torch.bfloat16``; answers and losses are float32 all the
            same. Default: the type of its weights.
        trainable: True while its network learns.
        folded_norms: Number of batch norms that are part of a convolution now.
        checkpointed: Number of blocks that are computed again in the backward pass.
        watched: Names of the layers whose outputs a loss compares, see `watch`.
        can_learn: `unfreeze` is supported.
        costly: Answers cost money or minutes: it is asked about results alone, not about variants of them.
        cost: Price of all answers so far, of a costly one that has prices.
        smooths_labels: `loss` takes ``label_smoothing``.
        compared_output: Name of the answer that `outputs` always has.
        has_own_words: It answers in words of its own, see `own_words`.
        open_vocabulary: Its classes are a question to the network, and no part of it.
        options_of_asking: Keys of its option block that change no answer.
        options_of_name: Keys of its option block that say which network it is; the first that is given names it.
    """

    model: Any  # a network of any library, which has methods and attributes of its own
    mean: torch.Tensor
    std: torch.Tensor
    autocast_to: torch.dtype | None = None
    folded_norms = 0
    checkpointed = 0
    watched: tuple[str, ...] = ()
    can_learn = False
    costly = False
    cost: float | None = None
    smooths_labels = False
    compared_output = 'logits'
    has_own_words = False
    open_vocabulary = False
    options_of_asking: Collection[str] = frozenset()
    options_of_name: Sequence[str] = ('model_name', 'model', 'module', 'config', 'file')

    def __init__(self, model: nn.Module, info: RecognizerInfo, fit: str = 'crop'):
        super().__init__()
        numbers, where = (*info.mean, *info.std), f'{self.users_name()}({info.name})'
        if len(info.mean) != 3 or len(info.std) != 3 or min(info.std) <= 0 or not all(map(math.isfinite, numbers)):
            raise ValueError(f'{where}: mean and std: expected three numbers each, std positive, got '
                             f'{list(info.mean)} and {list(info.std)}.')
        if max(numbers) > 1:
            raise ValueError(f'{where}: mean and std: expected them on the [0, 1] scale, got {list(info.mean)} and '
                             f'{list(info.std)}. Divide those of the 0..255 scale by 255.')
        if isinstance(model, torch.jit.ScriptModule):
            raise ValueError(f'{where}: expected a network of Python code, got a TorchScript program. Build the '
                             'network that it was made of, and load its weights: '
                             'network.load_state_dict(program.state_dict()).')
        if type(self).__init__ is Recognizer.__init__:
            model = copy_of(model, where)
        self.model = model.requires_grad_(False).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_hook(with_plain_gradient)
        self.info = info
        if fit not in FITS:
            raise ValueError(f"{self}: fit: expected 'crop', 'stretch' or 'border', got {fit!r}.")
        self.fit = fit
        # on the device, and of the type, of a network that was moved before
        weight = next((p for network in self.networks() for p in network.parameters() if p.is_floating_point()),
                      torch.empty(0))
        for name, value in (('mean', info.mean), ('std', info.std)):
            self.register_buffer(name, weight.new_tensor(value).view(1, 3, 1, 1), persistent=False)
        self.train(False)

    def train(self, mode: bool = True) -> 'Recognizer':
        """Stay in inference mode unless it learns: a loss that moves while it is minimized measures nothing."""
        super().train(mode and self.trainable)
        return self

    def unfreeze(self) -> None:
        """Let the network learn together with the restorer (appendix A of the paper), as in any training.

        Its parameters take gradients; batch norm normalizes by the batch and follows it, and dropout drops, while it is
        in training mode, which this puts it in.

        Raises:
            ValueError: It cannot learn, batch norm has been folded into its convolutions, or blocks are computed twice.
        """
        if not self.can_learn:
            raise ValueError(f'{self}: a {self.users_name()} cannot learn. Expected a classifier of timm, '
                             'torchvision or your own (ModuleRecognizer).')
        if self.folded_norms or self.checkpointed:
            raise ValueError(f'{self}: its batch norm is folded, or it is checkpointed, for use as it is, so it cannot '
                             'learn. Build it again with fold_batch_norm=False.')
        self.trainable = True
        self.show()
        self.model.requires_grad_(True)
        self.train()

    def fold_batch_norm(self) -> None:
        """Fold batch norm into the convolutions before it, in place: the same answers, within rounding, in less time.

        See `fold_batch_norm`. A network whose answers cannot be compared stays as it is.
        """
        with contextlib.suppress(ValueError), self._images_as_they_come():
            self.folded_norms += fold_batch_norm(self.model, self._question()[1])

    def set_grad_checkpointing(self) -> None:
        """Keep less of the forward pass and compute it again in the backward pass, in place; see `checkpoint_blocks`.

        Raises:
            ValueError: The gradient is not the same then; the network is left as it was.
        """
        if self.checkpointed:
            return
        images, answer = self._question()

        def gradient() -> torch.Tensor:
            try:
                found = answer()
            except ValueError:  # none that could be compared
                found = float_tensors([self.features(images), *self._watched_outputs(images)])
            return torch.autograd.grad(total(tensor.square().mean() for tensor in found), images)[0]

        with self._images_as_they_come():
            gradient()  # fills the reference that later answers are about
            try:
                self.checkpointed = checkpoint_unchanged(self._large_part(), gradient)
            except ValueError as error:
                raise ValueError(f'{self}: gradient_checkpointing: {error}') from None

    def compile_network(self) -> None:
        """Compile the network for `loss`, `outputs` and `predict`, in place; `features` runs it uncompiled."""
        self._large_part().compile()

    @contextlib.contextmanager
    def _images_as_they_come(self) -> Iterator[None]:
        """Keep small images small within the context, where they would be enlarged to the size of whole ones."""
        yield

    def _large_part(self) -> nn.Module:
        """Return the part of the network that is checkpointed or compiled."""
        return self.model

    def _question(self) -> tuple[torch.Tensor, Callable[[], list[torch.Tensor]]]:
        """Return an image, and a function that gives all answers to it that losses compare, as tensors."""
        height, width = self.info.input_size or (64, 64)
        images = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(0))
        images = images.to(self.mean).requires_grad_()
        reference: Outputs = {}
        return images, lambda: self._all_answers(images, reference)

    def _all_answers(self, images: torch.Tensor, reference: Outputs) -> list[torch.Tensor]:
        """Return the answers that losses compare; ``reference`` is filled with the outputs, and asked for later."""
        try:
            reference.update(self.outputs(images, dict(reference) or None))
        except Exception as error:  # of a network that may serve as a loss all the same
            raise ValueError(f'{self}: no answers to compare.') from error
        found = list(reference.values())
        with contextlib.suppress(ValueError):  # some have none
            found.append(self.features(images))
        return float_tensors([*found, *self._watched_outputs(images)])

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Resize images to the input size and normalize them, in the type of the weights; differentiable.

        What takes one channel is given the luma, as PIL's ``convert('L')`` weighs it, normalized by the luma of
        ``mean`` and the mean of ``std``.

        Raises:
            ValueError: ``images`` is not a float ``(N, 3, H, W)`` tensor.
        """
        images = self.cast(images)
        if self.info.input_size and tuple(images.shape[-2:]) != self.info.input_size:
            fill = tuple(round(255 * value) / 255 for value in self.info.mean)
            images = resize(images, self.info.input_size, self.fit, self.info.interpolation, fill)
        if self.info.channels == 1:
            mean, std = self.luma_normalization()
            return (luma(images) - mean) / std
        return (images - self.mean) / self.std

    def cast(self, images: torch.Tensor) -> torch.Tensor:
        """Return images in the type of the weights.

        Raises:
            ValueError: ``images`` is not a float ``(N, 3, H, W)`` tensor.
        """
        if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(f'{self}: expected float images (N, 3, H, W), got {images.dtype} {tuple(images.shape)}.')
        return images.to(self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the network's weights, to which images are cast."""
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), self.mean.dtype)

    def luma_normalization(self) -> tuple[float, float]:
        """Return mean and std of a network of one channel, computed from those of RGB."""
        return sum(weight * mean for weight, mean in zip(_LUMA, self.info.mean, strict=True)), sum(self.info.std) / 3

    def autocast(self, images: torch.Tensor) -> torch.autocast:
        """Return the context in which the network is called."""
        return torch.autocast(images.device.type, self.autocast_to, enabled=self.autocast_to is not None)

    def read(self, answer: Any) -> Any:
        """Return the part that counts of what the network gives."""
        return answer

    @contextlib.contextmanager
    def at_rest(self) -> Iterator[None]:
        """Freeze the network within the context if it learns: inference mode, and no gradient for its parameters."""
        if not self.trainable:
            yield
            return
        modes = [(module, module.training) for module in self.model.modules()]
        statistics = [(module._buffers, name, buffer) for module in self.model.modules()
                      if isinstance(module, nn.modules.batchnorm._NormBase)
                      for name, buffer in module._buffers.items() if buffer is not None]
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.model.eval().requires_grad_(False)
        for buffers, name, buffer in statistics:  # the graph must not have what a step in training mode changes
            buffers[name] = buffer.clone()
        try:
            yield
        finally:
            for buffers, name, buffer in statistics:
                buffers[name] = buffer
            for module, mode in modes:
                module.training = mode
            for parameter in learning:
                parameter.requires_grad_(True)

    # ------------------------------------------------------------ layers
    def watch(self, names: Sequence[str]) -> None:
        """Count the outputs of these layers among the answers, which nothing that is done to the network changes.

        Args:
            names: Dotted names, as in ``named_modules()``.

        Raises:
            ValueError: There is no such layer, it is not called, or its output is none of a batch.
        """
        layers = dict(unwrapped(self.model).named_modules())
        for name in names:
            if not name or name not in layers:
                raise ValueError(f'{self}: no layer {name!r}.{suggestion(name, layers)}')
        self.watched = tuple(dict.fromkeys((*self.watched, *names)))
        with torch.no_grad(), self.at_rest():
            self.layer_outputs(self._question()[0], names)

    def layer_outputs(self, images: torch.Tensor, names: Sequence[str]) -> Outputs:
        """Return the outputs of layers by name, from one forward pass: maps ``(N, C, H, W)``, tokens ``(N, L, C)``, ...

        Raises:
            ValueError: A layer is not called, or its output is none of a batch.
        """
        return captured_layers(unwrapped(self.model), names, lambda: self.call_layers(images), len(images), str(self))

    def call_layers(self, images: torch.Tensor) -> Any:
        """Call the network for the outputs of its layers."""
        return self.features(images)

    def _watched_outputs(self, images: torch.Tensor) -> list[torch.Tensor]:
        return list(self.layer_outputs(images, self.watched).values()) if self.watched else []

    # ------------------------------------------------------------ ensembles
    def members(self) -> Sequence['Recognizer']:
        """Return the single recognizers that answer: itself, or those of an ensemble at any depth."""
        return (self,)

    def draw(self) -> Sequence[tuple[float, 'Recognizer']]:
        """Return the recognizers that judge this training step, each as (weight, recognizer)."""
        return ((1.0, self),)

    @classmethod
    def member_blocks(cls, block: Mapping[str, Any], place: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the option blocks of the single recognizers that a block describes, each as (place, block)."""
        return [(place, block)]

    # ------------------------------------------------------------ the contract
    def loss(self, images: torch.Tensor, label: Any) -> dict[str, torch.Tensor]:
        """Return the terms of the task's loss by name, each a scalar over the batch or ``(N,)``."""
        self._has_no('loss')

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return the answers that `RecogConsistencyLoss` compares between a restored and a clean image.

        Keys: ``logits`` ``(N, C, ...)``, classes in dimension 1; ``embedding`` ``(N, D)``, of length 1; any other name:
        numbers. Keys that only the clean image's outputs have are not compared: of those, ``NAME_weights`` are the
        weights of a sum over the tensor NAME that takes the place of its mean, and ``NAME_shares`` the weights of that
        mean where images of the batch have fewer numbers than others.

        Args:
            images: ``(N, 3, H, W)``, RGB, ``[0, 1]``, restored or clean.
            reference: The outputs on the clean images, for recognizers that answer questions taken from there, as the
                second stage of a detector does with proposals. Others ignore it.
        """
        self._has_no('outputs')

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return last-stage features, batch first, for `RecogFeatureLoss`."""
        self._has_no('features')

    def predict(self, images: torch.Tensor) -> Any:
        """Return decoded predictions, without gradient; the class of the task says in which form."""
        self._has_no('predict')

    def check_label(self, label: Any, count: int, where: str) -> None:
        """Check the labels of a batch of ``count`` images while they are on the CPU.

        Raises:
            ValueError: They are not of this task, or name classes that the recognizer does not have.
        """

    def check_form(self, label: Any, count: int, where: str) -> None:
        """Check the labels of a batch that need not reach the loss, as in validation: all that a score needs.

        Raises:
            ValueError: As `check_label`; of words, their number and type alone.
        """
        self.check_label(label, count, where)

    def check_gives(self, method: str, where: str) -> None:
        """Check before anything is computed that ``'loss'``, ``'outputs'`` or ``'features'`` is there to be minimized.

        Raises:
            ValueError: It has no such answer, or one that is constant.
        """
        if method == 'features' or self.info.task not in ('classification', 'embedding'):
            return
        if not (self.is_classifier and self.info.num_classes):
            raise ValueError(f'{where}: {self}: {NO_HEAD}')
        if self.info.num_classes == 1:
            raise ValueError(f'{where}: {self}: it has only one class, whose probability is always 1 and whose loss is '
                             'always 0. Give a network with two outputs or more.')

    def check_answers(self, *outputs: Outputs) -> None:
        """Check the first outputs that a loss is given, of one or more batches, once; a GPU waits for it.

        Raises:
            ValueError: They are not what their names say.
        """

    # ------------------------------------------------------------ facts
    @property
    def is_classifier(self) -> bool:
        """True if `predict` gives classes of whole images."""
        return self.info.task == 'classification'

    @property
    def batch_independent(self) -> bool:
        """True if `outputs` of an image do not depend on the other images of its batch, and may be kept."""
        return self.info.task != 'detection'

    @property
    def smooth_loss(self) -> bool:
        """True if the gradient is the slope of the loss.

        It is not where targets are chosen from the answers to each image, as by most detectors, and no gradient flows
        through that choice.
        """
        return self.info.task != 'detection'

    @property
    def spatial_labels(self) -> bool:
        """True if labels have places in the image (boxes, masks, letters), and would have to follow a crop of it."""
        return self.info.task in ('detection', 'segmentation', 'text')

    def own_words(self, images: torch.Tensor) -> list[str]:
        """Return the likeliest answer to each image in the recognizer's own words; ``''`` where it has none."""
        self._has_no('own_words')

    def own_preprocessing(self) -> OwnPreprocessing:
        """Return the record of its weights, read again from its source."""
        return OwnPreprocessing()

    @property
    def resizes_as_whole_images(self) -> bool:
        """True if a crop would be enlarged to the size of a whole image, and the objects in it with it."""
        return False

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) to which images of a size are resized for the network, without padding."""
        return self.info.input_size or (height, width)

    def resizing(self) -> str:
        """Describe how images of any size are resized, for a line in a log."""
        size = self.info.input_size
        return f'images resized to {size[1]}x{size[0]} pixels' if size else 'images as they come'

    def _has_no(self, method: str) -> NoReturn:
        raise NotImplementedError(f'{self}: {self.users_name()} has no {method}(). Use a recognizer of the task: '
                                  'ModuleRecognizer for classifiers, MMDetRecognizer for detectors, MMSegRecognizer '
                                  'for segmenters; or write the method.')

    def __str__(self) -> str:
        return f'{self.users_name()}({self.info.name})'


def luma(images: torch.Tensor) -> torch.Tensor:
    """Return the luma ``(N, 1, H, W)`` of RGB images, as PIL's ``convert('L')`` weighs it."""
    return (images * images.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
