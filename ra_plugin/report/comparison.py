"""Compare ways of processing: which recognizer reads how many images right, and how certain the difference is."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ra_plugin.evaluation.scores import Scores
from ra_plugin.evaluation.significance import Estimate, paired_difference, proportion

CLEAN, NONE, PLAIN = 'clean', 'no processing', 'plain'


def compare(scores: Mapping[str, Scores], source: str) -> dict[str, Any]:
    """Scores of every way of processing, and their differences to the plain network's, image by image.

    Args:
        scores: Has at least ``clean`` and ``plain``.
        source: The recognizer that served as the loss.

    Returns:
        What `to_markdown` prints and the JSON file holds; intervals are at 95 %. ``gap_recovered`` is
        ``(accuracy - plain) / (clean - plain)``, None where clean is less than 5 points above plain.
    """
    plain, top = scores[PLAIN], scores[CLEAN]
    recognizers = list(plain.right)
    result = {'n': len(plain.psnr), 'source_recognizer': source, 'processings': {}, 'differences_to_plain': {}}
    for name, score in scores.items():
        result['processings'][name] = {
            'psnr': None if name == CLEAN else float(score.psnr.mean()),
            'ssim': None if name == CLEAN else float(score.ssim.mean()),
            'accuracy': {r: vars(proportion(score.right[r])) for r in recognizers},
        }
        if name in (CLEAN, NONE, PLAIN):
            continue
        entry = result['differences_to_plain'][name] = {
            'psnr': vars(paired_difference(score.psnr, plain.psnr)), 'accuracy': {}, 'gap_recovered': {}}
        for r in recognizers:
            entry['accuracy'][r] = vars(paired_difference(score.right[r], plain.right[r]))
            gap = float(np.mean(top.right[r]) - np.mean(plain.right[r]))
            entry['gap_recovered'][r] = entry['accuracy'][r]['value'] / gap if gap >= 0.05 else None
    return result


def to_markdown(comparison: Mapping[str, Any]) -> str:
    """Two tables: top-1 accuracy and image quality; then the differences to the plain network."""
    source = comparison['source_recognizer']
    first = next(iter(comparison['processings'].values()))
    recognizers = list(first['accuracy'])
    heads = [f'{r} (used)' if r == source else r for r in recognizers]
    rows = [['processing', 'PSNR', 'SSIM', *heads]]
    for name, entry in comparison['processings'].items():
        quality = ['', ''] if entry['psnr'] is None else [f'{entry["psnr"]:.2f}', f'{entry["ssim"]:.4f}']
        rows.append([name, *quality, *(_percent(Estimate(**entry['accuracy'][r])) for r in recognizers)])
    parts = [f'Top-1 accuracy in %, with 95 % intervals, on {comparison["n"]} images (saved as 8 bit).',
             '', _table(rows)]
    rows = [['minus plain', 'PSNR', *heads]]
    for name, entry in comparison['differences_to_plain'].items():
        psnr = Estimate(**entry['psnr'])
        rows.append([name, f'{psnr.value:+.2f} [{psnr.low:+.2f}, {psnr.high:+.2f}]',
                     *(_percent(Estimate(**entry['accuracy'][r]), sign='+') for r in recognizers)])
        rows.append([f'{name}: gap recovered', '', *(
            'none to speak of' if v is None else f'{100 * v:.0f} %' for v in entry['gap_recovered'].values())])
    parts += ['', 'Differences to the plain network on the same images, in points; gap recovered: of the way from '
              'plain to clean.', '', _table(rows)]
    return '\n'.join(parts) + '\n'


def _percent(estimate: Estimate, sign: str = '') -> str:
    value, low, high = (f'{100 * v:{sign}.1f}' for v in (estimate.value, estimate.low, estimate.high))
    return f'{value} [{low}, {high}]'


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |' for row in rows]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    return '\n'.join(lines)
