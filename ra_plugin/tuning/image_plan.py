"""Three parts of a folder of images: to train on, to choose by and to report on; and the size they are used in."""
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ra_plugin.builders.identity import digest
from ra_plugin.data.annotations import list_images
from ra_plugin.data.class_folder_paths import degraded_file
from ra_plugin.data.early_check import read_head
from ra_plugin.data.files import IMAGE_SUFFIXES, check_folder, files_below
from ra_plugin.data.image_file import read_image
from ra_plugin.data.part import places_within
from ra_plugin.data.spellings import FilesOnDisk
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


def image_names(options: TuneOptions) -> list[str]:
    """Return the paths of the images below their folder, in order; with labels by folder, of those in folders.

    Raises:
        OptionError: There are too few images, no folders of classes, or no degraded images.
    """
    root = _absolute(options.images)
    check_folder(root, '--images')
    names = sorted(files_below(root, IMAGE_SUFFIXES))
    if options.labels == 'folders' and names:
        names = [name for name in names if os.path.dirname(name)]
        if not names:
            raise OptionError(f'--labels folders: expected a folder for each class in {options.images}, got images '
                              'without folders. Move them into folders, or give labels of another kind, or none.')
        list_images(root, None, False, '--images')
    counts = [len(places_within(names, *share)) for share in PARTS.values()]
    if min(counts) < _LEAST:
        got = ', '.join(f'{count} to {what}' for count, what in zip(
            counts, ('train on', 'choose by', 'report on'), strict=True))
        raise OptionError(f'--images: {options.images} has {how_many(len(names), "image")}, which gives {got}: their '
                          f'paths decide. Expected at least {_LEAST} of each: add images, to some 100 or, better, '
                          'thousands.')
    if options.lq is not None:
        _check_pairs(options, names)
    return names


def plan_images(options: TuneOptions, names: Sequence[str], info: RecognizerInfo, scale: int,
                degradation: Mapping | None, out: Path) -> ImagePlan:
    """Divide the images, and choose the sizes and the labels' kind for a recognizer.

    Args:
        options: The tuning.
        names: What `image_names` gives.
        info: Facts of the recognizer that is used.
        scale: Scale of the restorer.
        degradation: Block of the degradation; None with ``lq``.
        out: Folder in which lists of images will be.

    Raises:
        OptionError: There are images that are too small or cannot be used, or no labels of that kind.
    """
    root = _absolute(options.images)
    common = {'dataroot_gt': root, 'exif_orientation': 'apply'} if info.task in _WHOLE else {'dataroot_gt': root}
    places = {part: places_within(names, *share) for part, share in PARTS.items()}
    counts = {part: len(found) for part, found in places.items()}
    sizes = _sizes(root, names, common.get('exif_orientation'))
    if options.lq is None:
        labels = _labels(options, info, root)
        keys, words, pixels = _size_keys(options, info, sizes, scale, labels['type'])
        common |= {**labels, **keys, 'degradation': degradation}
        blocks = {part: {**common, 'part': list(share)} for part, share in PARTS.items()}
        lists: dict[str, list[str]] = {}
    else:
        lists = {_list_of(part): [names[place] for place in found] for part, found in places.items()}
        side = _multiple(sizes, scale, options.size or _USUAL_SIDE)
        blocks = {part: _pairs(options, info, root, (out / _list_of(part)).absolute()) for part in PARTS}
        blocks[TRAIN] |= {'gt_size': side, 'use_rot': False}
        blocks[CHOOSE]['batch_size_per_gpu'] = 1  # whole images, which may be of several sizes
        words, pixels = f'crops of {side}x{side} to train on, else whole images', side * side
    blocks[TRAIN]['use_hflip'] = info.task != 'text'
    batch_size = options.batch_size or next((size for limit, size in _BATCHES if pixels <= limit), 4)
    return ImagePlan(blocks, counts, min(batch_size, counts[TRAIN]), words, lists,
                     digest([names, list(sizes.values())]))


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _list_of(part: str) -> str:
    return f'{part}_images.txt'


def _sizes(root: str, names: Sequence[str], orientation: Any) -> dict[str, tuple[int, int]]:
    """Return width and height of each image by its name, from its first bytes; doubtful and unusual ones are decoded.

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
    return {name: head.size for name, head in zip(names, heads, strict=True)}


def _labels(options: TuneOptions, info: RecognizerInfo, root: str) -> dict[str, Any]:
    """Return the keys of a data set with the labels that the task has."""
    labels, task = options.labels, info.task
    if labels is None:
        return {'type': 'UnlabeledImageDataset'}
    path = _absolute(labels)
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


def _size_keys(options: TuneOptions, info: RecognizerInfo, sizes: Mapping[str, tuple[int, int]], scale: int,
               kind: str) -> tuple[dict[str, Any], str, float]:
    """Return the keys for the size of images, what they do in words, and the pixels of one."""
    shorter = {name: min(size) for name, size in sizes.items()}
    first = next(iter(sizes.values()))
    usual = statistics.median(width * height for width, height in sizes.values())
    if options.size is None and len(set(sizes.values())) == 1 and max(first) <= _LARGEST[0]:
        return {}, f'as they are ({first[0]}x{first[1]})', usual
    if kind == 'TextDataset' or info.task == 'text':
        return {}, 'as they are', usual
    if options.size is None and info.task not in _WHOLE:
        low, high = _LARGEST
        if max(shorter.values()) <= low and max(map(max, sizes.values())) <= high:
            return {}, 'as they are', usual
        return {'resize': [low, high]}, f'resized to at most {high}x{low}', low * high
    side = options.size or max(info.input_size or (_USUAL_SIDE, _USUAL_SIDE))
    small = sorted((name for name in shorter if shorter[name] < side), key=lambda name: shorter[name])
    if small and (options.size or len(small) < len(shorter) / 10):
        raise OptionError(f'--images: {how_many(len(small), "image")} of {len(shorter)} with a side of less than '
                          f'{side} pixels: {_with_sizes(small, sizes)}. Remove them, or set --size '
                          f'{_multiple(sizes, scale)}.')
    side = _multiple(sizes, scale, side)
    return ({'resize': side, 'crop_size': side}, f'shorter side resized to {side}, cropped to {side}x{side}',
            side * side)


def _with_sizes(names: Sequence[str], sizes: Mapping[str, tuple[int, int]]) -> str:
    """Return the first names of images with their sizes, for a message."""
    shown = ', '.join(f"'{name}' ({sizes[name][0]}x{sizes[name][1]})" for name in names[:_SHOWN])
    return shown + (' and others' if len(names) > _SHOWN else '')


def _multiple(sizes: Mapping[str, tuple[int, int]], scale: int, most: float = math.inf) -> int:
    """Return the largest multiple of the scale, up to ``most``, that no side of an image is less than.

    Raises:
        OptionError: There is none.
    """
    smallest = min(sizes, key=lambda name: min(sizes[name]))
    side = min(*sizes[smallest], most)
    if side < scale:
        raise OptionError(f'--images: expected sides of at least {how_many(scale, "pixel")}, the scale of the '
                          f'restorer, got {_with_sizes([smallest], sizes)}. Remove it.')
    return int(side // scale * scale)


def _pairs(options: TuneOptions, info: RecognizerInfo, root: str, file: Path) -> dict[str, Any]:
    """Return the block of a data set of clean and degraded files, of which a file has a list."""
    block = {'type': 'PairedImageDataset', 'dataroot_gt': root, 'dataroot_lq': _absolute(options.lq or ''),
             'io_backend': {'type': 'disk'}, 'meta_info_file': str(file)}
    if options.labels is not None:
        if info.task not in _WHOLE:
            raise OptionError(f'--labels: with --lq expected those of a classifier, got {info.name} of the task '
                              f'{info.task}. Leave out --labels, or give --degradation in place of --lq.')
        block['labels'] = options.labels if options.labels == 'folders' else _absolute(options.labels)
    return block


def _check_pairs(options: TuneOptions, names: Sequence[str]) -> None:
    """Check that each clean image has a degraded one of the same name."""
    folder = _absolute(options.lq or '')
    check_folder(folder, '--lq')
    there = FilesOnDisk(folder, '--lq')
    missing = [name for name in names if degraded_file(name, folder, there) is None]
    if missing:
        raise OptionError(f"--lq: expected the degraded image of '{missing[0]}' as '{missing[0]}' in {options.lq}, got "
                          f'none ({len(missing)} of {how_many(len(names), "image")}).')
