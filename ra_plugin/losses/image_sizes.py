"""Removal of the padding in batches of images of different sizes, so that a loss sees images without it."""
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

Sizes = Sequence[Sequence[int]] | torch.Tensor | None


def checked_sizes(sizes: Sizes, output: torch.Tensor, where: str) -> list[tuple[int, int]] | None:
    """Return ``(height, width)`` of each image as integers; None if no image is padded.

    Raises:
        ValueError: There is not one pair per image, or a pair exceeds the size of the batch.
    """
    if sizes is None:
        return None
    pairs = sizes.tolist() if isinstance(sizes, torch.Tensor) else [
        list(pair) if isinstance(pair, Sequence) else pair for pair in sizes]
    height, width = output.shape[-2:]
    if len(pairs) != len(output) or not all(
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(side, int) for side in pair)
            for pair in pairs):
        raise ValueError(f'{where}: sizes: expected (height, width) for each of {len(output)} images, got {sizes}.')
    for i, (rows, columns) in enumerate(pairs):
        if not (1 <= rows <= height and 1 <= columns <= width):
            raise ValueError(f'{where}: sizes: image {i}: expected at most {height}x{width}, the size of the batch, '
                             f'got {rows}x{columns}.')
    return None if all(pair == [height, width] for pair in pairs) else [
        (rows, columns) for rows, columns in pairs]


def parts_of_one_size(output: torch.Tensor, target: Any, sizes: list[tuple[int, int]] | None,
                      ) -> Iterator[tuple[list[int], torch.Tensor, Any]]:
    """Yield, for each size in the batch, the indices of its images, the images and their targets, without padding.

    Args:
        output: ``(N, 3, H, W)``.
        target: Clean images ``(N, 3, H, W)``, label maps ``(N, H, W)``, class ids ``(N,)``, or a list with one label
            per image. Padding is at the right and the bottom.
        sizes: Result of `checked_sizes`.
    """
    if sizes is None:
        yield list(range(len(output))), output, target
        return
    for height, width in dict.fromkeys(sizes):
        places = [i for i, size in enumerate(sizes) if size == (height, width)]
        yield (places, output[places, :, :height, :width], _cut(target, places, height, width))


def _cut(target: Any, places: list[int], height: int, width: int) -> Any:
    if isinstance(target, torch.Tensor):
        return target[places, ..., :height, :width] if target.dim() > 2 else target[places]
    own = [target[i] for i in places]
    return [{**label, 'size': (height, width)} if isinstance(label, Mapping) else label for label in own]  # or words
