"""Numbers as text: true minus signs, no negative zero, a dash for a number that is not known."""
import math
from collections.abc import Iterable, Mapping, Sequence

from ra_plugin.results import LEAST_GAP, Condition, Estimate, RestorerFacts, Results

DASH = '\u2013'
_MINUS, _NARROW_SPACE = '\u2212', '\u202f'
_METRICS = {'top1': 'top-1', 'top5': 'top-5', 'top1_agreement': 'top-1 agreement', 'kl': 'KL',
            'miou_agreement': 'mIoU agreement', 'tar_at_far': 'TAR at FAR 1e-3', 'recall_at_1': 'recall at 1'}


def number(value: float, digits: int = 1, sign: bool = False) -> str:
    """Return ``−0.2`` for -0.234, and with ``sign`` also ``+0.2``; a value that rounds to zero has no sign."""
    if math.isnan(value):
        return DASH
    text = f'{value:{"+" if sign else ""}.{digits}f}'
    return (text if float(text) else text.lstrip('+-')).replace('-', _MINUS)


def count(value: int | None) -> str:
    """Return ``10 000`` for 10000."""
    return DASH if value is None else f'{value:,}'.replace(',', _NARROW_SPACE)


def images(number_of_images: int) -> str:
    """Return ``10 000 images``, or ``1 image``."""
    return f'{count(number_of_images)} image{"s" * (number_of_images != 1)}'


def percent(share: float, sign: bool = False) -> str:
    """Return a share in ``[0, 1]`` in percent, or a difference of shares in points, without the unit."""
    return number(100 * share, 1, sign)


def interval(estimate: Estimate, factor: float = 100, digits: int = 1, sign: bool = False) -> str:
    """Return ``[20.7, 23.8]``, or nothing where the interval is not known."""
    if not estimate.has_interval:
        return ''
    low, high = (number(factor * end, digits, sign) for end in (estimate.low, estimate.high))
    return f'[{low}, {high}]'


def points(estimate: Estimate) -> str:
    """Return ``+22.3 points [+20.7, +23.8]``."""
    return f'{percent(estimate.value, sign=True)} points {interval(estimate, sign=True)}'.rstrip()


def decibels(estimate: Estimate) -> str:
    """Return ``−0.23 dB [−0.24, −0.22]``."""
    return f'{number(estimate.value, 2, sign=True)} dB {interval(estimate, 1, 2, sign=True)}'.rstrip()


def p_value(p: float | None) -> str:
    """Return three digits, or ``< 0.001``."""
    return DASH if p is None else '< 0.001' if p < 0.001 else number(p, 3)


def metric_word(name: str) -> str:
    """Return the name of a recognition metric in prose."""
    return _METRICS.get(name, name.replace('_', ' '))


def listed(items: Sequence[str]) -> str:
    """Return ``a``, ``a and b``, or ``a, b and c``."""
    return ' and '.join(filter(None, [', '.join(items[:-1]), *items[-1:]]))


def quality_digits(results: Results, measured: Iterable[Mapping]) -> dict[str, int]:
    """Return the measures of image quality that any of the mappings has, with the digits that tables show."""
    digits = {'psnr': 2, 'ssim': 4, **dict.fromkeys(results.quality_metrics, 4)}
    known = {key for measures in measured for key in measures}
    return {key: value for key, value in digits.items() if key in known}


def arrow(better: str) -> str:
    """Return an arrow down for ``'lower'``, up for ``'higher'``."""
    return {'lower': '\u2193', 'higher': '\u2191'}.get(better, '')


def no_share(gap: float) -> str:
    """Return why there is no share of a gap: ``'small'``, or ``'uncertain'`` where its interval bounds no ratio."""
    return 'small' if gap < LEAST_GAP else 'uncertain'


def too_few_images(condition: Condition) -> list[str]:
    """Return a sentence for each recognizer whose scores have no interval, because too few images show some classes."""
    lines = []
    for recognizer, classes in condition.too_few_images.items():
        shown = [f'{label} ({images} image{"s" * (images != 1)})' for label, images in classes.items()][:5]
        more = [f'{len(classes) - 5} more'] * (len(classes) > 5)
        lines.append(f'{recognizer}: means over the classes have no interval, so no gain or loss is '
                     f'sure: too few images hold {listed([*shown, *more])}.')
    return lines


def comparisons(condition: Condition) -> int:
    """Number of intervals of differences of scores under a condition."""
    return sum(change.has_interval for difference in condition.differences.values()
               for metrics in difference.scores.values() for change in metrics.values())


def alone(number_of_intervals: int) -> str:
    """Return a sentence on several intervals side by side."""
    expected = round(number_of_intervals / 20)
    by_chance = (f'about {expected} of {number_of_intervals} would exclude zero by chance' if expected else
                 f'each of the {number_of_intervals} would exclude zero by chance one time in 20')
    return f'The intervals are not corrected for their number: without any true difference, {by_chance}.'


def coverage(results: Results) -> str:
    """Return a sentence on what the intervals are over: images, and trainings where a restorer has several."""
    seeds = {name: facts.seeds for name, facts in results.restorers.items()}
    several, single = ([name for name in seeds if (seeds[name] > 1) == more] for more in (True, False))
    over = 'The intervals are over the images'
    by_unit: dict[str, list[str]] = {}
    for name, facts in results.recognition_metrics.items():
        if facts.over:
            by_unit.setdefault(facts.over, []).append(metric_word(name))
    over += ''.join(f' (those of {listed(names)}: over the {unit})' for unit, names in by_unit.items())
    if several:
        over += f', and for {listed(several)} also over trainings from other seeds'
    if single:
        over += (f'. They do not include the effect of another seed on {listed(single)}, which '
                 f'{"has" if len(single) == 1 else "have"} one seed')
    return over + '.'


def trained_with(restorer: RestorerFacts) -> str:
    """Return the recognizers of a restorer's training in words; nothing where none are known."""
    others = ', '.join(restorer.also_trained_with or ())
    words = ', '.join(restorer.used), others and f'{others}, not judging'
    return '; '.join(part for part in words if part)
