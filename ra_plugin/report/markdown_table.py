"""Tables and numbers in Markdown."""
import math
from collections.abc import Mapping, Sequence

from ra_plugin.report.table_types import Cell, Column, Row, Table
from ra_plugin.results import Estimate
from ra_plugin.utils.text import markdown_cell


class _Bold(str):
    """Cell in bold type."""


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    cells = [[f'**{markdown_cell(cell)}**' if isinstance(cell, _Bold) else markdown_cell(cell) for cell in row]
             for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + ' |'
             for row in cells]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    return '\n'.join(lines)


def printed(shown: Table) -> str:
    """Return a `Table` as Markdown."""
    rows = [[head_text(column) for column in (shown.head, *shown.columns)]]
    for row in shown.rows:
        rows += [_texts(one, shown.marks_used) for one in (row, row.detail) if one]
    return table(rows)


def joined(head: str, shown: Mapping[str, Table]) -> str:
    """Return tables of the same columns as one, their names in a first column below ``head``."""
    first = next(iter(shown.values()))
    rows = [[head, *(head_text(column) for column in (first.head, *first.columns))]]
    rows += [[name, *_texts(row, one.marks_used)] for name, one in shown.items() for row in one.rows]
    return table(rows)


def head_text(column: Column) -> str:
    """Return the head of a column in Markdown."""
    return column.name if column.plain is None else column.plain


def cell_text(cell: Cell) -> str:
    """Return a cell in Markdown."""
    if cell.estimate is None:
        return cell.text if cell.plain is None else cell.plain
    spread = '' if cell.std is None else f', std {cell.factor * cell.std:.{cell.digits}f}'
    return interval(cell.estimate, f'{"+" if cell.sign else ""}.{cell.digits}f', cell.factor) + spread


def _texts(row: Row, marks_used: bool) -> list[str]:
    return [_Bold(cell_text(cell)) if cell.used and marks_used else cell_text(cell) for cell in (row.name, *row.cells)]


def percent(estimate: Estimate, sign: str = '', form: str = '.1f') -> str:
    """Return a share in %, with its interval."""
    return interval(estimate, sign + form, 100)


def interval(estimate: Estimate, form: str, factor: float = 1) -> str:
    """Return ``value [low, high]``, without what is not known."""
    value, low, high = (_number(factor * part, form) for part in (estimate.value, estimate.low, estimate.high))
    return f'{value} [{low}, {high}]' if low else value


def _number(value: float, form: str) -> str:
    return '' if math.isnan(value) else f'{value:{form}}'
