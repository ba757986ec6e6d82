"""What calls asked, by hash: from the gate's hashes or captured text, through whichever record tells it."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analyzers.prompts import prompts
from analyzers.window import Window
from semconv.prompt_hashes import hash_key
from semconv.settings import CONTENT_CLASSES, Settings
from tests.calls_table import call, calls_table
from tests.renormalize_support import captures
from tests.store_support import store

DAY = dt.datetime(2026, 3, 10, 12)
WINDOW = Window(dt.datetime(2026, 3, 10, tzinfo=dt.UTC), dt.datetime(2026, 3, 11, tzinfo=dt.UTC))
EVER = Window(dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2030, 1, 1, tzinfo=dt.UTC))
HASHED = Settings(prompt_hash_key=hash_key(b"k" * 32))
CAPTURED = Settings(capture=frozenset(CONTENT_CLASSES))
# Of each way to write prompts down.
LIBRARIES = (
    "openllmetry-openai@old",
    "openinference-openai",
    "logfire-openai",
    "strands",
    "vercel-ai-v5",
    "mlflow-openai",
)
QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is it?"}]


def told_of_libraries(data_dir: Path, settings: Settings) -> dict[str, dict[str, dict[str, Any]]]:
    """By library and call."""
    with store(data_dir, settings) as lake:
        lake.load(*captures(*LIBRARIES))
        lake.lake.connection.execute("USE lake")
        rows = prompts(lake.lake.connection, EVER, boundaries=True).to_pylist()
        tenants = dict(lake.lake.connection.execute("SELECT call_id, tenant FROM calls").fetchall())
    told: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in LIBRARIES}
    for row in rows:
        told[tenants[row["call_id"]].split("/")[0]][row["call_id"]] = row
    return told


def alike(told: dict[str, dict[str, Any]], column: str) -> list[list[str]]:
    """The calls that a column says are alike."""
    groups = defaultdict(list)
    for call_id, row in sorted(told.items()):
        groups[str(row[column])].append(call_id)
    return sorted(groups.values())


def test_hashes_and_captured_text_tell_the_same_calls_apart(tmp_path: Path) -> None:
    """Of one library, what is alike by the gate's hashes is alike by those of the text, as a whole and in its
    beginnings, and the other way round."""
    hashed, captured = (
        told_of_libraries(tmp_path / name, settings) for name, settings in (("h", HASHED), ("c", CAPTURED))
    )
    for library in LIBRARIES:
        one, other = hashed[library], captured[library]
        assert len(one) >= 4, library
        assert one.keys() == other.keys(), library
        assert {row["told_by"] for row in one.values()} == {"hashes"}
        assert {row["told_by"] for row in other.values()} == {"contents"}
        for column in ("hash", "prefixes"):
            assert alike(one, column) == alike(other, column), library


def span_with(connection: duckdb.DuckDBPyConnection, span_id: str, told: str, text: object) -> None:
    evidence = json.dumps({"gated": {}, "prompt": text}, separators=(",", ":")) if told == "hashes" else None
    connection.execute(
        "INSERT INTO spans BY NAME SELECT '' AS tenant, 't' AS trace_id, $span AS span_id, 'chat' AS name,"
        " 'CLIENT' AS kind, 'UNSET' AS status_code, 'llm' AS role,"
        " $at AS start_time, 0 AS start_unix_nano, 0 AS end_unix_nano, $evidence::JSON AS evidence, 'otlp' AS source,"
        " $at AS received_at, 'load' AS load_id",
        {"span": span_id, "at": DAY, "evidence": evidence},
    )
    if told == "contents":
        with_text(connection, span_id, "gen_ai.input.messages", json.dumps(text))


def with_text(
    connection: duckdb.DuckDBPyConnection,
    span_id: str,
    key: str,
    text: str,
    *,
    kind: str = "prompts",
    at: int = 0,
) -> None:
    connection.execute(
        "INSERT INTO contents VALUES ('', 't', ?, ?, ?, ?, ?, 'load')",
        [span_id, kind, key, text, DAY + dt.timedelta(seconds=at)],
    )


def hashes(number: int) -> dict[str, Any]:
    return {"hash": f"{number:032x}", "bytes": 10, "parts": ["user"], "prefixes": [number], "ends": [10]}


def found(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    return {row["call_id"]: row for row in prompts(connection, WINDOW, boundaries=True).to_pylist()}


def test_a_call_without_its_own_is_told_by_another_record_of_it() -> None:
    members = json.dumps(
        [{"signal": "span", "trace_id": "t", "span_id": one} for one in ("own", "silent", "second", "third")]
    )
    connection = calls_table(call(call_id="a", trace_id="t", span_id="own", members=members))
    span_with(connection, "third", "hashes", hashes(3))
    span_with(connection, "second", "hashes", hashes(2))
    assert found(connection)["a"]["hash"] == hashes(2)["hash"]
    span_with(connection, "own", "hashes", hashes(1))
    assert found(connection)["a"]["prefixes"] == [1]


def test_a_call_that_only_a_log_record_reported_is_told_by_it() -> None:
    members = json.dumps([{"signal": "log", "record_hash": "r"}])
    connection = calls_table(call(call_id="a", members=members))
    connection.execute(
        "INSERT INTO log_records BY NAME SELECT '' AS tenant, 'r' AS record_hash, $at AS time, $evidence::JSON AS"
        " evidence, 'otlp' AS source, $at AS received_at, 'load' AS load_id",
        {"at": DAY, "evidence": json.dumps({"gated": {}, "prompt": hashes(1)}, separators=(",", ":"))},
    )
    assert found(connection)["a"]["hash"] == hashes(1)["hash"]


def test_hashes_go_before_text_and_other_windows_stay_out() -> None:
    connection = calls_table(
        call(call_id="a", trace_id="t", span_id="a"),
        call(call_id="b", trace_id="t", span_id="b"),
        call(call_id="later", trace_id="t", span_id="c", start_time=DAY + dt.timedelta(days=1)),
        call(call_id="silent", trace_id="t", span_id="d"),
    )
    span_with(connection, "a", "hashes", hashes(1))
    for one in "abc":
        with_text(connection, one, "gen_ai.input.messages", json.dumps(QUESTION))
    told = found(connection)
    assert {name: row["told_by"] for name, row in told.items()} == {"a": "hashes", "b": "contents"}


SHAPES: dict[str, list[tuple[str, str, str]]] = {
    "messages": [("prompts", "gen_ai.input.messages", json.dumps(QUESTION))],
    "with other white space": [("prompts", "gen_ai.input.messages", json.dumps(QUESTION, indent=2))],
    "with other white space within": [
        (
            "prompts",
            "gen_ai.input.messages",
            json.dumps([QUESTION[0], {"role": "user", "content": "Where \n is\tit?"}]),
        )
    ],
    "a request": [("prompts", "input.value", json.dumps({"model": "x", "messages": QUESTION}))],
    "a request beside it": [
        ("prompts", "gen_ai.input.messages", json.dumps(QUESTION)),
        ("prompts", "input.value", json.dumps({"messages": [], "tools": ["x"]})),
    ],
    "an answer beside it": [
        ("prompts", "gen_ai.input.messages", json.dumps(QUESTION)),
        ("completions", "gen_ai.output.messages", "There."),
        ("prompts", "exception/exception.message", "Where?"),
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_text_in_any_shape_gives_one_hash(shape: str) -> None:
    connection = calls_table(
        call(call_id="a", trace_id="t", span_id="a"), call(call_id="b", trace_id="t", span_id="b")
    )
    for span_id, name in (("a", "messages"), ("b", shape)):
        for kind, key, text in SHAPES[name]:
            with_text(connection, span_id, key, text, kind=kind)
    told = found(connection)
    assert told["a"]["hash"] == told["b"]["hash"]
    assert told["a"]["parts"] == ["system", "user"]
    assert told["a"]["ends"][1] == told["a"]["bytes"]


def test_other_text_gives_another_hash_and_the_same_beginning() -> None:
    connection = calls_table(*(call(call_id=one, trace_id="t", span_id=one) for one in "abc"))
    with_text(connection, "a", "gen_ai.input.messages", json.dumps(QUESTION))
    with_text(
        connection,
        "b",
        "gen_ai.input.messages",
        json.dumps([QUESTION[0], {"role": "user", "content": "who?"}]),
    )
    with_text(
        connection,
        "c",
        "gen_ai.input.messages",
        json.dumps([*QUESTION, {"role": "assistant", "content": "x"}]),
    )
    a, b, c = (found(connection)[one] for one in "abc")
    assert len({a["hash"], b["hash"], c["hash"]}) == 3
    assert a["prefixes"][0] == b["prefixes"][0]
    assert a["prefixes"][1] != b["prefixes"][1]
    assert c["prefixes"][:2] == a["prefixes"]
