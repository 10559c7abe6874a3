"""Trainings for studies: finished ones are reused, interrupted ones are resumed."""
import copy
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import yaml

from ra_plugin.builders.identity import contents, digest
from ra_plugin.builders.option_file import import_own
from ra_plugin.builders.option_paths import resolve_paths, training_file
from ra_plugin.option_types import FilePath
from ra_plugin.shipped.find import find
from ra_plugin.training.programs import run_program, signals_passed_on
from ra_plugin.utils.atomic import atomic_write
from ra_plugin.utils.text_file import read_text

_INPUTS = 'inputs.txt'


def is_trained(root: Path, run: Mapping[str, Any]) -> bool:
    """Return True if the run of these options is finished and its inputs have not changed."""
    folder = root / 'experiments' / run['name']
    return (folder / 'models' / 'net_g_latest.pth').exists() and _recorded(folder, run['name']) == run \
        and _same_inputs(root, run)


def inputs_digest(root: Path, run: Mapping[str, Any]) -> str:
    """Return a digest of the weights, code and images that a training uses.

    Weights and lists are identified by their content, images by their names and sizes.
    """
    run = copy.deepcopy(dict(run))
    import_own(run)
    resolve_paths(run, root, training_file(run))
    train = (run.get('datasets') or {}).get('train') or {}
    weights = {key: value for key, value in (run.get('path') or {}).items() if key.startswith('pretrain_network_')}
    losses = (run.get('train') or {}).get('recog_opt')
    return digest([contents(losses), contents(weights, Mapping[str, FilePath]), contents(train)])


def keep_inputs(root: Path, run: Mapping[str, Any]) -> None:
    """Record the inputs of a finished training."""
    atomic_write(inputs_digest(root, run), root / 'experiments' / run['name'] / _INPUTS)


def _same_inputs(root: Path, run: Mapping[str, Any]) -> bool:
    """Return True if the inputs have not changed; also for a run of an older version, without a record."""
    file = root / 'experiments' / run['name'] / _INPUTS
    return not file.exists() or file.read_text() == inputs_digest(root, run)


def train(root: Path, option_file: Path, run: Mapping[str, Any], threads: int | None = None) -> None:
    """Train or resume a run; do nothing if it is finished.

    Args:
        root: Folder with ``experiments``, in which the training runs.
        option_file: File to write the options to, ``NAME.yml``.
        run: The options.
        threads: Number of threads of the training. Default: torch's own number.

    Raises:
        ChildProcessError: The training failed.
    """
    option_file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(yaml.safe_dump(dict(run), sort_keys=False), option_file)
    if is_trained(root, run):
        print(f'== {run["name"]}: already trained', flush=True)
        return
    print(f'== Training: {run["name"]}', flush=True)
    command = ['-m', 'ra_plugin', 'train', '-opt', os.path.abspath(option_file), '--root', os.path.abspath(root),
               '--auto-resume']
    folder = root / 'experiments' / run['name']
    if _recorded(folder, run['name']) not in (None, run) or not _same_inputs(root, run):
        command.pop()  # archive another run of that name, or with other weights and images, instead of resuming it
        (folder / _INPUTS).unlink(missing_ok=True)
    if run_program(command, threads) or not is_trained(root, run):
        raise ChildProcessError(f'The training of {option_file} ended early; the same command resumes it.')
    keep_inputs(root, run)


def make(root: Path, file: str, command: Sequence[str], threads: int | None = None) -> None:
    """Create a file with a program; do nothing if the file exists.

    Args:
        root: Folder in which the program runs.
        file: Path below ``root``.
        command: ``-m``, a module, and arguments.
        threads: Number of threads of the program. Default: torch's own number.

    Raises:
        ChildProcessError: The program failed.
    """
    if find(file, root):
        return
    print(f'== Making: {file}', flush=True)
    run_program(command, threads, cwd=root)
    if not (root / file).exists():
        raise ChildProcessError(f'{file} was not made; the same command tries again.')


def run_all(tasks: Sequence[Callable[[int | None], None]], jobs: int = 1) -> None:
    """Run tasks in parallel, each on its share of the cores; start no further task after a failure or a signal.

    Args:
        tasks: Functions of the number of threads; None for torch's own.
        jobs: Number of tasks at a time.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None
    pool = ThreadPoolExecutor(jobs)
    with signals_passed_on():
        try:
            for done in as_completed([pool.submit(task, threads) for task in tasks]):
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _recorded(folder: Path, name: str) -> Any:
    """Return the options that BasicSR copied to the folder of a run; None if there are none."""
    file = folder / f'{name}.yml'
    return yaml.safe_load(read_text(file, 'options of the run')) if file.exists() else None
