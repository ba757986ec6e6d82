"""A stream whose end is told in a span of its own, as Logfire does: one call, with the usage of the second span."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.semconv_records import Row, build, chat, in_turn_and_at_once, seeded, span


def begun(span_id: str, parent: str | None = None, **given: Any) -> Row:
    """The call's span: it ends when the stream begins, and has no usage."""
    return chat(
        span_id, parent, scope_name="logfire.openai", **{"input_tokens": None, "output_tokens": None} | given
    )


def ended(span_id: str, parent: str | None = None, *, after: float = 1, **given: Any) -> Row:
    """What tells the end of a stream that took `after` seconds."""
    told = json.dumps({"logfire.span_type": "log", "duration": after})
    return chat(span_id, parent, took=0, attributes=told, **{"scope_name": "logfire.openai"} | given)


def members(calls: list[Row]) -> list[list[str]]:
    return sorted(sorted(member["span_id"] for member in json.loads(call["members"])) for call in calls)


def test_a_stream_and_its_end_are_one_call_in_their_trace_and_as_roots() -> None:
    calls = build(
        span("request", took=60),
        begun("a", "request", at=1),
        ended("a2", "request", at=32, after=29.9),
        begun("b", at=5, trace_id="t2"),
        ended("b2", at=8.2, after=2, trace_id="t3"),
    )
    assert members(calls) == [["a", "a2"], ["b", "b2"]]
    assert [(call["span_id"], call["input_tokens"]) for call in calls] == [("a", 100), ("b", 100)]


def test_streams_one_after_the_other_and_at_once_are_as_many_calls() -> None:
    rows = [begun(f"a{n}", at=3 * n, trace_id=f"t{n}") for n in range(20)]
    rows += [ended(f"e{n}", at=3 * n + 2, after=0.9, trace_id=f"u{n}") for n in range(20)]
    rows += [begun(f"b{n}", at=100, trace_id=f"v{n}") for n in range(20)]
    rows += [ended(f"f{n}", at=103, after=1.9, trace_id=f"w{n}") for n in range(20)]
    calls = build(*rows)
    assert len(calls) == 40
    assert sum(call["input_tokens"] for call in calls) == 4000


def test_an_end_without_its_call_and_a_call_without_its_end_are_calls() -> None:
    """Another library's, another model's, one that failed, one long before: none of them is the stream's call."""
    calls = build(
        ended("end", at=50),
        chat("other", at=48, trace_id="t2", scope_name="lib", input_tokens=None, output_tokens=None),
        begun("model", at=48, trace_id="t3", request_model="gpt-4o-mini"),
        begun("failed", at=48, trace_id="t4", status_code="ERROR"),
        begun("before", at=40, trace_id="t5"),
    )
    assert len(calls) == 5


def test_whichever_comes_first_the_call_is_the_same() -> None:
    rows = [begun("a", at=1), ended("e", at=4, trace_id="t2"), begun("b", at=20, trace_id="t3")]
    orders = [seeded(attempt).sample(rows, len(rows)) for attempt in range(2)]
    in_turn, at_once = in_turn_and_at_once(*([[row] for row in order] for order in orders))
    assert members(at_once) == [["a", "e"], ["a", "e"], ["b"], ["b"]]
    assert in_turn == at_once
