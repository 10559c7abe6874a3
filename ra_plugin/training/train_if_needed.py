"""Trainings that a study needs: those that are finished are taken, those that were stopped go on."""
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
from ra_plugin.shipped.find import find, shown_name
from ra_plugin.training.programs import run_program, signals_passed_on
from ra_plugin.utils.atomic import atomic_write
from ra_plugin.utils.text_file import read_text

_INPUTS = 'inputs.txt'


def is_trained(root: Path, run: Mapping[str, Any]) -> bool:
    """Return whether the run of these options is finished, and what it was made of is still the same."""
    folder = root / 'experiments' / run['name']
    return (folder / 'models' / 'net_g_latest.pth').exists() and _recorded(folder, run['name']) == run \
        and _same_inputs(root, run)


def inputs_digest(root: Path, run: Mapping[str, Any]) -> str:
    """Return a short text that changes with the weights, code and images that a training is made of.

    Weights and lists count by their content, images by their names and sizes.
    """
    run = copy.deepcopy(dict(run))
    import_own(run)
    resolve_paths(run, root, training_file(run))
    train = (run.get('datasets') or {}).get('train') or {}
    weights = {key: value for key, value in (run.get('path') or {}).items() if key.startswith('pretrain_network_')}
    losses = (run.get('train') or {}).get('recog_opt')
    return digest([contents(losses), contents(weights, Mapping[str, FilePath]), contents(train)])


def keep_inputs(root: Path, run: Mapping[str, Any]) -> None:
    """Write down what a finished training was made of."""
    atomic_write(inputs_digest(root, run), root / 'experiments' / run['name'] / _INPUTS)


def _same_inputs(root: Path, run: Mapping[str, Any]) -> bool:
    """True, too, where an older version has not written them down."""
    file = root / 'experiments' / run['name'] / _INPUTS
    return not file.exists() or file.read_text() == inputs_digest(root, run)


def train(root: Path, option_file: Path, run: Mapping[str, Any], threads: int | None = None) -> None:
    """Train, or go on with what was stopped; nothing where the finished run is there.

    Args:
        root: Folder that experiments are in; the training runs there.
        option_file: Where the options are written, as ``NAME.yml``.
        run: The options.
        threads: Of the training. Default: torch's.

    Raises:
        ChildProcessError: The training failed.
    """
    option_file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(yaml.safe_dump(dict(run), sort_keys=False), option_file)
    if is_trained(root, run):
        print(f'== {run["name"]}: trained already', flush=True)
        return
    print(f'== Training: {run["name"]}', flush=True)
    command = ['-m', 'ra_plugin', 'train', '-opt', option_file.absolute(), '--auto-resume']
    folder = root / 'experiments' / run['name']
    if _recorded(folder, run['name']) not in (None, run) or not _same_inputs(root, run):
        command.pop()  # another run of that name, or of other weights and images, which is moved aside
        (folder / _INPUTS).unlink(missing_ok=True)
    if run_program(command, threads, cwd=root) or not is_trained(root, run):
        raise ChildProcessError(f'The training of {option_file} ended early; the same command goes on.')
    keep_inputs(root, run)


def make(root: Path, file: str, command: Sequence[str], threads: int | None = None) -> None:
    """Make a file with a program; nothing where it is there.

    Args:
        root: Folder in which the program runs.
        file: Below it.
        command: ``-m``, a module, and arguments.
        threads: Of the program. Default: torch's.

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
    """Do so many at a time, each on its share of the cores; after a failure, or when told to end, no other one begins.

    Args:
        tasks: Take the number of threads, None for torch's own.
        jobs: At a time.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None
    pool = ThreadPoolExecutor(jobs)
    with signals_passed_on():
        try:
            for done in as_completed([pool.submit(task, threads) for task in tasks]):
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def shown_path(file: Path, root: Path) -> str:
    """Return a path below ``root`` or of a shipped file as option files name it: results name no machine's folders."""
    file = file.resolve()
    return str(file.relative_to(root.resolve())) if file.is_relative_to(root.resolve()) else shown_name(file)


def _recorded(folder: Path, name: str) -> Any:
    """The options that BasicSR has copied there."""
    file = folder / f'{name}.yml'
    return yaml.safe_load(read_text(file, 'options of the run')) if file.exists() else None
