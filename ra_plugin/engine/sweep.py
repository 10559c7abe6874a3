"""A sweep over the weight of the recognition loss: what accuracy costs in PSNR, and what a budget buys."""
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ra_plugin.engine.evaluation import Evaluation
from ra_plugin.engine.evaluation_options import read_options
from ra_plugin.engine.evaluation_report import evaluate
from ra_plugin.engine.trained_runs import shown_path, train
from ra_plugin.options import OptionError
from ra_plugin.recognizers.trainable import is_trainable


@dataclass(frozen=True)
class Chosen:
    """The best weight within a budget.

    Attributes:
        weight: Of the recognition loss.
        gain: Mean over the recognizers of the gain over weight 0, a share in ``[-1, 1]``.
        psnr_drop: dB below weight 0.
    """

    weight: float
    gain: float
    psnr_drop: float


def sweep(root: Path, file: Path, weights: Sequence[float], evaluation_file: Path, out: Path,
          batch_size: int = 64, command: str = '') -> Mapping[str, Any]:
    """Train a network for each weight, or take the one that is there, and evaluate them side by side.

    Args:
        root: The repository.
        file: Option file of a training with one recognition loss.
        weights: Of that loss; one is 0, the plain network that the others are compared with.
        evaluation_file: Option file of an evaluation: its data sets and recognizers. Choose weights on images that
            nothing is reported on.
        out: Folder of the option files and results.
        batch_size: Of the evaluation.
        command: What the results are said to be made by.

    Returns:
        What ``results.json`` holds; the restorers are called as `name_of` has it.

    Raises:
        OptionError: Weights or option files that cannot be meant.
        ChildProcessError: A training failed.
    """
    run = read_options(file)
    block = (run.get('train') or {}).get('recog_opt')
    if not isinstance(block, Mapping):
        raise OptionError(f'{file}: train.recog_opt: expected one recognition loss, whose weight is to be varied.')
    if 0 not in weights or len(set(weights)) < 2 or min(weights) < 0:
        raise OptionError(f'sweep: expected 0 and at least one weight above it, got {", ".join(map(str, weights))}.')
    opt = {**read_options(evaluation_file), 'restorers': {}, 'baseline': name_of(0)}
    for weight in sorted(set(weights)):
        weighted = with_weight(run, weight)
        option_file = out / 'options' / f'{weighted["name"]}.yml'
        train(root, option_file, weighted)
        opt['restorers'][name_of(weight)] = {'option_file': shown_path(option_file, root)}
    return evaluate(Evaluation(root, opt), out, batch_size, command=command)


def name_of(weight: float) -> str:
    """A restorer of the sweep."""
    return f'weight {weight:g}'


def with_weight(run: Mapping[str, Any], weight: float) -> dict[str, Any]:
    """The options of a training with another weight of its recognition loss; with 0, without that loss."""
    run = copy.deepcopy(dict(run)) if weight else without_recognition(run)
    run['name'] = f'{run["name"]}_weight{weight:g}'
    if weight:
        run['train']['recog_opt']['loss_weight'] = weight
    return run


def without_recognition(run: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the same training with its image loss alone."""
    run = copy.deepcopy(dict(run))
    del run['train']['recog_opt']
    judges = (run.get('val') or {}).get('recognizers') or {}
    for name in [name for name, block in judges.items() if is_trainable(block)]:
        del judges[name]
    # without the loss there is nothing to train them by
    for key in ('network_t', 'optim_t', 'scheduler_t', 'optim_r', 'scheduler_r'):
        run.pop(key, None)
        run['train'].pop(key, None)
    return run


def main_gain(results: Mapping[str, Any], metrics: Mapping[str, Any]) -> float:
    """The gain by the first metric of which more is better; where there is none, how much less of the first."""
    lower = [name for name, facts in results.get('recognition_metrics', {}).items() if facts['better'] == 'lower']
    found = next((metrics[name]['value'] for name in metrics if name not in lower), None)
    return -next(iter(metrics.values()))['value'] if found is None else found


def best_within(results: Mapping[str, Any], max_psnr_drop: float) -> dict[str, Chosen | None]:
    """Of every condition the weight with the largest mean gain whose PSNR is surely no more than that below weight 0.

    Surely: the end of the 95 % interval counts. None where no weight above 0 keeps to it with a gain.

    Raises:
        OptionError: A condition has no clean images, and so no PSNR.
    """
    found = {}
    for condition, entry in results['conditions'].items():
        if not entry.get('given', {}).get('clean', True):
            raise OptionError(f'{condition}: without clean images there is no PSNR to keep to. Leave max_psnr_drop '
                              'out.')
        choices = []
        for name, difference in entry['differences'].items():
            if difference['psnr']['value'] is None:  # no image has one on both sides: all are restored exactly
                continue
            gains = [main_gain(results, metrics) for metrics in difference['scores'].values()]
            choice = Chosen(float(name.removeprefix('weight ')), sum(gains) / len(gains), -difference['psnr']['value'])
            if -difference['psnr']['low'] <= max_psnr_drop and choice.gain > 0:
                choices.append(choice)
        found[condition] = max(choices, key=lambda choice: choice.gain, default=None)
    return found
