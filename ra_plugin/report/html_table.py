"""A table in the terms of the page's template."""
from dataclasses import dataclass

from ra_plugin.report.formats import DASH, interval, number
from ra_plugin.report.table_types import UNITS, Cell, Column, Row, Table

_USED = 'used'


@dataclass(frozen=True)
class ShownCell:
    """Cell of the page: text, a smaller line below, tags, and strength of its color."""

    text: str
    note: str
    level: int | None
    tags: tuple[str, ...]


@dataclass(frozen=True)
class ShownTable:
    """Table of the page: caption, heads, and rows of a name and its cells."""

    caption: str
    heads: list[ShownCell]
    rows: list[tuple[ShownCell, list[ShownCell]]]


def shown_table(table: Table | None, caption: str = '') -> ShownTable | None:
    """Return a table for the page; None where it has no rows or no columns.

    Args:
        table: The table.
        caption: Another caption; it may have `UNITS`, too.
    """
    if table is None or not table.rows or not table.columns:
        return None
    title = caption.replace(UNITS, table.units) or table.title
    return ShownTable(title, [_head(column) for column in (table.head, *table.columns)],
                      [_row(row) for row in table.rows])


def _head(column: Column) -> ShownCell:
    return ShownCell(column.name, column.note, None, ())


def _row(row: Row) -> tuple[ShownCell, list[ShownCell]]:
    return _cell(row.name), [_cell(cell) for cell in row.cells]


def _cell(cell: Cell) -> ShownCell:
    tags = (_USED,) * cell.used + cell.tags
    if cell.estimate is None:
        return ShownCell(cell.text or DASH, cell.note, cell.level, tags)
    return ShownCell(number(cell.factor * cell.estimate.value, cell.digits, cell.sign),
                     interval(cell.estimate, cell.factor, cell.digits, cell.sign), cell.level, tags)
