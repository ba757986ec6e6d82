"""What could not be loaded can be seen, loaded once more, and dropped; nothing is stored twice or lost on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from collector import quarantine
from collector.cli.main import main
from semconv.request import Request
from tests.store_support import NOON_NANOS, Store, call, logs, store, traces

GOOD, OTHER = traces(call(1, 2), call(1, 3)), logs(0)
UNREADABLE = Request("traces", "protobuf", b"\x0a\xff", NOON_NANOS)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Store]:
    """Four entries: two that can be loaded now, one that never can, and damage."""
    with store(tmp_path / "data") as opened:
        for offset, request in enumerate((GOOD, OTHER, UNREADABLE)):
            quarantine.put_request(
                opened.data_dir, (1, offset), request, "ValueError: a mistake\nof an older version"
            )
        quarantine.put_damage(opened.data_dir, (2, 0), b"noise", "no record starts here")
        yield opened


def ask(data_dir: Path, *arguments: str, code: int = 0) -> Any:
    answer = CliRunner().invoke(main, ["quarantine", *arguments, "--json", "--data-dir", str(data_dir)])
    assert answer.exit_code == code, answer.output
    return json.loads(answer.output)


def counts(opened: Store) -> list[tuple[Any, ...]]:
    return opened.ask(
        "SELECT (SELECT count(*) FROM spans), (SELECT count(*) FROM calls), (SELECT count(*) FROM log_records)"
    )


def test_what_loads_leaves_the_quarantine_and_the_rest_stays(lake: Store) -> None:
    done = ask(lake.data_dir, "retry", code=1)
    assert [one["loaded"] for one in done] == [True, True, False, False]
    assert "DecodeError" in done[2]["reason"]
    assert done[3]["reason"] == "no request but damaged bytes: of the spool, or a data file of the lake"
    assert counts(lake) == [(2, 2, 1)]
    assert (done[0]["load"]["requests"], done[0]["load"]["spool_segment"]) == (1, None)
    assert lake.one("SELECT min(received_at) FROM spans") is not None
    assert [entry.request for entry in quarantine.entries(lake.data_dir)] == [UNREADABLE, None]
    left = {path.stem for path in (lake.data_dir / "quarantine").iterdir()}
    assert left == set(quarantine.names(lake.data_dir))
    assert [one["loaded"] for one in ask(lake.data_dir, "retry", code=1)] == [False, False]
    assert counts(lake) == [(2, 2, 1)]


def test_a_kill_after_the_commit_stores_nothing_twice(lake: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: the process dies when the records are stored and the entry is still there."""
    name = quarantine.names(lake.data_dir)[0]
    with monkeypatch.context() as killed:
        killed.setattr(quarantine, "remove", lambda *_: None)
        assert ask(lake.data_dir, "retry", name)[0]["load"]["spans_stored"] == 2
    (again,) = ask(lake.data_dir, "retry", name)
    assert (again["load"]["spans_stored"], again["load"]["spans_duplicate"]) == (0, 2)
    assert counts(lake) == [(2, 2, 0)]
    assert name not in quarantine.names(lake.data_dir)


def test_what_the_limits_refuse_is_loaded_with_wider_ones(lake: Store) -> None:
    """Guarantee: a bomb is not parsed for being tried again."""
    name = quarantine.names(lake.data_dir)[0]
    (refused,) = ask(lake.data_dir, "retry", name, "--limits-max-request-bytes", "100", code=1)
    assert not refused["loaded"]
    assert ask(lake.data_dir, "retry", name)[0]["loaded"]


def test_list_shows_them_and_drop_takes_only_what_it_is_told(lake: Store) -> None:
    found = ask(lake.data_dir, "list")
    assert [(one["kind"], one["signal"]) for one in found] == [
        ("request", "traces"),
        ("request", "logs"),
        ("request", "traces"),
        ("damage", None),
    ]
    assert (found[2]["bytes"], found[2]["received_at"]) == (2, "2026-03-10T12:00:00Z")
    names = [one["name"] for one in found]
    assert ask(lake.data_dir, "drop", names[2]) == {"dropped": [names[2]]}
    assert quarantine.names(lake.data_dir) == [names[0], names[1], names[3]]
    for arguments in ((), (names[0], "--all"), ("no-such",)):
        answer = CliRunner().invoke(
            main, ["quarantine", "drop", *arguments, "--data-dir", str(lake.data_dir)]
        )
        assert answer.exit_code == 2, answer.output
    ask(lake.data_dir, "drop", "--all")
    assert list((lake.data_dir / "quarantine").iterdir()) == []
    shown = CliRunner().invoke(main, ["quarantine", "list", "--data-dir", str(lake.data_dir)])
    assert shown.output == "The quarantine is empty.\n"


def test_an_entry_that_cannot_be_read_stops_nobody(lake: Store) -> None:
    first = quarantine.names(lake.data_dir)[0]
    (lake.data_dir / "quarantine" / f"{first}.json").write_text("{")
    done = ask(lake.data_dir, "retry", code=1)
    assert [one["loaded"] for one in done] == [False, True, False, False]
    assert ask(lake.data_dir, "list")[0]["reason"] == "no reason can be read"
