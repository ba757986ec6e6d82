"""Whose the captured calls are: session, user and agent as the captured application set them, and tools by name.

Guarantee: what any span of a call's trace tells of its session and user, or a span above it of its agent, the call has.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.store.commit import Committer, Origin
from collector.store.lake import Lake
from collector.store.migrate import open_current
from semconv.extract import extract
from semconv.request import Request
from semconv.settings import Settings

HERE = Path(__file__).parent
RECEIVED_AT = 1_795_300_000_000_000_000
ELSEWHERE = os.environ.get("SPANLEDGER_CORPUS")

CALLS = "SELECT tenant, members, session_id, user_id, agent_name FROM lake.calls"
TOOLS = "SELECT tenant, span_id, tool_name FROM lake.spans WHERE role = 'tool'"

Row = dict[str, Any]


def read(captures: list[Path], data_dir: Path) -> tuple[list[Row], list[Row]]:
    """The calls and the tool spans of these captures, each a tenant of its own."""
    settings = Settings()
    requests = [
        Request("traces", "protobuf", capture.read_bytes(), RECEIVED_AT, tenant=str(capture))
        for capture in captures
    ]
    open_current(data_dir, settings.dimensions).close()
    with Lake.open(data_dir) as lake:
        Committer(lake, settings).commit(extract(requests, settings), Origin("otlp"))
        calls, tools = (
            lake.connection.execute(query).to_arrow_table().to_pylist() for query in (CALLS, TOOLS)
        )
    return calls, tools


def expected(capture: Path) -> Row:
    truth: Row = json.loads(capture.with_suffix(".expected.json").read_text())
    return truth


def captures_with_context(corpus: Path) -> list[Path]:
    """Captures of applications that set a session, a user, an agent or a tool."""
    found = sorted(corpus.glob("*/*.pb"))
    return [
        path
        for path in found
        if path.with_suffix(".expected.json").exists() and set(expected(path)["set_by_app"]) - {"raised"}
    ]


def nearest_agent(span: str, spans: dict[str, Row], names: Row) -> str | None:
    """What the span itself or the nearest above it tells of an agent, as the application named it."""
    at: str | None = span
    while at in spans:
        evidence = spans[at].get("context_evidence", {})
        for key in ("sub_agent", "agent_name"):
            if key in evidence and key in names:
                return str(names[key])
        at = spans[at]["parent_span_id"]
    return None


def shortfalls(truth: Row, calls: list[Row], tools: list[Row]) -> Iterator[str]:
    spans = {span["span_id"]: span for span in truth["spans"]}
    names = truth["set_by_app"]
    for call in calls:
        reporters = [member["span_id"] for member in json.loads(call["members"])]
        traces = {spans[span]["trace_id"] for span in reporters}
        told = {
            key
            for span in truth["spans"]
            if span["trace_id"] in traces
            for key in span.get("context_evidence", {})
        }
        for key in ("session_id", "user_id"):
            if key in told and key in names and call[key] != names[key]:
                yield f"{reporters} {key} {call[key]}"
        agents = [nearest_agent(span, spans, names) for span in reporters]
        if any(agents) and call["agent_name"] not in agents:
            yield f"{reporters} agent_name {call['agent_name']}, not one of {agents}"
    for tool in tools:
        span = spans[tool["span_id"]]
        is_told = span["role"] == "tool" and "tool_name" in span.get("context_evidence", {})
        if is_told and tool["tool_name"] != names["tool_name"]:
            yield f"{tool['span_id']} tool_name {tool['tool_name']}"


def all_shortfalls(corpus: Path, data_dir: Path) -> dict[str, list[str]]:
    captures = captures_with_context(corpus)
    assert captures, f"no captures with context in {corpus}"
    calls, tools = read(captures, data_dir)
    short = {}
    for capture in captures:
        mine = [[row for row in rows if row["tenant"] == str(capture)] for rows in (calls, tools)]
        assert mine[0], f"no calls in {capture}"
        if found := list(shortfalls(expected(capture), *mine)):
            short[f"{capture.parent.name}/{capture.stem}"] = found
    return short


def test_captured_calls_have_the_session_user_and_agent_that_was_set(tmp_path: Path) -> None:
    assert all_shortfalls(HERE, tmp_path / "lake") == {}


@pytest.mark.skipif(ELSEWHERE is None, reason="SPANLEDGER_CORPUS names no folder")
def test_calls_of_a_corpus_from_elsewhere_have_them_too(tmp_path: Path) -> None:
    assert all_shortfalls(Path(ELSEWHERE or ""), tmp_path / "lake") == {}
