"""Benchmark of a training step with a recognition loss against one without, and against a naive implementation."""
import copy
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from dev.benchmarks.memory import peak_memory
from dev.benchmarks.timing import Elsewhere, interleaved, ratios, spread
from ra_plugin.archs.srresnet_arch import Tail
from ra_plugin.losses.distances import probability_distance
from ra_plugin.models.builder import build_model
from ra_plugin.models.training_step import StepOptions
from ra_plugin.recognizers import Recognizer, build_recognizer
from ra_plugin.recognizers.frozen.out_of_sight import networks_within
from ra_plugin.report.markdown_table import table
from ra_plugin.utils.tensors import computes_bfloat16, moved

Batch = dict[str, Any]

_SWINIR = {'type': 'SwinIR', 'upscale': 4, 'img_size': 56, 'window_size': 8, 'depths': [6, 6, 6, 6], 'embed_dim': 60,
           'num_heads': [6, 6, 6, 6], 'mlp_ratio': 2, 'upsampler': 'pixelshuffledirect', 'resi_connection': '1conv'}
NETWORKS = {'SRResNet': {'type': 'SRResNet', 'upscale': 4}, 'RDN': {'type': 'RDN', 'upscale': 4}, 'SwinIR': _SWINIR}
_TIMM = {'type': 'TimmRecognizer', 'pretrained': False}  # the speed does not depend on the weights
RECOGNIZERS = {
    'ResNet-18': {**_TIMM, 'model_name': 'resnet18'}, 'ResNet-50': {**_TIMM, 'model_name': 'resnet50'},
    'VGG-16': {**_TIMM, 'model_name': 'vgg16_bn'},
    'Faster R-CNN': {'type': 'MMDetRecognizer', 'config': 'faster-rcnn_r50_fpn_1x_coco', 'pretrained': False,
                     'resize': None},
    'FCN': {'type': 'MMSegRecognizer', 'config': 'fcn_r18-d8_4xb2-80k_cityscapes-512x1024', 'pretrained': False,
            'resize': None}}
PAIRS = [*(('SRResNet', name) for name in RECOGNIZERS), ('RDN', 'ResNet-18'), ('SwinIR', 'ResNet-18')]
_LOSS_WEIGHT = 1e-3
_IN_A_ROW = {'cuda': 10}  # steps timed together: the CPU launches the next one while the device computes
_BATCH_SIZES = {'RDN': 1, 'SwinIR': 1}  # for large networks, whose step takes seconds on a CPU


def steps_benchmark(root: Path, device: torch.device, rounds: int = 3, size: int = 224,
                    pairs: Sequence[tuple[str, str]] = PAIRS, compiled: bool = False,
                    batch_size: int | None = None) -> tuple[dict, str]:
    """Measure the seconds of a step, its arithmetic, the memory kept for its backward pass, and its peak memory.

    ``careless`` is a naive implementation: the recognizer has its original memory layout and layers, gradients of its
    weights are computed without being used, and so is the graph of its output on the clean image; memory is returned to
    the system whenever a tensor is freed (a setting of the process, so it has its own), and SRResNet has an ordinary
    convolution as its tail.

    Args:
        root: Not used.
        device: Device of the networks.
        rounds: Number of measurements of each step.
        size: Height and width of the clean images in pixels.
        pairs: Pairs of network and recognizer.
        compiled: Include steps with ``train.compile``, which takes minutes. bfloat16 is included if the device has
            instructions for it.
        batch_size: Images per step. Default: 4, or 1 for networks whose step takes seconds on a CPU.

    Returns:
        The figures, and a table of them.
    """
    figures, rows = {}, []
    in_a_row = _IN_A_ROW.get(device.type, 1)
    for network, recognizer in pairs:
        count = batch_size or _BATCH_SIZES.get(network, 4)
        batch = random_batch(recognizer, count, size)
        blocks = NETWORKS[network], RECOGNIZERS[recognizer], device
        ours = Cases(_ours(*blocks, compiled), batch, device)
        with Elsewhere(_careless, *blocks, batch) as careless:
            runs = {'plain': partial(ours.take, 'plain', in_a_row),
                    **{case: partial(careless.call, 'take', case, in_a_row) for case in careless.call('names')},
                    **{case: partial(ours.take, case, in_a_row) for case in ours.names()}}
            measured = {case: ours.measured(case) if case in ours.names() else careless.call('measured', case)
                        for case in runs}
            seconds = {case: [value / in_a_row for value in values] for case, values in
                       interleaved(runs, rounds, device, f'{network}, {recognizer}').items()}
        found = {case: _figures(case, seconds, measured) for case in runs}
        figures[f'{network}, {recognizer}'] = {'batch_size': count, 'size': size, 'cases': found, 'seconds': seconds}
        rows += [[network, recognizer, str(count), case, *_row(values)] for case, values in found.items()]
    return figures, table([['network', 'recognizer', 'images', 'step', 'seconds', 'to plain', 'to careless',
                            'arithmetic to plain', 'kept, MiB', 'peak, MiB'], *rows])


@dataclass(frozen=True)
class Step:
    """Training steps that are timed together, and their networks."""
    take: Callable[[Batch], None]
    networks: Sequence[nn.Module]
    number: int = 1


class Cases:
    """Steps of several kinds on one batch."""

    def __init__(self, steps: Mapping[str, Step], batch: Batch, device: torch.device):
        self._steps, self._device = steps, device
        self._batch = {name: value.to(device) if isinstance(value, torch.Tensor) else value
                       for name, value in batch.items()}  # as in a training, where batches are already on the device

    def names(self) -> list[str]:
        return list(self._steps)

    def take(self, case: str, times: int = 1) -> None:
        for _ in range(times):
            self._steps[case].take(self._batch)
        if self._device.type == 'cuda':
            torch.cuda.synchronize(self._device)

    def number(self, case: str) -> int:
        """Return the number of steps that are timed together."""
        return self._steps[case].number

    def measured(self, case: str) -> dict[str, float]:
        run = partial(self.take, case)
        return {**_measured(run, self._steps[case].networks), 'peak': peak_memory(run, self._device)}


def _careless(network: Mapping, recognizer: Mapping, device: torch.device, batch: Batch) -> Cases:
    frozen = partial(_careless_step, network, recognizer, device, frozen=True)
    steps = {'plain, careless': _with_ordinary_tail(step_with(network, device)),
             'careless, unsupervised': _careless_step(network, recognizer, device, has_label=False),
             'careless': _careless_step(network, recognizer, device),
             'without gradients of its weights': frozen(),
             'and with batch norm folded': frozen(fold=True)}
    if network['type'] == 'SRResNet':
        steps['and with its tail'] = frozen(fold=True, tail=True)
    return Cases(steps, batch, device)


def _ours(network: Mapping, recognizer: Mapping, device: torch.device, compiled: bool) -> dict[str, Step]:
    supervised = {'type': 'RecogLoss', 'loss_weight': _LOSS_WEIGHT, 'recognizer': recognizer}
    unsupervised = {**supervised, 'type': 'RecogConsistencyLoss', 'distance': 'probability'}
    cases = {'plain': step_with(network, device),
             'and with memory kept': _careless_step(network, recognizer, device, frozen=True, fold=True, tail=True),
             'ours': step_with(network, device, recog_opt=supervised),
             'ours, checkpointed': step_with(network, device, recog_opt={**supervised, 'gradient_checkpointing': True}),
             'ours, unsupervised': step_with(network, device, recog_opt=unsupervised)}
    if recognizer['type'] != 'MMDetRecognizer':
        cached = {**unsupervised, 'cache_reference': True}  # in this benchmark all images recur
        cases['ours, unsupervised, cached'] = step_with(network, device, recog_opt=cached)
    half = {'precision': 'bf16'} if computes_bfloat16(device) else {}
    words = f'{"bf16, " if half else ""}channels_last'
    for more, options in (('', {}), (', compiled', {'compile': True}))[:1 + compiled]:
        options = {'channels_last': True, **half, **options}
        cases[f'plain, {words}{more}'] = step_with(network, device, **options)
        cases[f'ours, {words}{more}'] = step_with(network, device, recog_opt=supervised, **options)
    return cases


def _options(network: Mapping, device: torch.device, **train) -> dict[str, Any]:
    torch.manual_seed(0)
    return {'name': 'benchmark', 'model_type': 'RecogAwareModel' if 'recog_opt' in train else 'SRModel',
            'base_model_type': 'SRModel', 'num_gpu': int(device.type == 'cuda'), 'dist': False, 'rank': 0,
            'world_size': 1, 'is_train': True, 'scale': network['upscale'], 'network_g': copy.deepcopy(dict(network)),
            'path': {}, 'val': {'metrics': {}},
            'train': {'optim_g': {'type': 'Adam', 'lr': 1e-4}, 'scheduler': {'type': 'MultiStepLR', 'milestones': [1]},
                      'pixel_opt': {'type': 'MSELoss'}, **train}}


def step_of(opt: Mapping[str, Any]) -> Step:
    """Return the steps of a training with these options: one period of ``recog_every`` or of a GAN's updates."""
    model, train = build_model(dict(opt)), opt['train']
    accum_iter = StepOptions.read(train).accum_iter
    number = math.lcm(train.get('recog_every') or 1, train.get('net_d_iters') or 1)
    first = number * math.ceil((train.get('net_d_init_iters') or 0) / number) + 1

    def step(batch: Batch) -> None:
        for iteration in range(first, first + number):
            for _ in range(accum_iter):
                model.feed_data(batch)
                model.optimize_parameters(iteration)

    return Step(step, [model.net_g, getattr(model, 'cri_recog', nn.Identity())], number)


def step_with(network: Mapping, device: torch.device, **train) -> Step:
    """Return steps of a network with further options of ``train``."""
    return step_of(_options(network, device, **train))


def _careless_step(network: Mapping, recognizer: Mapping, device: torch.device, has_label: bool = True,
                   frozen: bool = False, fold: bool = False, tail: bool = False) -> Step:
    """Return a step written by hand; with all flags set it differs from ours only in the recognizer's memory layout."""
    model = build_model(_options(network, device))
    optimizer = torch.optim.Adam(model.net_g.parameters(), lr=1e-4)  # the model's own only steps within its step
    judge = build_recognizer(recognizer, fold_batch_norm=fold).to(device)
    judge.model.requires_grad_(not frozen)

    def take(batch: Batch) -> None:
        model.feed_data(batch)
        optimizer.zero_grad()
        output = model.net_g(model.lq)
        loss = model.cri_pix(output, model.gt)
        if has_label:
            recog = sum(term.mean() for term in judge.loss(output, moved(batch['label'], device)).values())
        else:
            recog = _distance(judge, output, model.gt)
        (loss + _LOSS_WEIGHT * recog).backward()
        optimizer.step()

    step = Step(take, [model.net_g, judge])
    return step if tail else _with_ordinary_tail(step)


def _with_ordinary_tail(step: Step) -> Step:
    for module in step.networks[0].modules():
        if isinstance(module, Tail):
            module.__class__ = nn.Conv2d
    return step


def _distance(judge: Recognizer, output: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    reference = judge.outputs(clean)
    return probability_distance(judge.outputs(output, reference)['logits'], reference['logits']).mean()


def random_batch(recognizer: str, count: int, size: int) -> Batch:
    """Return random images and labels."""
    generator = torch.Generator().manual_seed(0)
    gt = torch.rand((count, 3, size, size), generator=generator)
    kind = RECOGNIZERS[recognizer]['type']
    if kind == 'MMDetRecognizer':
        boxes = torch.tensor([[0.1, 0.1, 0.6, 0.7], [0.3, 0.4, 0.9, 0.8]]) * size
        label = [{'boxes': boxes, 'labels': torch.tensor([0, 5])} for _ in range(count)]
    else:
        shape = (count, size, size) if kind == 'MMSegRecognizer' else (count,)
        label = torch.randint(10, shape, generator=generator)
    return {'lq': torch.nn.functional.avg_pool2d(gt, 4), 'gt': gt, 'label': label, 'gt_path': ['random'] * count}


def _measured(run: Callable[[], object], networks: Sequence[nn.Module]) -> dict[str, float]:
    """Measure the floating-point operations of a step, and the MiB, without weights, kept for its backward pass."""
    run()  # fill caches
    kept: dict[int, int] = {}
    weights = {tensor.untyped_storage().data_ptr() for network in networks for part in networks_within(network)
               for tensor in (*part.parameters(), *part.buffers())}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return {'flops': counter.get_total_flops(), 'kept': sum(kept.values()) / 2 ** 20}


def _figures(case: str, seconds: Mapping[str, list[float]], measured: Mapping[str, Mapping]) -> dict[str, Any]:
    careless = 'careless, unsupervised' if 'unsupervised' in case else 'careless'
    return {'seconds': statistics.median(seconds[case]), 'to_plain': ratios(seconds[case], seconds['plain']),
            'to_careless': ratios(seconds[case], seconds[careless]), **measured[case],
            'flops_to_plain': measured[case]['flops'] / measured['plain']['flops']}


def _row(values: Mapping[str, Any]) -> list[str]:
    return [f'{values["seconds"]:.3g}', spread(values['to_plain']), spread(values['to_careless']),
            f'{values["flops_to_plain"]:.2f}', f'{values["kept"]:.0f}', f'{values["peak"]:.0f}']
