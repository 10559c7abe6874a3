"""Maps of the answers of recognizers around an image, as inline SVG, one panel for each recognizer."""
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from scipy.ndimage import distance_transform_edt, minimum_filter

from ra_plugin.report.formats import number
from ra_plugin.report.images import picture
from ra_plugin.studies.boundary.results import RA, RANDOM, BoundaryResults, Record

COLORS = 8  # beside that of the right class: the first is the wrong answer's, the last is all other classes'
_RIGHT_CLASS = 'right'
_SIDE, _LEFT, _TOP, _BOTTOM, _MARGIN = 210, 34, 8, 38, 8
_LETTER = 7.5  # width of one in a region, at most
_LINE = 12
_LONGEST_NAME = 16
_MARK = 8  # half the side of what a marker covers


@dataclass(frozen=True)
class DecisionMap:
    """Decisions around one image.

    Attributes:
        record: Record of the image.
        extent: L2 distance from the plain image, in the middle, to each side.
        labels: Recognizer -> ``(P, P)`` labels as they are drawn: the RA direction to the right, a random one up.
        pictures: Name -> ``(H, W, 3)`` uint8, what the image is restored to.
    """

    record: Record
    extent: float
    labels: Mapping[str, np.ndarray]
    pictures: Mapping[str, np.ndarray]


def map_cards(results: BoundaryResults, maps: Sequence[DecisionMap]) -> list[dict[str, Any]]:
    """Return the maps in the terms of the page's template."""
    return [_card(results, one) for one in maps]


def _card(results: BoundaryResults, one: DecisionMap) -> dict[str, Any]:
    def name(label: int) -> str:
        return results.classes[label] if results.classes else f'class {label}'

    record, colors = one.record, class_colors(one)
    truth, answer = name(record.truth), name(record.answer)
    pictures = [picture(image, f'{truth}, {title}', title) for title, image in one.pictures.items()]
    values = next(iter(one.pictures.values())).size
    legend = [(color, name(label), {record.truth: 'the right class', record.answer: 'read in the plain image'}.get(
        label, '')) for label, color in colors.items() if color != _other()]
    others = [name(label) for label, color in colors.items() if color == _other()]
    return {
        'truth': truth, 'answer': answer, 'origin': f'{results.condition}, image {record.index}',
        'pictures': pictures, 'legend': legend + [(_other(), ', '.join(others), 'other classes')] * bool(others),
        'unit': number(255 / math.sqrt(values), 1),
        'panels': [{'name': recognizer, 'is_source': recognizer == results.source,
                    'svg': _panel(one, recognizer, colors, name),
                    'notes': [(direction, *_found(record, direction, recognizer, name))
                              for direction in (RA, RANDOM)]} for recognizer in one.labels]}


def _found(record: Record, direction: str, recognizer: str, name) -> tuple[str, bool | None]:
    """Return the distance and the class beyond it, and True if that is the right one."""
    length = record.distance[direction][recognizer]
    if not math.isfinite(length):
        return 'no other class', None
    after = record.after[direction][recognizer]
    return f'{number(length, 2)}, then {name(after)}', after == record.truth


def class_colors(one: DecisionMap) -> dict[int, str]:
    """Return label -> CSS class, in the order of the legend: the right one, the wrong answer, the largest areas."""
    labels, counts = np.unique(np.stack(list(one.labels.values())), return_counts=True)
    rest = [int(label) for label in labels[np.argsort(-counts, kind='stable')]
            if label not in (one.record.truth, one.record.answer)]
    numbers = {one.record.answer: 0, **{label: min(i, COLORS - 1) for i, label in enumerate(rest, 1)}}
    return {one.record.truth: _RIGHT_CLASS, **{label: f'c{i}' for label, i in numbers.items()}}


def _other() -> str:
    return f'c{COLORS - 1}'


def _panel(one: DecisionMap, recognizer: str, colors: Mapping[int, str], name) -> Markup:
    labels, scale = one.labels[recognizer], _SIDE / len(one.labels[recognizer])
    regions = [Markup('<path class="{}" d="{}"><title>{}</title></path>').format(
        colors[int(label)], _area(labels == label), name(int(label))) for label in np.unique(labels)]
    if (labels == one.record.truth).any():
        regions.append(Markup('<path class="hatch" d="{}"><title>{}</title></path>').format(
            _area(labels == one.record.truth), name(one.record.truth)))
    drawn = Markup('<g transform="translate({} {}) scale({})" shape-rendering="crispEdges">{}<path class="border" '
                   'd="{}"/></g>').format(_LEFT, _TOP, round(scale, 4), Markup('').join(regions), _borders(labels))
    words = Markup('').join(_region_name(labels, int(label), name(int(label)), one) for label in np.unique(labels))
    about = f'{recognizer}: classes along the RA direction, to the right, and a random one, up'
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}{}</svg>').format(
        _LEFT + _SIDE + _MARGIN, _TOP + _SIDE + _BOTTOM, about, drawn, _axes(one.extent), words, _markers(one))


def _area(mask: np.ndarray) -> str:
    """Return a path over the cells of a mask, run by run."""
    parts = []
    for y, row in enumerate(mask):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(int)))
        parts += [f'M{start} {y}h{end - start}v1h{start - end}z' for start, end in edges.reshape(-1, 2).tolist()]
    return ''.join(parts)


def _borders(labels: np.ndarray) -> str:
    """Return a path between cells of different labels."""
    down = [f'M{x + 1} {y}v1' for y, x in np.argwhere(labels[:, 1:] != labels[:, :-1]).tolist()]
    across = [f'M{x} {y + 1}h1' for y, x in np.argwhere(labels[1:] != labels[:-1]).tolist()]
    return ''.join(down + across)


def _at(distance: float, extent: float) -> float:
    """Return the place of a distance along the RA direction in the drawing."""
    return round(_LEFT + _SIDE * (distance / extent + 1) / 2, 1)


def _markers(one: DecisionMap) -> Markup:
    """Draw a circle for the plain image, a diamond for the RA image."""
    middle = _TOP + _SIDE / 2
    return Markup('<circle class="mark" cx="{}" cy="{}" r="4.5"><title>plain</title></circle>'
                  '<path class="mark" d="M{} {}l6 6-6 6-6-6z"><title>RA</title></path>').format(
        _at(0, one.extent), middle, _at(one.record.step, one.extent), middle - 6)


def _axes(extent: float) -> Markup:
    power = 10 ** math.floor(math.log10(extent))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= extent)
    bottom, middle, digits = _TOP + _SIDE, _TOP + _SIDE / 2, max(0, -math.floor(math.log10(step)))
    parts = [Markup('<path class="frame" d="M{} {}h{}v{}h-{}z"/><path class="cross" d="M{} {}h{}M{} {}v{}"/>').format(
        _LEFT, _TOP, _SIDE, _SIDE, _SIDE, _LEFT, middle, _SIDE, _LEFT + _SIDE / 2, _TOP, _SIDE)]
    for value in (-step, 0, step):
        x, text = _at(value, extent), number(value, digits)
        y = round(2 * middle - (x - _LEFT - _SIDE / 2) - middle, 1)
        parts.append(Markup('<path class="frame" d="M{} {}v4M{} {}h-4"/><text x="{}" y="{}" text-anchor="middle">{}'
                            '</text><text x="{}" y="{}" text-anchor="end">{}</text>').format(
            x, bottom, _LEFT, y, x, bottom + 15, text, _LEFT - 6, y + 4, text))
    parts.append(Markup('<text x="{}" y="{}" text-anchor="end">RA direction \u2192</text>'
                        '<text transform="translate(10 {}) rotate(-90)" text-anchor="end">random \u2192</text>').format(
        _LEFT + _SIDE, bottom + 31, _TOP))
    return Markup('').join(parts)


def _region_name(labels: np.ndarray, label: int, name: str, one: DecisionMap) -> Markup:
    """Draw the name in the middle of its region, clear of the markers; nothing where there is no room."""
    text = name if len(name) <= _LONGEST_NAME else f'{name[:_LONGEST_NAME - 1]}\u2026'
    cell, free = _SIDE / len(labels), labels == label
    row = len(labels) // 2
    for mark in (0.0, one.record.step):
        column = int((_at(mark, one.extent) - _LEFT) / cell)
        reach = math.ceil(_MARK / cell)
        free[row - reach:row + reach + 1, max(0, column - reach):column + reach + 1] = False
    box = math.ceil(_LINE / cell), math.ceil(len(text) * _LETTER / cell)
    fits = minimum_filter(free, box, mode='constant', cval=False)
    if not fits.any():
        return Markup('')
    depth = np.where(fits, np.asarray(distance_transform_edt(np.pad(free, 1)))[1:-1, 1:-1], 0)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return Markup('<text class="region" x="{}" y="{}" text-anchor="middle">{}</text>').format(
        round(_LEFT + (x + 0.5) * cell, 1), round(_TOP + (y + 0.5) * cell + 4, 1), text)
