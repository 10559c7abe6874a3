"""Restored images side by side with the answers to them, as HTML and Markdown: the paper's figure 3."""
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ra_plugin.report import formats
from ra_plugin.report.formats import count, number
from ra_plugin.report.html_page import image_uri, page, render
from ra_plugin.report.markdown_table import table
from ra_plugin.utils.atomic import atomic_write
from ra_plugin.utils.text import markdown_cell

_ENLARGED_TO = 160  # CSS pixels at most: small images are enlarged by a whole number
_MARKS = {True: '\u2713', False: '\u2717'}


@dataclass(frozen=True)
class Restored:
    """Restored image: ``(H, W, 3)`` uint8, PSNR in dB, SSIM, and the class that is read in it."""

    image: np.ndarray
    psnr: float
    ssim: float  # nan where the image is too small for it
    answer: str
    right: bool


@dataclass(frozen=True)
class Row:
    """Image: number and path in its data set, label, clean ``(H, W, 3)`` and degraded ``(h, w, 3)``, both uint8."""

    index: int
    name: str
    truth: str
    target: np.ndarray
    input: np.ndarray
    restored: Mapping[str, Restored]


@dataclass(frozen=True)
class Figure:
    """Images of a condition that are read wrong after the baseline and right after every other restorer.

    Attributes:
        recognizer: Name of the recognizer.
        seed: Seed of the draw.
        asked: Number of images that were asked for.
        n: Images that were judged; the rule fits ``fits`` of them, and its opposite ``opposite``.
        changes: Restorer -> images that the baseline has wrong and it right, and the other way round.
        rows: The images that were drawn.
    """

    condition: str
    recognizer: str
    baseline: str
    seed: int
    asked: int
    n: int
    fits: int
    opposite: int
    changes: Mapping[str, tuple[int, int]]
    rows: Sequence[Row]


def write_figure(figures: Sequence[Figure], title: str, command: str, path: Path) -> None:
    """Write the figures as one HTML file; names and labels are shown as they are, and never become code."""
    body = render(
        'figure', title=title, command=command, marks=_MARKS,
        figures=[{'condition': one.condition, 'facts': facts(one), 'counts': _counts(one), 'columns': _columns(one),
                  'rows': list(map(_shown, one.rows))} for one in figures])
    atomic_write(page('figure', title, body), path)


def figure_markdown(figures: Sequence[Figure]) -> str:
    """Return the figures in Markdown, without the images."""
    parts = []
    for one in figures:
        parts += [f'### {markdown_cell(one.condition)}', markdown_cell(' '.join(facts(one))), table(_counts(one))]
        if one.rows:
            parts.append(table([['image', 'label', *_columns(one)], *(
                [_origin(row), row.truth, *(f'{_quality(found)}/{found.answer} {_MARKS[found.right]}'
                                            for found in row.restored.values())] for row in one.rows)]))
    return '\n\n'.join(parts) + '\n'


def facts(one: Figure) -> Iterator[str]:
    """Yield sentences on the rule and the numbers of images that fit it and its opposite."""
    yield (f'{formats.images(one.n)}, read by {one.recognizer}, which was used in training; the first seed of each '
           'restorer.')
    yield (f'Read wrong after {one.baseline} and right after every other restorer: {count(one.fits)}. The opposite, '
           f'right after {one.baseline} and wrong after every other: {count(one.opposite)}.')
    if not one.rows:
        yield 'No image fits, so none is shown.'
        return
    drawn = f', drawn at random by seed {one.seed}' if len(one.rows) < one.fits else ''
    asked = f' ({one.asked} asked for)' if len(one.rows) < one.asked else ''
    yield f'Shown: {len(one.rows)} of the {count(one.fits)} that fit{drawn}{asked}.'


def _counts(one: Figure) -> list[list[str]]:
    return [['restorer', f'{one.baseline} wrong, it right', f'{one.baseline} right, it wrong'],
            *([name, *map(count, changes)] for name, changes in one.changes.items())]


def _columns(one: Figure) -> list[str]:
    return [one.baseline, *one.changes]


def _origin(row: Row) -> str:
    return f'image {row.index}, {row.name}'


def _quality(found: Restored) -> str:
    psnr = '\u221e' if math.isinf(found.psnr) else number(found.psnr, 2)
    return f'{psnr}/{number(found.ssim, 3)}'


def _shown(row: Row) -> dict[str, Any]:
    """Return a row in the terms of the template; all its pictures are as large as the enlarged target."""
    height, width = row.target.shape[:2]
    factor = max(1, _ENLARGED_TO // max(height, width))

    def picture(image: np.ndarray, name: str) -> dict[str, Any]:
        return {'src': image_uri(image), 'width': factor * width, 'height': factor * height,
                'alt': f'{row.truth}, {name}', 'enlarged': image.shape[1] < factor * width}

    return {
        'truth': row.truth, 'origin': _origin(row), 'target': picture(row.target, 'target'),
        'input': picture(row.input, 'input'), 'input_size': f'{row.input.shape[1]} \u00d7 {row.input.shape[0]} pixels',
        'restored': [(picture(found.image, name), _quality(found), found) for name, found in row.restored.items()]}
