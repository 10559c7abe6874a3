"""Padding by the border of images, with a gradient that is the same in each run."""
import torch


def repeat_edge(images: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Repeat the last row and the last column of ``(..., H, W)`` at the bottom and at the right.

    It is torch's padding by the border, whose gradient on a GPU is summed in any order.

    Args:
        images: Images.
        rows: Number of rows to add.
        columns: Number of columns to add.
    """
    for axis, count in ((-2, rows), (-1, columns)):
        if count:
            last = images.narrow(axis, images.shape[axis] - 1, 1)
            shape = list(images.shape)
            shape[axis] = count
            images = torch.cat([images, last.expand(shape)], axis)
    return images
