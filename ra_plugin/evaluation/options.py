"""Read and check the option file of an evaluation before anything is built."""
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml

from ra_plugin.builders.forced_options import forced
from ra_plugin.builders.option_file import import_own
from ra_plugin.builders.option_paths import check_folder_name, resolve_paths
from ra_plugin.evaluation.restorers import RestorerBlock, RestorerOptions
from ra_plugin.metrics.pyiqa_metrics import PyiqaOptions
from ra_plugin.metrics.recognition_metrics import RecognitionMetrics
from ra_plugin.option_types import NonNegative, Positive
from ra_plugin.options import Limits, OptionError, build_block, check_type, option_hints, unknown
from ra_plugin.registry import DegradationBlock, RecognizerBlock
from ra_plugin.results import CLEAN, NONE
from ra_plugin.type_hints import TypedBlock
from ra_plugin.utils.yaml_file import read_yaml


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """Keys of an evaluation's option file.

    Attributes:
        name: Name of the folder of the results.
        datasets: Name -> block of a data set, as in a training's option file.
        degradations: Name -> block; every data set is degraded in each of these ways. Default: as the data sets say.
        restorers: Name -> block of a restorer, see below. ``{}``: clean images and no processing alone are judged.
        recognizers: Name -> block; beside a recognizer's own keys it may have ``conditions``, a list of the conditions
            (data sets under a degradation) that it judges. Default: all.
        baseline: Restorer that the others are compared with, or ``no processing``. Default: ``plain`` if there is one,
            else ``no processing``.
        recognition_metrics: Task -> metric or metrics, as in ``val``; those are computed that the data set allows.
        quality_metrics: Names of pyiqa's metrics, or name -> options, beside PSNR and SSIM.
        images: Number of images, evenly spaced over each data set. Default: all.
        audit: Number of images, evenly spaced over the data set, on which the gain is audited and clean images are
            restored; 0 for none.
        seed: Seed of the bootstrap and of the choice of images that are shown.
        custom_imports: Modules to import first, e.g. with recognizers of your own.
    """
    name: str
    datasets: Mapping[str, TypedBlock]
    degradations: Mapping[str, DegradationBlock] = field(default_factory=dict)
    restorers: Mapping[str, RestorerBlock]
    recognizers: Mapping[str, RecognizerBlock]
    baseline: str | None = None
    recognition_metrics: RecognitionMetrics = field(default_factory=dict)
    quality_metrics: Mapping[str, PyiqaOptions | None] | Sequence[str] = ()
    images: Positive | None = None
    audit: NonNegative = 1000
    seed: Annotated[int, Limits(least=0, most=2 ** 63 - 1, whole=True)] = 0
    custom_imports: Sequence[str] | None = None

    @property
    def compared_with(self) -> str:
        """Name of the baseline: the one that the file names, or the default."""
        default = 'plain' if 'plain' in self.restorers else NONE
        return default if self.baseline is None else self.baseline

    def __post_init__(self):
        check_folder_name(self.name, 'name', 'results')
        for key in ('datasets', 'recognizers'):
            if not getattr(self, key):
                raise OptionError('expected at least one, got none.', key)
        for key, names in (('restorers', (CLEAN, NONE)), ('quality_metrics', ('psnr', 'ssim'))):
            for name in names:
                if name in getattr(self, key):
                    raise OptionError('this is always there. Choose another name, or leave it out.', f'{key}.{name}')


# restorers are checked once they are completed by the option files of their runs
ANNOTATIONS = {**option_hints(EvaluationOptions), 'restorers': Mapping[str, RestorerOptions]}


def evaluation_options(opt: Mapping[str, Any], root: Path) -> tuple[EvaluationOptions, dict[str, Any]]:
    """Check the options of an evaluation; what needs a data set or a network is checked with that.

    Args:
        opt: Options as in the file.
        root: Relative paths are looked up below it, too.

    Returns:
        The options, paths resolved; and for each recognizer the conditions that it judges, or None for all.

    Raises:
        OptionError: They are invalid.
    """
    opt = copy.deepcopy(dict(opt))
    import_own(opt)
    resolve_paths(opt, root, ANNOTATIONS)
    judged = _take_conditions(opt.get('recognizers'))
    return build_block(EvaluationOptions, opt, ''), judged


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
    """Yield the name and block of each data set under each degradation."""
    for name, block in options.datasets.items():
        block = {'phase': 'test', 'name': name, **block}
        if not options.degradations:
            yield name, block
        for degradation_name, degradation in options.degradations.items():
            if block.get('degradation'):
                raise OptionError(f'datasets.{name}.degradation: the file has degradations, too. Leave one of them '
                                  'out.')
            yield f'{name} {degradation_name}', {**block, 'degradation': degradation}


def _take_conditions(recognizers: Any) -> dict[str, Sequence[str] | None]:
    """Take the key ``conditions`` out of each recognizer's block, and return the conditions that it judges."""
    found = {}
    for name, block in recognizers.items() if isinstance(recognizers, Mapping) else ():
        found[name] = block.pop('conditions', None) if isinstance(block, dict) else None
        check_type(found[name], Sequence[str] | None, f'recognizers.{name}.conditions')
    return found


def check_conditions(options: EvaluationOptions, asked: Mapping[str, Sequence[str] | None]) -> None:
    """Check names of conditions; ``asked``: place in the options -> names, or None for all."""
    known = [name for name, _ in conditions_of(options)]
    for where, names in asked.items():
        for name in names or ():
            if name not in known:
                raise unknown('condition', name, known, f'{where}.conditions')


def by_name(metrics: Mapping | Sequence[str]) -> dict[str, Any]:
    """Return the options of each metric by name, ``{}`` where it has none."""
    return {name: {} if block is None else block for name, block in (
        metrics if isinstance(metrics, Mapping) else dict.fromkeys(metrics)).items()}
