"""Charts as inline SVG: image quality against score, spectrum of a difference, weights of a sweep."""
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ra_plugin.report.formats import interval, number
from ra_plugin.report.metrics import Metric, main_metrics
from ra_plugin.results import CLEAN, NONE, Estimate, Results, Spectrum

COLORS, SHAPES = 8, 5  # no common divisor: 40 markers that differ in color or shape
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 350, 240, 38, 92, 12, 40  # right: the names of levels
_MARGIN = 14  # where there are none
_MOST_NAMES = 7  # along an axis; of more, every second or third is written
_NAME_HEIGHT = 14
_DIGIT_WIDTH = 7
_REFERENCES = (CLEAN, NONE)  # lines: as points, far off in PSNR, they would press the others together


@dataclass(frozen=True)
class Chart:
    """One chart and the words below it."""

    title: str
    note: str
    svg: Markup


@dataclass(frozen=True)
class _Axis:
    """Linear axis from ``start`` to ``end`` in the drawing's units."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def marker(index: int, x: float, y: float, title: str = '') -> Markup:
    """Return the marker of the series ``index``, ten units wide."""
    shape = (
        Markup('<circle cx="{0}" cy="{1}" r="5"').format(x, y),
        Markup('<path d="M{} {}h9v9h-9z"').format(x - 4.5, y - 4.5),
        Markup('<path d="M{} {}l6 6-6 6-6-6z"').format(x, y - 6),
        Markup('<path d="M{} {}l6 10h-12z"').format(x, y - 6),
        Markup('<path d="M{} {}h12l-6 10z"').format(x - 6, y - 4),
    )[index % SHAPES]
    words = Markup('<title>{}</title>').format(title) if title else ''
    return Markup('<g class="marker s{}">{}{}/></g>').format(index % COLORS, words, shape)


def sign(index: int) -> Markup:
    """Return a marker alone, for the key."""
    return Markup('<svg width="14" height="14" aria-hidden="true">{}</svg>').format(marker(index, 7, 7))


def trade_off_series(results: Results, condition: str) -> list[str]:
    """Return the names of the processings that are points, in the order of their markers."""
    return [name for name, entry in results.conditions[condition].processings.items()
            if name not in _REFERENCES and not math.isnan(entry.quality.get('psnr', math.nan))]


def trade_off_charts(results: Results, condition: str) -> list[Chart]:
    """Draw PSNR against the main metric for each recognizer; charts of the same metric have the same axes."""
    processings = results.conditions[condition].processings
    series = trade_off_series(results, condition)
    if not series:
        return []
    metrics = {name: metric for name, metric in main_metrics(results, processings[series[0]].scores).items()
               if metric.is_share or metric.better == 'higher'}
    values = {(name, recognizer): score for name in processings for recognizer, metric in metrics.items()
              if (score := processings[name].scores.get(recognizer, {}).get(metric.name)) and score.is_known}
    x_axis = _axis([processings[name].quality['psnr'] for name in series], _LEFT, _WIDTH - _RIGHT)
    charts = []
    for recognizer, metric in metrics.items():
        shared = [part for (_, other), score in values.items() if metrics[other] == metric for part in _parts(score)]
        if not shared:  # a score that is defined of none, as mAP where there are no boxes
            continue
        y_axis = _axis([metric.factor * value for value in shared], _HEIGHT - _BOTTOM, _TOP)
        points = [(i, processings[name].quality['psnr'], values[name, recognizer], name)
                  for i, name in enumerate(series) if (name, recognizer) in values]
        lines = [(name, values[name, recognizer].value) for name in _REFERENCES if (name, recognizer) in values]
        title = metric.title
        parts = [_frame(x_axis, y_axis, 'PSNR (dB)', metric.axis),
                 *_references([(name, y_axis(metric.factor * value)) for name, value in lines]),
                 _front(points, x_axis, y_axis, metric), *(_point(*point, x_axis, y_axis, metric) for point in points)]
        charts.append(Chart(recognizer, title, _svg(parts, f'{title} of {recognizer} against PSNR; the table of scores '
                                                    'has the numbers', y_axis)))
    return charts


def spectrum_chart(spectrum: Spectrum, restorer: str, baseline: str) -> Chart | None:
    """Draw power by frequency on a logarithmic scale: of the restorer's change, and of the baseline's error."""
    lines = {f'{restorer} minus {baseline}': spectrum.difference,
             f'error of {baseline}': spectrum.baseline_error or ()}  # not known without clean images
    known = [math.log10(v) for values in lines.values() for v in values if v > 0]
    if not known:
        return None
    frequency = spectrum.frequency
    x_axis = _Axis(0, max(frequency) or 1, _LEFT, _WIDTH - _MARGIN)
    y_axis = _Axis(math.floor(min(known)), max(math.ceil(max(known)), math.floor(min(known)) + 1),
                   _HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(x_axis, y_axis, 'cycles per pixel', 'power', decades=True)]
    for i, values in enumerate(lines.values()):
        points = ' '.join(f'{x_axis(f)},{y_axis(math.log10(v))}'
                          for f, v in zip(frequency, values, strict=False) if v > 0)  # an unknown error has no values
        parts.append(Markup('<polyline class="line s{}" points="{}"/>').format(i, points))
    return Chart(f'Spectrum of {restorer}', '', _svg(parts, f'Mean power by frequency: {" and ".join(lines)}'))


def steps_chart(title: str, note: str, names: Sequence[str], series: Mapping[str, Sequence[Estimate | None]],
                axes: tuple[str, str], factor: float = 1, limit: tuple[str, float] | None = None) -> Chart | None:
    """Draw estimates with their intervals at equal steps, joined by a line; zero is dashed.

    Args:
        title: Name of the chart.
        note: Unit, and what the estimates are compared with.
        names: Names of the steps, e.g. weights.
        series: Name -> the estimate at each step; None where there is none.
        axes: Names of both axes.
        factor: Factor on the estimates: 100 for points.
        limit: Another dashed level and its name.

    Returns:
        None where nothing is known.
    """
    known = {name: [(i, estimate) for i, estimate in enumerate(estimates)
                    if estimate and estimate.is_known] for name, estimates in series.items()}
    values = [factor * part for points in known.values() for _, estimate in points for part in _parts(estimate)]
    if not values:
        return None
    x_axis = _Axis(-0.4, len(names) - 0.6, _LEFT, _WIDTH - _MARGIN)
    y_axis = _axis([*values, 0, *([limit[1]] if limit else [])], _HEIGHT - _BOTTOM, _TOP + 12)
    every = math.ceil(len(names) / _MOST_NAMES)
    parts = [_frame(x_axis, y_axis, *axes, names={i: name for i, name in enumerate(names) if i % every == 0}),
             _level(y_axis(0))]
    if limit:
        parts.append(_level(y_axis(limit[1])) + Markup('<text class="label" x="{}" y="{}" text-anchor="end">{}</text>')
                     .format(x_axis.end, y_axis(limit[1]) + 13, limit[0]))
    told = []
    for index, (name, points) in enumerate(known.items()):
        line = ' '.join(f'{x_axis(i)},{y_axis(factor * estimate.value)}' for i, estimate in points)
        parts.append(Markup('<polyline class="line s{}" points="{}"/>').format(index, line))
        for i, estimate in points:
            text = f'{names[i]}: {number(factor * estimate.value, 2, True)} {interval(estimate, factor, 2, True)}'
            told.append(f'{name}, {text}')
            parts.append(_whisker(index, x_axis(i), estimate, y_axis, factor)
                         + marker(index, x_axis(i), y_axis(factor * estimate.value), f'{name}, {text}'))
    return Chart(title, note, _svg(parts, f'{title} {note}. {"; ".join(told)}', y_axis))


def _parts(estimate: Estimate) -> list[float]:
    """Return the numbers of an estimate that are known."""
    return [part for part in (estimate.value, estimate.low, estimate.high) if not math.isnan(part)]


def _level(y: float) -> Markup:
    return Markup('<line class="reference" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(_LEFT, _WIDTH - _MARGIN, y, y)


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    """Return an axis from below the least to above the largest of the values."""
    low, high = min(values), max(values)
    is_point = high - low < 1e-6 * max(1, abs(low), abs(high))  # differences of rounding have no round numbers
    room = 0.5 if is_point else 0.08 * (high - low)
    return _Axis(low - room, high + room, start, end)


def _ticks(axis: _Axis, most: int = 5) -> list[float]:
    """Return round numbers within the axis."""
    span = axis.high - axis.low
    power = 10 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= most)
    first = math.ceil(axis.low / step)
    return [round(i * step, 9) for i in range(first, math.floor(axis.high / step) + 1)]


def _frame(x_axis: _Axis, y_axis: _Axis, x_label: str, y_label: str, decades: bool = False,
           names: Mapping[float, str] | None = None) -> Markup:
    """Draw ticks, grid and the names of the axes; ``names`` replace the round numbers of the x axis."""
    bottom, right, parts = y_axis.start, x_axis.end, []
    for value, name in (names or _numbers_apart(x_axis)).items():
        parts.append(Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            x_axis(value), bottom + 16, name))
    for value in [v for v in _ticks(y_axis) if not decades or v == int(v)]:
        label = (Markup('10<tspan class="power" dy="-4">{}</tspan>').format(number(value, 0)) if decades
                 else number(value, _digits(y_axis)))
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                            '<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
            _LEFT, right, y_axis(value), y_axis(value), _LEFT - 6, y_axis(value) + 4, label))
    parts.append(Markup('<path class="axis" d="M{} {}V{}H{}"/>').format(_LEFT, _TOP, bottom, right))
    parts.append(Markup('<text class="label" x="{}" y="{}" text-anchor="end">{}</text>').format(
        right, _HEIGHT - 8, x_label))
    parts.append(Markup('<text class="label" x="{}" y="{}">{}</text>').format(_LEFT + 6, _TOP + 6, y_label))
    return Markup('').join(parts)


def _numbers_apart(axis: _Axis) -> dict[float, str]:
    """Return as many round numbers below an axis as do not run into one another."""
    for most in (5, 3, 2, 1):
        numbers = {value: number(value, _digits(axis, most)) for value in _ticks(axis, most)}
        places = [axis(value) for value in numbers]
        widest = max(map(len, numbers.values()), default=0) * _DIGIT_WIDTH
        if all(after - before > widest for before, after in zip(places, places[1:], strict=False)):
            break
    return numbers


def _digits(axis: _Axis, most: int = 5) -> int:
    ticks = _ticks(axis, most)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1
    return max(0, -math.floor(math.log10(step) + 1e-9))


def _references(levels: Sequence[tuple[str, float]]) -> list[Markup]:
    """Draw lines with their names, which keep a line's distance where the levels are closer."""
    parts: list[Markup] = []
    beside = -math.inf
    for name, y in sorted(levels, key=lambda level: level[1]):
        beside = max(y + 4, beside + _NAME_HEIGHT)
        parts.append(Markup('<line class="reference" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                            '<text class="label" x="{}" y="{}">{}</text>').format(
            _LEFT, _WIDTH - _RIGHT, y, y, _WIDTH - _RIGHT + 5, beside, name))
    return parts


def _point(index: int, psnr: float, estimate: Estimate, name: str, x_axis: _Axis, y_axis: _Axis, metric: Metric
           ) -> Markup:
    x, unit = x_axis(psnr), ' %' * metric.is_share
    title = f'{name}: {metric.value(estimate.value)}{unit} {metric.interval(estimate)}, {number(psnr, 2)} dB'
    return (_whisker(index, x, estimate, y_axis, metric.factor)
            + marker(index, x, y_axis(metric.factor * estimate.value), title))


def _whisker(index: int, x: float, estimate: Estimate, y_axis: _Axis, factor: float) -> Markup:
    """Draw the interval of an estimate, where it is known."""
    if not interval(estimate):
        return Markup('')
    low, high = (y_axis(factor * end) for end in (estimate.low, estimate.high))
    return Markup('<path class="whisker s{}" d="M{} {}V{}m-4 0h8M{} {}h8"/>').format(
        index % COLORS, x, low, high, x - 4, low)


def _front(points: Sequence[tuple], x_axis: _Axis, y_axis: _Axis, metric: Metric) -> Markup:
    """Draw a line through the points that no other beats in both PSNR and score."""
    pairs = [(psnr, estimate.value) for _, psnr, estimate, _ in points]
    best = sorted(p for p in set(pairs) if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in pairs))
    coordinates = ' '.join(f'{x_axis(psnr)},{y_axis(metric.factor * value)}' for psnr, value in best)
    return Markup('<polyline class="front" points="{}"/>').format(coordinates)


def _svg(parts: Sequence[Markup], label: str, y_axis: _Axis | None = None) -> Markup:
    """Return the drawing, with room at the left for the numbers beside ``y_axis``."""
    widest = max((len(number(value, _digits(y_axis))) for value in _ticks(y_axis)), default=0) if y_axis else 0
    beyond = max(0, widest * _DIGIT_WIDTH - (_LEFT - 6))
    return Markup('<svg viewBox="{} 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        -beyond, _WIDTH + beyond, _HEIGHT, label, Markup('').join(parts))
