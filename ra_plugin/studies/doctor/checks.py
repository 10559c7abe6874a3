"""Checks of a recognizer on real images: each returns a verdict, the evidence for it, and what to change.

All fail in silence otherwise: a network that sees wrongly normalized images still answers, with a worse gradient.
"""
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from ra_plugin.metrics.psnr_ssim import to_uint8
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.frozen.resizing import FITS, judging
from ra_plugin.studies.doctor.case import (
    Case,
    Normalization,
    chance_score,
    class_answers,
    close,
    extremes,
    features_of,
    few,
    gradient_of,
    image_scores,
    levels_apart,
    normalization,
    numbers_of,
    renormalized,
    slope_error,
    statistics,
    task_score,
    top_answer,
    without_direction,
)
from ra_plugin.utils.text import how_many, one_line

OK, SUSPICIOUS, BROKEN, NOT_APPLICABLE = 'ok', 'suspicious', 'broken', 'not applicable'
BUILD = 'build'  # the finding of a recognizer that cannot be built

# Some ten recognizers are checked for a project: one in a hundred may ask for a look without need, none may stop a run.
_LOOK, _STOP = 1e-2, 1e-4
_LEAST_GAIN = 0.05  # accuracy, or share of the loss: less than what like normalizations (CIFAR's, ImageNet's) differ by
_FAR = 0.2  # of the way from chance to 1: published models of any task and data set exceed this by far
_OF_READERS = ('Set height, width or min_width, fill, interpolation and channel_order to those of its own '
               'preprocessing; docs/RECOGNIZERS.md has those of EasyOCR and PaddleOCR.')
_NORMALIZATIONS = {  # the commonest first
    'ImageNet': ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    'Inception': ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    'CLIP': ((0.481, 0.458, 0.408), (0.269, 0.261, 0.276)),
    'none, [0, 1]': ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    'none, 0..255': ((0.0, 0.0, 0.0), (1 / 255,) * 3),
    'Caffe': ((0.485, 0.456, 0.406), (1 / 255,) * 3),
}


@dataclass(frozen=True)
class Finding:
    """Result of one check; `check_recognizer` fills in recognizer and check."""

    verdict: str  # OK, SUSPICIOUS, BROKEN or NOT_APPLICABLE
    measured: str
    expected: str = ''
    fix: str = ''  # one line
    recognizer: str = ''
    check: str = ''


@dataclass(frozen=True)
class Check:
    """A check, and the checks that must pass first so that its verdict does not blame the wrong thing."""

    name: str
    run: Callable[[Case], Finding]
    needs: tuple[str, ...] = ()


def check_recognizer(case: Case) -> Iterator[Finding]:
    """Yield the finding of every check, in the order of `CHECKS`; an error that a check raises is its finding.

    A check that rests on a broken one is not applicable until that one is fixed.
    """
    broken: set[str] = set()
    for check in CHECKS:
        missing = [name for name in check.needs if name in broken]
        if missing:
            finding = Finding(NOT_APPLICABLE, f'fix first: {", ".join(missing)}')
        else:
            try:
                finding = check.run(case)
            except Exception as error:  # of any type: it is the finding
                finding = failure(error)
        if finding.verdict == BROKEN:
            broken.add(check.name)
        yield replace(finding, recognizer=case.name, check=check.name)


def failure(error: Exception) -> Finding:
    """Return the finding of a recognizer that raised an error."""
    message = one_line(error)
    if not message or not isinstance(error, (ValueError, ImportError, OSError)):  # those are written for the user
        message = f'{type(error).__name__}: {message}'
    return Finding(BROKEN, 'it raised an error', 'an answer', message)


# ---------------------------------------------------------------------- checks
def value_range(case: Case) -> Finding:
    """Check that images are in [0, 1], and normalized exactly once before the network."""
    low, high = extremes(case.images)
    if low < -1e-3 or high > 1 + 1e-3:
        return Finding(BROKEN, f'images in [{low:.2f}, {high:.2f}]', 'images in [0, 1]',
                       'Let the data set divide by 255 and not normalize (mean, std): the recognizer does it.')
    if high < 0.02:  # five of 255 levels, in the brightest of all images
        return Finding(BROKEN, f'images in [{low:.4f}, {high:.4f}]', 'images that use [0, 1]',
                       'The images are almost black: they are divided by 255 twice, or are label maps.')
    mean, std = normalization(case.recognizer)
    if max(mean) > 1 or max(std) > 1:  # of values in [0, 1] no mean and no deviation can be more
        scaled = [[value / 255 for value in values] if max(values) > 1 else values for values in (mean, std)]
        return Finding(BROKEN, f'mean {_numbers(mean)}, std {_numbers(std)}', 'both on the [0, 1] scale',
                       f'What exceeds 1 is on the 0..255 scale. Write {_written(*scaled)}')
    with torch.no_grad():
        prepared = [case.recognizer.prepare(image) for image in few(case.images)]
    below, above = extremes(prepared)
    # Bicubic weights add up to 1.25 at most along an axis, their sizes taken: (1.25 ** 2 - 1) / 2 of the range
    overshoot = 0.29
    sides = list(zip(mean, std, strict=True))
    lowest = min((-overshoot - m) / s for m, s in sides)
    highest = max((1 + overshoot - m) / s for m, s in sides)
    measured = f'the network sees [{below:.2f}, {above:.2f}]'
    expected = f'[{min(-m / s for m, s in sides):.2f}, {max((1 - m) / s for m, s in sides):.2f}]'
    if below < lowest or above > highest:
        return Finding(BROKEN, measured, expected, 'Images are normalized more than once on their way to the network: '
                       'let prepare() do it alone.')
    spread = torch.stack([image.std() for image in prepared]).mean().item()
    # Photographs deviate by 0.15 to 0.3 on the [0, 1] scale; a third and three times that, standardized or not. Weights
    # that take 0..255 say so by a std of 1/255.
    if not 0.05 <= spread <= 5 and max(std) > 0.02:
        return Finding(SUSPICIOUS, f'{measured}, deviating by {spread:.2g}', 'a deviation near 1',
                       'Compare mean and std with those that the weights were trained with.')
    return Finding(OK, measured, expected)


def eval_mode(case: Case) -> Finding:
    """Check for equal answers in each pass, in any batch and after ``train()``, and for unchanged buffers.

    Embeddings also have to have a direction.
    """
    recognizer, image = case.recognizer, case.images[0]
    lost = without_direction(case) if recognizer.info.task == 'embedding' else 0
    if lost:
        return Finding(BROKEN if lost == len(case.images) else SUSPICIOUS,
                       f'{lost} of {how_many(len(case.images), "embedding")} {"is" if lost == 1 else "are"} zero or '
                       'not finite', 'numbers with a direction',
                       'They count as a similarity of 0. Check its weights, mean and std; 16 bits may overflow.')
    before = [buffer.clone() for network in recognizer.networks() for buffer in network.buffers()]
    first, second = numbers_of(recognizer, image), numbers_of(recognizer, image)
    recognizer.train()
    after_train = numbers_of(recognizer, image)
    alone, both = features_of(recognizer, image), features_of(recognizer, torch.cat([image, 1 - image]))
    with_mate = [tensor[:len(own)] for tensor, own in zip(both, alone, strict=True)]
    after = [buffer for network in recognizer.networks() for buffer in network.buffers()]
    buffers = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    # other orders of summation differ by 1e-6 or so of the largest value; batch statistics and dropout by more than 1 %
    problems = {
        'two passes give other answers': ('dropout', not close(first, second)),
        'train() changes the answers': ('a layer that overrides train()', not close(first, after_train)),
        'another image of the batch changes the answers': ('batch statistics', not close(alone, with_mate)),
        f'{sum(buffers)} buffers changed': ('batch statistics', any(buffers)),
    }
    found = {problem: cause for problem, (cause, holds) in problems.items() if holds}
    if found:
        return Finding(BROKEN, '; '.join(found), 'one answer to one image',
                       f'Its module computes in training mode ({", ".join(dict.fromkeys(found.values()))}): pass '
                       'training=self.training where it says training=True.')
    return Finding(OK, 'equal answers in each pass, alone or in a batch')


def classes(case: Case) -> Finding:
    """Check that a label means the same to the data set and the recognizer: by the names, and by the answers."""
    if case.class_problem:
        return Finding(BROKEN, 'the class names or their number differ', 'the classes of the recognizer',
                       case.class_problem)
    if case.recognizer.info.task == 'embedding':
        return Finding(NOT_APPLICABLE, 'an embedding has no classes')
    if case.labels is None or not case.recognizer.is_classifier:
        return Finding(NOT_APPLICABLE, 'no labels') if case.labels is None else Finding(OK, 'no contradiction')
    truth = torch.cat(list(case.labels)).cpu().numpy()
    answers = class_answers(case)
    # An order that fits one half of the images has to fit the other: any half has one that suits it by chance
    renamed = answers.copy()
    for fit, test in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        for answer in np.unique(answers[fit]):
            meant = np.bincount(truth[fit][answers[fit] == answer])
            renamed[test][answers[test] == answer] = meant.argmax()
    right, renamed_right = answers == truth, renamed == truth
    measured = f'{_percent(right)} right'
    verdict = _better(renamed_right, right)
    if verdict == OK or renamed_right.mean() < _far_above(chance_score(case)):
        return Finding(OK, measured)
    pairs = [f'{np.bincount(truth[answers == answer]).argmax()} is its {answer}' for answer in np.unique(answers)[:10]]
    return Finding(verdict, f'{measured}; {_percent(renamed_right)} with the numbers renamed', 'classes in one order',
                   'The class numbers mean something else to the recognizer: give the data set its order (classes). Of '
                   f"the data set's numbers {', '.join(pairs)}.")


def mean_std(case: Case) -> Finding:
    """Compare mean and std with the weights' record, and with other usual ones on the labeled images."""
    given = normalization(case.recognizer)
    own = case.recognizer.own_preprocessing()
    record = None if own.mean is None or own.std is None else (own.mean, own.std)
    differs = record is not None and not _alike(given, record)
    others = {'the record': record} if record is not None and differs else {
        name: value for name, value in {**_NORMALIZATIONS, 'these images': statistics(case.images)}.items()
        if not _alike(given, value)}
    measured = f'mean {_numbers(given[0])}, std {_numbers(given[1])}'
    best, verdict = 'the record', SUSPICIOUS if differs else OK
    if case.loss_labels is not None and case.recognizer.info.differentiable:  # others clip what leaves [0, 1]
        ours = image_scores(case)
        found = {name: image_scores(case, lambda images, value=value: renormalized(images, given, value))
                 for name, value in others.items()}
        best = _commonest_best(found, ours)
        verdict = max(verdict, _better(found[best], ours, len(found)), key=_SEVERITY.index)
        measured += f': {_score_text(case, ours)}; with those of {best}: {_score_text(case, found[best])}'
    elif own.mean is None:
        return Finding(NOT_APPLICABLE, f'{measured}: no record, and {_no_labels(case)} to try others with')
    if verdict == OK:
        return Finding(OK, measured)
    return Finding(verdict, measured, f'mean {_numbers(others[best][0])}, std {_numbers(others[best][1])} ({best})',
                   f'Write {_written(*others[best])}')


def channel_order(case: Case) -> Finding:
    """Check that the labeled images are not read better with red and blue exchanged."""
    if case.loss_labels is None:
        return Finding(NOT_APPLICABLE, _no_labels(case))
    rgb, bgr = image_scores(case), image_scores(case, lambda images: images.flip(1))
    measured = f'as RGB: {_score_text(case, rgb)}; as BGR: {_score_text(case, bgr)}'
    verdict = _better(bgr, rgb)
    if verdict == OK:
        return Finding(OK, measured)
    return Finding(verdict, measured, 'RGB', 'It was trained on BGR: give its module x.flip(1), with mean and std for '
                   'RGB. If all recognizers say so, it is the data set that gives BGR.')


def resize_parity(case: Case) -> Finding:
    """Compare the network's input with that of the library's own preprocessing of the same pictures."""
    recognizer, own = case.recognizer, case.recognizer.own_preprocessing()
    if own.transform is None:
        return Finding(NOT_APPLICABLE, 'images as they come, or no preprocessing on record')
    images = few(case.images)
    pictures = [Image.fromarray(to_uint8(image)[0].permute(1, 2, 0).cpu().numpy()) for image in images]
    theirs = [own.transform(picture).to(recognizer.mean) for picture in pictures]
    with torch.no_grad(), judging():
        ours = [recognizer.prepare(image) for image in images]
    shapes = [f'{a.shape[-1]}x{a.shape[-2]}' for a in (ours[0], theirs[0])]
    if any(a.shape != b.shape for a, b in zip(ours, theirs, strict=True)):
        return Finding(SUSPICIOUS, f'the network sees {shapes[0]} pixels', shapes[1],
                       _OF_READERS if recognizer.info.task == 'text' else
                       'Leave out input_size: the record of the weights has another.')
    mean, most = levels_apart(recognizer, ours, theirs)
    agree = sum(top_answer(recognizer, a) == top_answer(recognizer, b) for a, b in zip(ours, theirs, strict=True))
    measured = f'{mean:.2f} of 255 levels apart, {most:.1f} at most; {agree} of {len(images)} answers agree'
    # Both packages round to 8 bit after each axis, by half a level; what leaves 0..255 is cut off, at few edges
    if mean <= 1:
        return Finding(OK, measured)
    return Finding(BROKEN if mean > 4 or agree < len(images) else SUSPICIOUS, measured,
                   'one level on average, from rounding', _how_to_resize(recognizer, images, theirs))


def gradient(case: Case) -> Finding:
    """Check that the gradient of the loss with respect to the images is finite, dense, and the slope of the loss."""
    recognizer = case.recognizer
    if not recognizer.info.differentiable:
        return Finding(BROKEN, 'not differentiable', 'a gradient', 'It can judge (val.recognizers) but not train: use '
                       'another one in train.recog_opt.') if case.trains else Finding(NOT_APPLICABLE, 'only judges')
    bad = BROKEN if case.trains else SUSPICIOUS  # a judge needs none
    labels = case.loss_labels or [None] * len(case.images)
    tried = [(image, label, gradient_of(recognizer, image, label))
             for image, label in few(list(zip(case.images, labels, strict=True)))]
    if any(parameter.requires_grad or parameter.grad is not None
           for network in recognizer.networks() for parameter in network.parameters()):
        return Finding(bad, 'a parameter gets a gradient', 'frozen parameters',
                       'Its module sets requires_grad: leave that to the recognizer.')
    images, label, strongest = max(tried, key=lambda item: item[2].norm().nan_to_num(math.inf).item())
    if not strongest.isfinite().all():
        return Finding(bad, 'not finite', 'finite numbers', 'Look for a logarithm, root or division that meets 0.')
    if not strongest.any():
        return Finding(bad, 'zero everywhere', 'not zero', 'Something between image and loss cuts the graph: look for '
                       'detach(), no_grad, .data, numpy, round or argmax in its forward().')
    dense = (strongest != 0).any(1).float().mean().item()
    off, precision = slope_error(recognizer, images, label)
    measured = f'{dense:.0%} of the pixels have one; {off:.1g} of it off the finite difference in {precision}'
    if recognizer.smooth_loss and off > _SLOPE_TOLERANCE[precision]:
        return Finding(bad, measured, 'the slope of the loss', 'Part of the graph is cut, or numbers are rounded: look '
                       'for detach(), no_grad, round or a straight-through estimate in its forward().')
    if dense < 0.2:  # convolutions of 1x1 in steps of 2 leave out three of four pixels, and so do crops of panoramas
        return Finding(SUSPICIOUS, measured, 'a fifth of the pixels or more',
                       'The network sees a small part of the image (fit, input_size), or part of the graph is cut.')
    return Finding(OK, measured)


def clean_accuracy(case: Case) -> Finding:
    """Check that the score on clean images is near the expected one, or far above chance."""
    if case.labels is None:
        return Finding(NOT_APPLICABLE, 'no labels')
    metric, found, permuted = task_score(case)
    if math.isnan(found.low):
        return Finding(NOT_APPLICABLE, f'{metric}: too few {"identities" if permuted else "images"}: -k takes more')
    expected = case.expected if case.expected is not None else case.recognizer.own_preprocessing().score
    measured = (f'{metric} {found.value:.1%} ({found.low:.1%} to {found.high:.1%}) on '
                f'{how_many(len(case.images), "image")}')
    chance = chance_score(case)
    fix = ('It has random weights: set checkpoint: FILE, or pretrained: true.'
           if case.recognizer.info.source == 'random weights' else
           'Check that checkpoint and labels belong together, and are of the same data.')
    if permuted and not permuted.is_told:  # at most 5 % of those that know no identities get further
        measured += f', p = {permuted.p:.2g} by permuted identities'
        needed = f'at least {permuted.least:.1%}' if permuted.least <= 1 else 'more identities'
        if permuted.least > _far_above(chance):
            return Finding(NOT_APPLICABLE, f'{measured}: too few identities to tell from chance ({chance:.1%}), which '
                           f'takes {needed} on these images; -k takes more')
        return Finding(BROKEN, measured, f'far above chance ({chance:.1%})', fix)
    if expected is None:
        verdict = BROKEN if found.low <= chance else OK if found.high >= _far_above(chance) else SUSPICIOUS
        return Finding(verdict, measured, f'far above chance ({chance:.1%})', '' if verdict == OK else fix)
    # other splits and resizings move published figures by two points; by twenty, none
    verdict = BROKEN if found.high < expected - 0.2 else SUSPICIOUS if found.high < expected - 0.02 else OK
    return Finding(verdict, measured, f'{expected:.1%}', '' if verdict == OK else fix)


CHECKS = (
    Check('value range', value_range),
    Check('eval mode', eval_mode),
    Check('classes', classes, ('value range', 'eval mode')),
    Check('mean/std', mean_std, ('value range', 'eval mode', 'classes')),
    Check('channel order', channel_order, ('value range', 'eval mode', 'classes', 'mean/std')),
    Check('resize parity', resize_parity, ('value range', 'mean/std')),
    Check('gradient', gradient),
    Check('clean accuracy', clean_accuracy, ('value range', 'eval mode', 'classes', 'mean/std', 'channel order',
                                             'resize parity')),
)
_SEVERITY = (OK, SUSPICIOUS, BROKEN)
_SLOPE_TOLERANCE = {'float64': 0.01, 'float32': 0.1}  # a kink within the step costs less; rounding in float32 may not


# ----------------------------------------------------------------- verdicts and their wording
def _better(theirs: np.ndarray, ours: np.ndarray, trials: int = 1) -> str:
    """Return a verdict on how surely another way reads the same images better: OK where it may be chance.

    The sign test over the images that differ, one-sided; for right and wrong it is the exact test of McNemar (1947).
    With ``trials`` ways tried, the best has to be as much less likely (Bonferroni).
    """
    if theirs.mean() - ours.mean() < _LEAST_GAIN:
        return OK
    wins, losses = int((theirs > ours).sum()), int((theirs < ours).sum())
    ways = sum(math.comb(wins + losses, k) for k in range(wins, wins + losses + 1))
    p = trials * (ways / 2 ** (wins + losses))
    return BROKEN if p < _STOP else SUSPICIOUS if p < _LOOK else OK


def _commonest_best(found: Mapping[str, np.ndarray], ours: np.ndarray) -> str:
    """Return the first alternative, in order of how common they are, that is not surely worse than the best one.

    It has to be surely better than ``ours`` where the best one is.
    """
    best = max(found, key=lambda name: found[name].mean())
    verdict = _better(found[best], ours, len(found))
    return next(name for name in found if name == best or _better(found[best], found[name]) == OK
                and _better(found[name], ours, len(found)) == verdict)


def _alike(one: Normalization, other: Normalization) -> bool:
    """True if two normalizations are the same but for figures rounded to two digits."""
    return np.allclose(one[0], other[0], rtol=0, atol=6e-3) and np.allclose(one[1], other[1], rtol=0.03, atol=0)


def _no_labels(case: Case) -> str:
    return 'no labels' if case.labels is None else 'no loss against labels'


def _far_above(chance: float) -> float:
    return chance + _FAR * (1 - chance)


def _score_text(case: Case, scores: np.ndarray) -> str:
    return f'{_percent(scores)} right' if case.recognizer.is_classifier else f'a loss of {np.exp(-scores.mean()):.3g}'


def _how_to_resize(recognizer: Recognizer, images: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> str:
    """Return the option that makes both agree, where there is one."""
    if recognizer.info.task == 'text':
        return _OF_READERS
    own = recognizer.fit
    try:
        for other in FITS if recognizer.info.input_size else ():
            recognizer.fit = other
            with torch.no_grad(), judging():
                ours = [recognizer.prepare(image) for image in images]
            if levels_apart(recognizer, ours, theirs)[0] <= 1:
                return f'Set fit: {other}, as its own preprocessing does.'
    finally:
        recognizer.fit = own
    return 'Its own preprocessing resizes in another way: let the data set resize to the size of the network.'


def _percent(right: np.ndarray) -> str:
    return f'{np.mean(right):.1%}'


def _numbers(values: Sequence[float]) -> str:
    return f'[{", ".join(f"{value:.4g}" for value in values)}]'


def _written(mean: Sequence[float], std: Sequence[float]) -> str:
    return f'mean: {_numbers(mean)}, std: {_numbers(std)}'
