"""The report: one HTML file that holds all that it shows, and asks nothing of any network."""
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ra_plugin.report import charts, images, page_tables
from ra_plugin.report.examples import Example
from ra_plugin.report.formats import alone, comparisons, count, coverage, interval, listed, number, too_few_images
from ra_plugin.report.html_page import page, render
from ra_plugin.report.notes import notes, warnings
from ra_plugin.report.sweep import sweep_answer, sweep_charts, sweep_series, sweep_table
from ra_plugin.report.verdict import AUDIT_TONES, verdicts
from ra_plugin.utils.atomic import atomic_write

_SIGNS = {'good': '\u25b2', 'mixed': '\u25c6', 'bad': '\u25bc', 'none': '\u25cb'}
_SECTIONS = {'sweep': 'Sweep', 'summary': 'Summary', 'transfer': 'Transfer', 'trade-off': 'Trade-off',
             'images': 'Images', 'harm': 'Harm', 'clean-input': 'Clean input',
             'audit': 'Audit', 'certainty': 'Certainty', 'reproduce': 'Reproduce'}


def write_page(results: Mapping[str, Any], examples: Sequence[Example], path: Path) -> None:
    """Write the report; parts that the results do not have are left out.

    Args:
        results: What ``results.json`` holds, schema ``ra_plugin.results/1``.
        examples: Images to show. Names and labels of both are shown as they are, and never become code.
        path: Of the HTML file; the same arguments give the same bytes.
    """
    content = _content(results, examples)
    body = render('report', heat=_heat, signs=_SIGNS, **content)
    atomic_write(page('report', f'{content["name"]}: recognition after restoration', body), path)


def _heat(level: int) -> str:
    """The class of a color's strength."""
    return f'p{level}' if level > 0 else f'n{-level}' if level < 0 else ''


def _content(results: Mapping[str, Any], examples: Sequence[Example]) -> dict[str, Any]:
    """All that the template names."""
    scale, cards = page_tables.color_scale(results), images.ExampleCards(results, examples)
    conditions = [_condition(results, name, scale, cards) for name in results['conditions']]
    shown = {'summary', 'reproduce'} | {section for section, keys in {
        'sweep': ('sweep',), 'transfer': ('differences', 'others', 'scores'), 'trade-off': ('trade_off',),
        'harm': ('harm', 'hurt'), 'clean-input': ('clean_input',), 'audit': ('audits',),
        'certainty': ('certainty',)}.items()
        if any(condition[key] for condition in conditions for key in keys)} | ({'images'} if examples else set())
    options = json.loads(json.dumps(results.get('options') or {}))
    return {
        'name': results.get('name') or 'results', 'facts': _facts(results), 'baseline': results['baseline'],
        'sections': [(key, title) for key, title in _SECTIONS.items() if key in shown], 'shown': shown,
        'conditions': conditions, 'several': len(conditions) > 1,
        'several_seeds': any((entry.get('seeds') or 1) > 1 for entry in results.get('restorers', {}).values()),
        'coverage': coverage(results),
        'has_labels': any(data.get('given', {}).get('labels', True) for data in results['conditions'].values()),
        'limit': number(100 * scale.limit, 0), 'levels': range(-page_tables.LEVELS, page_tables.LEVELS + 1),
        'examples': cards.cards(), 'kinds': cards.kinds, 'rule_recognizers': cards.rule_recognizers,
        'processings': cards.processings, 'drawn_by': cards.drawn_by,
        'any_jpeg': any(max(image.shape[:2]) > images.LOSSLESS_SIDE
                        for example in examples for image in example.images.values()),
        'lossless_side': images.LOSSLESS_SIDE,
        'command': results.get('command'), 'recognizers': page_tables.recognizer_table(results),
        'restorers': page_tables.restorer_table(results),
        'options': yaml.safe_dump(options, sort_keys=False, allow_unicode=True) if options else '',
        'versions': [*results.get('versions', {}).items(), *((key, results[key]) for key in ('seed', 'schema')
                                                             if results.get(key) is not None)],
    }


def _condition(results: Mapping[str, Any], name: str, scale: page_tables.Scale, cards: images.ExampleCards) -> dict:
    series, many = charts.trade_off_series(results, name), comparisons(results['conditions'][name])
    return {
        'title': name, 'warnings': warnings(results, name), 'notes': notes(results, name),
        'verdicts': verdicts(results, name), 'others': page_tables.others_table(results, name, scale),
        'sweep': sweep_answer(results, name), 'sweep_charts': sweep_charts(results, name),
        'sweep_series': [(item, charts.sign(i)) for i, item in enumerate(sweep_series(results, name))],
        'sweep_table': sweep_table(results, name),
        'differences': page_tables.difference_table(results, name, scale),
        'scores': page_tables.score_table(results, name),
        'too_few': too_few_images(results['conditions'][name]), 'alone': alone(many) if many > 1 else '',
        'other_metrics': page_tables.other_metrics_table(results, name),
        'trade_off': charts.trade_off_charts(results, name),
        'series': [(item, charts.sign(i)) for i, item in enumerate(series)],
        'harm': page_tables.harm_table(results, name), 'by_class': page_tables.class_tables(results, name),
        'hurt': cards.hurt(name), 'clean_input': page_tables.clean_input_table(results, name, scale),
        'audits': _audits(results, name, scale), 'certainty': page_tables.certainty_table(results, name),
    }


def _audits(results: Mapping[str, Any], condition: str, scale: page_tables.Scale) -> list[dict[str, Any]]:
    audits = []
    for restorer, entry in results['conditions'][condition].get('audit', {}).get('restorers', {}).items():
        spectrum = charts.spectrum_chart(entry['spectrum'], restorer, results['baseline']) if entry.get('spectrum') \
            else None
        audits.append({
            'restorer': restorer, 'verdict': entry.get('verdict'), 'reason': entry.get('reason'),
            'tone': AUDIT_TONES.get(entry.get('verdict'), 'none'),
            'ratio': _ratio(entry.get('held_out_ratio')),
            'table': page_tables.audit_table(results, condition, restorer, scale), 'spectrum': spectrum,
            'lines': [f'{restorer} minus {results["baseline"]}', f'error of {results["baseline"]}']})
    return audits


def _ratio(estimate: Mapping[str, Any] | None) -> str:
    return f'{number(estimate["value"], 2)} {interval(estimate, 1, 2)}' if estimate else ''


def _facts(results: Mapping[str, Any]) -> str:
    conditions = [f'{name} ({count(data["n"])} images)' if data.get('n') else name
                  for name, data in results['conditions'].items()]
    restorers, judges = len(results.get('restorers', {})), len(results.get('recognizers', {}))
    return (f'{restorers} restorer{"s" * (restorers != 1)}, judged by {judges} recognizer{"s" * (judges != 1)} on '
            f'{listed(conditions) or "no condition"}.')
