"""The contract that every recognizer keeps: a frozen network that takes images as the restorer makes them."""
import contextlib
import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import nn

from ra_plugin.checked_arguments import ChecksArguments
from ra_plugin.recognizers.frozen.checkpointing import checkpoint_blocks
from ra_plugin.recognizers.frozen.folding import fold_batch_norm
from ra_plugin.recognizers.frozen.out_of_sight import OutOfSight
from ra_plugin.recognizers.frozen.resizing import FITS, resize
from ra_plugin.utils.text import first_line

Outputs = dict[str, torch.Tensor]
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_WRAPPERS = ('OptimizedModule', 'DistributedDataParallel', 'DataParallel')
IGNORED = 255  # in label maps: a pixel of no class, whatever number the files have for it


class TaskError(ValueError):
    """A model of another task than its recognizer is for, or whose loss needs more than that task's labels."""


@dataclass(frozen=True)
class RecognizerInfo:
    """Facts about a recognizer, from its weights' own record."""

    name: str
    task: str  # 'classification' | 'detection' | 'segmentation' | 'embedding'
    num_classes: int = 0
    classes: tuple[str, ...] | None = None  # names in the order of the class ids, where known
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)  # RGB, on the [0, 1] scale
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    input_size: tuple[int, int] | None = None  # (height, width) that images are resized to; None: as they come
    interpolation: str = 'bilinear'
    differentiable: bool = True  # False: may judge, but not serve as a loss
    gives_probabilities: bool = False  # `predict` has those of all classes, as 'log_probabilities'
    source: str = ''  # what the weights are
    channels: int = 3  # 1: it is given the luma of the images
    reduce_zero_label: bool | None = None  # segmentation: trained on masks in which 0 is no class; None: not on record


class Recognizer(ChecksArguments, OutOfSight):
    """A frozen recognition network R (Liu et al., arXiv:1910.09185) as a loss function and as a judge.

    Frozen means frozen: parameters need no gradient, batch norm and dropout stay in inference mode whatever ``train()``
    says, and the gradient passes through to the images. The network is at ``model`` and out of sight of whatever walks
    over modules and parameters, see `OutOfSight`. `unfreeze` is for the one experiment in which it learns, too.

    Args:
        model: The network. That of a subclass with a constructor is its own, and frozen in place; one that comes from
            elsewhere is copied, and stays as it is.
        info: Its facts.
        fit: How images reach ``info.input_size``. ``'crop'``: shorter side resized, center cropped, as in the usual
            evaluation protocol; ``'stretch'``: both sides resized; ``'border'``: longer side resized, a border of the
            mean color added. Square images come out the same.

    Shape:
        images: ``(N, 3, H, W)``, RGB, ``[0, 1]``, not normalized, any H and W.

    Attributes:
        autocast_to: What the network computes in, e.g. ``torch.bfloat16``; answers and losses are float32 all the same.
            Default: the type of its weights.
        trainable: Whether its network learns.
        folded: Batch norms that are part of a convolution now.
        checkpointed: Blocks that are computed again in the backward pass.
    """

    autocast_to: torch.dtype | None = None
    folded = 0
    checkpointed = 0
    can_learn = False  # whether `unfreeze` is for it
    costly = False  # answers cost money or minutes: it is asked about results alone, not about variants of them

    def __init__(self, model: nn.Module, info: RecognizerInfo, fit: str = 'crop'):
        super().__init__()
        numbers = (*info.mean, *info.std)
        if len(info.mean) != 3 or len(info.std) != 3 or min(info.std) <= 0 or not all(map(math.isfinite, numbers)):
            raise ValueError(f'{type(self).__name__}({info.name}): mean and std: expected three numbers each, std '
                             f'positive, got {list(info.mean)} and {list(info.std)}.')
        if max(numbers) > 1:
            raise ValueError(f'{type(self).__name__}({info.name}): mean and std: expected them on the [0, 1] scale, '
                             f'got {list(info.mean)} and {list(info.std)}. Divide those of the 0..255 scale by 255.')
        if isinstance(model, torch.jit.ScriptModule):
            raise ValueError(f'{type(self).__name__}({info.name}): expected a network of Python code, got a '
                             'TorchScript program. Build the network that it was made of, and load its weights: '
                             'network.load_state_dict(program.state_dict()).')
        if type(self).__init__ is Recognizer.__init__:
            model = copy_of(model, f'{type(self).__name__}({info.name})')
        self.model = model.requires_grad_(False).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_hook(_with_plain_gradient)
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
        """Inference mode, unless it learns: a loss function that moves while it is minimized measures nothing."""
        return super().train(mode and self.trainable)

    def unfreeze(self) -> None:
        """Let the network learn with what restores its images (appendix A of the paper), as in any training.

        Its parameters take gradients; batch norm normalizes by the batch and follows it, and dropout drops, while it is
        in training mode, which this puts it in.

        Raises:
            ValueError: It cannot learn, batch norm has been folded into its convolutions, or blocks are computed twice.
        """
        if not self.can_learn:
            raise ValueError(f'{self}: a {type(self).__name__} cannot learn. Expected a classifier of timm, '
                             'torchvision or your own (ModuleRecognizer).')
        if self.folded or self.checkpointed:
            raise ValueError(f'{self}: it was made faster or smaller for use as it is (fold, checkpoint), so it cannot '
                             'learn. Build it anew, with fold=False.')
        self.trainable = True
        self.show()
        self.model.requires_grad_(True)
        self.train()

    def fold(self) -> None:
        """Make batch norm part of the convolutions before it, in place: the same answers, within rounding, for less.

        See `fold_batch_norm`. A network whose answers cannot be compared stays as it is.
        """
        with contextlib.suppress(ValueError):
            self.folded += fold_batch_norm(self.model, self._question()[1])

    def checkpoint(self) -> None:
        """Keep less of the forward pass, and compute it again in the backward pass, in place; see `checkpoint_blocks`.

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
                found = _tensors([self.features(images)])
            return torch.autograd.grad(sum(tensor.square().mean() for tensor in found), images)[0]

        gradient()  # what later answers refer to
        before = gradient()
        blocks = checkpoint_blocks(self._large_part())
        after = before.new_full((), torch.nan)
        with contextlib.suppress(RuntimeError):  # of torch, where a block changed what it was given
            after = gradient()
        if not torch.allclose(after, before, rtol=1e-4, atol=1e-4 * before.abs().max().item()):
            for block in blocks:
                del block.forward
            raise ValueError(f'{self}: gradient_checkpointing: its gradient changes. Leave it out.')
        self.checkpointed = len(blocks)

    def compile_network(self) -> None:
        """Compile what its losses and answers call, in place; `features`, which looks into the network, does not."""
        self._large_part().compile()

    def _large_part(self) -> nn.Module:
        """What of the network is checkpointed or compiled."""
        return self.model

    def _question(self) -> tuple[torch.Tensor, Callable[[], list[torch.Tensor]]]:
        """An image, and what the recognizer answers to it: always to the same question, all that losses compare."""
        height, width = self.info.input_size or (64, 64)
        images = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(0))
        images = images.to(self.mean).requires_grad_()
        reference: Outputs = {}

        def answer() -> list[torch.Tensor]:
            if self.info.task == 'embedding':
                return _tensors([self.features(images)])
            try:
                reference.update(self.outputs(images, dict(reference) or None))
            except Exception as error:  # of a network that may serve as a loss all the same
                raise ValueError(f'{self}: no answers to compare.') from error
            found = list(reference.values())
            with contextlib.suppress(ValueError):  # some have none
                found.append(self.features(images))
            return _tensors(found)

        return images, answer

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Resize to the recognizer's size and normalize, in the type of its weights; differentiable.

        What takes one channel is given the luma, as PIL's ``convert('L')`` weighs it, normalized by the luma of
        ``mean`` and the mean of ``std``.

        Raises:
            ValueError: ``images`` is not a float ``(N, 3, H, W)`` tensor.
        """
        if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(f'{self}: expected float images (N, 3, H, W), got {images.dtype} {tuple(images.shape)}.')
        images = images.to(self.dtype)
        if self.info.input_size and tuple(images.shape[-2:]) != self.info.input_size:
            fill = tuple(round(255 * value) / 255 for value in self.info.mean)
            images = resize(images, self.info.input_size, self.fit, self.info.interpolation, fill)
        if self.info.channels == 1:
            mean, std = self.luma_normalization()
            return (_luma(images) - mean) / std
        return (images - self.mean) / self.std

    @property
    def dtype(self) -> torch.dtype:
        """Type of the network's weights, which images are given to it in."""
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), self.mean.dtype)

    def luma_normalization(self) -> tuple[float, float]:
        """Mean and std of a network of one channel, from those of RGB."""
        return sum(weight * mean for weight, mean in zip(_LUMA, self.info.mean)), sum(self.info.std) / 3

    def autocast(self, images: torch.Tensor) -> torch.autocast:
        """The context in which the network is called."""
        return torch.autocast(images.device.type, self.autocast_to, enabled=self.autocast_to is not None)

    def members(self) -> Sequence['Recognizer']:
        """Return the single recognizers that answer: itself, or those of an ensemble at any depth."""
        return (self,)

    def draw(self) -> Sequence[tuple[float, 'Recognizer']]:
        """The recognizers that judge this training step, with their weights: itself, unless it is an ensemble."""
        return ((1.0, self),)

    def loss(self, images: torch.Tensor, label: Any) -> dict[str, torch.Tensor]:
        """Named loss terms of the recognition task, each a scalar or ``(N,)``."""
        self._has_no('loss')

    def check_label(self, label: Any, count: int, where: str) -> None:
        """Check the labels of a batch of ``count`` images while they are on the CPU.

        Raises:
            ValueError: They are not of this task, or name classes that the recognizer does not have.
        """

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return what unsupervised RA compares between restored and clean image.

        ``logits`` has classes in dimension 1; tensors of other names hold numbers. What the clean image's outputs have
        and the restored one's have not is not compared; of those, ``NAME_weights`` are what a weighted sum over the
        tensor NAME takes in place of its mean, and ``NAME_shares`` the weights of that mean where images of the batch
        have fewer numbers than others.

        Args:
            reference: The outputs on the clean images, for recognizers that answer questions taken from there, as the
                second stage of a detector does with proposals. Others leave it aside.
        """
        self._has_no('outputs')

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Last-stage features, batch first."""
        self._has_no('features')

    def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Decoded predictions, without gradient."""
        self._has_no('predict')

    def _has_no(self, method: str) -> NoReturn:
        raise NotImplementedError(f'{self}: {type(self).__name__} has no {method}(). Use a recognizer of the task: '
                                  'ModuleRecognizer for classifiers, MMDetRecognizer for detectors, MMSegRecognizer '
                                  'for segmenters; or write the method.')

    def __str__(self) -> str:
        return f'{type(self).__name__}({self.info.name})'


def _luma(images: torch.Tensor) -> torch.Tensor:
    return (images * images.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def unwrapped(network: nn.Module) -> nn.Module:
    """The network within what compiles or distributes it."""
    while type(network).__name__ in _WRAPPERS:
        network = next(network.children())
    return network


def copy_of(network: nn.Module, where: str) -> nn.Module:
    """A copy of a caller's network, `unwrapped`.

    Raises:
        ValueError: It cannot be copied.
    """
    try:
        return copy.deepcopy(unwrapped(network))
    except Exception as error:  # of whatever the network holds
        raise ValueError(f'{where}: the network cannot be copied ({type(error).__name__}: {first_line(error)}), and as '
                         'it is it stays. Give the function that builds it, as package.module.name, and its '
                         'checkpoint.') from error


def _with_plain_gradient(module: nn.BatchNorm2d, args: tuple, output: torch.Tensor) -> None:
    """Give batch norm a gradient whose layout leaves no doubt.

    With a single image the stride between images means nothing, and what follows may leave any there, as layer norm
    over transposed tokens does. On a CPU, torch (2.15 at least) then mistakes the layout and returns a wrong gradient.
    """
    if len(output) == 1 and output.requires_grad:
        output.register_hook(lambda grad: grad if grad.stride(0) == grad[0].numel() else grad.contiguous())


def _tensors(answer: Any) -> list[torch.Tensor]:
    """All that have numbers in them, also in lists within."""
    if isinstance(answer, (list, tuple)):
        return [tensor for item in answer for tensor in _tensors(item)]
    return [answer] if isinstance(answer, torch.Tensor) and answer.is_floating_point() else []


def widened(answer: Any) -> Any:
    """Tensors of 16 bits as float32, which losses are taken in; also those within a mapping. Others as they are."""
    if isinstance(answer, dict):
        return {name: widened(value) for name, value in answer.items()}
    is_half = isinstance(answer, torch.Tensor) and answer.dtype in (torch.bfloat16, torch.float16)
    return answer.float() if is_half else answer
