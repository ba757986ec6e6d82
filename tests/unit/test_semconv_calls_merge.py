"""One call that several instrumentations report, in one trace and across traces, counts once; two calls count twice."""

from __future__ import annotations

import json

import pytest

from tests.unit.semconv_records import INSTANCE, Row, build, chat, in_turn_and_at_once, log, seeded, span

FAILED: Row = {"status_code": "ERROR", "error_type": "429", "input_tokens": None, "output_tokens": None}


def members(calls: list[Row]) -> list[list[str]]:
    """The span ids of each call's records."""
    return sorted(sorted(member["span_id"] for member in json.loads(call["members"])) for call in calls)


# --- three and four reporters


def test_four_libraries_in_three_traces_report_one_call() -> None:
    """A framework around a provider's SDK that traces itself, two instrumentations that start traces of their own."""
    calls = build(
        chat("framework", took=3, scope_name="one"),
        chat("sdk", "framework", at=0.5, took=2, scope_name="two", response_id="r"),
        chat("other", trace_id="t2", at=0.4, took=2.2, scope_name="three", response_id="r"),
        chat("root", trace_id="t3", at=0.52, took=1.96, scope_name="four"),
    )
    assert members(calls) == [["framework", "other", "root", "sdk"]]


def test_four_libraries_around_parallel_calls_report_as_many_calls() -> None:
    """Ten calls at once, every one nested in three wrappers and again in a trace of its own."""
    rows = []
    for n in range(10):
        outer = {"trace_id": f"t{n}", "input_tokens": 100 + n}
        rows += [
            chat(f"a{n}", took=3, scope_name="one", **outer),
            chat(f"b{n}", f"a{n}", at=0.1, took=2.8, scope_name="two", **outer),
            chat(f"c{n}", f"b{n}", at=0.2, took=2.6, scope_name="three", response_id=f"r{n}", **outer),
            chat(
                f"d{n}",
                at=0.3,
                took=2.4,
                scope_name="four",
                response_id=f"r{n}",
                **outer | {"trace_id": f"u{n}"},
            ),
        ]
    assert members(build(*rows)) == sorted([f"a{n}", f"b{n}", f"c{n}", f"d{n}"] for n in range(10))


def test_calls_told_by_callbacks_are_those_of_the_sdk_beside_them() -> None:
    """A framework tells its calls from callbacks: its spans stand beside the SDK's, below one step. Twelve at once that
    are alike, of which the SDK asks one after the other; before the first, it reads certificates."""
    rows = [span("step", took=9)]
    for n in range(12):
        began, took = 0.3 + n * 0.02, 1 + n % 3 * 0.2
        rows += [
            chat(f"framework{n:02}", "step", took=began + took + 0.01, scope_name="one"),
            chat(f"sdk{n:02}", "step", at=began, took=took, scope_name="two", response_id=f"r{n}"),
        ]
    calls = build(*rows)
    assert members(calls) == [[f"framework{n:02}", f"sdk{n:02}"] for n in range(12)]
    assert not any(call["possible_duplicate"] for call in calls)


@pytest.mark.parametrize(
    "differs",
    [{"at": 0.2}, {"scope_name": "one"}, {"input_tokens": 101}, {"response_id": "msg_1"}, {"parent": "step"}],
    ids=lambda differs: next(iter(differs)),
)
def test_calls_beside_each_other_that_only_resemble_each_other_stay_two(differs: Row) -> None:
    other: Row = {"parent": "root", "at": 0.01, "took": 1, "scope_name": "two"}
    calls = build(
        span("root", took=9),
        span("step", "root", took=9),
        chat("a", "root", took=1.02, scope_name="one", response_id="resp_1"),
        chat("b", **other | differs),
    )
    assert members(calls) == [["a"], ["b"]]


@pytest.mark.parametrize(("later", "calls"), [(0.0009, 1), (0.0011, 2)])
def test_two_traces_of_one_process_disagree_by_a_millisecond_at_most(later: float, calls: int) -> None:
    """A trace of JavaScript starts at a whole millisecond: what is inside may seem to end after what is around it."""
    rows = (
        chat("framework", took=1, scope_name="one"),
        chat("sdk", trace_id="t2", at=0.01, took=0.99 + later, scope_name="two", response_id="r"),
    )
    assert len(build(*rows)) == calls


# --- ids that a gateway replaced


def test_an_id_that_a_gateway_made_up_does_not_make_a_second_call() -> None:
    """LiteLLM answers with an id in OpenAI's style for Anthropic's own; the SDK's span below has the true one."""
    model = {"request_model": "claude-sonnet-4-5", "provider": "anthropic"}
    calls = build(
        chat("gateway", took=3, scope_name="litellm", response_id="chatcmpl-5e1f", **model),
        chat(
            "sdk",
            "gateway",
            at=0.5,
            took=2,
            scope_name="com.anthropic.sdk.python",
            response_id="msg_01A",
            **model,
        ),
    )
    assert members(calls) == [["gateway", "sdk"]]


def test_ids_of_two_styles_join_only_equal_counts() -> None:
    calls = build(
        chat("outer", took=3, scope_name="one", response_id="chatcmpl-1"),
        chat("inner", "outer", at=0.5, took=2, scope_name="two", response_id="msg_1", output_tokens=11),
    )
    assert members(calls) == [["inner"], ["outer"]]


def test_two_ids_of_one_style_are_two_calls_that_are_flagged_if_they_look_alike() -> None:
    calls = build(
        chat("outer", took=3, scope_name="one", response_id="msg_1"),
        chat("inner", "outer", at=0.5, took=2, scope_name="two", response_id="msg_2"),
    )
    assert [call["possible_duplicate"] for call in calls] == [True, True]


@pytest.mark.parametrize("trace", ["t1", "t2"])
def test_twins_with_ids_of_two_styles_are_one_call_across_traces_alone(trace: str) -> None:
    calls = build(
        chat("a", took=1.04, scope_name="one", response_id="chatcmpl-1"),
        chat("b", trace_id=trace, at=0.02, scope_name="two", response_id="msg_1"),
    )
    assert len(calls) == (1 if trace == "t2" else 2)


# --- failures


def test_a_failure_that_two_libraries_report_in_traces_of_their_own_is_one_failed_call() -> None:
    calls = build(
        chat("a", took=1.02, scope_name="one", **FAILED),
        chat("b", at=0.01, took=1, scope_name="two", trace_id="t2", **FAILED),
    )
    assert members(calls) == [["a", "b"]]
    assert calls[0]["status_code"] == "ERROR"


@pytest.mark.parametrize(
    "differs",
    [
        {"at": 0.5},
        {"scope_name": "one"},
        {"resource_attributes": "{}"},
        {"request_model": "gpt-4o-mini"},
        {"status_code": "UNSET", "error_type": None},
    ],
    ids=lambda differs: next(iter(differs)),
)
def test_failures_that_only_resemble_each_other_stay_two(differs: Row) -> None:
    other = {"at": 0.01, "took": 1, "scope_name": "two", "trace_id": "t2", **FAILED}
    assert len(build(chat("a", took=1.02, scope_name="one", **FAILED), chat("b", **other | differs))) == 2


def test_attempts_under_a_wrapper_that_succeeds_at_last_are_a_failed_call_and_a_billed_one() -> None:
    """The SDK tries twice inside one span; the wrapper repeats the usage of the attempt that was answered."""
    calls = build(
        chat("sdk", took=9, scope_name="one"),
        chat("try1", "sdk", at=0, scope_name="http", **FAILED),
        chat("try2", "sdk", at=2, took=3, scope_name="http"),
    )
    assert members(calls) == [["sdk", "try2"], ["try1"]]
    assert sum(call["input_tokens"] or 0 for call in calls) == 100


# --- wrappers and streams


def test_a_stream_that_outlives_the_span_inside_it_is_one_call() -> None:
    """The inner span ends with the response's headers, the outer one with the last chunk, and the other way round."""
    calls = build(
        chat("outer", took=8, scope_name="one"),
        chat("inner", "outer", at=0.1, took=0.3, scope_name="two", input_tokens=None, output_tokens=None),
        chat(
            "create", at=20, took=0.5, scope_name="one", trace_id="t2", input_tokens=None, output_tokens=None
        ),
        chat("chunks", "create", at=20.1, took=7, scope_name="two", trace_id="t2", response_id="r"),
    )
    assert members(calls) == [["chunks", "create"], ["inner", "outer"]]
    assert [call["input_tokens"] for call in calls] == [100, 100]


def test_a_wrapper_whose_calls_below_are_not_reported_is_one_call() -> None:
    """Head sampling or a library without instrumentation: the wrapper alone carries the usage."""
    [call] = build(chat("wrapper", took=3), span("http", "wrapper", at=1))
    assert (call["span_id"], call["input_tokens"]) == ("wrapper", 100)


@pytest.mark.parametrize("operation", ["invoke_agent", "invoke_workflow", "execute_tool", "agent_step"])
def test_usage_on_spans_of_agents_workflows_and_tools_is_never_counted(operation: str) -> None:
    """With their calls below them, with one alone, and with none: their usage repeats that of other spans."""
    agent: Row = {"operation": operation, "input_tokens": 107, "output_tokens": 13}
    calls = build(
        chat("agent1", took=9, **agent),
        chat("a", "agent1", at=1),
        chat("b", "agent1", at=3, input_tokens=7, output_tokens=3),
        chat("agent2", took=9, trace_id="t2", **agent | {"input_tokens": 100, "output_tokens": 10}),
        chat("c", "agent2", at=1, trace_id="t2"),
        chat("agent3", took=9, trace_id="t3", **agent),
    )
    assert members(calls) == [["a"], ["b"], ["c"]]


def test_roll_ups_in_several_levels_count_nothing() -> None:
    rows = [chat("top", took=40, input_tokens=400, output_tokens=40)]
    for n in range(2):
        rows.append(chat(f"mid{n}", "top", at=20 * n, took=19, input_tokens=200, output_tokens=20))
        rows += [chat(f"leaf{n}{k}", f"mid{n}", at=20 * n + 9 * k, response_id=f"r{n}{k}") for k in range(2)]
    assert members(build(*rows)) == [["leaf00"], ["leaf01"], ["leaf10"], ["leaf11"]]


def test_one_span_over_two_calls_that_carries_the_last_ones_usage_is_one_call() -> None:
    """Google's SDK answers tool calls itself: no reader can tell the first call from this span."""
    calls = build(
        chat("generate", took=4, input_tokens=1310),
        span("tool", "generate", at=1, dialect="otel_genai", tool_name="t"),
    )
    assert [call["input_tokens"] for call in calls] == [1310]


# --- real calls are never merged


def test_a_thousand_identical_calls_at_once_stay_a_thousand() -> None:
    """One process, one moment, equal counts, no ids; half in one trace, half in traces of their own."""
    rows = [chat(f"a{n}", "root", took=2) for n in range(500)]
    rows += [chat(f"b{n}", trace_id=f"t{n}", took=2) for n in range(500)]
    calls = build(span("root", took=9), *rows)
    assert len(calls) == len({call["call_id"] for call in calls}) == 1000


def test_a_thousand_calls_seen_by_two_libraries_stay_a_thousand() -> None:
    rows = []
    for n in range(1000):
        rows.append(chat(f"a{n}", took=2, scope_name="one", trace_id=f"t{n}"))
        rows.append(chat(f"b{n}", f"a{n}", at=0.5, scope_name="two", trace_id=f"t{n}", response_id=f"r{n}"))
    assert len(build(*rows)) == 1000


def test_ids_drawn_from_999_numbers_lose_no_call() -> None:
    """3,000 calls of a server that counts its ids round, ten a second; two libraries report each, in two traces."""
    rows = []
    for n in range(3000):
        same: Row = {"response_id": f"chatcmpl-{n * 7 % 999}", "input_tokens": 10 + n % 50}
        rows.append(chat(f"a{n}", at=n / 10, took=1.02, scope_name="one", trace_id=f"t{n}", **same))
        rows.append(chat(f"b{n}", at=n / 10 + 0.01, scope_name="two", trace_id=f"u{n}", **same))
    calls = build(*rows)
    assert len(calls) == 3000
    assert all(len(json.loads(call["members"])) == 2 for call in calls)


def test_one_id_in_two_tenants_is_two_calls() -> None:
    calls = build(
        chat("a", response_id="r", scope_name="one", tenant="x"),
        chat("b", response_id="r", scope_name="two", tenant="y"),
        chat("c", response_id="r", scope_name="one", tenant="y"),
    )
    assert members(calls) == [["a"], ["b", "c"]]


# --- one row of several records


def test_counts_that_differ_under_one_id_are_the_richer_records() -> None:
    [call] = build(
        chat("estimate", response_id="r", scope_name="one", input_tokens=90, output_tokens=18),
        chat("exact", response_id="r", scope_name="two", cache_read_tokens=40, reasoning_tokens=2),
    )
    assert (call["span_id"], call["input_tokens"], call["output_tokens"]) == ("exact", 100, 10)
    assert call["notes"] == ["token_counts_differ"]


CACHE: Row = {"cache_read_tokens": 1024, "cache_write_tokens": 300}


@pytest.mark.parametrize("counts_of_framework", [CACHE, {}], ids=["told", "untold"])
def test_a_framework_that_leaves_the_cache_out_and_the_sdk_below_it_report_one_call(
    counts_of_framework: Row,
) -> None:
    """It hands on Anthropic's own count, which nothing says of it; the SDK's span has the whole."""
    [call] = build(
        chat("framework", took=3, scope_name="one", input_tokens=2035, **counts_of_framework),
        chat(
            "sdk", "framework", at=0.5, took=2, scope_name="two", input_tokens=3359, response_id="m", **CACHE
        ),
    )
    assert (call["span_id"], call["input_tokens"], call["cache_read_tokens"]) == ("sdk", 3359, 1024)
    assert call["notes"] == ["token_counts_differ"]


@pytest.mark.parametrize("differs", [{"input_tokens": 2036}, {"output_tokens": 11}])
def test_other_counts_around_a_call_are_of_another_call(differs: Row) -> None:
    calls = build(
        chat("framework", took=3, scope_name="one", **{"input_tokens": 2035} | differs),
        chat(
            "sdk", "framework", at=0.5, took=2, scope_name="two", input_tokens=3359, response_id="m", **CACHE
        ),
    )
    assert members(calls) == [["framework"], ["sdk"]]


def test_of_equally_rich_records_the_one_that_saw_more_of_the_stream_counts() -> None:
    """A span that has a stream's first count, and the event of its end."""
    [call] = build(
        chat("a", response_id="m", output_tokens=3),
        log("h", inside="a", response_id="m", output_tokens=300),
    )
    assert (call["span_id"], call["output_tokens"]) == ("a", 300)
    assert call["notes"] == ["token_counts_differ"]


@pytest.mark.parametrize(
    ("told", "notes"), [(790, ["output_excluded_reasoning"]), (None, ["output_may_lack_reasoning"])]
)
def test_a_doubt_about_the_output_ends_where_another_record_tells_it(
    told: int | None, notes: list[str]
) -> None:
    """It stays where that record does not tell the reasoning either, and its output is not taken."""
    [call] = build(
        chat("a", took=2, output_tokens=171, cache_read_tokens=4, notes=["output_may_lack_reasoning"]),
        log("h1", at=2, inside="a", output_tokens=171, reasoning_tokens=told),
    )
    assert call["notes"] == notes


def test_which_record_came_first_does_not_matter() -> None:
    rows = [
        chat("a", took=1.04, scope_name="one", response_id="chatcmpl-1"),
        chat(
            "b", trace_id="t2", at=0.02, scope_name="two", response_id="msg_1", resource_attributes=INSTANCE
        ),
        chat("c", trace_id="t3", at=0.03, took=0.97, scope_name="three"),
        chat("x", trace_id="t4", at=5, took=1.02, scope_name="one", **FAILED),
        chat("y", trace_id="t5", at=5.01, took=1, scope_name="two", **FAILED),
    ]
    orders = [seeded(attempt).sample(rows, len(rows)) for attempt in range(3)]
    in_turn, at_once = in_turn_and_at_once(*([[row] for row in order] for order in orders))
    assert len(at_once) == 3 * 2
    assert in_turn == at_once
