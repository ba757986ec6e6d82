"""How an analyzer's report is printed: a table with its notes for people, JSON and CSV for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, TextIO

import click

from analyzers.finding import Column, Report, Row
from analyzers.window import Window
from collector.cli.render import json_text, write_csv, write_table

_NO_FIGURE: Final = "-"
_TOTAL: Final = "TOTAL"
# A table shows millionths of a dollar; JSON and CSV have every digit.
_MICRO: Final = Decimal("0.000001")


def print_json(results: Sequence[dict[str, Any] | None]) -> None:
    """One array with one object per analyzer: ``Run.result()``."""
    click.echo(json_text(list(results), indent="  "))


def print_csv(report: Report, stream: TextIO) -> None:
    """Header and rows alone, so that the columns can be summed: no totals; the notes go to stderr."""
    write_csv([column.name for column in report.columns], report.rows, stream)
    _print_notes(report.notes, err=True)


def print_table(name: str, window: Window, report: Report, stream: TextIO) -> None:
    """Title, rows, one total per kind of money, and the notes. Columns without any figure are left out."""
    click.echo(f"{name}, {window}", file=stream)
    if report.rows:
        shown = [position for position in range(len(report.columns)) if not _is_empty(report, position)]
        columns = [report.columns[position] for position in shown]
        rows = [*report.rows, *(_headed(row) for row in report.totals)]
        cells = [[_cell(column, row[at]) for at, column in zip(shown, columns, strict=True)] for row in rows]
        write_table([_heading(column) for column in columns], cells, stream)
    _print_notes(report.notes)
    for finding in report.findings:
        click.echo(f"finding: {finding.title}", file=stream)
        _print_notes(finding.caveats)


def _headed(total: Row) -> Row:
    return (_TOTAL, *total[1:])


def _is_empty(report: Report, position: int) -> bool:
    """Nothing known, or nothing counted; what a row is grouped by, and known amounts of 0, always stay."""
    kind = report.columns[position].kind
    values = {row[position] for row in report.rows}
    return kind not in ("text", "date") and values <= ({None, 0} if kind == "count" else {None})


def _heading(column: Column) -> str:
    return f"{column.label}, %" if column.kind == "ratio" else column.label


def _cell(column: Column, value: Any) -> Any:
    """Numbers stay numbers, so that they align; rounded to what a reader can use."""
    if value is None:
        return _NO_FIGURE
    if column.kind == "usd":
        return _dollars(value)
    if column.kind == "ratio":
        return Decimal(f"{value * 100:.1f}")
    if column.kind == "milliseconds":
        return Decimal(f"{value:.0f}")
    return value


def _dollars(amount: Decimal) -> Decimal | str:
    rounded = amount.quantize(_MICRO)
    return f"<{_MICRO}" if amount and not rounded else rounded


def _print_notes(notes: Iterable[str], err: bool = False) -> None:
    for note in notes:
        click.echo(f"note: {note}", err=err)
