"""How rows are printed: as a table for people, as JSON or CSV for programs. No value is ever cut.

Values are Python's: int, Decimal, float, bool, str, bytes, datetime (naive = UTC), date, time, timedelta,
UUID, None, and lists and dicts of them.
"""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

Row = Sequence[Any]
Progress = Callable[[int], None]  # told how much is done

# Text columns fold down to this width before a table gives way to a block of lines per row; numbers never fold.
_LEAST_TEXT: Final = 12
_BETWEEN_COLUMNS: Final = 2
# Where there is no terminal there is no width to fit into.
_NO_WIDTH: Final = 1_000_000
_quoted: Final = json.encoder.encode_basestring
# Most cells of a result, written without further questions: a million of them is a second.
_SIMPLE: Final[dict[type, Callable[[Any], str]]] = {
    str: _quoted,
    int: str,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
}
# A spreadsheet runs a cell that begins so as a formula (OWASP, CSV Injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def plain(value: Any) -> Any:
    """The value as JSON has it, but for Decimal, which ``json_text`` writes with its exact digits."""
    if value is None or isinstance(value, bool | int | str | Decimal):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> str | float:
    if isinstance(value, float):
        return value if math.isfinite(value) else _special_float(value)
    if isinstance(value, dt.datetime):
        return iso_time(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    return str(value)


def iso_time(moment: dt.datetime) -> str:
    """ISO 8601 in UTC with a Z; a time without a zone is UTC, as all times of the lake are."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return aware.astimezone(dt.UTC).replace(tzinfo=None).isoformat() + "Z"


def _special_float(value: float) -> str:
    """As protobuf's JSON mapping writes what JSON has no number for."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def json_text(value: Any, indent: str | None = None, _level: str = "\n") -> str:
    """``value`` as JSON; a Decimal is a number with exactly its digits (``json`` cannot write one).

    ``indent`` puts the items of the outer mappings and lists on lines of their own.
    """
    if (write := _SIMPLE.get(type(value))) is not None:
        return write(value)
    value = plain(value)
    inner = _level + (indent or "")
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else f'"{value}"'
    if isinstance(value, dict):
        colon = ": " if indent else ":"
        items = [_quoted(key) + colon + json_text(item, indent, inner) for key, item in value.items()]
        return _bracketed("{", items, "}", indent, _level)
    if isinstance(value, list):
        items = [json_text(item, indent, inner) for item in value]
        return _bracketed("[", items, "]", indent, _level)
    return json.dumps(value, ensure_ascii=False)


def _bracketed(opening: str, items: list[str], closing: str, indent: str | None, level: str) -> str:
    if not indent or not items:
        return opening + ",".join(items) + closing
    inner = level + indent
    return opening + inner + f",{inner}".join(items) + level + closing


def write_json(columns: Sequence[str], rows: Iterable[Row], stream: TextIO) -> None:
    """One array of objects, column name -> value, a row a line."""
    names = [_quoted(name) for name in columns]
    stream.write("[")
    for number, row in enumerate(rows):
        stream.write((",\n" if number else "") + _json_object(names, map(json_text, row)))
    stream.write("]\n")


def write_json_lines(
    columns: Sequence[str], documents: Collection[str], rows: Iterable[Row], stream: TextIO
) -> None:
    """An object a line, column name -> value. ``documents``: columns whose texts are JSON already."""
    names = [_quoted(name) for name in columns]
    as_json = [_document if name in documents else json_text for name in columns]
    for row in rows:
        cells = (write(value) for write, value in zip(as_json, row, strict=True))
        stream.write(_json_object(names, cells) + "\n")


def _json_object(names: Iterable[str], cells: Iterable[str]) -> str:
    return "{" + ",".join(f"{name}:{cell}" for name, cell in zip(names, cells, strict=True)) + "}"


def _document(text: str | None) -> str:
    return "null" if text is None else text


def write_csv(columns: Sequence[str], rows: Iterable[Row], stream: TextIO) -> None:
    """RFC 4180 with a header line. NULL is an empty cell, an empty text a quoted one.

    Text that a spreadsheet would run as a formula gets a ' before it; numbers stay as they are.
    """
    write_csv_rows(itertools.chain([columns], rows), stream)


def write_csv_rows(rows: Iterable[Row], stream: TextIO) -> None:
    """Like ``write_csv``, without a header."""
    for row in rows:
        stream.write(",".join(map(_cell, row)) + "\r\n")


def _cell(value: Any) -> str:
    if (write := _SIMPLE_CELLS.get(type(value))) is not None:
        return write(value)
    value = plain(value)
    if isinstance(value, str):
        return _text_cell(value)
    text = json_text(value)
    return '"' + text.replace('"', '""') + '"' if isinstance(value, dict | list) else text


def _text_cell(text: str) -> str:
    if text.isalnum():  # most are, and need nothing
        return text
    if text.startswith(_FORMULA):
        text = f"'{text}"
    special = not text or any(character in text for character in ',"\r\n')
    return '"' + text.replace('"', '""') + '"' if special else text


_SIMPLE_CELLS: Final[dict[type, Callable[[Any], str]]] = {
    type(None): lambda _: "",
    str: _text_cell,
    int: str,
    bool: _SIMPLE[bool],
}


def console(stream: TextIO | None = None) -> Console:
    """A console on the stream (default stdout): colours on a terminal only, none where NO_COLOR is set."""
    from rich.console import Console

    stream = stream or sys.stdout
    plain_text = bool(os.environ.get("NO_COLOR"))
    width = None if stream.isatty() else _NO_WIDTH
    return Console(file=stream, width=width, color_system=None if plain_text else "auto", highlight=False)


@contextmanager
def progress(total: Callable[[], int | None], *, of_bytes: bool, quiet: bool) -> Iterator[Progress]:
    """A bar of bytes or records done, on a terminal only; `total` is asked where there is one."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich import progress as bar

    counting = (bar.DownloadColumn(), bar.TransferSpeedColumn()) if of_bytes else (bar.MofNCompleteColumn(),)
    columns = (bar.BarColumn(), *counting, bar.TimeRemainingColumn())
    with bar.Progress(*columns, console=console(sys.stderr), transient=True) as display:
        task = display.add_task("", total=total())
        yield lambda done: display.update(task, completed=done)


def write_table(columns: Sequence[str], rows: Iterable[Row], stream: TextIO | None = None) -> None:
    """A table with numbers to the right; on a terminal too narrow for it, a block of lines per row."""
    target = console(stream)
    printed = list(rows)
    widths = _column_widths(columns, printed, target.width)
    if widths is None:
        _write_blocks(columns, printed, target)
    else:
        _write_grid(columns, printed, widths, target)


def _column_widths(columns: Sequence[str], rows: list[Row], width: int) -> list[int] | None:
    """What each column gets of ``width``, from the left; None where not even the least fits.

    At least: headings break between words, texts anywhere, numbers not at all.
    """
    least = [max(map(_width, name.split()), default=0) for name in columns]
    whole = [_width(name) for name in columns]
    for row in rows:
        cells = [(_width(_shown(value).plain), _is_number(value)) for value in row]
        whole = [max(known, cell) for known, (cell, _) in zip(whole, cells, strict=True)]
        least = [
            max(known, cell if is_number else min(cell, _LEAST_TEXT))
            for known, (cell, is_number) in zip(least, cells, strict=True)
        ]
    spare = width - sum(least) - _BETWEEN_COLUMNS * (len(columns) - 1)
    if spare < 0:
        return None
    widths = []
    for needed, wished in zip(least, whole, strict=True):
        more = min(wished - needed, spare)
        spare -= more
        widths.append(needed + more)
    return widths


def _width(text: str) -> int:
    """Terminal cells of the longest line."""
    from rich.cells import cell_len

    return max(map(cell_len, text.split("\n")))


def _write_grid(columns: Sequence[str], rows: list[Row], widths: list[int], target: Console) -> None:
    from rich import box
    from rich.table import Table

    # One space of padding and one for the box's own invisible line make _BETWEEN_COLUMNS.
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
    )
    for position, name in enumerate(columns):
        numeric = any(_is_number(row[position]) for row in rows)
        justify: Literal["right", "left"] = "right" if numeric else "left"
        table.add_column(_safe(name), justify=justify, overflow="fold", width=widths[position])
    for row in rows:
        table.add_row(*[_shown(value) for value in row])
    _print(table, target)


def _write_blocks(columns: Sequence[str], rows: list[Row], target: Console) -> None:
    from rich.table import Table

    for number, row in enumerate(rows, start=1):
        target.print(f"row {number}", style="bold")
        block = Table.grid(padding=(0, 2))
        block.add_column(overflow="fold")
        block.add_column(overflow="fold")
        for name, value in zip(columns, row, strict=True):
            block.add_row(_safe(name), _shown(value))
        _print(block, target)


def _print(table: Table, target: Console) -> None:
    """Without the spaces that fill a table's lines up: they would wrap, and be copied along."""
    with target.capture() as capture:
        target.print(table)
    target.file.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _shown(value: Any) -> Text:
    from rich.text import Text

    if value is None:
        return Text("NULL", style="dim")
    value = plain(value)
    # Without colours only the quotes tell this text from a NULL.
    return _safe('"NULL"' if value == "NULL" else value if isinstance(value, str) else json_text(value))


def _safe(text: str) -> Text:
    from rich.text import Text

    return Text(printable(text))


def printable(text: str) -> str:
    """The text with control characters written out: telemetry must not drive the reader's terminal."""
    return "".join(c if c in "\n\u3000\xa0" or c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
