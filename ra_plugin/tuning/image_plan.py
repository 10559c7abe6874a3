"""Three parts of a folder of images: to train on, to choose by and to report on; and the size they are used in."""
import os
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ra_plugin.builders.identity import digest
from ra_plugin.data.early_check import read_head
from ra_plugin.data.files import IMAGE_SUFFIXES, check_folder, files_below
from ra_plugin.data.image_file import read_image
from ra_plugin.data.part import places_within
from ra_plugin.options import OptionError
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.tuning.options import TuneOptions
from ra_plugin.utils.text import how_many

TRAIN, CHOOSE, REPORT = 'train', 'val', 'report'
PARTS: Mapping[str, tuple[float, float]] = {TRAIN: (0.0, 0.7), CHOOSE: (0.7, 0.85), REPORT: (0.85, 1.0)}
_LEAST = 5  # images in each part
_WHOLE = ('classification', 'embedding')  # tasks whose images are made squares of one size
_LARGEST = (480, 640)  # sides of images with boxes, masks or words, at most
_USUAL_SIDE = 224
_BATCHES = ((128 ** 2, 16), (256 ** 2, 8))  # pixels of an image, at most -> images in a batch
_THREADS = 8
_SHOWN = 3  # files in a message


@dataclass(frozen=True)
class ImagePlan:
    """Images of a tuning.

    Attributes:
        blocks: Part -> block of its data set.
        counts: Part -> number of images.
        batch_size: Images in an iteration.
        size: What is done with their size, in words.
        lists: File name -> lines of the lists of images that the blocks name.
        digest: Digest of the names and sizes of all images.
    """

    blocks: Mapping[str, dict[str, Any]]
    counts: Mapping[str, int]
    batch_size: int
    size: str
    lists: Mapping[str, Sequence[str]]
    digest: str = ''


def plan_images(options: TuneOptions, info: RecognizerInfo, scale: int, degradation: Mapping | None,
                out: Path) -> ImagePlan:
    """Divide the images, and choose the sizes and the labels' kind for a recognizer.

    Args:
        options: The tuning.
        info: Facts of the recognizer that is used.
        scale: Scale of the restorer.
        degradation: Block of the degradation; None with ``lq``.
        out: Folder in which lists of images will be.

    Raises:
        OptionError: There are too few images, images that are too small, or no labels of that kind.
    """
    root = os.path.abspath(os.path.expanduser(options.images))
    check_folder(root, '--images')
    names = sorted(files_below(root, IMAGE_SUFFIXES))
    common = {'dataroot_gt': root, 'exif_orientation': 'apply'} if info.task in _WHOLE else {'dataroot_gt': root}
    places = {part: places_within(names, *share) for part, share in PARTS.items()}
    counts = {part: len(found) for part, found in places.items()}
    if min(counts.values()) < _LEAST:
        got = ', '.join(f'{count} to {what}' for count, what in zip(
            counts.values(), ('train on', 'choose by', 'report on'), strict=True))
        raise OptionError(f'--images: {options.images} has {how_many(len(names), "image")}, which gives {got}: their '
                          f'paths decide. Expected at least {_LEAST} of each: add images, to some 100 or, better, '
                          'thousands.')
    sizes = _sizes(root, names, common.get('exif_orientation'))
    common |= _labels(options, info, root)
    keys, words, pixels = _size_keys(options, info, sizes, scale, common['type'])
    lists: dict[str, list[str]] = {}
    blocks = {}
    for part, share in PARTS.items():
        if options.lq is None:
            blocks[part] = {**common, 'degradation': degradation, 'part': list(share), **keys}
        else:
            file = f'{part}_images.txt'
            lists[file] = [names[place] for place in places[part]]
            blocks[part] = _pairs(options, root, str(out / file), part, scale, sizes)
    if options.lq is not None:
        _check_pairs(options, names)
        side = blocks[TRAIN]['gt_size']
        words, pixels = f'crops of {side}x{side} to train on, else whole images', side * side
    batch_size = options.batch_size or next((size for limit, size in _BATCHES if pixels <= limit), 4)
    return ImagePlan(blocks, counts, min(batch_size, counts[TRAIN]), words, lists, digest([names, sizes]))


def _sizes(root: str, names: Sequence[str], orientation: Any) -> list[tuple[int, int]]:
    """Return width and height of each image, from its first bytes; doubtful and unusual ones are decoded.

    Raises:
        OptionError: Files cannot be used as images.
    """
    paths = [os.path.join(root, name) for name in names]
    with ThreadPoolExecutor(_THREADS) as pool:
        heads = list(pool.map(read_head, paths))
    problems = []
    for path, head in zip(paths, heads, strict=True):
        if head.is_doubtful or not head.is_usual:
            try:
                read_image(path, None, orientation)
            except ValueError as error:
                problems.append(str(error).removeprefix(os.path.join(root, '')))
    if problems:
        more = f' ... and {len(problems) - _SHOWN} more' if len(problems) > _SHOWN else ''
        raise OptionError(f'--images: {how_many(len(problems), "file")} cannot be used: '
                          f'{" ".join(problems[:_SHOWN])}{more}')
    return [head.size for head in heads]


def _labels(options: TuneOptions, info: RecognizerInfo, root: str) -> dict[str, Any]:
    """Return the keys of a data set with the labels that the task has."""
    labels, task = options.labels, info.task
    if labels is None:
        return {'type': 'UnlabeledImageDataset'}
    path = os.path.abspath(os.path.expanduser(labels))
    if task in _WHOLE and labels == 'folders':
        return {'type': 'LabeledImageDataset'}
    if task == 'segmentation' and os.path.isdir(path):
        return {'type': 'SegmentationDataset', 'dataroot_mask': path, 'num_classes': info.num_classes}
    if task == 'detection' and os.path.isfile(os.path.join(root, 'ImageSets', 'Main', f'{labels}.txt')):
        return {'type': 'DetectionDataset', 'split': labels}
    if os.path.isfile(path) and task != 'segmentation':
        kind, key = {'detection': ('DetectionDataset', 'annotation_file'), 'text': ('TextDataset', 'label_file')}.get(
            task, ('LabeledImageDataset', 'meta_info'))
        return {'type': kind, key: path}
    expected = {'segmentation': 'a folder of masks', 'detection': "COCO's JSON file, or the name of a list in VOC's "
                'ImageSets/Main', 'text': 'a list of images and words'}.get(
                    task, 'folders, or a JSON or CSV file of images and classes')
    raise OptionError(f"--labels: expected {expected} for a recognizer of the task {task}, got '{labels}'.")


def _size_keys(options: TuneOptions, info: RecognizerInfo, sizes: Sequence[tuple[int, int]], scale: int,
               kind: str) -> tuple[dict[str, Any], str, float]:
    """Return the keys for the size of images, what they do in words, and the pixels of one."""
    shorter = [min(size) for size in sizes]
    is_uniform = len(set(sizes)) == 1
    if options.size is None and is_uniform and max(sizes[0]) <= _LARGEST[0]:
        return {}, f'as they are ({sizes[0][0]}x{sizes[0][1]})', sizes[0][0] * sizes[0][1]
    if kind == 'TextDataset' or info.task == 'text':
        return {}, 'as they are', statistics.median(width * height for width, height in sizes)
    if options.size is None and info.task not in _WHOLE:
        low, high = _LARGEST
        if max(shorter) <= low and max(map(max, sizes)) <= high:
            return {}, 'as they are', statistics.median(width * height for width, height in sizes)
        return {'resize': [low, high]}, f'resized to at most {high}x{low}', low * high
    side = options.size or max(info.input_size or (_USUAL_SIDE, _USUAL_SIDE))
    small = [size for size in shorter if size < side]
    if small and (options.size or len(small) < len(shorter) / 10):
        raise OptionError(f'--images: {how_many(len(small), "image")} of {len(shorter)} with a side of less than '
                          f'{side} pixels, the least {min(small)}. Remove them, or set --size '
                          f'{_multiple(min(small), scale)}.')
    side = _multiple(min(side, min(shorter)), scale)
    return ({'resize': side, 'crop_size': side}, f'shorter side resized to {side}, cropped to {side}x{side}',
            side * side)


def _multiple(side: int, scale: int) -> int:
    """Return the largest multiple of the scale up to a side."""
    if side < scale:
        raise OptionError(f'--images: expected sides of at least {scale} pixels, the scale of the restorer, got '
                          f'{side}.')
    return side // scale * scale


def _pairs(options: TuneOptions, root: str, file: str, part: str, scale: int,
           sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return the block of a data set of clean and degraded files."""
    block: dict[str, Any] = {'type': 'PairedImageDataset', 'dataroot_gt': root, 'io_backend': {'type': 'disk'},
                             'dataroot_lq': os.path.abspath(os.path.expanduser(options.lq or '')),
                             'meta_info_file': file}
    if options.labels is not None:
        block['labels'] = options.labels if options.labels == 'folders' else os.path.abspath(options.labels)
    if part == TRAIN:
        block |= {'gt_size': _multiple(min(options.size or _USUAL_SIDE, min(map(min, sizes))), scale),
                  'use_hflip': True, 'use_rot': False}
    return block


def _check_pairs(options: TuneOptions, names: Sequence[str]) -> None:
    """Check that each clean image has a degraded one of the same name."""
    folder = os.path.expanduser(options.lq or '')
    check_folder(folder, '--lq')
    missing = [name for name in names if not os.path.isfile(os.path.join(folder, name))]
    if missing:
        raise OptionError(f"--lq: expected the degraded image of '{missing[0]}' as '{missing[0]}' in {options.lq}, got "
                          f'none ({len(missing)} of {how_many(len(names), "image")}).')
    within = next((name for name in names if os.path.dirname(name)), None)
    if within and options.labels is None:  # BasicSR's data set of pairs reads one folder
        raise OptionError(f"--lq: expected images in one folder, got '{within}'. Move them into one, or give --labels "
                          'folders.')
