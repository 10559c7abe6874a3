"""From a table of layers, as ultralytics keeps it in yaml files and checkpoints, to a network."""
import contextlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from torch import nn

from ra_plugin.options import OptionError, suggestion
from ra_plugin.recognizers.ultralytics_models.layer_table import HEADS, plain_table, task_of
from ra_plugin.recognizers.ultralytics_models.library import library, quiet
from ra_plugin.utils.text import first_line, one_line
from ra_plugin.utils.yaml_file import read_yaml

_SCALED = re.compile(r'(\d+)([nslmx])(?=\D|$)')  # yolov8n-seg is yolov8-seg of scale n


def read_layers(name: str, where: str) -> dict[str, Any]:
    """Return the table of a yaml file, or of one that the installed library brings: ``yolov8n.yaml``.

    Raises:
        ValueError: There is none of this name, or it is no yaml file.
    """
    path = Path(name)
    shipped = _shipped(library('ultralytics', where).__file__ or '')
    if not path.is_file():
        scaled = _SCALED.search(path.stem)
        plain = _SCALED.sub(r'\1', path.stem, count=1)
        found = shipped.get(path.stem) or (shipped.get(plain) if scaled else None)
        if found is None or path.name != name:
            known = [f'{stem}.yaml' for stem in shipped] + [f'{_of_scale_n(stem)}.yaml' for stem in shipped]
            raise ValueError(f'{where}: model: no file {name}, and ultralytics brings none of this name.'
                             f'{suggestion(name, known)} Known: {", ".join(f"{stem}.yaml" for stem in shipped)}')
        path = found
    scaled, table = _SCALED.search(Path(name).stem), _read_table(path, where)
    return {**table, 'scale': scaled[2] if scaled else '', 'yaml_file': name} if isinstance(table, dict) else {}


def _read_table(path: Path, where: str) -> Any:
    try:
        return read_yaml(path, where)
    except OptionError as error:
        raise ValueError(f'{where}: {path}: {one_line(error).removeprefix("option file: ")}') from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, 'problem_mark', None)
        line = f'line {mark.line + 1}: ' if mark else ''
        problem = getattr(error, 'problem', None) or first_line(error)
        raise ValueError(f'{where}: {path} is not YAML: {line}{one_line(problem)}.') from None


def smallest_tables(where: str) -> list[str]:
    """Return names of all yaml files that ultralytics brings, at the scale n where they have several."""
    shipped = _shipped(library('ultralytics', where).__file__ or '')
    return [f'{_of_scale_n(stem) if "n" in (read_yaml(path, where).get("scales") or ()) else stem}.yaml'
            for stem, path in shipped.items()]


def _of_scale_n(stem: str) -> str:
    return stem if _SCALED.search(stem) else re.sub(r'(\d+)', r'\1n', stem, count=1)


@cache
def _shipped(package: str) -> dict[str, Path]:
    """Return the yaml files that come with the package in a file, by name."""
    return {path.stem: path for path in sorted((Path(package).parent / 'cfg/models').rglob('*.yaml'))}


def build_network(table: Mapping[str, Any], where: str) -> nn.Module:
    """Check a table of layers, and build its network with random weights.

    Raises:
        ValueError: It is no such table, has layers or values that are not known, or its layers do not fit together.
        TaskError: Its network is for a task that is not known here.
    """
    checked = plain_table(table, where)
    task_of(checked, where)
    tasks = library('ultralytics.nn.tasks', where)
    try:
        with quiet(), _class_attributes_kept(tasks):
            return getattr(tasks, HEADS[checked['head'][-1][2]])(checked, ch=3, verbose=False)
    except Exception as error:  # of whichever layer
        raise ValueError(f'{where}: its table of layers makes no network ({type(error).__name__}: '
                         f'{first_line(error)}).') from error


@contextlib.contextmanager
def _class_attributes_kept(tasks: ModuleType) -> Iterator[None]:
    """Put back what the library sets on classes while it builds: the activation, and which variant heads are of."""
    kept = [(tasks.Conv, 'default_act', tasks.Conv.default_act)] + [
        (owner, 'legacy', vars(owner).get('legacy')) for owner in (getattr(tasks, name) for name in HEADS)]
    try:
        yield
    finally:
        for owner, name, value in kept:
            if value is not None:
                setattr(owner, name, value)
            elif name in vars(owner):
                delattr(owner, name)
