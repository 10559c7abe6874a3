"""How any BasicSR model class takes its steps: in bfloat16, compiled, clipped, summed over batches, never with NaN.

The class's own ``optimize_parameters`` stays what it is. Its networks compute in another precision because their
``forward`` does, and its optimizers step once for several batches, or not at all, because their ``step`` says so.
"""
import copy
import functools
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import torch
from torch import nn

from ra_plugin.models.kept_tensors import KeptTensors, Later
from ra_plugin.models.networks import network_buffers
from ra_plugin.models.resume.writer import private_generators
from ra_plugin.models.step_log import as_text, mean_log
from ra_plugin.option_types import Positive
from ra_plugin.options import Limits, OptionError, build_block
from ra_plugin.utils.random_streams import random_streams, set_random_streams
from ra_plugin.utils.tensors import computes_bfloat16

# optimizers of torch with a kernel for the whole step, and the arguments that ask for another way or for this one
_FUSED_ON = 'cuda'
_FUSED = {'Adam', 'AdamW', 'SGD'}
_OTHER_WAYS = {'fused', 'foreach', 'capturable', 'differentiable'}
DTYPES = {'fp32': None, 'bf16': torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """The keys of ``train`` that say how a step is taken.

    Attributes:
        precision: What the networks and the recognizers of the losses compute in. Weights, losses and optimizers stay
            in float32; bfloat16 has its range, so no loss has to be scaled.
        channels_last: Memory layout of their weights, and with it of what they compute. Default: of the recognizers
            where it is faster for them, on a CPU and in bfloat16; not of the networks, many of which get slower.
        compile: Compile the networks with ``torch.compile``, and the recognizers of the losses (of OpenMMLab's models
            the backbone), for training alone: validation meets images of any size.
        grad_clip: Largest L2 norm of the gradient of each optimizer's parameters. Default: not clipped.
        accum_iter: Batches that one step is taken on: the gradient is their mean, as of one batch that is so many
            times as large. An iteration, also of the schedule, is one step.
        max_bad_steps: End the run after so many steps in a row whose gradient is not finite. None is applied.
    """
    precision: Literal['fp32', 'bf16'] = 'fp32'
    channels_last: bool | None = None
    compile: bool = False
    grad_clip: Annotated[float, Limits(above=0)] | None = None
    accum_iter: Positive = 1
    max_bad_steps: Positive = 10

    def recognizers_channels_last(self, device_type: str) -> bool:
        """Return whether the recognizers have that layout on such a device."""
        by_default = device_type == 'cpu' or DTYPES[self.precision] is not None
        return by_default if self.channels_last is None else self.channels_last

    @property
    def changes_forward(self) -> bool:
        return self.compile or DTYPES[self.precision] is not None

    @classmethod
    def read(cls, train_opt: Mapping[str, Any]) -> 'StepOptions':
        """Return those of a file's ``train``.

        Raises:
            OptionError: A value of the wrong type or out of range.
        """
        return build_block(cls, {field.name: train_opt[field.name] for field in fields(cls)
                                 if field.name in train_opt}, 'train')


class NotFinite(ValueError):
    """Training has met NaN or infinity too often. The networks are as after the last good step."""


class TrainingStepMixin:
    """Steps as `StepOptions` has them; put it before a class derived from BasicSR's BaseModel in the bases."""

    def __init__(self, opt: dict):
        self.step_options = StepOptions.read(opt.get('train') or {})
        self._batches_in_step = 0
        self._logs: list[Mapping[str, Any]] = []  # of the batches of a step
        self._is_bad: bool | torch.Tensor = False  # the step that is being taken; a tensor where its device decides
        self._bad_steps = 0  # in a row
        self._problem = ''  # too many of them
        self._unread: deque[tuple[int, Later, dict]] = deque()  # steps of which it is not known here yet
        self._kept_buffers = KeptTensors(())
        super().__init__(opt)

    # ------------------------------------------------------------------ set-up
    def model_to_device(self, net: nn.Module) -> nn.Module:
        if not any(True for _ in net.parameters()):  # DDP refuses a network that has nothing to share
            return net.to(self.device)
        if self.is_train and self.step_options.channels_last:  # first: DDP keeps to the layout it has seen
            net.to(memory_format=torch.channels_last)
        net = super().model_to_device(net)
        if self.is_train:
            if isinstance(net, nn.DataParallel) and self.step_options.changes_forward:
                raise OptionError('train.precision and train.compile: several GPUs in one process would share the '
                                  'weights of the first. Start with torchrun and --launcher pytorch.')
            compute_as(self.get_bare_model(net), self.device.type, self.step_options)
        return net

    def init_training_settings(self) -> None:
        super().init_training_settings()
        if self.step_options.precision == 'bf16' and not computes_bfloat16(self.device):
            logging.getLogger('basicsr').warning(
                f'train.precision: bf16: this {self.device.type} has no instructions for bfloat16; a step takes many '
                'times as long as with fp32.')
        last = self.step_options.recognizers_channels_last(self.device.type)
        for recognizer in (member for cri in getattr(self, 'cri_recog', ()) for member in cri.recognizer.members()):
            recognizer.autocast_to = DTYPES[self.step_options.precision]
            if last and not recognizer.trainable:  # one that learns is among the networks
                recognizer.to(memory_format=torch.channels_last)
        if self.step_options.compile:
            for cri in getattr(self, 'cri_recog', ()):
                if not cri.recognizer.trainable:
                    cri.recognizer.compile_network()
        self.wrap_optimizers()

    def wrap_optimizers(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step = functools.partial(self._step, optimizer, optimizer.step)
            optimizer.step._wrapped_by_lr_sched = True  # the one within is; else torch warns that it was lost
            if self.step_options.accum_iter > 1:
                optimizer.zero_grad = functools.partial(self._zero_grad, optimizer.zero_grad)

    def get_optimizer(self, optim_type: str, params: list, lr: float, **kwargs) -> torch.optim.Optimizer:
        """On a GPU one kernel takes the step, and leaves the weights alone where the gradient is not finite."""
        kwargs = with_float_betas(kwargs)
        if (self.device.type == _FUSED_ON and optim_type in _FUSED and not _OTHER_WAYS & kwargs.keys()
                and not kwargs.get('dampening')):
            kwargs['fused'] = True
        return super().get_optimizer(optim_type, params, lr, **kwargs)

    # ---------------------------------------------------------------- training
    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Begin a step; `abandon_step` comes back to before it."""
        self._before = (copy.deepcopy([scheduler.state_dict() for scheduler in self.schedulers]),
                        [[group['lr'] for group in optimizer.param_groups] for optimizer in self.optimizers],
                        random_streams(), [generator.get_state() for generator in private_generators(self)])
        super().update_learning_rate(current_iter, warmup_iter)

    def abandon_step(self) -> None:
        """Undo a step that an error ended before its optimizers stepped, so that the run can be saved and resumed."""
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
        """Learn from one batch; every ``accum_iter`` calls make a step.

        Raises:
            NotFinite: This was the last of ``max_bad_steps`` in a row.
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
            torch._foreach_div_(gradients, self.step_options.accum_iter)
        limit = self.step_options.grad_clip
        norm = nn.utils.clip_grad_norm_(parameters, limit) if limit else nn.utils.get_total_norm(gradients)
        is_bad = norm.isfinite().logical_not()
        if self._is_bad is not False:  # what another network learns from the same images is bad, too
            is_bad = is_bad | self._is_bad
        if all(group.get('fused') and not group.get('dampening') for group in optimizer.param_groups):
            fill_momentum(optimizer)
            optimizer.found_inf = is_bad.float()  # its kernel leaves the weights alone then
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
            self._kept_buffers.restore(self._is_bad)  # it copies them
            average = KeptTensors([*averaged.parameters(), *averaged.buffers()])
            super().model_ema(decay)
            average.restore(self._is_bad)
        elif not self._is_bad:  # reads it, in a class whose averages have other names
            super().model_ema(decay)  # at the start it copies the weights

    def _end_step(self, current_iter: int) -> None:
        self._kept_buffers.restore(self._is_bad)
        if isinstance(self._is_bad, torch.Tensor):
            self._unread.append((current_iter, Later(self._is_bad), self.log_dict))
            self._read_steps(len(self._unread) - 1)  # all but this one: the device has long taken them
        else:
            self._read_steps(len(self._unread))
            self._count_step(current_iter, self._is_bad, self.log_dict)
        self._check_steps()

    def read_last_steps(self) -> None:
        """Wait for the steps of which it is not known here yet whether they were applied; call it after the last one.

        Raises:
            NotFinite: They complete ``max_bad_steps`` in a row.
        """
        self._read_steps(len(self._unread))
        self._check_steps()

    def _check_steps(self) -> None:
        if self._problem:
            raise NotFinite(f'{self._problem}; it is number {self.step_options.max_bad_steps} in a row '
                            '(train.max_bad_steps). The networks are as after the last good step. Lower the learning '
                            'rate or loss weights, or set train.grad_clip.')

    def _read_steps(self, count: int) -> None:
        for _ in range(count):
            iteration, is_bad, log = self._unread.popleft()
            self._count_step(iteration, is_bad.read(), log)

    def _count_step(self, iteration: int, is_bad: bool, log: Mapping[str, Any]) -> None:
        """Count the steps that were not applied, and say so."""
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
    """Let the momentum of SGD begin with zeros, with which its first step is the same where nothing dampens it.

    Its fused kernel expects whatever memory the optimizer was given to be momentum after a first step that it skipped.
    """
    for group in optimizer.param_groups:
        for parameter in group['params'] if group.get('momentum') else ():
            if parameter.grad is not None and optimizer.state[parameter].get('momentum_buffer') is None:
                optimizer.state[parameter]['momentum_buffer'] = torch.zeros_like(parameter)


def _asks_once(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether a closure is called once, before the step, as by torch's optimizers but L-BFGS."""
    return type(optimizer).__module__.startswith('torch.optim.') and not isinstance(optimizer, torch.optim.LBFGS)


def with_float_betas(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of an optimizer with whole numbers among ``betas``, as 0 of GANs, as torch takes them."""
    betas = arguments.get('betas')
    if not isinstance(betas, (list, tuple)) or not all(type(value) in (int, float) for value in betas):
        return dict(arguments)
    return {**arguments, 'betas': [float(value) for value in betas]}


def compute_as(net: nn.Module, device_type: str, options: StepOptions) -> None:
    """Let ``net`` compute in training as ``options`` say, in place. It returns float32 whatever it computes in."""
    if not options.changes_forward:
        return
    dtype = DTYPES[options.precision]
    forward = net.forward
    compiled = torch.compile(forward) if options.compile else forward

    @functools.wraps(forward)
    def wrapped(*args, **kwargs):
        # in validation a network computes as in ra-plugin test
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
