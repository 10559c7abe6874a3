"""Transform for predictions at the size ``ori_shape``, independent of size changes before ``Resize``."""


class ScaleToOriShape:
    """Correction of the scale factor, by which mmdet divides boxes, to that from ``ori_shape`` to the resized image.

    mmdet's ``Resize`` computes it from its input image, whose size differs from ``ori_shape`` if ``RestoreImage`` kept
    ``ori_shape``, or if ``DegradeImage`` shrank the image and it was not restored. Put this directly after ``Resize``,
    before any padding; in other pipelines it changes nothing. mmseg only uses ``ori_shape`` and does not need it.
    """

    def __call__(self, results: dict) -> dict:
        """Set ``scale_factor`` to (width, height) of ``img_shape`` divided by those of ``ori_shape``."""
        (height, width), (ori_height, ori_width) = results['img_shape'][:2], results['ori_shape'][:2]
        results['scale_factor'] = (width / ori_width, height / ori_height)
        return results
