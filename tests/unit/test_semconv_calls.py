"""Which records are one call."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from itertools import islice

import pytest

from semconv.planned import relation
from semconv.settings import Settings
from tests.unit.semconv_records import Row, Store, build, chat, in_turn_and_at_once, seeded, span


def members(calls: list[Row]) -> list[list[str]]:
    """The span ids of each call's records."""
    return sorted(sorted(member["span_id"] for member in json.loads(call["members"])) for call in calls)


def test_built_calls_have_the_lakes_columns_and_the_configured_dimensions() -> None:
    store = Store(Settings(dimensions={"team": "acme.team"}))
    store.commit(chat("a"))
    connection = store.connection
    contract = connection.execute("DESCRIBE calls").fetchall()
    with relation(connection, "built_calls", store.built_calls):
        described = connection.execute("DESCRIBE built_calls").fetchall()
    assert [row[:2] for row in described] == [row[:2] for row in contract]


def test_only_model_calls_are_calls() -> None:
    calls = build(
        chat("llm"),
        chat("emb", operation="embeddings"),
        span("agent", dialect="otel_genai", operation="invoke_agent", input_tokens=5, output_tokens=5),
        span("tool", dialect="otel_genai", operation="execute_tool"),
        span("http"),
    )
    assert {call["span_id"]: call["role"] for call in calls} == {"llm": "llm", "emb": "embeddings"}


def test_a_failed_call_is_a_call_without_usage_and_cost() -> None:
    [call] = build(chat("a", status_code="ERROR", error_type="429", input_tokens=None, output_tokens=None))
    assert (call["status_code"], call["error_type"]) == ("ERROR", "429")
    assert (call["input_tokens"], call["cost_usd"], call["cost_note"]) == (None, None, "no_usage")


@pytest.mark.parametrize("status", ["UNSET", "OK"])
def test_a_call_with_an_error_and_no_usage_failed_whatever_its_status(status: str) -> None:
    """Langfuse, LangSmith's JavaScript and Mastra tell of a failure in an attribute or an event. What has usage was
    answered.
    """
    sent = {"status_code": status, "error_type": "ERROR"}
    refused, answered = build(
        chat("a", trace_id="t1", input_tokens=None, output_tokens=None, **sent),
        chat("b", trace_id="t2", at=5, input_tokens=100, **sent),
    )
    assert (refused["status_code"], answered["status_code"]) == ("ERROR", status)


# --- rule (a): equal response ids


@pytest.mark.parametrize("other_trace", ["t1", "t2"])
def test_equal_ids_from_two_libraries_are_one_call_also_across_traces(other_trace: str) -> None:
    calls = build(
        chat("a", response_id="r", scope_name="one", at=0, took=2),
        chat("b", response_id="r", scope_name="two", at=0.5, took=1, trace_id=other_trace),
    )
    assert members(calls) == [["a", "b"]]


@pytest.mark.parametrize(
    "differs",
    [
        {"tenant": "other"},
        {"request_model": "gpt-4o-mini"},
        {"at": 3},
        {"response_id": "r2"},
        {"scope_name": "one"},
    ],
    ids=lambda differs: next(iter(differs)),
)
def test_equal_ids_are_not_enough(differs: Row) -> None:
    """Another tenant, another model, another time, another id, or the same library: two calls."""
    first = chat("a", response_id="r", scope_name="one", took=2)
    second = chat("b", trace_id="t2", **({"response_id": "r", "scope_name": "two"} | differs))
    assert members(build(first, second)) == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("gpt-4o", None, True),
        ("gpt-4o", "house-alias", True),
        ("claude-sonnet-4-5", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", True),
        ("openai/gpt-4o", "gpt-4o", True),
        ("models/gemini-2.5-flash", "gemini-2.5-flash-preview-05-20", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("claude-sonnet-4", "claude-sonnet-4-5", False),
        ("gpt-4o", "claude-sonnet-4-5", False),
    ],
)
def test_models_conflict_only_where_both_families_are_known(one: str, other: str | None, agree: bool) -> None:
    calls = build(
        chat("a", response_id="r", scope_name="one", request_model=one),
        chat("b", response_id="r", scope_name="two", request_model=other),
    )
    assert len(calls) == (1 if agree else 2)


def test_one_id_for_ever_from_one_library_joins_nothing() -> None:
    """A fake server that always answers the same id: parallel calls in many traces stay apart."""
    calls = build(*(chat(f"s{n}", trace_id=f"t{n}", response_id="chatcmpl-123") for n in range(50)))
    assert len(calls) == 50
    assert not any(call["possible_duplicate"] for call in calls)


def test_parallel_calls_with_one_id_in_one_trace_are_kept_and_flagged() -> None:
    calls = build(chat("a", response_id="r"), chat("b", response_id="r"), chat("c", response_id="r", at=9))
    assert [(call["span_id"], call["possible_duplicate"]) for call in calls] == [
        ("a", True),
        ("b", True),
        ("c", False),
    ]


def test_two_parallel_calls_seen_by_two_libraries_under_one_id_pair_by_their_counts() -> None:
    calls = build(
        chat("a1", response_id="r", scope_name="one"),
        chat("a2", response_id="r", scope_name="two"),
        chat("b1", response_id="r", scope_name="one", input_tokens=7),
        chat("b2", response_id="r", scope_name="two", input_tokens=7),
    )
    assert members(calls) == [["a1", "a2"], ["b1", "b2"]]


# --- rule (b): nested, an id missing


@pytest.mark.parametrize("inner", [{"scope_name": "two"}, {}], ids=["other library", "same library"])
def test_a_wrapper_without_an_id_and_the_call_below_are_one(inner: Row) -> None:
    calls = build(
        chat("outer", at=0, took=3),
        span("http", "outer", at=0.5, took=2),
        chat("inner", "http", at=1, took=1, response_id="r", **inner),
    )
    assert members(calls) == [["inner", "outer"]]


def test_nested_records_with_different_ids_or_counts_are_two_calls() -> None:
    calls = build(
        chat("a", took=9, response_id="r1"),
        chat("b", "a", at=1, response_id="r2"),
        chat("c", took=9, trace_id="t2"),
        chat("d", "c", at=1, trace_id="t2", output_tokens=99),
    )
    assert members(calls) == [["a"], ["b"], ["c"], ["d"]]


def test_siblings_without_ids_are_two_calls() -> None:
    calls = build(span("root", took=9), chat("a", "root"), chat("b", "root", at=2, scope_name="two"))
    assert members(calls) == [["a"], ["b"]]


def test_a_failed_wrapper_and_its_failed_attempts_are_as_many_calls_as_attempts() -> None:
    failed = {"status_code": "ERROR", "input_tokens": None, "output_tokens": None}
    calls = build(
        chat("outer", took=9, **failed),
        chat("try1", "outer", at=0, scope_name="two", **failed),
        chat("try2", "outer", at=2, scope_name="two", **failed),
    )
    assert len(calls) == 2
    assert all(call["status_code"] == "ERROR" for call in calls)


def test_a_wrapper_takes_the_attempt_that_succeeded() -> None:
    calls = build(
        chat("outer", took=9, response_id="r"),
        chat(
            "try1",
            "outer",
            at=0,
            scope_name="two",
            status_code="ERROR",
            input_tokens=None,
            output_tokens=None,
        ),
        chat("try2", "outer", at=2, scope_name="two", response_id="r"),
    )
    assert members(calls) == [["outer", "try2"], ["try1"]]


def test_a_wrapper_over_identical_parallel_calls_is_one_of_them() -> None:
    calls = build(
        chat("outer", took=5),
        chat("a", "outer", at=1, scope_name="two"),
        chat("b", "outer", at=1, scope_name="two"),
    )
    assert len(calls) == 2
    assert [call["possible_duplicate"] for call in calls] == [True, True]


def test_three_libraries_around_one_call_are_one_call() -> None:
    calls = build(
        chat("a", took=5, scope_name="one"),
        chat("b", "a", at=1, took=3, scope_name="two"),
        chat("c", "b", at=2, took=1, scope_name="three", response_id="r"),
    )
    assert members(calls) == [["a", "b", "c"]]


# --- rule (c): one process, two traces


def test_twins_of_one_process_in_two_traces_are_one_call() -> None:
    calls = build(
        chat("a", at=0, took=1.04, scope_name="one", response_id="r"),
        chat("b", at=0.02, took=1.0, scope_name="two", trace_id="t2"),
    )
    assert members(calls) == [["a", "b"]]


@pytest.mark.parametrize(
    "differs",
    [
        {"at": 0.08},
        {"took": 1.2},
        {"at": -0.01, "took": 1.02},
        {"resource_attributes": '{"service.instance.id":"i-2"}'},
        {"input_tokens": 101},
        {"input_tokens": None, "output_tokens": None},
        {"scope_name": "one"},
        {"response_id": "r2"},
    ],
    ids=str,
)
def test_twins_need_one_process_one_moment_nesting_and_equal_counts(differs: Row) -> None:
    """The third row starts before and ends before the other: neither lies within the other."""
    first = chat("a", at=0, took=1.04, scope_name="one", response_id="r")
    second = chat("b", trace_id="t2", **({"at": 0.02, "took": 1.0, "scope_name": "two"} | differs))
    assert members(build(first, second)) == [["a"], ["b"]]


def test_a_resource_without_instance_id_must_be_the_same_in_all_it_says() -> None:
    def pair(one: str, other: str) -> int:
        first = chat("a", took=1.04, scope_name="one", resource_attributes=one)
        second = chat("b", at=0.02, trace_id="t2", scope_name="two", resource_attributes=other)
        return len(build(first, second))

    assert pair('{"service.name":"x"}', '{"service.name":"x"}') == 1
    assert pair('{"service.name":"x"}', '{"service.name":"y"}') == 2


def test_twins_within_one_trace_that_are_not_nested_are_kept_and_flagged() -> None:
    calls = build(chat("a", took=1.04, scope_name="one"), chat("b", at=0.02, scope_name="two"))
    assert [call["possible_duplicate"] for call in calls] == [True, True]


# --- roll-ups


def test_usage_that_repeats_the_sum_of_several_calls_below_is_no_call() -> None:
    """One of the calls below is reported by two libraries, which must not count twice in the sum."""
    calls = build(
        chat("sum", took=9, input_tokens=107, output_tokens=13),
        chat("a", "sum", at=1, response_id="r", scope_name="two"),
        chat("a2", "sum", at=1, response_id="r", scope_name="three"),
        chat("b", "sum", at=4, input_tokens=7, output_tokens=3, scope_name="two"),
    )
    assert members(calls) == [["a", "a2"], ["b"]]


def test_a_call_over_others_that_is_not_their_sum_stays_a_call() -> None:
    calls = build(
        chat("own", took=9, input_tokens=500, response_id="r0"),
        chat("a", "own", at=1, response_id="r1"),
        chat("b", "own", at=4, response_id="r2"),
    )
    assert members(calls) == [["a"], ["b"], ["own"]]


# --- one row of several records


def test_the_richer_record_is_preferred_and_gaps_are_filled_from_the_other() -> None:
    [call] = build(
        chat("poor", response_id="r", scope_name="one", took=3, service_tier="priority", session_id="s"),
        chat("rich", response_id="r", scope_name="two", cache_read_tokens=40, finish_reasons=["stop"]),
    )
    assert (call["span_id"], call["cache_read_tokens"], call["finish_reasons"]) == ("rich", 40, ["stop"])
    assert (call["service_tier"], call["session_id"], call["session_inherited"]) == ("priority", "s", False)
    assert call["notes"] is None


def test_differing_counts_under_one_id_are_noted_and_not_mixed() -> None:
    [call] = build(
        chat("rich", response_id="r", scope_name="two", cache_read_tokens=40, reasoning_tokens=1),
        chat("poor", response_id="r", scope_name="one", output_tokens=13, audio_output_tokens=9),
    )
    assert (call["output_tokens"], call["audio_output_tokens"]) == (10, None)
    assert call["notes"] == ["token_counts_differ"]


def test_a_wrapper_that_failed_after_the_answer_does_not_fail_the_call() -> None:
    [call] = build(
        chat(
            "outer",
            took=3,
            status_code="ERROR",
            error_type="ValidationError",
            input_tokens=None,
            output_tokens=None,
        ),
        chat("inner", "outer", response_id="r", scope_name="two", status_code="OK"),
    )
    assert (call["status_code"], call["error_type"]) == ("OK", None)


def test_a_declared_account_goes_before_the_provider_that_stands_in_for_one() -> None:
    [call] = build(
        chat("inner", response_id="r", scope_name="two", cache_read_tokens=4),
        chat("outer", response_id="r", scope_name="one", billing_account="acme", plan_tier="api"),
    )
    assert (call["span_id"], call["billing_account"], call["plan_tier"]) == ("inner", "acme", "api")


# --- the same records always end in the same calls


def messy_records(seed: int) -> list[Row]:
    """Traces with wrappers, twins, repeated ids, sessions here and there; the same for the same seed."""
    pick = seeded(seed)
    rows = []
    for n in range(60):
        trace = f"t{pick.randrange(8)}"
        earlier = [row["span_id"] for row in rows if row["trace_id"] == trace]
        given: Row = {
            "trace_id": trace,
            "at": pick.choice([0, 0.01, 0.02, 1, 2]),
            "took": pick.choice([1, 1.02, 3]),
            "session_id": pick.choice([None, None, None, "s1", "s2"]),
            "agent_name": pick.choice([None, None, "planner"]),
        }
        make = pick.choice([chat, chat, span])
        if make is chat:
            given |= {
                "scope_name": pick.choice(["one", "two", "three"]),
                "response_id": pick.choice([None, "r1", "r2"]),
                "input_tokens": pick.choice([100, 100, 7, None]),
                "cache_read_tokens": pick.choice([None, 3]),
            }
        rows.append(make(f"{n:02}", pick.choice([None, *earlier[-3:]]), **given))
    return rows


def batches(rows: list[Row], sizes: random.Random) -> list[list[Row]]:
    """Of up to 24 rows each."""
    rest = iter(rows)
    return list(iter(lambda: list(islice(rest, sizes.randrange(1, 25))), []))


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 8))]
)
def test_order_and_batches_do_not_matter(seed: int) -> None:
    rows = messy_records(seed)
    shuffled = [seeded(attempt).sample(rows, len(rows)) for attempt in range(2)]
    in_turn, at_once = in_turn_and_at_once(*(batches(order, seeded(seed)) for order in shuffled))
    assert len(at_once) > 20
    assert in_turn == at_once


def test_a_partner_that_came_long_before_is_found_by_id_and_by_twinship() -> None:
    store = Store()
    store.commit(chat("a", trace_id="t1", response_id="r", scope_name="one", took=2))
    store.commit(chat("b", trace_id="t2", scope_name="one", at=20))
    store.commit(chat("c", trace_id="t3", response_id="r", scope_name="two", at=0.5))
    store.commit(chat("d", trace_id="t4", scope_name="two", at=20.01, took=0.98))
    assert members(store.calls()) == [["a", "c"], ["b", "d"]]


def test_every_call_has_an_id_of_its_own() -> None:
    calls = build(*messy_records(9))
    assert len({call["call_id"] for call in calls}) == len(calls)


@pytest.mark.parametrize(
    ("gated", "low", "high"),
    [
        # Two texts, and an attribute that holds both in JSON; 0.02 USD a million tokens.
        (
            {"embedding.embeddings.0.embedding.text": 800, "embedding.embeddings.1.embedding.text": 800}
            | {"input.value": 1_500},
            "0.000002",
            "0.000032",
        ),
        ({"input.value": 160}, "0.0000002", "0.0000032"),
    ],
)
def test_an_embedding_without_tokens_is_estimated_from_what_the_gate_measured(
    gated: dict[str, int], low: str, high: str
) -> None:
    """What stands twice counts once."""
    [call] = build(
        chat(
            "a",
            operation="embeddings",
            request_model="text-embedding-3-small",
            input_tokens=None,
            output_tokens=None,
            evidence=json.dumps({"gated": gated}),
        )
    )
    assert (call["cost_usd"], call["cost_note"]) == (None, "estimated_from_text")
    assert (call["cost_low_usd"], call["cost_high_usd"]) == (Decimal(low), Decimal(high))


def test_an_empty_batch_builds_no_calls() -> None:
    store = Store()
    store.commit(span("a"))
    assert store.calls() == []
    assert store.built_calls.num_rows == 0
