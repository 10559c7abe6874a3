"""Transform for label maps whose value for 'no class' is not mmseg's 255."""
from collections.abc import Sequence

import numpy as np


class IgnoreLabels:
    """Replacement of given values in the label map by 255, which mmseg's losses and metrics ignore.

    Put this directly after ``LoadAnnotations``. ``BaseSegDataset`` has no setting for it: its label map is defined by
    class names.

    Args:
        values: Values in the files that mean no class, in 0..255, e.g. 11 for CamVid.

    Example:
        >>> dict(type='IgnoreLabels', values=[11])  # in a pipeline
    """

    def __init__(self, values: Sequence[int]) -> None:
        wrong = [value for value in values if type(value) is not int or not 0 <= value <= 255]
        if wrong:
            raise ValueError(f'IgnoreLabels.values: expected whole numbers from 0 to 255, got {wrong[0]!r}.')
        self.values = list(values)

    def __call__(self, results: dict) -> dict:
        """Set ``gt_seg_map``, uint8 ``(H, W)``."""
        label = results['gt_seg_map']
        results['gt_seg_map'] = np.where(np.isin(label, self.values), np.uint8(255), label)
        return results
