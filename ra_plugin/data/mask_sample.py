"""Check of the values in a sample of masks against the options, since wrong values may be valid by accident."""
import logging

import numpy as np

from ra_plugin.options import OptionError
from ra_plugin.recognizers.facts import IGNORED
from ra_plugin.utils.text import how_many


class MaskSample:
    """Counts of values and labels over some masks of a data set.

    Args:
        num_classes: Number of classes.
        total: Number of masks in the data set.
    """

    def __init__(self, num_classes: int, total: int):
        self.num_classes, self.total = num_classes, total
        self.masks = 0
        self.values = np.zeros(256, np.int64)  # pixels of each value in the files
        self.labels = np.zeros(256, np.int64)  # pixels of each label

    def add(self, mask: np.ndarray, label: np.ndarray) -> None:
        """Count the stored values of a mask and its labels, both uint8 ``(H, W)``."""
        self.masks += 1
        self.values += np.bincount(mask.ravel(), minlength=256)
        self.labels += np.bincount(label.ravel(), minlength=256)

    def check(self, where: str, undecided: bool) -> None:
        """Check that the labels fit the classes; warn about classes that do not occur.

        Args:
            where: Place in the options, for messages.
            undecided: True if no option defines the meaning of 255.

        Raises:
            OptionError: Only 0 and 255 occur while ``undecided``, or no pixel has a class.
        """
        found = np.flatnonzero(self.values).tolist()
        if undecided and found == [0, IGNORED]:
            share = self.values[IGNORED] / self.values.sum()
            raise OptionError(f'{where}: expected class numbers, got only 0 and 255 in '
                              f'{how_many(self.masks, "mask")}, 255 in {share:.0%} of the pixels. If 255 is class 1, '
                              'write label_map: {0: 0, 255: 1}; if it means no class, write ignore_index: 255.')
        missing = np.flatnonzero(self.labels[:self.num_classes] == 0).tolist()
        # a sample need not have all of a hundred classes, but should have half of them
        if not self.masks or not missing or self.masks < self.total and 2 * len(missing) < self.num_classes:
            return
        counted = f'in {"its" if self.masks == self.total else "a sample of"} {how_many(self.masks, "mask")}'
        if len(missing) == self.num_classes and self.masks == self.total:
            raise OptionError(f'{where}: expected pixels with a class, got none {counted}: their values are '
                              f'{", ".join(map(str, found[:10]))}. Check label_map and ignore_index.')
        some = ', '.join(map(str, missing[:10])) + (', ...' if len(missing) > 10 else '')
        logging.getLogger('basicsr').warning(f'{where}: {len(missing)} of {how_many(self.num_classes, "class")} do '
                                             f'not occur {counted}: {some}. Values in the files: '
                                             f'{", ".join(map(str, found[:20]))}{", ..." if len(found) > 20 else ""}.')
