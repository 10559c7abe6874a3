"""Benchmark of a step of a user's option file with single settings changed, to see which ones are faster."""
import copy
import statistics
import sys
from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from dev.benchmarks.steps import Cases, step_of
from dev.benchmarks.timing import interleaved, ratios, spread
from ra_plugin.builders.loaders import build_dataset
from ra_plugin.builders.option_file import parse_options
from ra_plugin.models.training_step import StepOptions
from ra_plugin.report.markdown_table import table
from ra_plugin.studies.sweep.run import without_recognition
from ra_plugin.training.resumable_batches import TrainingBatches
from ra_plugin.utils.tensors import computes_bfloat16

AS_IT_IS, READING = 'as it is', 'reading its images, in one process'


def own_steps_benchmark(root: Path, file: Path, rounds: int = 3, compiled: bool = False) -> tuple[dict[str, Any], str]:
    """Measure the seconds of a training step of an option file, of variants with one change, and of reading its images.

    Args:
        root: Root of the repository.
        file: Option file of a training. Nothing is saved.
        rounds: Number of measurements of each step.
        compiled: Include ``train.compile``, which takes minutes. bfloat16 is included if the device has instructions
            for it.

    Returns:
        The figures, and a table of them.

    Raises:
        OptionError: The options are invalid.
    """
    sys.argv[1:] = ['-opt', str(file)]  # BasicSR reads it from there
    opt, _ = parse_options(root, is_train=True)
    opt['num_gpu'] = min(opt['num_gpu'], 1)  # the step of one GPU represents that of several
    device = torch.device('cuda' if opt['num_gpu'] else 'cpu')
    batches = TrainingBatches(build_dataset(opt['datasets']['train']), opt)
    cases = Cases({name: step_of(options) for name, options in _variants(opt, device, compiled).items()},
                  next(batches.starting_at(0)), device)
    runs = {name: partial(cases.take, name) for name in cases.names()}
    images = batches.loader.batch_size * StepOptions.read(opt['train']).accum_iter
    runs[READING] = lambda: [batches.loader.dataset[place] for place in islice(batches.sampler, images)]
    seconds = interleaved(runs, rounds, device, opt['name'])
    for name in cases.names():
        seconds[name] = [value / cases.number(name) for value in seconds[name]]
    rows = {name: {'seconds': statistics.median(values), 'to_file': ratios(values, seconds[AS_IT_IS])}
            for name, values in seconds.items()}
    figures = {'option_file': str(file), 'device': device.type, 'images': images, 'cases': rows, 'seconds': seconds}
    return figures, table([['step', 'seconds', f'to {AS_IT_IS}'], *(
        [name, f'{row["seconds"]:.3f}', spread(row['to_file'])] for name, row in rows.items())])


def _variants(opt: Mapping[str, Any], device: torch.device, compiled: bool) -> dict[str, Mapping[str, Any]]:
    def changed(**train) -> dict[str, Any]:
        return {**opt, 'train': {**copy.deepcopy(opt['train']), **train}}

    train = opt['train']
    variants = {AS_IT_IS: opt}
    if train.get('recog_opt') and train.get('optim_g') and (train.get('pixel_opt') or train.get('perceptual_opt')):
        variants['without recognition'] = without_recognition(opt)
    last = None if train.get('channels_last') else True
    variants[f'channels_last: {"~" if last is None else "true"}'] = changed(channels_last=last)
    if train.get('precision', 'fp32') == 'fp32' and computes_bfloat16(device):
        variants['precision: bf16'] = changed(precision='bf16')
    if compiled and not train.get('compile'):
        variants['compile: true'] = changed(compile=True)
    return variants
