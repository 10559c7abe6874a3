"""Check before a run begins that data sets have the labels or clean images that judging needs."""
import logging
from collections.abc import Mapping, Sequence

from basicsr.utils.registry import DATASET_REGISTRY

from ra_plugin.builders.identity_pairs import check_pairs
from ra_plugin.builders.networks import registered
from ra_plugin.data.given import given_by, neither
from ra_plugin.data.image_dataset import ImageDataset
from ra_plugin.library_errors import translated
from ra_plugin.metrics.task_scores import build_score
from ra_plugin.models.validation_metrics import needs_clean
from ra_plugin.options import OptionError
from ra_plugin.recognizers import Recognizer


def has_no_labels(block: Mapping) -> bool:
    """Return whether this is one of BasicSR's own data sets as it is, or one of ours that has none.

    A user's own is known once it is built.
    """
    cls = registered(DATASET_REGISTRY, block['type'], '', 'data set') if block else None
    if cls is None or not getattr(cls, 'gives_labels', True):
        return cls is not None
    return cls.__module__.startswith('basicsr.') and not block.get('labels')


def has_no_clean(block: Mapping) -> bool:
    """Return whether a data set's block alone tells that it gives no clean images."""
    cls = registered(DATASET_REGISTRY, block['type'], '', 'data set') if block else None
    if cls is None or not cls.__module__.startswith(('basicsr.', 'ra_plugin.')):
        return False
    return cls.__name__ == 'SingleImageDataset' or bool(block.get('dataroot_lq') and not block.get('dataroot_gt'))


def check_given(block: Mapping, where: str) -> None:
    """Check a block, without reading files, for labels or clean images.

    Raises:
        OptionError: The data set gives neither labels nor clean images.
    """
    if has_no_labels(block) and has_no_clean(block):
        raise OptionError(neither(where, block['type']))


def check_metrics_given(opt: Mapping, logger: logging.Logger | None = None) -> None:
    """Check that the metrics of ``val.metrics`` that compare with clean images have some.

    Raises:
        OptionError: No validation set has clean images.
    """
    metrics = [name for name, block in ((opt.get('val') or {}).get('metrics') or {}).items() if needs_clean(block)]
    phases = [phase for phase in opt.get('datasets') or {} if phase != 'train']
    without = [phase for phase in phases if has_no_clean(opt['datasets'][phase])]
    if not metrics or not without:
        return
    if len(without) == len(phases):
        raise OptionError(f'val.metrics.{metrics[0]}: it compares with clean images, and datasets.{without[0]} '
                          f'({opt["datasets"][without[0]]["type"]}) gives none. Leave it out; val.recognizers judge '
                          'labeled images without it.')
    if logger is not None:
        logger.warning(f'val.metrics: {", ".join(metrics)} compare with clean images: none of '
                       f'{", ".join(f"datasets.{phase}" for phase in without)}, which have none.')


def check_judges(opt: Mapping, datasets: Sequence[ImageDataset], judges: Mapping[str, Recognizer],
                 logger: logging.Logger | None = None) -> None:
    """Check that the metrics of every recognizer of ``val.recognizers`` can be computed on its data sets.

    Raises:
        OptionError: A data set gives neither labels nor clean images, or not what the metrics need.
    """
    metrics = (opt.get('val') or {}).get('recognition_metrics') or {}
    for dataset in datasets if judges else ():
        where = f'val.recognizers: datasets: {dataset.opt["name"]}'
        given = given_by(dataset, where)
        for judge in judges.values():
            with translated(f'val.recognition_metrics.{judge.info.task}'):
                build_score(judge.info, metrics.get(judge.info.task), given.labels, given.clean)
        for sentence in check_pairs(dataset, judges, metrics, given, where):
            if logger is not None:
                logger.warning(sentence)
