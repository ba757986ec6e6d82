"""How an analyzer's report is printed: a table with its notes for people, JSON and CSV for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, TextIO

import click

from analyzers.finding import Column, Report, Row
from analyzers.honest import MODE
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
    """Title, a table per kind of money with its total, and the notes. Columns without any figure are left out."""
    click.echo(f"{name}, {window}", file=stream)
    print_tables(report, stream)


def print_tables(report: Report, stream: TextIO) -> None:
    """Like ``print_table``, without a title."""
    for title, rows, totals in _sections(report):
        if title:
            click.echo(f"\n{title}", file=stream)
        _print_section(report.columns, rows, totals, stream)
    _print_notes(report.notes)
    for finding in report.findings:
        click.echo(f"finding: {finding.title}", file=stream)
        _print_notes(finding.caveats)


def _sections(report: Report) -> Iterator[tuple[str, list[Row], list[Row]]]:
    """The rows and totals of each pricing mode, in the report's order: amounts of two modes never share a table."""
    if MODE not in report.columns:
        if report.rows:
            yield "", list(report.rows), list(report.totals)
        return
    at = report.columns.index(MODE)
    for mode in dict.fromkeys(row[at] for row in report.rows):
        rows, totals = ([row for row in part if row[at] == mode] for part in (report.rows, report.totals))
        yield f"{MODE.label} {mode}", rows, totals


def _print_section(columns: Sequence[Column], rows: list[Row], totals: list[Row], stream: TextIO) -> None:
    keys = columns[: columns.index(MODE)] if MODE in columns else [c for c in columns if c.kind == "text"]
    shown = [
        at
        for at, column in enumerate(columns)
        if column != MODE and (column in keys or not _is_empty(column, [row[at] for row in rows]))
    ]
    printed = [*rows, *(_headed(row) for row in totals)]
    cells = [[_cell(columns[at], row[at]) for at in shown] for row in printed]
    write_table([_heading(columns[at]) for at in shown], cells, stream)


def _headed(total: Row) -> Row:
    return (_TOTAL, *total[1:])


def _is_empty(column: Column, values: Iterable[object]) -> bool:
    """Nothing known, or nothing counted; known amounts of 0 stay."""
    return set(values) <= ({None, 0} if column.kind == "count" else {None})


def _heading(column: Column) -> str:
    return f"{column.label}, %" if column.kind == "ratio" else column.label


def _cell(column: Column, value: Any) -> Any:
    """Numbers stay numbers, so that they align; rounded to what a reader can use."""
    if value is None:
        return _NO_FIGURE
    if column.kind in ("usd", "amount"):
        return _money(value)
    if column.kind == "ratio":
        return Decimal(f"{value * 100:.1f}")
    if column.kind == "milliseconds":
        return Decimal(f"{value:.0f}")
    return value


def _money(amount: Decimal) -> Decimal | str:
    rounded = amount.quantize(_MICRO)
    return f"<{_MICRO}" if amount and not rounded else rounded


def _print_notes(notes: Iterable[str], err: bool = False) -> None:
    for note in notes:
        click.echo(f"note: {note}", err=err)
