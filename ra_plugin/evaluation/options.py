"""The option file of an evaluation: its keys, and what can be checked before anything is built."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ra_plugin.builders.forced_options import forced
from ra_plugin.builders.option_paths import check_folder_name
from ra_plugin.metrics.task_scores import TASKS
from ra_plugin.options import OptionError, check_number, check_type, suggestion
from ra_plugin.registry import RECOGNIZER_REGISTRY
from ra_plugin.results import CLEAN, NONE
from ra_plugin.utils.yaml_file import read_yaml


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """The keys of an evaluation's option file.

    Attributes:
        name: Of the folder of its results.
        datasets: Name -> block of a data set, as in a training's option file.
        degradations: Name -> block; every data set is degraded in each of these ways. Default: as the data sets say.
        restorers: Name -> block, see :class:`RestorerOptions`.
        recognizers: Name -> block; beside a recognizer's own keys it may have ``conditions``, those that it judges.
            Default: all.
        baseline: The restorer that others are compared with, or ``'no processing'``. Default: see `default_baseline`.
        recognition_metrics: Task -> metric or metrics, of which each data set has those that it allows.
        quality_metrics: Names of pyiqa's metrics, or name -> options, beside PSNR and SSIM.
        images: Number of images, evenly spaced over each data set. Default: all.
        audit: Images, evenly spaced over the data set, on which the gain is audited and clean images are restored;
            0: none.
        seed: Of the bootstrap and of what is drawn to be shown.
        custom_imports: Modules to import first.
    """
    name: str
    datasets: Mapping
    degradations: Mapping = field(default_factory=dict)
    restorers: Mapping
    recognizers: Mapping
    baseline: str | None = None
    recognition_metrics: Mapping = field(default_factory=dict)
    quality_metrics: Mapping | Sequence[str] = ()
    images: int | None = None
    audit: int = 1000
    seed: int = 0
    custom_imports: Sequence[str] | None = None


def read_options(file: Path, force_yml: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the options in a file, with the changes of a command line, see `forced`.

    Raises:
        OptionError: It has none, or they cannot be changed like that.
    """
    try:
        opt = read_yaml(file, 'option file')
    except (yaml.YAMLError, OSError) as error:
        raise OptionError(f'option file: {error}') from None
    if not isinstance(opt, dict):
        raise OptionError(f'{file}: expected the keys of an evaluation, got {type(opt).__name__}.')
    return forced(opt, force_yml)


def conditions_of(options: EvaluationOptions) -> Iterator[tuple[str, dict]]:
    """Name and block of each data set under each degradation."""
    for name, block in options.datasets.items():
        block = {'phase': 'test', 'name': name, **block}
        if not options.degradations:
            yield name, block
        for degradation_name, degradation in options.degradations.items():
            if block.get('degradation'):
                raise OptionError(f'datasets.{name}.degradation: the file has degradations, too. Leave one of them '
                                  'out.')
            yield f'{name} {degradation_name}', {**block, 'degradation': degradation}


def take_conditions(recognizers: Mapping) -> dict[str, Sequence[str] | None]:
    """Recognizer -> the conditions that it judges, or None for all: a key that is taken out of its block."""
    found = {}
    for name, block in recognizers.items():
        found[name] = block.pop('conditions', None) if isinstance(block, dict) else None
        check_type(found[name], Sequence[str] | None, f'recognizers.{name}.conditions')
    return found


def check_conditions(options: EvaluationOptions, asked: Mapping[str, Sequence[str] | None]) -> None:
    """``asked``: place in the options -> names of conditions, or None for all."""
    known = [name for name, _ in conditions_of(options)]
    for where, names in asked.items():
        for name in names or ():
            if name not in known:
                raise OptionError(f"{where}.conditions: no condition '{name}'.{suggestion(name, known)} There are "
                                  f"{', '.join(known)}")


def check_names(options: EvaluationOptions) -> None:
    """Names, numbers of images and metrics; what needs a data set or a network is checked with that."""
    check_folder_name(options.name, 'name', 'results')
    for key in ('datasets', 'restorers', 'recognizers'):
        if not getattr(options, key):
            raise OptionError(f'{key}: expected at least one, got none.')
    for key in ('datasets', 'degradations', 'restorers', 'recognizers', 'recognition_metrics'):
        for name in getattr(options, key):
            check_type(name, str, f'{key}: name {name}')
    check_number(options.seed, 'seed', least=0, most=2 ** 63 - 1, whole=True)
    for name in (CLEAN, NONE):
        if name in options.restorers:
            raise OptionError(f"restorers.{name}: this is always there. Choose another name.")
    for key, least in (('audit', 0), ('images', 1)):
        value = getattr(options, key)
        if value is not None and value < least:
            raise OptionError(f'{key}: expected a number of images, {least} or more, got {value}.')
    for name, block in options.recognizers.items():
        RECOGNIZER_REGISTRY.check(block, f'recognizers.{name}')
    for task, metrics in options.recognition_metrics.items():
        if task not in TASKS:
            raise OptionError(f"recognition_metrics: no task '{task}'.{suggestion(task, TASKS)}")
        check_type(metrics, str | Sequence[str] | None, f'recognition_metrics.{task}')
    for name, block in by_name(options.quality_metrics).items():
        if name in ('psnr', 'ssim'):
            raise OptionError(f'quality_metrics.{name}: this is always there. Leave it out.')
        check_type(block, Mapping, f'quality_metrics.{name}')


def default_baseline(restorers: Any) -> str:
    """Return the restorer that others are compared with where the file names none: plain, if it is there."""
    return 'plain' if isinstance(restorers, Mapping) and 'plain' in restorers else NONE


def by_name(metrics: Mapping | Sequence[str]) -> dict[str, Any]:
    """Name -> options of a list of names, and of a block where some have no options."""
    return {name: {} if block is None else block for name, block in (
        metrics if isinstance(metrics, Mapping) else dict.fromkeys(metrics)).items()}
