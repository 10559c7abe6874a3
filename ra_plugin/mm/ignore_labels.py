"""Label maps whose number for 'no class' is another than mmseg's 255."""
from collections.abc import Sequence

import numpy as np


class IgnoreLabels:
    """The label map with 255, which mmseg's losses and metrics ignore, in place of given values.

    Put this right after ``LoadAnnotations``. ``BaseSegDataset`` cannot: its label map goes by names of classes.

    Args:
        values: Values of the files that mean no class, each in 0..255; CamVid's is 11.

    Example:
        >>> dict(type='IgnoreLabels', values=[11])  # in a pipeline
    """

    def __init__(self, values: Sequence[int]) -> None:
        wrong = [value for value in values if type(value) is not int or not 0 <= value <= 255]
        if wrong:
            raise ValueError(f'IgnoreLabels.values: expected whole numbers from 0 to 255, got {wrong[0]!r}.')
        self.values = list(values)

    def __call__(self, results: dict) -> dict:
        """Sets ``gt_seg_map``, uint8 ``(H, W)``."""
        label = results['gt_seg_map']
        results['gt_seg_map'] = np.where(np.isin(label, self.values), np.uint8(255), label)
        return results
