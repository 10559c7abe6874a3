"""A survey of two finished runs: images of the validation set on which a recognizer answers them differently."""
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader, Subset

from ra_plugin.data.degraded_image_dataset import check_least
from ra_plugin.engine.comparison import load_network
from ra_plugin.engine.loaders import build_dataset
from ra_plugin.engine.option_file import resolve_paths
from ra_plugin.evaluation.quality import to_uint8
from ra_plugin.options import OptionError, suggestion
from ra_plugin.recognizers import Recognizer, build_recognizer
from ra_plugin.report.survey import SurveyItem, build_survey, check_free
from ra_plugin.utils.progress import progress

T = TypeVar('T')
Answer = Callable[[torch.Tensor], Sequence[str]]  # images (N, 3, H, W) in [0, 1] -> what each shows, in words


def survey_runs(root: Path, files: Mapping[str, Path], judge: str, out: Path, number: int = 100,
                num_images: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Write a survey of images on which the judge answers differently after the two runs' networks.

    Args:
        root: The repository; networks are in ``experiments``.
        files: Name -> option file of a finished run; two of them. The first file's ``datasets.val`` and
            ``val.recognizers`` are used.
        judge: The one of ``val.recognizers`` whose answers are asked about.
        out: Folder for ``survey.html`` and ``key.json``.
        number: Questions; fewer where there are fewer such images.
        num_images: How many images, drawn at random, the judge is asked about. Default: all of the data set.
        seed: Of what is drawn here; what is A and what is B does not follow from it.

    Returns:
        What ``key.json`` holds.

    Raises:
        OptionError: Not two runs, no such judge, or one that is no classifier with named classes.
        FileExistsError: The folder has a survey already.
        ValueError: The answers differ nowhere.
    """
    if len(files) != 2:
        raise OptionError(f'survey: expected two runs, plain=FILE RA=FILE, got {len(files)}.')
    for option, value in (('number', number), ('num_images', num_images)):
        check_least(value, 1, f'survey: {option}')
    check_free(out)  # before the judge is asked, which may cost hours or money
    opt = yaml.safe_load(next(iter(files.values())).read_text())
    resolve_paths(opt, root)
    blocks = opt['val'].get('recognizers') or {}
    if judge not in blocks:
        raise OptionError(f"val.recognizers: no '{judge}'.{suggestion(judge, blocks)} Known: {', '.join(blocks)}")
    dataset = build_dataset({**opt['datasets']['val'], 'phase': 'val', 'scale': opt['scale']})
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    recognizer = build_recognizer(blocks[judge], f'val.recognizers.{judge}').to(device)
    answer = _answering(recognizer, dataset)
    networks = [load_network(root, path).to(device) for path in files.values()]

    rng = np.random.default_rng(seed)
    images = len(dataset) if num_images is None else min(num_images, len(dataset))
    chosen = Subset(dataset, sorted(rng.choice(len(dataset), images, replace=False).tolist()))
    loader = DataLoader(chosen, opt['datasets']['val'].get('batch_size_per_gpu', 1))
    batches = progress(loader, 'Restoring and judging', unit='batch')
    items, differing = reservoir(disagreements(batches, networks, answer, device), number, rng)
    settings = {'option_files': {name: str(path) for name, path in files.items()}, 'judge': judge, 'seed': seed,
                'images': images, 'images_that_differ': differing}
    return build_survey(items, out, tuple(files), settings)


@torch.no_grad()
def disagreements(batches: Iterable[Mapping], networks: Sequence[nn.Module], answer: Answer,
                  device: torch.device | str = 'cpu') -> Iterator[SurveyItem]:
    """The images on which the answers after two networks differ; each is judged as it would be saved, with 8 bits.

    Args:
        batches: ``{'lq', 'gt', 'gt_path'}``: images in ``[0, 1]``.
        networks: Two of them: ``lq`` -> restored images.
        answer: The judge.
    """
    for batch in batches:
        lq = batch['lq'].to(device)
        answers = [answer(to_uint8(network(lq)).to(lq.dtype) / 255) for network in networks]
        targets = to_uint8(batch['gt']).permute(0, 2, 3, 1).numpy()
        for path, target, first, second in zip(batch['gt_path'], targets, *answers):
            if first != second:
                yield SurveyItem(path, target.copy(), (first, second))  # a view would keep the whole batch


def reservoir(items: Iterable[T], number: int, rng: np.random.Generator) -> tuple[list[T], int]:
    """``number`` of the items, each as likely as any other, and how many there were; no more than that are kept."""
    kept: list[T] = []
    seen = 0
    for seen, item in enumerate(items, 1):
        if len(kept) < number:
            kept.append(item)
        elif (place := int(rng.integers(seen))) < number:
            kept[place] = item
    return kept, seen


def _answering(recognizer: Recognizer, dataset) -> Answer:
    """The likeliest class in words: the recognizer's names of its classes, or those of the data set."""
    if recognizer.info.task != 'classification':
        raise OptionError(f'{recognizer}: expected a classifier for the survey, got {recognizer.info.task}.')
    names = recognizer.info.classes or getattr(dataset, 'classes', None)
    if not names or len(names) != recognizer.info.num_classes:
        raise OptionError(f'{recognizer}: its {recognizer.info.num_classes} classes have no names to ask people about. '
                          'Give datasets.val the list of them: classes.')
    return lambda images: [names[label] for label in recognizer.predict(images)['labels'][:, 0].tolist()]
