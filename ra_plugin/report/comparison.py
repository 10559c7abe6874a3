"""Compare ways of processing: what each recognizer makes of the images, and how certain the difference is."""
from collections.abc import Mapping, Sequence
from typing import Any

from ra_plugin.evaluation.scores import Scores
from ra_plugin.evaluation.significance import (Estimate, paired_difference, proportion, score_differences,
                                               score_intervals)
from ra_plugin.utils.text import markdown_cell

CLEAN, NONE, PLAIN = 'clean', 'no processing', 'plain'


def compare(scores: Mapping[str, Scores], source: str) -> dict[str, Any]:
    """Scores of every way of processing, and their differences to the plain network's on the same images.

    Args:
        scores: Has at least ``clean`` and ``plain``.
        source: The recognizer that served as the loss.

    Returns:
        What `to_markdown` prints and the JSON file holds; intervals are at 95 %. A classifier's score, its top-1
        accuracy, goes by the recognizer's name, others by that and the metric's. ``gap_recovered`` is
        ``(score - plain) / (clean - plain)``, None where clean is less than 5 points above plain.
    """
    plain = scores[PLAIN]
    result = {'n': len(plain.psnr), 'source_recognizer': source, 'processings': {}, 'differences_to_plain': {}}
    singles = {name: _intervals(score) for name, score in scores.items()}
    for name, score in scores.items():
        result['processings'][name] = {
            'psnr': None if name == CLEAN else float(score.psnr.mean()),
            'ssim': None if name == CLEAN else float(score.ssim.mean()),
            'scores': {column: vars(estimate) for column, estimate in singles[name].items()},
        }
        if name in (CLEAN, NONE, PLAIN):
            continue
        differences = _differences(score, plain)
        gaps = {column: singles[CLEAN][column].value - singles[PLAIN][column].value for column in differences}
        result['differences_to_plain'][name] = {
            'psnr': vars(paired_difference(score.psnr, plain.psnr)),
            'scores': {column: vars(estimate) for column, estimate in differences.items()},
            'gap_recovered': {column: estimate.value / gaps[column] if gaps[column] >= 0.05 else None
                              for column, estimate in differences.items()}}
    return result


def _intervals(score: Scores) -> dict[str, Estimate]:
    estimates = {recognizer: proportion(right) for recognizer, right in score.right.items()}
    for recognizer, task in score.tasks.items():
        if recognizer not in score.right:
            estimates.update({f'{recognizer} {metric}': value for metric, value in score_intervals(task).items()})
    return estimates


def _differences(ours: Scores, theirs: Scores) -> dict[str, Estimate]:
    estimates = {recognizer: paired_difference(right, theirs.right[recognizer])
                 for recognizer, right in ours.right.items()}
    for recognizer, task in ours.tasks.items():
        if recognizer not in ours.right:
            differences = score_differences(task, theirs.tasks[recognizer])
            estimates.update({f'{recognizer} {metric}': value for metric, value in differences.items()})
    return estimates


def to_markdown(comparison: Mapping[str, Any]) -> str:
    """Two tables: scores and image quality; then the differences to the plain network."""
    source = comparison['source_recognizer']
    first = next(iter(comparison['processings'].values()))
    columns = list(first['scores'])
    heads = [column.replace(source, f'{source} (used)', 1) if column.split(' ')[0] == source else column
             for column in columns]
    kind = 'Top-1 accuracy' if not any(' ' in column for column in columns) else 'Scores'
    rows = [['processing', 'PSNR', 'SSIM', *heads]]
    for name, entry in comparison['processings'].items():
        quality = ['', ''] if entry['psnr'] is None else [f'{entry["psnr"]:.2f}', f'{entry["ssim"]:.4f}']
        rows.append([name, *quality, *(_percent(Estimate(**entry['scores'][c])) for c in columns)])
    parts = [f'{kind} in %, with 95 % intervals, on {comparison["n"]} images (saved as 8 bit).',
             '', _table(rows)]
    rows = [['minus plain', 'PSNR', *heads]]
    for name, entry in comparison['differences_to_plain'].items():
        psnr = Estimate(**entry['psnr'])
        rows.append([name, f'{psnr.value:+.2f} [{psnr.low:+.2f}, {psnr.high:+.2f}]',
                     *(_percent(Estimate(**entry['scores'][c]), sign='+') for c in columns)])
        rows.append([f'{name}: gap recovered', '', *(
            'none to speak of' if v is None else f'{100 * v:.0f} %' for v in entry['gap_recovered'].values())])
    parts += ['', 'Differences to the plain network on the same images, in points; gap recovered: of the way from '
              'plain to clean.', '', _table(rows)]
    return '\n'.join(parts) + '\n'


def _percent(estimate: Estimate, sign: str = '') -> str:
    value, low, high = (f'{100 * v:{sign}.1f}' for v in (estimate.value, estimate.low, estimate.high))
    return f'{value} [{low}, {high}]'


def _table(rows: Sequence[Sequence[str]]) -> str:
    rows = [[markdown_cell(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |' for row in rows]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    return '\n'.join(lines)
