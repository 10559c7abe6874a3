"""Trainings that a study needs: those that are finished are taken, those that were stopped go on."""
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import yaml

from ra_plugin.utils.atomic import atomic_write


def is_trained(root: Path, run: Mapping[str, Any]) -> bool:
    """Whether the run of these options is finished."""
    folder = root / 'experiments' / run['name']
    return (folder / 'models' / 'net_g_latest.pth').exists() and _recorded(folder, run['name']) == run


def train(root: Path, option_file: Path, run: Mapping[str, Any], threads: int | None = None) -> None:
    """Train, or go on with what was stopped; nothing where the finished run is there.

    Args:
        root: The repository.
        option_file: Where the options are written, as ``NAME.yml``.
        run: The options.
        threads: Of the training. Default: torch's.

    Raises:
        RuntimeError: The training failed.
    """
    option_file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(yaml.safe_dump(dict(run), sort_keys=False), option_file)
    if is_trained(root, run):
        print(f'== {run["name"]}: trained already', flush=True)
        return
    print(f'== Training: {run["name"]}', flush=True)
    command = [sys.executable, root / 'tools' / 'train.py', '-opt', option_file, '--auto_resume']
    folder = root / 'experiments' / run['name']
    if _recorded(folder, run['name']) not in (None, run):
        command.pop()  # another run of that name, which is moved aside
    environment = {**os.environ, 'OMP_NUM_THREADS': str(threads)} if threads else None
    if subprocess.run(command, env=environment).returncode or not is_trained(root, run):
        raise RuntimeError(f'The training of {option_file} ended early; the same command goes on.')


def train_all(root: Path, folder: Path, runs: Sequence[Mapping[str, Any]], jobs: int = 1) -> None:
    """Train so many at a time, each on its share of the cores; after a failure, or Ctrl-C, no other one begins."""
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None
    pool = ThreadPoolExecutor(jobs)
    try:
        for done in as_completed([pool.submit(train, root, folder / f'{run["name"]}.yml', run, threads)
                                  for run in runs]):
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def shown_path(file: Path, root: Path) -> str:
    """Below the repository, where it is there: results should not name the folders of one machine."""
    file = file.resolve()
    return str(file.relative_to(root.resolve()) if file.is_relative_to(root.resolve()) else file)


def _recorded(folder: Path, name: str) -> Any:
    """The options that BasicSR has copied there."""
    file = folder / f'{name}.yml'
    return yaml.safe_load(file.read_text()) if file.exists() else None
