"""Is a gain real, or an adversarial pattern? Small changes of the image, and recognizers never seen, tell.

No change is harmless to every image: on small ones a blur costs accuracy by itself. So what one leaves of a gain is
compared with what it leaves of the clean image's, which is real.
"""
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ra_plugin.evaluation.bootstrap import Sampled, mean
from ra_plugin.evaluation.judging import CLEAN, NONE, SPECTRUM
from ra_plugin.evaluation.significance import Estimate
from ra_plugin.evaluation.task_scores import gain_metric
from ra_plugin.evaluation.transfer import Cell, Matrix
from ra_plugin.evaluation.views import FLOAT, SAVED, VIEWS, band_centers

# Conventions: of a real improvement most is left.
_REAL, _PATTERN = 0.5, 0.25  # share of the gain that the worst change leaves, against the clean image's
_TRANSFERS, _NOTHING = 0.25, 0.1  # gain of recognizers never used, as a share of that of those used


def audit(cells: Mapping[str, Mapping[str, Cell]], baseline: str, used: Mapping[str, Collection[str]],
          seed: int = 0) -> dict[str, Any]:
    """Gains over the baseline under every view, the spectrum of the difference, and a verdict with its reason.

    Args:
        cells: View -> processing -> its cell; all have the same images.
        baseline: The restorer that others are compared with under the same view.
        used: Restorer -> recognizers that it was trained with.
        seed: Of the bootstrap; the same resamples serve all views.

    Returns:
        ``{'n', 'views', 'restorers'}``, as ``docs/EVALUATION.md`` describes them.
    """
    matrices = {view: Matrix({(name, 0): cell for name, cell in of_view.items()}, seed)
                for view, of_view in cells.items()}
    saved = matrices[SAVED]
    main = {recognizer: metric for recognizer, score in cells[FLOAT][baseline].scores.items()
            if (metric := gain_metric(score))}

    def gains(name: str, reference: Mapping[str, Mapping[str, Sampled]]) -> dict[str, dict[str, Sampled]]:
        return {recognizer: {view: matrix.mean(name, recognizer, metric) - reference[recognizer][view]
                             for view, matrix in matrices.items()} for recognizer, metric in main.items()}

    same_view = {recognizer: {view: matrix.mean(baseline, recognizer, metric) for view, matrix in matrices.items()}
                 for recognizer, metric in main.items()}
    # a change that helps the baseline, as a blur may, is no sign against the restorer
    not_helped = {recognizer: {view: min(score, of_views[SAVED], key=lambda sampled: sampled.value)
                               for view, score in of_views.items()} for recognizer, of_views in same_view.items()}
    of_clean = gains(CLEAN, not_helped)
    return {'n': saved.n, 'views': list(cells), 'restorers': {name: {
        'gains': {recognizer: {view: vars(gain.estimate()) for view, gain in of_views.items()}
                  for recognizer, of_views in gains(name, same_view).items()},
        **verdict(gains(name, not_helped), of_clean, used.get(name, ())),
        'spectrum': {'frequency': band_centers(),
                     'difference': _mean_spectrum(cells[FLOAT][name]),
                     'baseline_error': _mean_spectrum(cells[FLOAT][CLEAN])}}
        for name in saved.names if name not in (CLEAN, NONE, baseline)}}


def _mean_spectrum(cell: Cell) -> list[float]:
    return np.mean(cell.values[SPECTRUM], 0).tolist()


def verdict(gains: Mapping[str, Mapping[str, Sampled]], of_clean: Mapping[str, Mapping[str, Sampled]],
            used: Collection[str]) -> dict[str, Any]:
    """Whether the gain is a better image.

    * ``'no gain'``: that of the recognizers used (of all, where none of them is) cannot be told from none, or is a
      loss.
    * ``'adversarial'``: those never used gain less than a tenth of what the used ones do, or a change leaves less than
      a quarter of the gain.
    * ``'partly real'``: they gain less than a quarter of it, or a change leaves less than half.
    * ``'undecided'``: there is no recognizer that was not used, or the interval of a share reaches from adversarial to
      real.
    * ``'real'``: none of these.

    Args:
        gains: Recognizer -> view -> gain over the baseline, which no view improves.
        of_clean: The same for the clean image: what a change leaves of its gain is what it leaves of a real one.
        used: The recognizers that served as the loss.

    Returns:
        ``{'verdict', 'could_be', 'reason', 'held_out_ratio', 'kept'}``; ``could_be`` has the verdicts at the other ends
        of the intervals, ``kept`` is view -> share of the gain that is left, over that of the clean image's gain.
    """
    ours = [recognizer for recognizer in gains if recognizer in used] or list(gains)
    held_out = [recognizer for recognizer in gains if recognizer not in used] if used else []

    def gain(recognizers: Collection[str], view: str = SAVED, of: Mapping = gains) -> Sampled:
        return mean(of[recognizer][view] for recognizer in recognizers)

    def left_by(view: str) -> Sampled:
        left = gain(ours, view).over(total)
        of_real = gain(ours, view, of_clean).over(gain(ours, SAVED, of_clean))
        # no change leaves more than all of a gain; one that leaves none even of the clean image's tells nothing
        return left.over(of_real.at_most(1)) if of_real.value > 0 else left

    total = gain(ours)
    estimate = total.estimate()
    if not estimate.low > 0:
        reason = f'Recognition changes by {_points(estimate)}.' if estimate.high < 0 else \
            f'The gain of {_points(estimate)} cannot be told from none.'
        return _result('no gain', (), reason, None, {})
    kept = {view: left_by(view).estimate() for view in VIEWS}
    worst = min(kept, key=lambda view: kept[view].value)
    left = f'{worst} leaves {_percent(kept[worst])} of the gain, against what it leaves of that of the clean image'
    ratio = gain(held_out).over(total).estimate() if held_out else None
    ends = [_answer(getattr(kept[worst], end), getattr(ratio, end) if ratio else None)
            for end in ('value', 'low', 'high')]
    answer = 'undecided' if {'real', 'adversarial'} <= set(ends) else ends[0]
    could_be = [other for other in dict.fromkeys(ends) if other != answer]
    if ours == held_out:
        transfers = f'no recognizer here was used: they gain {_points(estimate)}'
    elif ratio:
        transfers = (f'recognizers never used gain {_points(gain(held_out).estimate())}, {_percent(ratio)} of those '
                     'used')
    else:
        transfers = 'no recognizer was left out of the training to ask'
    doubt = f'; it could be {" or ".join(could_be)}: more images would tell' if could_be else ''
    return _result(answer, could_be, f'{left}; {transfers}{doubt}.', None if ours == held_out else ratio, kept)


def _answer(kept: float, ratio: float | None) -> str:
    """The verdict where that share of the gain is kept, and recognizers never used have that share of it."""
    if kept < _PATTERN:
        return 'adversarial'
    if ratio is None:
        return 'undecided'
    if ratio < _NOTHING:
        return 'adversarial'
    return 'real' if kept >= _REAL and ratio >= _TRANSFERS else 'partly real'


def _result(answer: str, could_be: Collection[str], reason: str, ratio: Estimate | None,
            kept: Mapping[str, Estimate]) -> dict[str, Any]:
    return {'verdict': answer, 'could_be': list(could_be), 'reason': reason[0].upper() + reason[1:],
            'held_out_ratio': vars(ratio) if ratio else None,
            'kept': {view: vars(estimate) for view, estimate in kept.items()}}


def _percent(estimate: Estimate) -> str:
    return f'{estimate.value:.0%} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]'


def _points(estimate: Estimate) -> str:
    return f'{100 * estimate.value:+.1f} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}] points'
