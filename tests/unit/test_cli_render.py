"""How rows are printed: exact, whole, and safe for the terminal or spreadsheet that shows them."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest

from collector.cli import render


def as_json(columns: list[str], *rows: tuple[Any, ...]) -> str:
    stream = io.StringIO()
    render.write_json(columns, rows, stream)
    return stream.getvalue()


def as_csv(columns: list[str], *rows: tuple[Any, ...]) -> str:
    stream = io.StringIO()
    render.write_csv(columns, rows, stream)
    return stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def as_table(columns: list[str], *rows: tuple[Any, ...]) -> str:
    stream = io.StringIO()
    render.write_table(columns, rows, stream)
    return stream.getvalue()


def test_json_is_one_array_of_objects_a_row_a_line() -> None:
    assert as_json(["a", 'b"'], (1, None), (2, True)) == '[{"a":1,"b\\"":null},\n{"a":2,"b\\"":true}]\n'
    assert as_json(["a"]) == "[]\n"


def test_json_keeps_every_digit_of_integers_and_decimals() -> None:
    text = as_json(
        ["i", "d", "small"], (2**63 - 1, Decimal("12345678901234567890.123456789012"), Decimal("1E-12"))
    )
    assert (
        text == '[{"i":9223372036854775807,"d":12345678901234567890.123456789012,"small":0.000000000001}]\n'
    )


def test_json_times_are_iso_8601_in_utc_with_a_z() -> None:
    berlin = dt.timezone(dt.timedelta(hours=1))
    row = (
        dt.datetime(2026, 1, 2, 3, 4, 5, 6),
        dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=berlin),
        dt.date(2026, 1, 2),
    )
    assert json.loads(as_json(["t", "z", "d"], row)) == [
        {"t": "2026-01-02T03:04:05.000006Z", "z": "2026-01-02T02:04:05Z", "d": "2026-01-02"}
    ]


def test_json_has_a_form_for_every_type_that_sql_can_give() -> None:
    number = uuid.UUID(int=7)
    row = (["x", None], {"k": [Decimal("1.50")]}, b"\x00\x01", float("nan"), float("-inf"), number, 0.1)
    assert json.loads(as_json(list("abcdefg"), row)) == [
        {
            "a": ["x", None],
            "b": {"k": [1.5]},
            "c": "AAE=",
            "d": "NaN",
            "e": "-Infinity",
            "f": str(number),
            "g": 0.1,
        }
    ]


def test_indented_json_is_the_same_document() -> None:
    value = {"a": [1, {"b": Decimal("0.10")}], "c": {}, "d": []}
    text = render.json_text(value, indent="  ")
    assert text.splitlines()[1] == '  "a": ['
    assert json.loads(text) == json.loads(render.json_text(value))
    assert "0.10" in text


def test_csv_reads_back_as_it_was() -> None:
    text = as_csv(
        ["a", "b,c"], ('say "hi"', "two\nlines"), (None, ""), (Decimal("-0.10"), dt.date(2026, 1, 2))
    )
    assert text.startswith('a,"b,c"\r\n')
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["a", "b,c"],
        ['say "hi"', "two\nlines"],
        ["", ""],
        ["-0.10", "2026-01-02"],
    ]
    assert '\r\n,""\r\n' in text  # NULL and the empty text are told apart


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_csv_text_cannot_be_run_as_a_formula(text: str) -> None:
    (_, (cell, number)) = csv.reader(io.StringIO(as_csv(["a", "b"], (text, -1)), newline=""))
    assert (cell, number) == ("'" + text, "-1")


def test_a_table_aligns_numbers_and_tells_null_from_its_text() -> None:
    lines = as_table(["name", "n"], ("a", 5), ("NULL", 12345), (None, None)).splitlines()
    ends = [len(line.rstrip()) for line in lines if "5" in line]
    assert len(set(ends)) == 1
    assert [line.split() for line in lines[2:]] == [["a", "5"], ['"NULL"', "12345"], ["NULL", "NULL"]]


def test_a_table_shows_values_whole_where_there_is_no_terminal() -> None:
    long = "x" * 5000
    assert long in as_table(["a", "b"], (long, 1))


@pytest.mark.parametrize("columns", [3, 60])
def test_a_narrow_terminal_loses_no_character(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few columns fold their cells; many turn each row into a block of lines."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    values = tuple(f"{number:02d}" * 15 for number in range(columns))
    render.write_table([f"c{number}" for number in range(columns)], [values], stream)
    shown = stream.getvalue()
    for number in range(columns):
        assert shown.count(f"{number % 10}") >= values[number].count(f"{number % 10}")
    assert all(len(line) <= 40 for line in shown.splitlines())
    assert "…" not in shown


@pytest.mark.parametrize("width", [40, 60, 78, 79, 80, 81, 90, 120])
def test_numbers_stay_whole_at_every_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts and headings fold, and where that is not enough the table gives way: no digit is cut or folded."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    numbers = [10**6 + number for number in range(8)]
    names = ["model", *(f"column number {number}" for number in range(8))]
    render.write_table(names, [("a-model-with-a-long-name", *numbers)], stream)
    assert [number for number in numbers if str(number) not in stream.getvalue().split()] == []
    assert all(len(line) <= width for line in stream.getvalue().splitlines())


def test_colours_only_on_a_terminal_and_never_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    render.write_table(["a"], [(None,)], terminal)
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b[" not in as_table(["a"], (None,))
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    render.write_table(["a"], [(None,)], terminal)
    assert "\x1b[" not in terminal.getvalue()


def test_text_cannot_drive_the_terminal_or_the_markup() -> None:
    shown = as_table(["a"], ("\x1b[2Jgone [red]x[/red] \u202etxet",))
    assert "\x1b" not in shown
    assert "\\x1b[2Jgone [red]x[/red] \\u202etxet" in shown
