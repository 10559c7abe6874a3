"""Images of words with the words, degraded on the fly: ``{lq, gt, label, lq_path, gt_path}``."""
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ra_plugin.data.files import check_folder, evenly_spaced_sample
from ra_plugin.data.image_file import read_image
from ra_plugin.data.spatial_label_dataset import SpatialLabelDataset, SpatialLabelOptions
from ra_plugin.data.spellings import FilesOnDisk
from ra_plugin.data.word_list import only_of, read_words
from ra_plugin.option_types import Characters, FilePath, Positive
from ra_plugin.options import OptionError
from ra_plugin.recognizers.characters import read_characters
from ra_plugin.recognizers.word_input import WordInput

_LOOKED_AT = 1000  # images whose size is read before a training


@dataclass(frozen=True, kw_only=True)
class TextOptions(SpatialLabelOptions):
    """Options of a :class:`TextDataset` block.

    Attributes:
        dataroot_gt: Folder of the clean images, each of one word or line.
        label_file: List of the images and their words, with paths relative to ``dataroot_gt``: CSV or JSON of paths and
            words, ICDAR's text file (``word_1.png, "Text"``), or a text file of ``name<TAB>word``.
        characters: Characters of the words to use, as one text, a list, or a text file (.txt) with one a line; images
            of other words are left out. Default: all.
        size: ``[height, width]`` of all images, so that they form batches: each is resized to the height, its width
            follows, up to ``width``, and the rest repeats its last column. A training warns of words that are squeezed.
            Default: each image as it is.
        min_length, max_length: Least and greatest number of characters. Default: 1, and no limit.
    """
    label_file: FilePath
    characters: Characters | None = None
    size: Sequence[Positive] | None = None
    min_length: Positive = 1
    max_length: Positive | None = None

    def __post_init__(self):
        super().__post_init__()
        for key in ('crop_size', 'use_hflip', 'scale_range'):
            if getattr(self, key):
                raise OptionError('not for words: their letters would be cut, mirrored or change their size. Remove '
                                  'it.', key)
        if self.size is None:
            return
        if len(self.size) != 2 or self.resize is not None:
            raise OptionError(f'expected [height, width], and no resize beside it, got {self.size}.', 'size')
        for side in self.size:
            self.check_divides(side, 'size')


class TextDataset(SpatialLabelDataset):
    """Data set of clean images of words, the words, and the degraded images.

    Args:
        opt: The dataset's block of a BasicSR option file; keys as in :class:`TextOptions`.

    Attributes:
        paths: File of each image.
        words: Word of each image.

    Shape:
        An item is as in :class:`DegradedImageDataset`; ``label`` is the word, and in a batch a list of N words.

    Raises:
        OptionError: On construction: a key is unknown or missing, a value has the wrong type or is out of range, or the
            list is not as described.
        ValueError: When an item is read: the named file is unusable.
    """

    options_type = TextOptions
    options: TextOptions
    classes = num_classes = None

    def __init__(self, opt: Mapping[str, Any]):
        super().__init__(opt)
        options, root, place = self.options, self.options.dataroot, f'{self.where}.label_file'
        check_folder(root, f'{self.where}.dataroot_gt')
        listed = read_words(options.label_file, place)
        longest = options.max_length or max((len(word) for _, word in listed), default=0)
        characters = options.characters and read_characters(options.characters, self.where)
        kept = [(name, word) for name, word in only_of(listed, characters)
                if options.min_length <= len(word) <= longest]
        if not kept:
            raise OptionError(f"{place}: expected words, got none of the {len(listed)} in '{options.label_file}' with "
                              'these characters and lengths.')
        there = FilesOnDisk(root, place)
        names = [(there.find(name), name) for name, _ in kept]
        missing = next((name for found, name in names if found is None), None)
        if missing is not None:
            raise OptionError(f"{place}: '{options.label_file}' lists '{missing}', which is not in '{root}'. Paths in "
                              'it are relative to dataroot_gt.')
        self.paths = [os.path.join(root, found) for found, _ in names if found is not None]
        self.words = [word for _, word in kept]
        self.keep_part('words')

    def load(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        path = self.paths[index]
        image = read_image(path, self.options.max_pixels, self.options.exif_orientation or 'ignore')
        if self.options.size is None:
            return self.draw(image.size, path, rng).image(image), self.words[index]
        return _fitted(image, *self.options.size), self.words[index]

    def squeezed(self) -> tuple[int, int]:
        """Return how many images have letters that ``size`` makes much narrower, and how many were looked at."""
        if self.options.size is None:
            return 0, 0
        height, width = self.options.size
        fitted, indices = WordInput(height, width), evenly_spaced_sample(len(self.paths), _LOOKED_AT)
        return sum(fitted.squeezes(*self._size_of(index)) for index in indices), len(indices)

    def _size_of(self, index: int) -> tuple[int, int]:
        try:
            with Image.open(self.paths[index]) as image:
                return image.height, image.width
        except (OSError, ValueError, Image.DecompressionBombError):  # it is refused when it is read
            return 1, 1

    def collate_labels(self, labels: Sequence[str], height: int, width: int) -> list[str]:
        return list(labels)


def _fitted(image: Image.Image, height: int, width: int) -> np.ndarray:
    """Return ``(height, width, 3)``: the image resized to the height, and its last column repeated at the right."""
    own = min(width, max(1, round(image.width * height / image.height)))
    pixels = np.asarray(image if image.size == (own, height) else image.resize((own, height),
                                                                               Image.Resampling.BICUBIC))
    return np.concatenate([pixels, np.repeat(pixels[:, -1:], width - own, 1)], 1)
