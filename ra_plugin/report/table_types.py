"""A table, made once and printed as Markdown and as HTML."""
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ra_plugin.report.metrics import Metric, unit_words
from ra_plugin.results import Estimate

UNITS = '{units}'  # in a caption

Group = Literal['quality', 'main', 'other', '']


@dataclass(frozen=True)
class Cell:
    """Words, or a number with its interval.

    Attributes:
        text: Words; empty where `estimate` is given, or where there is nothing.
        estimate: Number with its interval.
        factor: Factor from the estimate to the number shown: 100 for shares.
        digits: Digits after the point.
        sign: True: positive numbers have a sign, as differences do.
        note: Smaller line below words, on the page alone.
        plain: Words in Markdown. Default: ``text``.
        std: Standard deviation over the seeds, in Markdown alone.
        level: Strength of the cell's color on the page, -6 to 6. Default: no color.
        used: True for a recognizer used in training: a tag on the page, bold in Markdown where the table says so.
        tags: Further tags, on the page alone.
    """

    text: str = ''
    estimate: Estimate | None = None
    factor: float = 100
    digits: int = 1
    sign: bool = False
    note: str = ''
    plain: str | None = None
    std: float | None = None
    level: int | None = None
    used: bool = False
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """Head of a column, and what its cells are.

    Attributes:
        name: First line of the head.
        note: Smaller line below it, on the page alone.
        plain: Head in Markdown. Default: ``name``.
        group: Image quality, a recognizer's main metric or another one; empty for further columns.
        metric: Name of the metric or measure.
        measured: The recognition metric, for its unit.
    """

    name: str
    note: str = ''
    plain: str | None = None
    group: Group = ''
    metric: str = ''
    measured: Metric | None = None


@dataclass(frozen=True)
class Row:
    """Name and cells of a row.

    Attributes:
        name: First cell.
        cells: One for each column.
        detail: Row below it in Markdown, e.g. the gap recovered, which the page shows in a table of its own.
    """

    name: Cell
    cells: Sequence[Cell]
    detail: 'Row | None' = None


@dataclass(frozen=True)
class Table:
    """Caption, columns and rows.

    Attributes:
        caption: Title on the page, with `UNITS` in place of the columns' units; in Markdown a sentence stands above the
            table.
        head: Head of the column of names.
        columns: Further columns.
        rows: Rows.
        marks_used: True: Markdown sets cells of recognizers used in training in bold type.
        is_difference: True: cells are differences of scores.
    """

    caption: str
    head: Column
    columns: Sequence[Column]
    rows: Sequence[Row]
    marks_used: bool = False
    is_difference: bool = False

    @property
    def units(self) -> str:
        """Units of the columns of scores, in words."""
        return unit_words((column.measured for column in self.columns if column.measured), self.is_difference)

    @property
    def title(self) -> str:
        """The caption with its units."""
        return self.caption.replace(UNITS, self.units)

    def select(self, *groups: Collection[Group], but: Collection[str] = ()) -> 'Table':
        """Return the table with some of its columns.

        Args:
            groups: Groups of columns that stay, those of each argument in one block.
            but: Metrics that are left out.
        """
        places = [place for block in groups for place, column in enumerate(self.columns)
                  if column.group in block and column.metric not in but]

        def chosen(row: Row) -> Row:
            return replace(row, cells=[row.cells[place] for place in places],
                           detail=row.detail and chosen(row.detail))

        return replace(self, columns=[self.columns[place] for place in places], rows=[chosen(row) for row in self.rows])
