"""Numbers as text, everywhere in the same way: true minus signs, no negative zero, a dash where there is none."""
from collections.abc import Mapping, Sequence

NONE = '\u2013'
_MINUS, _NARROW_SPACE = '\u2212', '\u202f'
_LEAST_GAP = 0.05  # of an evaluation, too


def number(value: float | None, digits: int = 1, sign: bool = False) -> str:
    """``-0.234`` as ``−0.2``; with ``sign`` also ``+0.2``. What rounds to zero has no sign."""
    if value is None:
        return NONE
    text = f'{value:{"+" if sign else ""}.{digits}f}'
    return (text if float(text) else text.lstrip('+-')).replace('-', _MINUS)


def count(value: int | None) -> str:
    """``10000`` as ``10 000``."""
    return NONE if value is None else f'{value:,}'.replace(',', _NARROW_SPACE)


def percent(share: float | None, sign: bool = False) -> str:
    """A share in ``[0, 1]`` in percent, a difference of shares in points; without the unit."""
    return number(None if share is None else 100 * share, 1, sign)


def interval(estimate: Mapping, factor: float = 100, digits: int = 1, sign: bool = False) -> str:
    """``[20.7, 23.8]``; empty where the interval is not known."""
    if estimate.get('low') is None or estimate.get('high') is None:
        return ''
    low, high = (number(factor * estimate[key], digits, sign) for key in ('low', 'high'))
    return f'[{low}, {high}]'


def points(estimate: Mapping) -> str:
    """``+22.3 points [+20.7, +23.8]``."""
    return f'{percent(estimate["value"], sign=True)} points {interval(estimate, sign=True)}'.rstrip()


def decibels(estimate: Mapping) -> str:
    """``−0.23 dB [−0.24, −0.22]``."""
    return f'{number(estimate["value"], 2, sign=True)} dB {interval(estimate, 1, 2, sign=True)}'.rstrip()


def p_value(p: float | None) -> str:
    """Three digits; ``< 0.001`` below."""
    return NONE if p is None else '< 0.001' if p < 0.001 else number(p, 3)


def listed(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return ' and '.join(filter(None, [', '.join(items[:-1]), *items[-1:]]))


def quality_digits(results: Mapping, entries: Mapping[str, Mapping]) -> dict[str, int]:
    """The measures of image quality that any of the entries has, with the digits after the point that tables show."""
    digits = {'psnr': 2, 'ssim': 4, **dict.fromkeys(results.get('quality_metrics', ()), 4)}
    return {key: value for key, value in digits.items() if any(key in entry for entry in entries.values())}


def quality(entry: Mapping, key: str, digits: int, n: int | None = None) -> str:
    """The mean of a measure of image quality; ``exact`` where all images are restored exactly."""
    if key == 'psnr' and entry.get(key) is None and entry.get('exact') and entry['exact'] == n:
        return 'exact'
    return number(entry.get(key), digits)


def arrow(better: str) -> str:
    """``'lower'`` as an arrow down."""
    return {'lower': '\u2193', 'higher': '\u2191'}.get(better, '')


def side(estimate: Mapping) -> str:
    """``'up'`` or ``'down'``, the side of zero on which the whole interval lies, or ``'unclear'``."""
    if estimate.get('low') is not None and estimate['low'] > 0:
        return 'up'
    return 'down' if estimate.get('high') is not None and estimate['high'] < 0 else 'unclear'


def no_share(gap: float) -> str:
    """Why there is no share of a gap: ``'small'``, or ``'uncertain'`` where its interval does not bound a ratio."""
    return 'small' if gap < _LEAST_GAP else 'uncertain'


def too_few_images(condition: Mapping) -> list[str]:
    """A sentence for each recognizer whose scores have no interval, as classes are in too few images."""
    lines = []
    for recognizer, classes in condition.get('too_few_images', {}).items():
        shown = [f'{label} ({images} image{"s" * (images != 1)})' for label, images in classes.items()][:5]
        more = [f'{len(classes) - 5} more'] * (len(classes) > 5)
        lines.append(f'{recognizer}: the intervals of means over the classes cannot be told, so no gain or loss is '
                     f'sure: too few images hold {listed([*shown, *more])}.')
    return lines


def comparisons(condition: Mapping) -> int:
    """Number of differences of scores that a condition has intervals of."""
    return sum(entry['low'] is not None for difference in condition.get('differences', {}).values()
               for metrics in difference.get('scores', {}).values() for entry in metrics.values())


def alone(number_of_intervals: int) -> str:
    """Return what one has to know of several intervals side by side."""
    expected = round(number_of_intervals / 20)
    by_chance = (f'about {expected} of {number_of_intervals} would leave out zero by chance' if expected else
                 f'each of the {number_of_intervals} would leave out zero by chance one time in 20')
    return f'Each interval stands for itself: were there no true difference at all, {by_chance}.'


def coverage(results: Mapping) -> str:
    """Return what the intervals are over: the images, and other trainings where a restorer has several."""
    seeds = {name: entry.get('seeds', 1) for name, entry in results.get('restorers', {}).items()}
    several, single = ([name for name in seeds if (seeds[name] > 1) == more] for more in (True, False))
    over = 'The intervals are over the images'
    if several:
        over += f', and for {listed(several)} over trainings from other seeds, too'
    if single:
        over += (f'. What training from another seed changes is not in them: {listed(single)} '
                 f'{"has" if len(single) == 1 else "have"} one seed')
    return over + '.'


def trained_with(restorer: Mapping) -> str:
    """Return the recognizers of a restorer's training in words; nothing where none are known."""
    others = ', '.join(restorer.get('also_trained_with', ()))
    words = ', '.join(restorer.get('used', ())), others and f'{others}, not judging'
    return '; '.join(part for part in words if part)
