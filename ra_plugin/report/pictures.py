"""A grid of restored images with what a recognizer reads in each, chosen by rule."""
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ra_plugin.evaluation.scores import Scores

Captions = Mapping[str, Sequence[Sequence[tuple[str, bool]]]]
_GREEN, _RED, _GRAY = (20, 120, 40), (190, 30, 30), (90, 90, 90)


def choose(ours: Scores, plain: Scores, recognizer: str, helped: int = 5, harmed: int = 2, others: int = 2,
           seed: int = 0) -> list[tuple[int, str]]:
    """Indices to show, each with the rule that chose it: drawn at random among those that the rule fits."""
    rng = np.random.default_rng(seed)
    a, b = ours.right[recognizer], plain.right[recognizer]
    rules = (('plain wrong, RA right', ~b & a, helped), ('plain right, RA wrong', b & ~a, harmed),
             ('any image', np.ones_like(a), others))
    chosen = []
    for rule, fits, count in rules:
        candidates = rng.permutation(np.flatnonzero(fits))[:count]
        chosen += [(int(i), rule) for i in candidates]
    return chosen


def picture_grid(columns: Mapping[str, Sequence[np.ndarray]], captions: Captions,
                 rows: Sequence[str], title: str, path: str | Path, side: int = 160) -> None:
    """Write a PNG: a row for each image, a column for each way of processing.

    Args:
        columns: Heading -> images ``(H, W, 3)`` uint8; made ``side`` pixels wide, without smoothing.
        captions: Heading -> for each image, lines below it: (text, whether it is right); none where missing.
        rows: Text beside each row.
        title: Text above.
    """
    font, line, margin = ImageFont.load_default(12), 15, 10
    below = line * max((len(lines) for column in captions.values() for lines in column), default=0) + 6
    left, top = 130, 3 * line + margin
    # every row is as high as its highest image
    heights = [max(side * image.shape[0] // image.shape[1] for image in row) for row in zip(*columns.values())]
    tops = [top + sum(heights[:j]) + j * (below + 8) for j in range(len(rows) + 1)]
    sheet = Image.new('RGB', (left + len(columns) * (side + margin) + margin, tops[-1] + margin), 'white')
    draw = ImageDraw.Draw(sheet)
    draw.text((margin, margin), title, _GRAY, font)
    for i, (heading, images) in enumerate(columns.items()):
        x = left + i * (side + margin)
        draw.text((x, top - line - 4), heading, 'black', font)
        for j, image in enumerate(images):
            size = side, side * image.shape[0] // image.shape[1]
            sheet.paste(Image.fromarray(image).resize(size, Image.NEAREST), (x, tops[j]))
            for k, (text, right) in enumerate(captions[heading][j] if heading in captions else ()):
                draw.text((x, tops[j] + heights[j] + 2 + k * line), text, _GREEN if right else _RED, font)
    for j, text in enumerate(rows):
        for k, part in enumerate(text.split('\n')):
            draw.text((margin, tops[j] + k * line), part, _GRAY, font)
    sheet.save(path)
