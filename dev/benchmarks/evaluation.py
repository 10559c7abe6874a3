"""Benchmark of an evaluation against its necessary forward passes: one per image and restorer, and per recognizer."""
# isort: off
import ra_plugin.basicsr  # noqa: F401 - patches BasicSR before its first import here
# isort: on
import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.archs import build_network

from dev.benchmarks.timing import interleaved, ratios, spread
from ra_plugin.evaluation.options import read_options
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.metrics.psnr_ssim import to_uint8
from ra_plugin.report.markdown_table import table

_RESTORERS = 4
_NETWORK = {'type': 'SRResNet', 'num_feat': 24, 'num_block': 5, 'upscale': 2}  # the demo's


def evaluation_benchmark(root: Path, device: torch.device, rounds: int = 3, images: int = 500,
                         batch_size: int = 64) -> tuple[dict[str, Any], str]:
    """Measure the seconds of whole evaluations with one to five recognizers, and of the necessary forward passes.

    The audit is excluded: it needs further passes, on a number of images that is set separately.

    Args:
        root: Root of the repository, with CIFAR-10, see ``tools/prepare_data.py``.
        device: Device of the networks.
        rounds: Number of measurements.
        images: Number of images of CIFAR-10, restored by four networks of the demo's size with random weights.
        batch_size: Images per batch.

    Returns:
        The figures, and a table of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        opt = _options(root, Path(folder), images)
        judges = list(opt['recognizers'])
        evaluations = {k: Evaluation(root, {**opt, 'recognizers': {name: opt['recognizers'][name]
                                                                   for name in judges[:k]}}, str(device))
                       for k in range(1, len(judges) + 1)}
        cases = {}
        for k, evaluation in evaluations.items():
            cases[f'needed {k}'] = _passes(evaluation, batch_size)
            cases[f'ours {k}'] = _run(evaluation, Path(folder) / str(k), batch_size)
        seconds = interleaved(cases, rounds, device, 'evaluation')
    rows = {str(k): _row(seconds, k) for k in evaluations}
    return {'images': images, 'restorers': _RESTORERS, 'recognizers': judges, 'seconds': seconds, 'rows': rows}, \
        table([['recognizers', 'passes alone, s', 'evaluation, s', 'ratio', 'the last one adds: passes, s',
                'evaluation, s'], *([k, *row.values()] for k, row in rows.items())])


def _options(root: Path, folder: Path, images: int) -> dict[str, Any]:
    opt = read_options(root / 'options' / 'eval' / 'cifar10.yml')
    network = build_network(_NETWORK)
    torch.save({'params': network.state_dict()}, folder / 'network.pth')
    opt['restorers'] = {name: {'network_g': _NETWORK, 'checkpoint': str(folder / 'network.pth')}
                        for name in ('plain', *(f'restorer {i}' for i in range(1, _RESTORERS)))}
    return {**opt, 'images': images, 'audit': 0}


def _run(evaluation: Evaluation, out: Path, batch_size: int) -> Callable[[], object]:
    return lambda: evaluation.run(out, batch_size, restart=True)


def _passes(evaluation: Evaluation, batch_size: int) -> Callable[[], object]:
    """Return a function that does only the forward passes, on images in memory."""
    condition = evaluation.conditions[0]
    processings = evaluation.judging(condition).processings.values()
    batches = [batch for read in evaluation.batches(condition, condition.chosen, batch_size) for batch in read]

    @torch.no_grad()
    def run() -> None:
        for batch in batches:
            for process in processings:
                restored = to_uint8(process(batch)).float() / 255
                for recognizer in evaluation.recognizers.values():
                    recognizer.predict(restored)

    return run


def _row(seconds: Mapping[str, list[float]], k: int) -> dict[str, str]:
    def added(case: str) -> str:
        before = seconds.get(f'{case} {k - 1}')
        return '' if before is None else f'{statistics.median(map(float.__sub__, seconds[f"{case} {k}"], before)):.2f}'

    return {'needed': f'{statistics.median(seconds[f"needed {k}"]):.2f}',
            'ours': f'{statistics.median(seconds[f"ours {k}"]):.2f}',
            'ratio': spread(ratios(seconds[f'ours {k}'], seconds[f'needed {k}'])),
            'added_needed': added('needed'), 'added_ours': added('ours')}
