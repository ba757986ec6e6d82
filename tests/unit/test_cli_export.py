"""`otlp-collector export`: all that is in the lake is in the file, as it is, and a file is whole or not there."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import resource
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from collector.cli import export
from collector.store.lake import Lake
from collector.store.lock import writer_lock
from tests.calls_table import call, insert_calls, lake_with_calls
from tests.support import BIN

DAY = dt.datetime(2026, 3, 10)
HOUR = dt.timedelta(hours=1)
FORMULAS = ("=1+1", "+1", "-1", "@sum(a1)", "\t=1", "\r=1")
# Less than the 400 calls take, more than the catalog's own files need.
_LIMIT = 64 << 10
EXACT = Decimal("12345678901234567890.123456789012")
CALLS = [
    call(call_id="b", start_time=DAY + 30 * HOUR, agent_name='zoë, "the" 1st\nof two', cost_usd=EXACT),
    call(
        call_id="a",
        start_time=DAY,
        finish_reasons=["stop", "length"],
        cost_usd=Decimal("-0.5"),
        session_id="",
    ),
    call(call_id="c", start_time=DAY + 30 * HOUR, input_tokens=None, members='[{"signal":"span"}]'),
]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lake_with_calls(tmp_path_factory.mktemp("export") / "data", *CALLS)


def exported(data_dir: Path, *arguments: object) -> Result:
    return CliRunner().invoke(export.command, ["--data-dir", *map(str, (data_dir, *arguments))])


def cells(done: Result) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(done.stdout_bytes.decode(), newline="")))


def stored(data_dir: Path) -> list[dict[str, Any]]:
    with Lake.open(data_dir, read_only=True) as lake:
        return (
            lake.connection.execute("SELECT * FROM calls ORDER BY start_time, call_id")
            .to_arrow_table()
            .to_pylist()
        )


def test_a_parquet_file_has_every_value_with_its_type(lake: Path, tmp_path: Path) -> None:
    """Money with all its digits, lists as lists, NULL as NULL; in order of time, and of the id within a moment."""
    done = exported(lake, "--parquet", "--output", tmp_path / "calls.parquet")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"3 calls written to {tmp_path / 'calls.parquet'}\n"
    rows = pq.read_table(tmp_path / "calls.parquet").to_pylist()
    assert rows == stored(lake)
    assert [row["call_id"] for row in rows] == ["a", "b", "c"]
    assert rows[1]["cost_usd"] == EXACT


def test_json_lines_have_an_object_a_row_in_which_json_is_no_text(lake: Path) -> None:
    done = exported(lake, "calls", "--jsonl")
    rows = [json.loads(line, parse_float=Decimal) for line in done.stdout.splitlines()]
    assert [row["call_id"] for row in rows] == ["a", "b", "c"]
    assert rows[1]["cost_usd"] == EXACT
    assert rows[1]["agent_name"] == CALLS[0]["agent_name"]
    assert rows[1]["start_time"] == "2026-03-11T06:00:00Z"
    assert rows[0]["finish_reasons"] == ["stop", "length"]
    assert rows[2]["members"] == [{"signal": "span"}]
    assert rows[2]["input_tokens"] is None
    assert [*rows[0]] == [*stored(lake)[0]]


def test_csv_tells_what_is_unknown_from_what_is_empty(lake: Path) -> None:
    """NULL is an empty cell, an empty text a quoted one; text with commas, quotes and line ends comes back whole."""
    done = exported(lake, "--csv")
    rows = cells(done)
    assert [row["call_id"] for row in rows] == ["a", "b", "c"]
    assert Decimal(rows[1]["cost_usd"]) == EXACT
    assert rows[1]["agent_name"] == CALLS[0]["agent_name"]
    assert rows[2]["input_tokens"] == ""
    (line,) = [line for line in done.stdout_bytes.decode().split("\r\n") if line.startswith("a,")]
    at = [*rows[0]].index("session_id") + rows[0]["finish_reasons"].count(",")
    assert line.split(",")[at - 1 : at + 2] == ["", '""', ""]


def test_no_cell_is_a_formula_and_negative_numbers_stay_numbers(tmp_path: Path) -> None:
    """Names come from whoever sends telemetry; a spreadsheet runs a text that begins like a formula."""
    rows = [
        call(call_id=f"{n}", agent_name=text, cost_usd=Decimal("-0.25")) for n, text in enumerate(FORMULAS)
    ]
    done = exported(lake_with_calls(tmp_path / "data", *rows), "--csv")
    assert [row["agent_name"] for row in cells(done)] == [f"'{text}" for text in FORMULAS]
    assert {row["cost_usd"] for row in cells(done)} == {"-0.250000000000"}


@pytest.mark.parametrize(
    ("edges", "ids"),
    [
        (("--since", "2026-03-10T00:00", "--until", "2026-03-11T06:00"), ["a"]),
        (("--since", "2026-03-10T00:00:01"), ["b", "c"]),
        (("--since", "1d", "--until", "2026-03-11T06:01"), ["b", "c"]),
        (("--until", "2026-03-10"), []),
    ],
)
def test_a_window_has_its_start_and_not_its_end(lake: Path, edges: tuple[str, ...], ids: list[str]) -> None:
    done = exported(lake, "--jsonl", *edges)
    assert done.exit_code == 0
    assert [json.loads(line)["call_id"] for line in done.stdout.splitlines()] == ids
    assert done.stderr == f"{len(ids)} calls written\n"


@pytest.mark.parametrize("form", ["--parquet", "--csv", "--jsonl"])
def test_spans_of_an_empty_lake_are_a_file_without_rows(lake: Path, tmp_path: Path, form: str) -> None:
    """Of columns alone, so that what reads it goes on."""
    done = exported(lake, "spans", form, "-o", tmp_path / "spans")
    assert (done.exit_code, done.stderr) == (0, f"0 spans written to {tmp_path / 'spans'}\n")
    if form == "--parquet":
        assert pq.read_table(tmp_path / "spans").num_rows == 0
    else:
        assert len((tmp_path / "spans").read_text().splitlines()) == (form == "--csv")


def test_a_file_that_is_there_is_replaced_only_when_told(lake: Path, tmp_path: Path) -> None:
    output = tmp_path / "calls.csv"
    output.write_text("precious")
    refused = exported(lake, "--csv", "-o", output)
    assert (refused.exit_code, output.read_text()) == (2, "precious")
    assert "--overwrite" in refused.stderr
    assert exported(lake, "--csv", "-o", output, "--overwrite").exit_code == 0
    assert output.read_text().startswith("call_id,")
    assert output.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    lake = lake_with_calls(tmp_path / "data", *(call() for _ in range(400)))
    output = tmp_path / "exports" / "calls.csv"
    output.parent.mkdir()
    output.write_text("precious")
    done = subprocess.run(
        [BIN / "otlp-collector", "export", "--csv", "-o", output, "--overwrite", "--data-dir", lake],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (_LIMIT, _LIMIT)),
    )
    assert (done.returncode, done.stderr) == (2, "Error: cannot write: File too large\n")
    assert (output.read_text(), [*output.parent.iterdir()]) == ("precious", [output])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--parquet, --csv or --jsonl"),
        (("--csv", "-o", "/nowhere/calls.csv"), "/nowhere is no directory"),
        (("--csv", "--since", "yesterday"), "'yesterday' is not a time"),
    ],
)
def test_what_cannot_be_done_is_said(lake: Path, arguments: tuple[str, ...], said: str) -> None:
    done = exported(lake, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


class _Loading(io.BytesIO):
    """A file during whose writing further calls are stored, of a day that is still to be read."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__()
        self._data_dir: Path | None = data_dir

    def write(self, data: Any) -> int:
        if self._data_dir is not None:
            with Lake.open(self._data_dir) as lake, writer_lock(self._data_dir):
                late = call(call_id="late", start_time=DAY + 31 * HOUR)
                insert_calls(lake.connection, "lake.calls", [late])
            self._data_dir = None
        return super().write(data)


def test_it_is_the_lake_of_one_moment(tmp_path: Path) -> None:
    """What is stored while an export runs is in none of its days."""
    data_dir = lake_with_calls(tmp_path / "data", *CALLS)
    stream = _Loading(data_dir)
    with Lake.open(data_dir, read_only=True) as lake:
        written = export.write(lake, "calls", export.window(None, None, "UTC"), "parquet", stream)
    assert written == 3
    assert "late" not in pq.read_table(io.BytesIO(stream.getvalue()))["call_id"].to_pylist()
    assert "late" in [row["call_id"] for row in stored(data_dir)]
