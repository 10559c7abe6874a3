"""A sweep over the weight of the recognition loss: recognition against PSNR, and the best weight in a budget."""
import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ra_plugin.builders.given import has_no_clean
from ra_plugin.builders.option_paths import check_folder_name
from ra_plugin.evaluation.options import read_options
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.evaluation.write_report import write_results
from ra_plugin.options import OptionError, check_type
from ra_plugin.recognizers.trainable import is_trainable
from ra_plugin.results import Results
from ra_plugin.shipped.find import shown_path
from ra_plugin.studies.sweep.weight_choice import answer, name_of
from ra_plugin.training.train_if_needed import train
from ra_plugin.utils.out_folder import check_out_folder

_NO_PSNR = 'without clean images there is no PSNR to keep to. Leave max_psnr_drop out.'


def sweep(root: Path, file: Path, weights: Sequence[float], evaluation_file: Path, out: Path,
          batch_size: int = 64, command: str = '', max_psnr_drop: float | None = None,
          force_yml: Sequence[str] | None = None) -> Results:
    """Train a network for each weight, or take the one that is there, evaluate them side by side, and choose one.

    Args:
        root: Folder of ``experiments`` and ``results``; relative paths are looked up below it.
        file: Option file of a training with one recognition loss.
        weights: Weights of that loss; one is 0, the plain network that the others are compared with.
        evaluation_file: Option file of an evaluation: its data sets and recognizers. Choose weights on images that
            nothing is reported on.
        out: Folder of the option files and results.
        batch_size: Batch size of the evaluation.
        command: Command that the results name.
        max_psnr_drop: Budget in dB below weight 0 for the weight that is named. Default: any.
        force_yml: Changes of the training's options, see `forced`.

    Returns:
        The results with the choice; `name_of` gives the names of the restorers.

    Raises:
        OptionError: Weights or option files that are invalid.
        ChildProcessError: A training failed.
    """
    run = read_options(file, force_yml)
    check_out_folder(out)
    check_type(run.get('name'), str, f'{file}: name')  # with a weight after it, anything would be text
    check_folder_name(run['name'], f'{file}: name', 'experiments')
    block = (run.get('train') or {}).get('recog_opt')
    if not isinstance(block, Mapping):
        raise OptionError(f'{file}: train.recog_opt: expected one recognition loss, whose weight is to be varied.')
    if 0 not in weights or len(set(weights)) < 2 or not all(0 <= weight < math.inf for weight in weights):
        raise OptionError(f'sweep: expected 0 and at least one weight above it, got {", ".join(map(str, weights))}.')
    if len(set(map(name_of, weights))) < len(set(weights)):
        raise OptionError('sweep: expected weights that differ in six digits, got '
                          f'{", ".join(map(str, sorted(set(weights))))}.')
    if max_psnr_drop is not None and not 0 <= max_psnr_drop < math.inf:
        raise OptionError(f'sweep: max_psnr_drop: expected a number of dB >= 0, got {max_psnr_drop}.')
    opt = {**read_options(evaluation_file), 'restorers': {}, 'baseline': name_of(0)}
    for name, data in (opt.get('datasets') or {}).items():
        if max_psnr_drop is not None and isinstance(data, Mapping) and has_no_clean(data):
            raise OptionError(f'{evaluation_file}: datasets.{name}: {_NO_PSNR}')
    for weight in sorted(set(weights)):
        weighted = with_weight(run, weight)
        option_file = out / 'options' / f'{weighted["name"]}.yml'
        train(root, option_file, weighted)
        opt['restorers'][name_of(weight)] = {'option_file': shown_path(option_file, root)}
    evaluation = Evaluation(root, opt)
    results, _ = evaluation.run(out, batch_size, command=command)
    results = replace(results, sweep=answer(results, max_psnr_drop))
    write_results(evaluation, results, out)
    return results


def with_weight(run: Mapping[str, Any], weight: float) -> dict[str, Any]:
    """Return the options of a training with another weight of its recognition loss; for 0, without that loss."""
    run = copy.deepcopy(dict(run)) if weight else without_recognition(run)
    run['name'] = f'{run["name"]}_weight{weight:g}'
    if weight:
        run['train']['recog_opt']['loss_weight'] = weight
    return run


def without_recognition(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the same training with its image loss alone."""
    run = copy.deepcopy(dict(run))
    del run['train']['recog_opt']
    judges = (run.get('val') or {}).get('recognizers') or {}
    for name in [name for name, block in judges.items() if is_trainable(block)]:
        del judges[name]
    # without the loss there is nothing to train them by, or to keep near anything
    for key in ('anchor_opt', 'network_t', 'optim_t', 'scheduler_t', 'optim_r', 'scheduler_r'):
        run.pop(key, None)
        run['train'].pop(key, None)
    return run
