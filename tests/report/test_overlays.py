"""Boxes and masks drawn into an image."""
import numpy as np
import torch

from ra_plugin.report.overlays import class_colors, draw_boxes, draw_mask


def test_mask_is_blended_and_void_is_not():
    image = np.full((2, 2, 3), 100, np.uint8)
    drawn = draw_mask(image, np.array([[0, 1], [255, 1]]), 2)
    expected = 100 + 0.55 * (class_colors(2).astype(float) - 100)
    assert np.abs(drawn[0, 0] - expected[0]).max() <= 0.5 and np.abs(drawn[1, 1] - expected[1]).max() <= 0.5
    assert (drawn[1, 0] == 100).all() and (image == 100).all()


def test_boxes_above_the_score_are_drawn_in_their_class_s_color():
    image = np.zeros((40, 40, 3), np.uint8)
    objects = {'boxes': torch.tensor([[5., 5, 20, 20], [25, 25, 35, 35]]), 'labels': torch.tensor([1, 0]),
               'scores': torch.tensor([0.9, 0.1])}
    drawn = draw_boxes(image, objects, None, 3)
    assert (drawn[20, 12] == class_colors(3)[1]).all() and not drawn[25:36, 25:36].any()
    assert len({tuple(color) for color in class_colors(20).tolist()}) == 20
