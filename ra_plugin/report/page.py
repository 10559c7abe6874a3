"""The report: one HTML file that needs no network."""
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ra_plugin.report import charts, detail_tables, images, tables
from ra_plugin.report.formats import alone, comparisons, coverage, interval, listed, number, too_few_images
from ra_plugin.report.formats import images as images_of
from ra_plugin.report.html_page import page, render
from ra_plugin.report.html_table import ShownTable, shown_table
from ra_plugin.report.notes import notes, warnings
from ra_plugin.report.sweep import sweep_answer, sweep_charts, sweep_series, sweep_table
from ra_plugin.report.table_types import UNITS, Table
from ra_plugin.report.verdict import AUDIT_TONES, verdicts
from ra_plugin.results import Audit, Estimate, Example, Results
from ra_plugin.utils.atomic import atomic_write
from ra_plugin.utils.text import how_many

_SIGNS = {'good': '\u25b2', 'mixed': '\u25c6', 'bad': '\u25bc', 'none': '\u25cb'}
_SECTIONS = {'sweep': 'Sweep', 'summary': 'Summary', 'transfer': 'Transfer', 'trade-off': 'Trade-off',
             'images': 'Images', 'harm': 'Harm', 'clean-input': 'Clean input',
             'audit': 'Audit', 'certainty': 'Certainty', 'reproduce': 'Reproduce'}


def write_page(results: Results, examples: Sequence[Example], path: Path) -> None:
    """Write the report; sections without results are left out.

    Args:
        results: The results.
        examples: Images to show. Names and labels of both are shown as text, and never become code.
        path: Path of the HTML file; the same arguments give the same bytes.
    """
    content = _content(results, examples)
    body = render('report', heat=_heat, signs=_SIGNS, **content)
    atomic_write(page('report', f'{content["name"]}: recognition after restoration', body), path)


def _heat(level: int) -> str:
    """Return the CSS class of a color's strength."""
    return f'p{level}' if level > 0 else f'n{-level}' if level < 0 else ''


def _content(results: Results, examples: Sequence[Example]) -> dict[str, Any]:
    """Return all values that the template names."""
    scale, cards = tables.color_scale(results), images.ExampleCards(results, examples)
    conditions = [_condition(results, name, scale, cards) for name in results.conditions]
    shown = {'summary', 'reproduce'} | {section for section, keys in {
        'sweep': ('sweep',), 'transfer': ('differences', 'others', 'scores'), 'trade-off': ('trade_off',),
        'harm': ('harm', 'hurt'), 'clean-input': ('clean_input',), 'audit': ('audits',),
        'certainty': ('certainty',)}.items()
        if any(condition[key] for condition in conditions for key in keys)} | ({'images'} if examples else set())
    options = json.loads(json.dumps(results.options or {}))
    return {
        'name': results.name or 'results', 'facts': _facts(results), 'baseline': results.baseline,
        'sections': [(key, title) for key, title in _SECTIONS.items() if key in shown], 'shown': shown,
        'conditions': conditions, 'several': len(conditions) > 1,
        'several_seeds': any(facts.seeds > 1 for facts in results.restorers.values()),
        'coverage': coverage(results),
        'has_labels': any(data.given.labels for data in results.conditions.values()),
        'limit': number(100 * scale.limit, 0), 'levels': range(-tables.LEVELS, tables.LEVELS + 1),
        'examples': cards.cards(), 'kinds': cards.kinds, 'rule_recognizers': cards.rule_recognizers,
        'processings': cards.processings, 'drawn_by': cards.drawn_by,
        'any_jpeg': any(max(image.shape[:2]) > images.LOSSLESS_SIDE
                        for example in examples for image in example.images.values()),
        'lossless_side': images.LOSSLESS_SIDE,
        'command': results.command, 'recognizers': shown_table(detail_tables.recognizer_table(results)),
        'restorers': shown_table(detail_tables.restorer_table(results)),
        'options': yaml.safe_dump(options, sort_keys=False, allow_unicode=True) if options else '',
        'versions': [*results.versions.items(), *([('seed', results.seed)] if results.seed is not None else []),
                     ('schema', results.schema)],
    }


def _condition(results: Results, name: str, scale: tables.Scale, cards: images.ExampleCards) -> dict:
    series, many = charts.trade_off_series(results, name), comparisons(results.conditions[name])
    scores = tables.score_table(results, name)
    others = (tables.pair_table if results.conditions[name].pairs else tables.no_processing_table)(results, name, scale)
    return {
        'title': name, 'warnings': warnings(results, name), 'notes': notes(results, name),
        'verdicts': verdicts(results, name), 'others': _gains(others),
        'sweep': sweep_answer(results, name), 'sweep_charts': sweep_charts(results, name),
        'sweep_series': [(item, charts.sign(i)) for i, item in enumerate(sweep_series(results, name))],
        'sweep_table': shown_table(sweep_table(results, name)),
        'differences': _gains(tables.difference_table(results, name, scale)),
        'scores': _gains(scores),
        'too_few': too_few_images(results.conditions[name]), 'alone': alone(many) if many > 1 else '',
        'other_metrics': shown_table(scores.select(['other']), f'Scores by the other metrics, {UNITS}'),
        'trade_off': charts.trade_off_charts(results, name),
        'series': [(item, charts.sign(i)) for i, item in enumerate(series)],
        'harm': shown_table(tables.harm_table(results, name)),
        'by_class': [shown_table(one) for one in detail_tables.class_tables(results, name)],
        'hurt': cards.hurt(name), 'clean_input': _gains(tables.clean_input_table(results, name, scale)),
        'audits': _audits(results, name, scale),
        'certainty': shown_table(detail_tables.certainty_table(results, name)),
    }


def _audits(results: Results, condition: str, scale: tables.Scale) -> list[dict[str, Any]]:
    audits, audit = [], results.conditions[condition].audit or Audit()
    for restorer, entry in audit.restorers.items():
        spectrum = charts.spectrum_chart(entry.spectrum, restorer, results.baseline) if entry.spectrum else None
        audits.append({
            'restorer': restorer, 'verdict': entry.verdict, 'reason': entry.reason,
            'tone': AUDIT_TONES.get(entry.verdict, 'none'), 'ratio': _ratio(entry.held_out_ratio),
            'table': shown_table(tables.audit_table(results, audit, restorer, scale)), 'spectrum': spectrum,
            'lines': [f'{restorer} minus {results.baseline}', f'error of {results.baseline}']})
    return audits


def _gains(table: Table) -> ShownTable | None:
    """Show the main metrics, then image quality."""
    return shown_table(table.select(['main'], ['quality']))


def _ratio(estimate: Estimate | None) -> str:
    return f'{number(estimate.value, 2)} {interval(estimate, 1, 2)}' if estimate else ''


def _facts(results: Results) -> str:
    conditions = [f'{name} ({images_of(data.n)})' if data.n else name for name, data in results.conditions.items()]
    restorers, judges = len(results.restorers), len(results.recognizers)
    return (f'{how_many(restorers, "restorer") if restorers else "No restorers"}, judged by '
            f'{how_many(judges, "recognizer")} on {listed(conditions) or "no condition"}.')
