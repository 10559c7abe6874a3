"""Predictions on the grid of ``ori_shape``, whatever happened to the image's size before it was resized."""


class ScaleToOriShape:
    """The scale factor from ``ori_shape`` to the resized image, by which mmdet divides the boxes that it predicts.

    mmdet's ``Resize`` measures from the image that it is given. That is another one where ``RestoreImage`` kept
    ``ori_shape``, or where ``DegradeImage`` shrank the image and nothing restored it. Put this right after ``Resize``,
    before any padding; elsewhere it changes nothing. mmseg looks at ``ori_shape`` alone and does not need it.
    """

    def __call__(self, results: dict) -> dict:
        """Sets ``scale_factor`` to (width, height) of ``img_shape`` over those of ``ori_shape``."""
        (height, width), (ori_height, ori_width) = results['img_shape'][:2], results['ori_shape'][:2]
        results['scale_factor'] = (width / ori_width, height / ori_height)
        return results
