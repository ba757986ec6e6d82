"""Log records that report calls: candidates where no span reports the same call, else members of the span's call."""

from __future__ import annotations

import json

import pytest

from tests.unit.semconv_records import Row, build, chat, in_turn_and_at_once, log, seeded, span

FAILED: Row = {"input_tokens": None, "output_tokens": None, "error_type": "429"}


def members(calls: list[Row]) -> list[list[str]]:
    """What each call's records are named by."""
    return sorted(
        sorted(member.get("span_id") or member["record_hash"] for member in json.loads(call["members"]))
        for call in calls
    )


# --- a call that only log records report


def test_a_log_record_with_usage_is_a_call_without_span_and_trace() -> None:
    """Claude Code and Qwen Code send no spans by default; the record is written when the answer is complete."""
    [call] = build(log("h1", at=9, attributes='{"duration_ms":"2500"}', session_id="s"))
    assert (call["trace_id"], call["span_id"], call["signal"]) == (None, None, "log")
    assert json.loads(call["members"]) == [{"signal": "log", "record_hash": "h1"}]
    assert (call["start_time"].second, call["start_time"].microsecond) == (6, 500_000)
    assert (call["duration_ns"], call["input_tokens"], call["session_id"]) == (2_500_000_000, 100, "s")
    assert call["cost_usd"] is not None


@pytest.mark.parametrize(
    "told", ["{}", '{"duration_ms":"soon"}', '{"duration_ms":-4}', '{"duration_ms":1e12}']
)
def test_a_duration_that_is_not_told_is_unknown(told: str) -> None:
    [call] = build(log("h1", at=9, attributes=told))
    assert (call["duration_ns"], call["start_time"].second) == (None, 9)


def test_a_log_record_of_an_error_is_a_failed_call() -> None:
    [call] = build(log("h1", event_name="api_error", **FAILED))
    assert (call["status_code"], call["error_type"]) == ("ERROR", "429")
    assert (call["input_tokens"], call["cost_usd"]) == (None, None)


def test_log_records_without_usage_or_error_are_no_calls() -> None:
    """A prompt, a choice, a request that was only announced; and a tool's result, whatever it counts."""
    silent = {"input_tokens": None, "output_tokens": None}
    assert build(log("h1", **silent), log("h2", operation="execute_tool"), log("h3", dialect=None)) == []


def test_identical_log_records_of_one_event_stay_as_many_calls() -> None:
    calls = build(*(log(f"h{n}", session_id="s") for n in range(1000)))
    assert len(calls) == 1000
    assert len({call["call_id"] for call in calls}) == 1000


# --- a call that spans report too


@pytest.mark.parametrize(
    "given",
    [
        {"inside": "a"},
        {"inside": "root", "response_id": "r"},
        {"inside": "root"},
        {"response_id": "r", "resource_attributes": "{}"},
        {"session_id": "s", "resource_attributes": "{}"},
        {},
    ],
    ids=["inside the span", "beside it by id", "beside it", "by id", "by session", "by process"],
)
def test_a_log_record_of_a_call_that_a_span_reports_is_its_member(given: Row) -> None:
    """OpenTelemetry's libraries write it inside the span, Claude Code beside it, Gemini CLI outside any trace."""
    inside = given.pop("inside", None)
    calls = build(
        span("root", took=9),
        chat("a", "root", at=1, took=2, session_id="s", response_id="r"),
        log("h1", inside, at=3.01, **given),
    )
    assert members(calls) == [["a", "h1"]]
    assert (calls[0]["signal"], calls[0]["span_id"]) == ("span", "a")


@pytest.mark.parametrize(
    "given",
    [
        {"at": 8.2},
        {"at": -4},
        {"input_tokens": 101},
        {"output_tokens": 11},
        {"session_id": "other"},
        {"tenant": "other"},
        {"resource_attributes": '{"service.instance.id":"i-2"}'},
        {"request_model": "gpt-4o-mini"},
        {"response_id": "r2"},
        {"output_tokens": None},
    ],
    ids=lambda given: next(iter(given)),
)
def test_a_log_record_outside_any_trace_needs_one_sender_one_moment_and_equal_counts(given: Row) -> None:
    calls = build(chat("a", at=1, took=2, session_id="s", response_id="r"), log("h1", **({"at": 3} | given)))
    assert members(calls) == [["a"], ["h1"]]


def test_a_span_without_reasoning_and_the_log_record_that_tells_it_are_one_call() -> None:
    """Gemini CLI: the span's output leaves the thoughts out, the record has them, and what the cache served."""
    [call] = build(
        chat("a", took=2, output_tokens=171),
        log("h1", at=2, output_tokens=171, reasoning_tokens=790, cache_read_tokens=40),
    )
    assert (call["span_id"], call["signal"]) == ("a", "span")
    assert (call["output_tokens"], call["reasoning_tokens"], call["cache_read_tokens"]) == (961, 790, 40)
    assert "token_counts_differ" not in (call["notes"] or [])


def test_two_events_of_one_library_about_one_call_are_one_call() -> None:
    """Gemini CLI and Qwen Code write an event of their own and the conventions' one."""
    calls = build(
        log("h1", at=2, event_name="gemini_cli.api_response", session_id="s", cache_read_tokens=5),
        log(
            "h2",
            at=2,
            event_name="gen_ai.client.inference.operation.details",
            session_id="s",
            response_id="r",
        ),
    )
    assert members(calls) == [["h1", "h2"]]
    assert (calls[0]["cache_read_tokens"], calls[0]["response_id"]) == (5, "r")


def test_a_span_and_two_events_are_one_call() -> None:
    calls = build(
        chat("a", took=2, session_id="s"),
        log("h1", at=2, event_name="one", session_id="s"),
        log("h2", at=2.1, event_name="two", session_id="s", response_id="r"),
    )
    assert members(calls) == [["a", "h1", "h2"]]


@pytest.mark.parametrize("inside", ["root", None], ids=["beside it", "outside any trace"])
def test_a_failed_call_and_the_log_record_of_its_error_are_one(inside: str | None) -> None:
    calls = build(
        span("root", took=9),
        chat("a", "root", at=1, status_code="ERROR", session_id="s", **FAILED),
        log("h1", inside, at=2, event_name="api_error", session_id="s", **FAILED),
    )
    assert members(calls) == [["a", "h1"]]


def test_a_failed_attempt_is_not_the_call_that_succeeded() -> None:
    calls = build(
        span("root", took=9),
        chat("a", "root", at=1, session_id="s"),
        log("h0", "root", at=1, event_name="api_error", session_id="s", **FAILED),
        log("h1", "root", at=2, session_id="s"),
    )
    assert members(calls) == [["a", "h1"], ["h0"]]


def test_a_log_record_does_not_make_two_spans_one_call() -> None:
    """Two libraries' calls in two steps, alike in their counts, and one record that fits both: kept and flagged."""
    calls = build(
        span("root", took=9),
        span("step", "root", took=9),
        chat("a", "root", scope_name="one"),
        chat("b", "step", scope_name="two"),
        log("h1", "root"),
    )
    assert sorted(map(len, members(calls))) == [1, 2]
    assert [call["possible_duplicate"] for call in calls] == [True, True]


def test_a_wrapper_over_log_records_that_adds_them_up_is_no_call() -> None:
    calls = build(
        chat("turn", took=9, input_tokens=107, output_tokens=13),
        log("h1", "turn", at=2, session_id="s"),
        log("h2", "turn", at=6, session_id="s", input_tokens=7, output_tokens=3),
    )
    assert members(calls) == [["h1"], ["h2"]]


def test_a_wrapper_over_spans_and_their_log_records_is_no_call() -> None:
    """Each call is reported twice beneath it, which must not hide that it is their sum."""
    calls = build(
        chat("turn", took=9, input_tokens=107, output_tokens=13, scope_name="app"),
        chat("a", "turn", at=1),
        chat("b", "turn", at=4, input_tokens=7, output_tokens=3),
        log("h1", "turn", at=2),
        log("h2", "turn", at=5, input_tokens=7, output_tokens=3),
    )
    assert members(calls) == [["a", "h1"], ["b", "h2"]]


def test_a_log_record_has_session_and_agent_of_the_span_it_was_written_in() -> None:
    [call] = build(
        span(
            "agent",
            took=9,
            dialect="otel_genai",
            operation="invoke_agent",
            agent_name="planner",
            session_id="s",
        ),
        log("h1", "agent", at=2),
    )
    assert (call["agent_name"], call["session_id"], call["session_inherited"]) == ("planner", "s", True)
    assert (call["trace_id"], call["span_id"]) == (None, None)


# --- many at once


@pytest.mark.parametrize("lost", ["nothing", "a5", "h5"])
@pytest.mark.parametrize("session", ["s", None])
def test_many_identical_calls_at_once_are_counted_once_each(lost: str, session: str | None) -> None:
    """200 parallel calls, each told by a span in a trace of its own and by a record in none, without any id; and
    one of the 400 records lost on the way."""
    spans = [chat(f"a{n}", trace_id=f"t{n}", took=2 + n / 10_000, session_id=session) for n in range(200)]
    logs = [log(f"h{n}", at=2.1 + n / 10_000, session_id=session) for n in range(200)]
    rows = [row for row in spans + logs if lost not in (row.get("record_hash"), row.get("span_id"))]
    assert len(build(*rows)) == 200


def test_calls_one_after_the_other_pair_with_their_own_log_records() -> None:
    rows = [chat(f"a{n}", trace_id=f"t{n}", at=2 * n, took=1) for n in range(9)]
    rows += [log(f"h{n}", at=2 * n + 1.2) for n in range(9) if n != 4]
    assert members(build(*rows)) == sorted([f"a{n}", f"h{n}"] if n != 4 else ["a4"] for n in range(9))


def test_ids_drawn_from_few_numbers_lose_no_call() -> None:
    """A server with 9 ids; each call is told by a span and by a record, all under these ids."""
    rows = []
    for n in range(90):
        same: Row = {"response_id": f"r{n % 9}", "input_tokens": 100 + n}
        rows += [chat(f"a{n}", trace_id=f"t{n}", at=n / 10, **same), log(f"h{n}", at=n / 10 + 1.01, **same)]
    assert members(build(*rows)) == sorted([f"a{n}", f"h{n}"] for n in range(90))


# --- order


def mixed_records() -> list[Row]:
    failed = {"session_id": "s", **FAILED}
    return [
        span("root", took=30, session_id="s", agent_name="planner"),
        chat("a", "root", at=1, took=2, session_id="s"),
        log("h1", "root", at=3.01, session_id="s"),
        log("h2", at=3.02, session_id="s", event_name="details", response_id="r"),
        chat("b", trace_id="t2", at=5, took=2, session_id="s", response_id="r2"),
        log("h3", at=7, response_id="r2", cache_read_tokens=3),
        log("h4", at=9, session_id="s", input_tokens=7),
        log("h5", "root", at=11, input_tokens=8),
        chat("c", trace_id="t3", at=12, status_code="ERROR", **failed),
        log("h6", at=13, **failed),
        chat("d", trace_id="t4", at=20, took=1, response_id="r9", scope_name="one"),
        chat("e", trace_id="t5", at=20.01, took=0.98, scope_name="two"),
        log("h7", at=21.02),
    ]


def test_log_records_before_spans_and_after_give_the_same_calls() -> None:
    rows = mixed_records()
    orders = [seeded(attempt).sample(rows, len(rows)) for attempt in range(3)]
    in_turn, at_once = in_turn_and_at_once(*([[row] for row in order] for order in orders))
    calls = [["a", "h1", "h2"], ["b", "h3"], ["c", "h6"], ["d", "e", "h7"], ["h4"], ["h5"]]
    assert members(at_once) == sorted(3 * calls)
    assert in_turn == at_once


def test_an_event_that_comes_twice_makes_no_second_call_of_a_span() -> None:
    """OpenLIT writes the event of a stream once more, in no trace; without a span nothing tells that it is one."""
    twice = [log("h1", at=2, response_id="r"), log("h2", at=2.01, response_id="r")]
    assert members(build(chat("a", took=2, response_id="r"), *twice)) == [["a", "h1", "h2"]]
    assert members(build(*twice)) == [["h1"], ["h2"]]
