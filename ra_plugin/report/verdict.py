"""The results in plain sentences: which recognizers gain, at what cost and how surely."""
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ra_plugin.report.formats import decibels, interval, listed, no_share, percent
from ra_plugin.report.metrics import Metric, main_metrics
from ra_plugin.report.notes import unreadable
from ra_plugin.results import Change, Condition, Difference, Estimate, Harm, Results
from ra_plugin.utils.text import how_many

Tone = Literal['good', 'mixed', 'bad', 'none']
# verdict of the audit -> its one color
AUDIT_TONES: Mapping[str | None, Tone] = {
    'real': 'good', 'real or partly real': 'mixed', 'partly real': 'mixed', 'partly real or adversarial': 'mixed',
    'adversarial': 'bad', 'undecided': 'none', 'no gain': 'none'}
_LESSENED: Mapping[Tone, Tone] = {'good': 'mixed', 'none': 'bad'}  # where no processing is better
_UNCLEAR = 'cannot be distinguished from zero'


@dataclass(frozen=True)
class Verdict:
    """Verdict on one restorer under one condition."""

    restorer: str
    headline: str
    tone: Tone
    sentences: tuple[tuple[str, str], ...]  # (topic, sentence)


@dataclass(frozen=True)
class _Gain:
    """Difference by the main metric of a recognizer."""

    estimate: Change
    metric: Metric

    @property
    def side(self) -> str:
        return self.metric.direction(self.estimate)

    def __str__(self) -> str:
        return self.metric.difference(self.estimate)


def gains(results: Results, entry: Difference, without: Collection[str] = ()) -> dict[str, _Gain]:
    """Return recognizer -> its difference by its main metric."""
    return {name: _Gain(entry.scores[name][metric.name], metric)
            for name, metric in main_metrics(results, entry.scores).items() if name not in without}


def sure_direction(difference: Difference, recognizer: str, gain: _Gain) -> str:
    """Return the direction of a gain, corrected for the number of recognizers where the results have that."""
    family = difference.family
    if family is None:  # files of early versions
        return gain.side
    return 'up' if recognizer in family.up else 'down' if recognizer in family.down else 'unclear'


def verdicts(results: Results, condition: str) -> list[Verdict]:
    """Return a verdict for each restorer that is compared with the baseline under ``condition``."""
    data = results.conditions[condition]
    blind = unreadable(results, condition)
    return [_verdict(results, data, restorer, blind) for restorer in data.differences]


def _verdict(results: Results, data: Condition, restorer: str, blind: Sequence[str]) -> Verdict:
    difference = data.differences[restorer]
    found = gains(results, difference, blind)
    used = {name: found[name] for name in results.restorer(restorer).used if name in found}
    held_out = {name: gain for name, gain in found.items() if name not in used}
    against_none = gains(results, data.differences_from_no_processing.get(restorer, Difference()), blind)
    audit = data.audit.restorers.get(restorer) if data.audit else None
    if blind and not found:
        return Verdict(restorer, 'No conclusion: no recognizer reads images better than by chance', 'bad', ())
    sides = {name: sure_direction(difference, name, gain) for name, gain in found.items()}
    agrees = all(gain.metric.is_agreement for gain in found.values())
    seen, unseen = ([sides[name] for name in group] for group in (used, held_out))
    headline, tone = _headline(seen, unseen, agrees, audit.verdict if audit else '')
    worse = [name for name, gain in against_none.items() if gain.side == 'down']
    if worse:
        headline += f'; {"and" if tone in ("bad", "none") else "yet"} worse than no processing on {len(worse)} of ' \
                    f'{len(against_none)} recognizer{"s" * (len(against_none) != 1)}'
        tone = _LESSENED.get(tone, tone)
    sentences = [('Used in training', _used(name, gain, results.baseline)) for name, gain in used.items()]
    if held_out:
        known = bool(results.restorer(restorer).used)  # also where those that were used judge other conditions alone
        sentences.append(('Held out' if known else 'Recognizers', _held_out(held_out, known, sides)))
    if difference.family and difference.family.comparisons > 1:
        sentences.append(('Counted', f'{difference.family.comparisons} recognizers are compared at once: the counts '
                          'are corrected for that (Holm, 5 %); the intervals are not.'))
    if against_none:
        sentences.append(('No processing', _against_none(against_none)))
    if 'psnr' in difference.quality and difference.quality['psnr'].is_known:
        sentences.append(('Image quality', _quality(difference.quality['psnr'])))
    if data.harm and data.harm.get(restorer):
        sentences.append(('Harm', _harm(data.harm, restorer, results.baseline)))
    if data.audit and audit:
        some = f' (on {data.audit.n} of the {data.n} images)' if data.audit.n and data.audit.n != data.n else ''
        sentences.append(('Audit', f'{audit.verdict.capitalize()}{some}: {audit.reason}'))
    if blind:
        sentences.append(('Not counted', f'{listed(blind)}, which hardly read{"s" * (len(blind) == 1)} clean images.'))
    return Verdict(restorer, headline, tone, tuple(sentences))


def _headline(seen: list[str], unseen: list[str], agrees: bool, audit: str) -> tuple[str, Tone]:
    """Return headline and tone.

    Args:
        seen: Directions on recognizers used in training: ``'up'``, ``'down'`` or ``'unclear'``.
        unseen: Directions on the others.
        agrees: True where scores are agreement with answers to clean images.
        audit: Verdict of the audit.
    """
    both = seen + unseen
    if not both:
        return 'Not judged by any recognizer', 'none'
    gains_more, gain_more = ('agrees more with its answers on clean images', 'agree more with their answers on clean '
                             'images') if agrees else ('gains', 'gain')
    if 'up' not in both:
        got_worse = 'Recognizers agree less with their answers on clean images' if agrees else 'Recognition gets worse'
        return (got_worse, 'bad') if 'down' in both else (f'Open: the change {_UNCLEAR}', 'none')
    if audit == 'adversarial':
        return 'The gain is an adversarial pattern: it does not survive the audit', 'bad'
    if 'down' in both:
        lose = 'less' if agrees else 'lose'
        return f'Mixed: {both.count("up")} of {len(both)} recognizers {gain_more}, {both.count("down")} {lose}', 'mixed'
    if not unseen:
        return f'The recognizer used in training {gains_more}; none was held out', 'mixed'
    if 'up' not in unseen:
        return f'Only the recognizer used in training surely {gains_more}', 'mixed'
    if 'unclear' in seen:
        sure = both.count('up')
        return (f'{sure} of {len(both)} recognizers surely {gains_more if sure < 2 else gain_more}; '
                'open on one used in training'), 'mixed'
    never = 'never seen in training ' if seen else ''
    if unseen.count('up') < len(unseen):
        return f'{unseen.count("up")} of {len(unseen)} recognizers {never}{gain_more}', 'mixed'
    who = f'Every recognizer {gains_more}' + (', those never seen in training too' if seen else '')
    if audit == 'undecided':
        return f'{who}; the audit of the gain is undecided', 'mixed'
    if AUDIT_TONES.get(audit) == 'mixed':
        return f'{who}; the gain is {audit}', 'mixed'
    return who, 'good'


def _used(name: str, gain: _Gain, baseline: str) -> str:
    estimate, metric = gain.estimate, gain.metric
    text = f'{name}: {gain} of {metric.word} {"against" if gain.side == "down" else "over"} {baseline}'
    if gain.side == 'unclear':
        return f'{text}, which {_UNCLEAR}.'
    if estimate.gap_recovered:
        share = 100 * estimate.gap_recovered.value
        if share < 0:
            return f'{text}: further away from clean images than {baseline} is, by {-share:.0f} % of the way to them.'
        if share > 100:
            return f'{text}: more than all of the way from {baseline} to clean images ({share:.0f} %).'
        return f'{text}: {share:.0f} % of the way from {baseline} to clean images.'
    gap = estimate.gap
    if math.isnan(gap):
        return f'{text}.'
    beyond = Estimate(gap, math.nan, math.nan)
    if (gap < 0) != (metric.better == 'lower'):
        return f'{text}. {baseline} is read no worse than clean images ({metric.difference(beyond)} for these).'
    above = 'above' if metric.is_share else 'from'
    return (f'{text}. Clean images are {metric.difference(beyond)} {above} {baseline}: '
            f'too {no_share(abs(gap))} a gap to speak of recovery.')


def _held_out(found: Mapping[str, _Gain], some_used: bool, sides: Mapping[str, str]) -> str:
    groups = {side: [name for name in found if sides[name] == side] for side in ('up', 'down', 'unclear')}
    agrees = all(gain.metric.is_agreement for gain in found.values())
    never = ' never seen in training' if some_used else ''
    one = len(groups['up']) < 2
    more = f'gain{"s" * one}'
    if agrees:
        more = f'agree{"s" * one} more with {"its" if one else "their"} answers on clean images'
    parts = [f'{len(groups["up"]) or "None"} of {len(found)}{never} {more}']
    if groups['down']:
        one = len(groups['down']) == 1
        parts.append(f'{listed(groups["down"])} {f"agree{chr(115) * one} less" if agrees else f"lose{chr(115) * one}"}')
    alone = [name for name in groups['unclear'] if found[name].side != 'unclear']  # its own interval leaves out zero
    for names, words in ((set(groups['unclear']) - set(alone), ''), (alone, ' once corrected for how many there are')):
        if names:
            parts.append(f'the change on {listed([name for name in found if name in names])} {_UNCLEAR}{words}')
    known = sorted((name for name, gain in found.items() if gain.estimate.is_known),
                   key=lambda name: found[name].estimate.value)
    text = '; '.join(parts)
    if len(known) > 1 and len({gain.metric.unit for gain in found.values()}) == 1:
        text += ': from ' + ' to '.join(f'{found[name]} ({name})' for name in (known[0], known[-1]))
    elif known:
        text += ': ' + '; '.join(f'{found[name]} ({name})' for name in known)
    return f'{text}, by {_words(found)}.' if known else f'{text}.'


def _words(found: Mapping[str, _Gain]) -> str:
    """Return the metrics of gains: one, or each with its recognizers."""
    recognizers: dict[str, list[str]] = {}
    for name, gain in found.items():
        recognizers.setdefault(gain.metric.word, []).append(name)
    if len(recognizers) == 1:
        return next(iter(recognizers))
    return listed([f'{word} ({listed(names)})' for word, names in recognizers.items()])


def _against_none(found: Mapping[str, _Gain]) -> str:
    """Return the sentence on the comparison with no processing."""
    better, worse = ([(name, gain) for name, gain in found.items() if gain.side == side] for side in ('up', 'down'))
    text = f'Surely better than no processing on {len(better) or "none"} of {how_many(len(found), "recognizer")}'
    if worse:
        text += '; surely worse on ' + listed([f'{name} ({gain})' for name, gain in worse])
    return text + '.'


def _quality(psnr: Estimate) -> str:
    word = {'up': 'PSNR rises', 'down': 'PSNR falls', 'unclear': f'The change in PSNR {_UNCLEAR}'}[psnr.side]
    return f'{word}: {decibels(psnr)}.'


def _harm(harm: Mapping[str, Mapping[str, Harm]], restorer: str, baseline: str) -> str:
    """Return the sentence on the recognizer that is hurt most, beside the same by the baseline."""
    name, worst = max(harm[restorer].items(), key=lambda item: item[1].hurt.value if item[1].hurt.is_known else 0)
    before = harm.get(baseline, {}).get(name) if restorer != baseline else None
    hurt, helped = (f' ({baseline}: {percent(share.value)} %)' for share in (before.hurt, before.helped)
                    ) if before else ('', '')
    return (f'Most on {name}: {percent(worst.hurt.value)} % {interval(worst.hurt)} of all images were right '
            f'without processing and are wrong after it{hurt}; '
            f'{percent(worst.helped.value)} % the other way round{helped}.').replace('  ', ' ')
