"""Findings about recognizers as Markdown: a table, then what to change."""
from collections.abc import Sequence

from ra_plugin.studies.doctor.checks import BROKEN, CHECKS, NOT_APPLICABLE, OK, Finding
from ra_plugin.utils.text import markdown_cell, one_line, printable


def to_markdown(findings: Sequence[Finding]) -> str:
    """Return a table with a row for each recognizer and a column for each check, and a line for each finding that is
    not ok.

    The score on clean images is listed in any case: only the reader knows if it is good.
    """
    names = list(dict.fromkeys(finding.recognizer for finding in findings))
    verdicts = {(finding.recognizer, finding.check): finding.verdict for finding in findings}
    built = {finding.recognizer for finding in findings if finding.check == CHECKS[0].name}
    rows = ['| recognizer | ' + ' | '.join(check.name for check in CHECKS) + ' |', '|---' * (len(CHECKS) + 1) + '|']
    for name in names:
        cells = [verdicts.get((name, check.name), BROKEN if name not in built else '') for check in CHECKS]
        rows.append(f'| {markdown_cell(name)} | ' + ' | '.join(cells) + ' |')
    lines = [_line(finding) for finding in findings if finding.verdict != OK or finding.check == CHECKS[-1].name]
    return '\n'.join([*rows, *([''] if lines else []), *lines])


def _line(finding: Finding) -> str:
    text = f'{finding.recognizer}, {finding.check}: {finding.verdict}: {finding.measured}'
    if finding.verdict != NOT_APPLICABLE:
        text += f' (expected {finding.expected}). {finding.fix}'
    return printable(one_line(text))
