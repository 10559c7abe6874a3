"""Training step of any BasicSR model class: bfloat16, compilation, clipping, gradient accumulation, no step with NaN.

The class's own ``optimize_parameters`` is unchanged: precision and compilation are set in the ``forward`` of its
networks, and accumulation, clipping and the check for NaN in the ``step`` of its optimizers.
"""
import copy
import functools
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, cast

import torch
from torch import nn

from ra_plugin.models.host import Host
from ra_plugin.models.kept_tensors import KeptTensors, Later
from ra_plugin.models.networks import network_buffers
from ra_plugin.models.resume.writer import private_generators
from ra_plugin.models.step_log import as_text, mean_log
from ra_plugin.option_types import Positive
from ra_plugin.options import Limits, OptionError, build_block
from ra_plugin.utils.random_streams import random_streams, set_random_streams
from ra_plugin.utils.tensors import computes_bfloat16

# optimizers of torch with a fused kernel, and the arguments that choose an implementation
_FUSED_ON = 'cuda'
_FUSED = {'Adam', 'AdamW', 'SGD'}
_OTHER_WAYS = {'fused', 'foreach', 'capturable', 'differentiable'}
DTYPES = {'fp32': None, 'bf16': torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """Options of the training step: keys of ``train``.

    Attributes:
        precision: Precision of the networks and of the recognizers in the losses. Weights, losses and optimizers stay
            in float32; bfloat16 has the range of float32, so no loss scaling is needed.
        channels_last: Memory layout of the weights, and thereby of the activations. Default: only for recognizers, on
            a CPU or in bfloat16, where it is faster; many networks are slower with it.
        compile: Compile the networks and the recognizers of the losses (for OpenMMLab's models the backbone) with
            ``torch.compile``, only for training, since images in validation vary in size.
        grad_clip: Maximum L2 norm of the gradient of each optimizer's parameters. Default: no clipping.
        accum_iter: Number of batches per step: the gradient is their mean, like that of one batch as large as all of
            them. An iteration, also in schedules, is one step.
        max_bad_steps: Number of consecutive steps with a non-finite gradient after which the run ends. Such steps are
            not applied.
    """
    precision: Literal['fp32', 'bf16'] = 'fp32'
    channels_last: bool | None = None
    compile: bool = False
    grad_clip: Annotated[float, Limits(above=0)] | None = None
    accum_iter: Positive = 1
    max_bad_steps: Positive = 10

    def recognizers_channels_last(self, device_type: str) -> bool:
        """Return True if the recognizers use channels-last layout on a device type."""
        by_default = device_type == 'cpu' or DTYPES[self.precision] is not None
        return by_default if self.channels_last is None else self.channels_last

    @property
    def changes_forward(self) -> bool:
        return self.compile or DTYPES[self.precision] is not None

    @classmethod
    def read(cls, train_opt: Mapping[str, Any]) -> 'StepOptions':
        """Read and check the options from the block ``train``.

        Raises:
            OptionError: A value has the wrong type or is out of range.
        """
        return build_block(cls, {field.name: train_opt[field.name] for field in fields(cls)
                                 if field.name in train_opt}, 'train')


class NotFinite(ValueError):
    """Raised after too many non-finite gradients in a row; the networks are in the state of the last good step."""


class TrainingStepMixin(Host):
    """Mixin with the training step of `StepOptions`; put it before a class derived from BaseModel in the bases."""

    def __init__(self, opt: dict):
        self.step_options = StepOptions.read(opt.get('train') or {})
        self._batches_in_step = 0
        self._logs: list[Mapping[str, Any]] = []  # one per batch of the current step
        self._is_bad: bool | torch.Tensor = False  # the current step has a non-finite gradient; a tensor on a GPU
        self._bad_steps = 0  # consecutive bad steps
        self._problem = ''  # message for too many bad steps
        self._unread: deque[tuple[int, Later, dict]] = deque()  # steps whose flag has not been read from the GPU
        self._kept_buffers = KeptTensors(())
        super().__init__(opt)

    # ------------------------------------------------------------------ set-up
    def model_to_device(self, net: nn.Module) -> nn.Module:
        if not any(True for _ in net.parameters()):  # DDP rejects a network without parameters
            return net.to(self.device)
        if self.is_train and self.step_options.channels_last:  # before DDP, which keeps the layout
            net.to(memory_format=torch.channels_last)
        net = super().model_to_device(net)
        if self.is_train:
            if isinstance(net, nn.DataParallel) and self.step_options.changes_forward:
                raise OptionError('train.precision and train.compile: not supported with several GPUs in one process, '
                                  'which would share the weights of the first. Use torchrun and --launcher pytorch.')
            compute_as(self.get_bare_model(net), self.device.type, self.step_options)
        return net

    def init_training_settings(self) -> None:
        super().init_training_settings()
        if self.step_options.precision == 'bf16' and not computes_bfloat16(self.device):
            logging.getLogger('basicsr').warning(
                f'train.precision: bf16: this {self.device.type} has no bfloat16 instructions; a step takes many times '
                'as long as with fp32.')
        last = self.step_options.recognizers_channels_last(self.device.type)
        for recognizer in (member for cri in getattr(self, 'cri_recog', ()) for member in cri.recognizer.members()):
            recognizer.autocast_to = DTYPES[self.step_options.precision]
            if last and not recognizer.trainable:  # one that learns is among the networks
                recognizer.to(memory_format=torch.channels_last)
        start = getattr(self, 'start_network', None)
        if start is not None:
            start.autocast_to = DTYPES[self.step_options.precision]
        if self.step_options.compile:
            for cri in getattr(self, 'cri_recog', ()):
                if not cri.recognizer.trainable:
                    cri.recognizer.compile_network()
        self.wrap_optimizers()

    def wrap_optimizers(self) -> None:
        for optimizer in self.optimizers:
            step: Any = functools.partial(self._step, optimizer, optimizer.step)
            step._wrapped_by_lr_sched = True  # as the inner one is; otherwise torch warns
            optimizer.step = step
            if self.step_options.accum_iter > 1:
                optimizer.zero_grad = functools.partial(self._zero_grad, optimizer.zero_grad)

    def get_optimizer(self, optim_type: str, params: list, lr: float, **kwargs) -> torch.optim.Optimizer:
        """Create an optimizer; on a GPU a fused one, whose kernel skips the step for a non-finite gradient."""
        kwargs = with_float_betas(kwargs)
        if (self.device.type == _FUSED_ON and optim_type in _FUSED and not _OTHER_WAYS & kwargs.keys()
                and not kwargs.get('dampening')):
            kwargs['fused'] = True
        return super().get_optimizer(optim_type, params, lr, **kwargs)

    # ---------------------------------------------------------------- training
    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Begin a step; `abandon_step` restores the state before it."""
        self._before = (copy.deepcopy([scheduler.state_dict() for scheduler in self.schedulers]),
                        [[group['lr'] for group in optimizer.param_groups] for optimizer in self.optimizers],
                        random_streams(), [generator.get_state() for generator in private_generators(self)])
        super().update_learning_rate(current_iter, warmup_iter)

    def abandon_step(self) -> None:
        """Undo a step in which an error occurred before the optimizers stepped, so that the run can be saved."""
        states, rates, streams, draws = self._before
        for scheduler, state in zip(self.schedulers, states, strict=True):
            scheduler.load_state_dict(state)
        self._set_lr(rates)
        set_random_streams(streams)
        for generator, state in zip(private_generators(self), draws, strict=True):
            generator.set_state(state)
        if self._batches_in_step:
            self._batches_in_step = 0
            self._kept_buffers.restore()

    @property
    def _is_last_batch(self) -> bool:
        return self._batches_in_step == self.step_options.accum_iter

    def optimize_parameters(self, current_iter: int) -> None:
        """Process one batch; every ``accum_iter`` calls are one step.

        Raises:
            NotFinite: The last ``max_bad_steps`` steps all had a non-finite gradient.
        """
        if self._batches_in_step == 0:
            self._is_bad = False
            # NaN in an image must not stay in batch norm's statistics
            self._kept_buffers = KeptTensors(network_buffers(self))
            self._logs = []
        self._batches_in_step += 1
        super().optimize_parameters(current_iter)
        self._logs.append(self.log_dict)
        if self._is_last_batch:
            self._batches_in_step = 0
            if self.step_options.accum_iter > 1:
                self.log_dict = mean_log(self._logs)
            self._end_step(current_iter)

    def _zero_grad(self, original: Callable, *args, **kwargs) -> None:
        if self._batches_in_step <= 1:
            original(*args, **kwargs)

    def _step(self, optimizer: torch.optim.Optimizer, original: Callable, closure: Callable | None = None) -> Any:
        if closure is not None and not _asks_once(optimizer):
            return original(closure) if self._is_last_batch else None
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._step_once(optimizer, original)
        return loss

    def _step_once(self, optimizer: torch.optim.Optimizer, original: Callable) -> None:
        if not self._is_last_batch:
            return
        parameters = [p for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
        if not parameters:
            return
        gradients = [p.grad for p in parameters]
        if self.step_options.accum_iter > 1:
            torch._foreach_div_(gradients, self.step_options.accum_iter)  # pyright: ignore[reportPrivateImportUsage]
        limit = self.step_options.grad_clip
        norm = nn.utils.clip_grad_norm_(parameters, limit) if limit else nn.utils.get_total_norm(gradients)
        is_bad = norm.isfinite().logical_not()
        if self._is_bad is not False:  # another network has already had a bad gradient from the same images
            is_bad = is_bad | self._is_bad
        if all(group.get('fused') and not group.get('dampening') for group in optimizer.param_groups):
            fill_momentum(optimizer)
            cast(Any, optimizer).found_inf = is_bad.float()  # if set, the kernel skips the step
            original()
            self._is_bad = is_bad
        elif is_bad:
            self._is_bad = True
        else:
            original()

    def model_ema(self, decay: float = 0.999) -> None:
        if self._batches_in_step and (not self._is_last_batch or self._is_bad is True):
            return
        averaged = getattr(self, 'net_g_ema', None)
        if isinstance(self._is_bad, torch.Tensor) and averaged is not None:
            self._kept_buffers.restore(self._is_bad)  # before model_ema copies them
            average = KeptTensors([*averaged.parameters(), *averaged.buffers()])
            super().model_ema(decay)
            average.restore(self._is_bad)
        elif not self._is_bad:  # reads a tensor, for a class whose averages have other names
            super().model_ema(decay)  # also called at the start, to copy the weights

    def _end_step(self, current_iter: int) -> None:
        self._kept_buffers.restore(self._is_bad)
        if isinstance(self._is_bad, torch.Tensor):
            self._unread.append((current_iter, Later(self._is_bad), self.log_dict))
            self._read_steps(len(self._unread) - 1)  # all but this one: the device has finished them
        else:
            self._read_steps(len(self._unread))
            self._count_step(current_iter, bool(self._is_bad), self.log_dict)
        self._check_steps()

    def read_last_steps(self) -> None:
        """Read the flags of all unread steps, waiting for the device; call it after the last step.

        Raises:
            NotFinite: The last ``max_bad_steps`` steps all had a non-finite gradient.
        """
        self._read_steps(len(self._unread))
        self._check_steps()

    def _check_steps(self) -> None:
        if self._problem:
            raise NotFinite(f'{self._problem}; it is number {self.step_options.max_bad_steps} in a row '
                            '(train.max_bad_steps). The networks have the state of the last good step. Lower the '
                            'learning rate or loss weights, or set train.grad_clip.')

    def _read_steps(self, count: int) -> None:
        for _ in range(count):
            iteration, is_bad, log = self._unread.popleft()
            self._count_step(iteration, bool(is_bad.read()), log)

    def _count_step(self, iteration: int, is_bad: bool, log: Mapping[str, Any]) -> None:
        """Count steps that were not applied, and warn about them."""
        if not is_bad:
            self._bad_steps = 0
            return
        self._bad_steps += 1
        message = f'iteration {iteration}: the gradient is not finite ({as_text(log)}), so its step is not applied'
        if self._bad_steps >= self.step_options.max_bad_steps:
            self._problem = self._problem or message
            return
        logging.getLogger('basicsr').warning(f'{message} ({self._bad_steps} in a row; the run ends at '
                                             f'{self.step_options.max_bad_steps}).')

    def save(self, epoch: int, current_iter: int) -> None:
        self._read_steps(len(self._unread))
        super().save(epoch, current_iter)


def fill_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Initialize the momentum of SGD with zeros, which does not change its first step if there is no dampening.

    If the fused kernel skips the first step, it leaves the new momentum buffer uninitialized.
    """
    for group in optimizer.param_groups:
        for parameter in group['params'] if group.get('momentum') else ():
            if parameter.grad is not None and optimizer.state[parameter].get('momentum_buffer') is None:
                optimizer.state[parameter]['momentum_buffer'] = torch.zeros_like(parameter)


def _asks_once(optimizer: torch.optim.Optimizer) -> bool:
    """Return True if the optimizer calls a closure once, before the step, like all of torch's except L-BFGS."""
    return type(optimizer).__module__.startswith('torch.optim.') and not isinstance(optimizer, torch.optim.LBFGS)


def with_float_betas(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return an optimizer's arguments with integers in ``betas`` (e.g. 0 for GANs) as floats, which torch requires."""
    betas = arguments.get('betas')
    if not isinstance(betas, (list, tuple)) or not all(type(value) in (int, float) for value in betas):
        return dict(arguments)
    return {**arguments, 'betas': [float(value) for value in betas]}


def compute_as(net: nn.Module, device_type: str, options: StepOptions) -> None:
    """Set precision and compilation of ``net`` in training, in place; its outputs are float32 in any precision."""
    if not options.changes_forward:
        return
    dtype = DTYPES[options.precision]
    forward = net.forward
    compiled = torch.compile(forward) if options.compile else forward

    @functools.wraps(forward)
    def wrapped(*args, **kwargs):
        # in validation a network computes in float32, as in ra-plugin test
        with torch.autocast(device_type, dtype, enabled=dtype is not None and net.training):
            output = (compiled if net.training else forward)(*args, **kwargs)
        return _as_float32(output)

    net.forward = wrapped


def _as_float32(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return output.float() if output.dtype == torch.bfloat16 else output
    if isinstance(output, (list, tuple)):
        return type(output)(_as_float32(item) for item in output)
    return output
