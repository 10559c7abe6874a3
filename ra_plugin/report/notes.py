"""Warnings and notes before the numbers of a condition, the most important first."""
from collections.abc import Iterator

from ra_plugin.report.formats import listed
from ra_plugin.report.metrics import main_metrics, metric_of
from ra_plugin.results import CLEAN, NONE, Condition, MetricFacts, Results

_OF_IDENTITIES, _TO_CLEAN = ('tar_at_far', 'recall_at_1'), 'mean_cosine'


def unreadable(results: Results, condition: str) -> list[str]:
    """Return the recognizers that read images no better than by chance: their answers do not count."""
    return [name for name, entry in results.conditions[condition].chance.items() if entry.at_chance]


def warnings(results: Results, condition: str) -> list[str]:
    """Return a sentence for each recognizer that reads clean images no better than by chance, or hardly."""
    found = []
    for name in unreadable(results, condition):
        entry = results.conditions[condition].chance[name]
        metric = metric_of(results, entry.metric)
        what = 'clean images' if entry.processing == CLEAN else f'images, even those of {entry.processing},'
        of_identities = entry.metric in _OF_IDENTITIES
        order = 'identities' if of_identities else 'answers'
        check = 'and that each folder is one identity' if of_identities else 'its classes and their order'
        found.append(f'{name} reads {what} no better than by chance, or hardly: {metric.value(entry.score)} % '
                     f'{metric.word}, and {order} in random order would have {metric.value(entry.chance)} %. '
                     f'Its answers are not counted. Check its weights, {check}: ra-plugin doctor.')
    return found


def notes(results: Results, condition: str) -> list[str]:
    """Return notes on missing labels, answers that hardly differ, images left out, and a poor baseline."""
    return list(_notes(results, results.conditions[condition]))


def _notes(results: Results, data: Condition) -> Iterator[str]:
    if not data.given.labels:
        yield ('These images have no labels: scores say how far recognizers agree with their own answers on clean '
               'images, and nothing about how often they are right.')
    if not data.given.clean:
        yield ('These images have no clean versions: there is no PSNR, no gap recovered, no agreement with answers on '
               'clean images, and no audit, which measures gains by what clean images gain.')
    yield from _little_variety(results, data)
    yield from _without_value(results, data)
    yield from _without_interval(results, data)
    yield from _without_answer(data)
    yield from _left_out(data)
    yield from _other_people(results, data)
    yield from _worse_than_nothing(results, data)


def _little_variety(results: Results, data: Condition) -> Iterator[str]:
    for name, entry in data.variety.items():
        if not entry.little:
            continue
        metric = metric_of(results, entry.metric)
        if entry.of == 'pairs':
            yield (f'{entry.sentence(name)}, and {entry.processing}, which is nearest to them, has '
                   f'{metric.value(entry.score)}: {metric.word} says little about restorers. {entry.remedy}')
        elif not entry.can_be_constant:
            left = 'is that of the few others, and says little about restorers' if entry.share < 1 else 'says nothing'
            yield f'{entry.sentence(name)}: {metric.word} {left}. {entry.remedy}'
        else:
            yield (f'{entry.sentence(name)}. One answer for all images would have {metric.value(entry.constant)} % '
                   f'{metric.word}, and {entry.processing}, with which it agrees most, has '
                   f'{metric.value(entry.score)} %: agreement with it says little about restorers. {entry.remedy}')


def _without_value(results: Results, data: Condition) -> Iterator[str]:
    scores = [entry.scores for entry in data.processings.values()]
    for recognizer, metrics in (scores[0] if scores else {}).items():
        missing = [metric_of(results, metric).word for metric in metrics if results.recognition_metrics.get(
            metric, MetricFacts()).over and not any(one[recognizer][metric].is_known for one in scores)]
        if missing:
            yield (f'{listed(missing)} of {recognizer} has no value: these images are too few, or no two of them are '
                   'of one identity.')


def _without_interval(results: Results, data: Condition) -> Iterator[str]:
    if data.n == 1:
        yield ('There is one image, which says nothing of how others differ: means over the images have no interval, '
               'and no gain or loss by them is sure.')
    found: dict[str, list[str]] = {}
    for entry in data.processings.values():
        for recognizer, scores in entry.scores.items():
            for metric, score in scores.items():
                facts = results.recognition_metrics.get(metric, MetricFacts())
                word = metric_of(results, metric).word
                if facts.over and score.is_known and not score.has_interval and word not in found.get(recognizer, ()):
                    found.setdefault(recognizer, []).append(word)
    for recognizer, words in found.items():
        yield (f'{listed(words)} of {recognizer} {"has" if len(words) == 1 else "have"} no interval, so no gain or '
               'loss is sure: only one of the identities has several images, or nearly all of them.')


def _without_answer(data: Condition) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    for name, entry in data.processings.items():
        for recognizer, count in (entry.without_answer or {}).items():
            found.setdefault(recognizer, []).append(f'{name} {count} of {data.n}')
    for recognizer, counts in found.items():
        yield (f'Embeddings of {recognizer} that are zero or not finite count as a similarity of 0 to all others: '
               f'{listed(counts)}. Check its weights and numbers of 16 bits, which may overflow.')


def _left_out(data: Condition) -> Iterator[str]:
    entries = data.processings
    exact = [f'{name} {entry.exact} of {data.n}' for name, entry in entries.items() if entry.exact]
    if exact:
        yield (f'Images that are restored exactly have an infinite PSNR, and are left out of its mean: {listed(exact)}'
               '. Differences are over the images that have one on both sides.')
    for column in dict.fromkeys(column for entry in entries.values() for column in entry.undefined or ()):
        counts = [f'{name} {entry.undefined[column]} of {data.n}' for name, entry in entries.items()
                  if entry.undefined and entry.undefined.get(column)]
        yield f'{column} is not defined for some images, and its mean is without them: {listed(counts)}.'


def _other_people(results: Results, data: Condition) -> Iterator[str]:
    """Yield a note for each recognizer of identities that tells them better and from clean images worse."""
    against = {results.baseline: data.differences, NONE: data.differences_from_no_processing}
    for baseline, differences in against.items():
        for restorer, entry in differences.items():
            for recognizer, scores in entry.scores.items():
                sides = {name: change.side for name, change in scores.items()}
                rising = [metric_of(results, name).word for name in _OF_IDENTITIES if sides.get(name) == 'up']
                if rising and sides.get(_TO_CLEAN) == 'down':
                    yield (f'{restorer} against {baseline}: {listed(rising)} of {recognizer} surely rise'
                           f'{"s" * (len(rising) == 1)} while the {metric_of(results, _TO_CLEAN).word} to the clean '
                           'images surely falls. It is so where a person is replaced by another one, always the same: '
                           'better separation does not show that it is the person in the image.')


def _worse_than_nothing(results: Results, data: Condition) -> Iterator[str]:
    baseline = results.baseline
    entry = data.differences_from_no_processing.get(baseline)
    if not entry:
        return
    worse = []
    for recognizer, scores in entry.scores.items():
        metric = main_metrics(results, {recognizer: scores})[recognizer]
        if metric.direction(scores[metric.name]) == 'down':
            worse.append(f'{recognizer} ({metric.difference(scores[metric.name])})')
    if worse:
        yield (f'{baseline}, which the others are compared with, is itself surely worse than {NONE} for '
               f'{listed(worse)}: a gain over it need not be one over the images as they were.')
