"""The command: what it prints, what it answers to the shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.renormalize_support import loading_with, older_tables
from tests.store_support import Store, span, store, traces
from tests.support import run_here

CALL = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4.1-mini",
    "llm.token_count.prompt": 1000,
    "llm.token_count.completion": 100,
}


def renormalize(*arguments: str | Path) -> tuple[int, str, str]:
    answer = run_here("otlp-collector", "renormalize", *arguments)
    return answer.returncode, answer.stdout, answer.stderr


@pytest.fixture
def lake(tmp_path: Path) -> Store:
    """Two calls of a dialect that the tables of then lacked."""
    with store(tmp_path / "data") as opened, loading_with(older_tables()):
        opened.load(traces(span(1, 1, attributes=CALL), span(2, 2, attributes=CALL, at=60_000_000_000)))
    return opened


def test_a_dry_run_and_a_run_tell_what_changes_as_json(lake: Store) -> None:
    arguments = "--since", "2026-03-10T12:00Z", "--data-dir", lake.data_dir, "--json"
    told = []
    for dry_run in (True, False):
        code, out, err = renormalize(*arguments, *(["--dry-run"] if dry_run else []))
        assert (code, err) == (0, "")
        told.append(json.loads(out))
    for answer, written in zip(told, (0, 2), strict=True):
        assert answer["relations"]["spans"] == {"read": 2, "changed": 2, "left": 0}
        change = {"relation": "spans", "dialect_before": None, "dialect": "openinference", "rows": 2}
        assert answer["changes"] == [change]
        assert (answer["calls_written"], answer["since"]) == (written, "2026-03-10T12:00:00Z")


def test_the_tables_line_up(lake: Store) -> None:
    """What stands in a column begins, or ends, where the others of it do; the end of the window is exclusive."""
    code, out, err = renormalize(
        "--since", "2026-03-10", "--until", "2026-03-10T12:01Z", "--data-dir", lake.data_dir
    )
    assert (code, err) == (0, "")
    first, second, last = out.split("\n\n")[0], out.split("\n\n")[1], out.splitlines()[-1]
    assert [line.split() for line in first.splitlines()][-1] == ["spans", "1", "1", "0"]
    assert [line.split() for line in second.splitlines()][2] == ["spans", "none", "openinference", "1"]
    assert len({len(line) for line in first.splitlines()}) == 1
    assert last == "Calls written: 1."


def test_a_time_without_records_is_told(lake: Store) -> None:
    code, out, err = renormalize(
        "--since", "2020-01-01", "--until", "2020-02-01", "--data-dir", lake.data_dir
    )
    assert (code, out, err) == (0, "There is no record of that time.\n", "")


@pytest.mark.parametrize(
    "arguments", [["--since", "yesterday"], ["--since", "1d", "--until", "2d"], [], ["--since", "1d"]]
)
def test_what_cannot_run_says_so_in_one_line(tmp_path: Path, arguments: list[str]) -> None:
    """A time that is none, a window without length, no window, no lake."""
    code, out, err = renormalize(*arguments, "--data-dir", tmp_path / "none")
    assert (code, out) == (2, "")
    assert "Error: " in err
