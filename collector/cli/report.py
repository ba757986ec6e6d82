"""How what an analyzer found is printed for people: tables with their notes and findings; JSON and CSV for programs.

A result is what ``Run.result`` gives and `runs` keeps: computed now or read back, it is printed by the same code.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, TextIO, TypeAlias

import click

from analyzers.column import Column, Row
from analyzers.honest import MODE
from analyzers.window import Window
from collector.cli import finding_text
from collector.cli.render import json_text, printable, write_csv, write_table

Result: TypeAlias = Mapping[str, Any]

_NO_FIGURE: Final = "-"
_TOTAL: Final = "TOTAL"
# A table shows millionths of a dollar; JSON and CSV have every digit.
_MICRO: Final = Decimal("0.000001")


class Section(NamedTuple):
    """A table with its totals last (so many rows): of one pricing mode, as amounts of two never share one. Columns
    without any figure are left out."""

    title: str
    headings: list[str]
    cells: list[list[Any]]
    totals: int


def print_json(results: Sequence[Result]) -> None:
    """One array with one object per analyzer."""
    click.echo(json_text(list(results), indent="  "))


def print_csv(result: Result, stream: TextIO) -> None:
    """Header and rows alone, so that the columns can be summed: no totals; the notes go to stderr."""
    write_csv(
        [column["name"] for column in result["columns"]],
        [list(row.values()) for row in result["rows"]],
        stream,
    )
    left_out = len(result["findings"])
    for note in (*notes(result), *([f"CSV has no findings: {left_out} are left out"] if left_out else [])):
        click.echo(f"note: {printable(note)}", err=True)


def print_table(result: Result, stream: TextIO) -> None:
    click.echo(title(result), file=stream)
    print_tables(result, stream)


def print_tables(result: Result, stream: TextIO) -> None:
    """Like ``print_table``, without a title."""
    for section in sections(result):
        if section.title:
            click.echo(f"\n{section.title}", file=stream)
        write_table(section.headings, section.cells, stream)
    for note in notes(result):
        click.echo(f"note: {printable(note)}", file=stream)
    for heading, findings in finding_text.grouped(result["findings"]):
        click.echo(f"\n{heading}", file=stream)
        for finding in findings:
            _print_finding(finding, stream)


def _print_finding(finding: Mapping[str, Any], stream: TextIO) -> None:
    click.echo(f"finding: {printable(finding['title'])}", file=stream)
    for label, text in finding_text.details(finding):
        click.echo(f"  {label}: {printable(text)}", file=stream)


def title(result: Result) -> str:
    """Which analyzer, over which window, and for a result read back when it was recorded."""
    window = result["window"]
    start, end = (dt.datetime.fromisoformat(window[edge]) for edge in ("start", "end"))
    over = Window(start, end, window["timezone"])
    told = f"{result['analyzer']}, {over}"
    if (recorded := result.get("recorded")) is None:
        return told
    finished = over.local(dt.datetime.fromisoformat(recorded["finished_at"]))
    return f"{told}; recorded {finished:%Y-%m-%d %H:%M} ({recorded['trigger']})"


def notes(result: Result) -> Iterator[str]:
    yield from result["notes"]
    if left_out := result.get("rows_left_out"):
        yield f"{left_out} further rows were not recorded; totals are of all"


def sections(result: Result) -> Iterator[Section]:
    """In the result's order."""
    columns = [Column(**column) for column in result["columns"]]
    rows, totals = (
        [tuple(row[column.name] for column in columns) for row in result[part]] for part in ("rows", "totals")
    )
    if MODE not in columns:
        if rows:
            yield _section("", columns, rows, totals)
        return
    at = columns.index(MODE)
    for mode in dict.fromkeys(row[at] for row in rows):
        of_mode = ([row for row in part if row[at] == mode] for part in (rows, totals))
        yield _section(f"{MODE.label} {mode}", columns, *of_mode)


def _section(title: str, columns: Sequence[Column], rows: list[Row], totals: list[Row]) -> Section:
    keys = columns[: columns.index(MODE)] if MODE in columns else [c for c in columns if c.kind == "text"]
    shown = [
        at
        for at, column in enumerate(columns)
        if column != MODE and (column in keys or not _is_empty(column, [row[at] for row in rows]))
    ]
    printed = [*rows, *((_TOTAL, *total[1:]) for total in totals)]
    cells = [[_cell(columns[at], row[at]) for at in shown] for row in printed]
    return Section(title, [_heading(columns[at]) for at in shown], cells, len(totals))


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
        return _money(Decimal(value))
    if column.kind == "ratio":
        return Decimal(f"{value * 100:.1f}") + 0  # never -0.0
    if column.kind == "milliseconds":
        return Decimal(f"{value:.0f}")
    return value


def _money(amount: Decimal) -> Decimal | str:
    rounded = amount.quantize(_MICRO)
    return f"<{_MICRO}" if amount and not rounded else rounded
