"""Spans as rows: fixed fields, claimed columns, notes, what is kept, and that no value can spoil a batch."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from semconv import columns
from semconv.claims import claim_record
from semconv.dialect_rules import RECORD_COLUMNS
from semconv.dialects import compile_tables, tables
from semconv.extract import Extracted, extract
from semconv.notes import EXTRACTION_NOTES
from semconv.otlp import INT64_MAX
from semconv.request import Request
from semconv.settings import Settings
from tests.otlp_data import (
    END,
    KEEP_ALL,
    RECEIVED_AT,
    SPAN_ID,
    START,
    TRACE_ID,
    key_values,
    logs_message,
    metrics_message,
    only_span,
    read,
    span_json,
    span_of,
    traces_json,
    traces_message,
)


def test_nothing_gives_empty_tables_of_the_agreed_schemas() -> None:
    extracted = extract([], Settings())
    assert extracted.spans.schema == columns.SPANS
    assert extracted.log_records.schema == columns.LOG_RECORDS
    assert extracted.metric_points.schema == columns.METRIC_POINTS
    assert extracted.contents.schema == columns.CONTENTS
    assert extracted.counts == {}


@pytest.mark.parametrize("spans_of_each", [1, 50])
def test_each_row_tells_its_own_sender(spans_of_each: int) -> None:
    """Scenario: batches in which the sender changes with every span, and with every fiftieth.

    Guarantee: what rows of one sender share is told in each of them, and in no row of another.
    """
    requests = []
    for number in range(40):
        message = traces_message(*({"n": n} for n in range(spans_of_each)), scope=f"scope {number % 3}")
        [resource_spans] = message.resource_spans
        own = {"service.version": str(number)} if number % 2 else {}
        resource_spans.resource.attributes.extend(key_values(own))
        requests.append(Request("traces", "protobuf", message.SerializeToString(), RECEIVED_AT, str(number)))
    rows = extract(requests, KEEP_ALL).spans.to_pylist()
    told = [(row["tenant"], row["service_version"], row["scope_name"], row["attributes"]) for row in rows]
    assert told == [
        (str(number), str(number) if number % 2 else None, f"scope {number % 3}", f'{{"n":{n}}}')
        for number in range(40)
        for n in range(spans_of_each)
    ]


def test_every_fixed_field_of_a_span() -> None:
    message = traces_message({"k": "v"}, scope="my.scope")
    resource_spans = message.resource_spans[0]
    resource_spans.resource.attributes.extend(
        key_values(
            {"service.namespace": "ns", "service.version": "1.2", "deployment.environment.name": "prod"}
        )
    )
    resource_spans.schema_url = "https://resource"
    scope_spans = resource_spans.scope_spans[0]
    scope_spans.scope.version = "9"
    scope_spans.scope.attributes.extend(key_values({"s": 1}))
    span = scope_spans.spans[0]
    span.parent_span_id = b"\xff" * 8
    span.trace_state = "a=b"
    span.flags = 257
    span.status.code, span.status.message = 2, "boom"
    span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count = 1, 2, 3
    span.events.add(
        name="e", time_unix_nano=START, dropped_attributes_count=4, attributes=key_values({"n": 1})
    )
    span.links.add(
        trace_id=TRACE_ID, span_id=SPAN_ID, trace_state="x=y", flags=1, attributes=key_values({"l": 2})
    )
    row = only_span(message)
    expected = {
        "tenant": "",
        "trace_id": TRACE_ID.hex(),
        "span_id": "0102030405060708",
        "parent_span_id": "f" * 16,
        "name": "chat",
        "kind": "CLIENT",
        "start_unix_nano": START,
        "end_unix_nano": END,
        "duration_ns": END - START,
        "status_code": "ERROR",
        "status_message": "boom",
        "trace_state": "a=b",
        "flags": 257,
        "service_name": "shop",
        "service_namespace": "ns",
        "service_version": "1.2",
        "deployment_environment": "prod",
        "scope_name": "my.scope",
        "scope_version": "9",
        "schema_url": "https://resource",
        "scope_attributes": '{"s":1}',
        "attributes": '{"k":"v"}',
        "evidence": None,
        "dropped_attributes_count": 1,
        "dropped_events_count": 2,
        "dropped_links_count": 3,
        "dialect": None,
        "bound_billing_account": None,
        "notes": None,
        "source": "otlp",
    }
    assert {name: row[name] for name in expected} == expected
    assert json.loads(row["resource_attributes"])["service.name"] == "shop"
    assert json.loads(row["events"]) == [
        {"time_unix_nano": START, "name": "e", "attributes": {"n": 1}, "dropped_attributes_count": 4}
    ]
    assert json.loads(row["links"]) == [
        {
            "trace_id": TRACE_ID.hex(),
            "span_id": SPAN_ID.hex(),
            "trace_state": "x=y",
            "attributes": {"l": 2},
            "dropped_attributes_count": 0,
            "flags": 1,
        }
    ]


def test_times_are_cut_to_microseconds() -> None:
    message = traces_message({})
    message.resource_spans[0].scope_spans[0].spans[0].start_time_unix_nano = START + 1999
    table = read(message).spans
    assert table["start_time"].cast(pa.int64()).to_pylist() == [START // 1000 + 1]
    assert table["received_at"].cast(pa.int64()).to_pylist() == [RECEIVED_AT // 1000]


def test_origin_comes_from_the_request() -> None:
    body = traces_message({}, resource={"billing_account": "from-resource", "tokenjam.plan_tier": "pro"})
    request = Request(
        "traces", "protobuf", body.SerializeToString(), RECEIVED_AT, "t1", "bound", "backfill:a.pb"
    )
    [row] = extract([request], Settings()).spans.to_pylist()
    assert (row["tenant"], row["bound_billing_account"], row["source"]) == ("t1", "bound", "backfill:a.pb")
    assert (row["resource_billing_account"], row["resource_plan_tier"]) == ("from-resource", "pro")
    assert (row["billing_account"], row["service_name"]) == (None, None)


def test_the_scopes_schema_url_wins_over_the_resources() -> None:
    message = traces_message({})
    message.resource_spans[0].schema_url = "https://resource"
    message.resource_spans[0].scope_spans[0].schema_url = "https://scope"
    assert only_span(message)["schema_url"] == "https://scope"


CLAIMS: list[tuple[dict[str, Any], str, Any]] = [
    ({"gen_ai.operation.name": "chat"}, "operation", "chat"),
    ({"gen_ai.provider.name": "openai"}, "provider", "openai"),
    ({"gen_ai.system": "aws.bedrock"}, "provider", "aws.bedrock"),
    ({"gen_ai.system": "old", "gen_ai.provider.name": "new"}, "provider", "new"),
    ({"gen_ai.request.model": "m"}, "request_model", "m"),
    ({"gen_ai.response.model": "m"}, "response_model", "m"),
    ({"cloud.region": "us-east-1"}, "model_region", "us-east-1"),
    ({"gen_ai.response.id": "r"}, "response_id", "r"),
    ({"gen_ai.response.finish_reasons": ["stop", "length"]}, "finish_reasons", ["stop", "length"]),
    ({"gen_ai.response.finish_reasons": '["stop"]'}, "finish_reasons", ["stop"]),
    ({"gen_ai.response.finish_reasons": "stop"}, "finish_reasons", ["stop"]),
    ({"gen_ai.response.finish_reason": "FinishReason.STOP"}, "finish_reasons", ["FinishReason.STOP"]),
    ({"anthropic.message.stop_reason": "end_turn"}, "finish_reasons", ["end_turn"]),
    ({"gen_ai.completion.0.finish_reason": "stop"}, "finish_reasons", ["stop"]),
    ({"gen_ai.response.finish_reasons": [], "anthropic.message.stop_reason": "x"}, "finish_reasons", ["x"]),
    ({"openai.response.service_tier": "flex"}, "service_tier", "flex"),
    ({"gen_ai.openai.response.service_tier": "flex"}, "service_tier", "flex"),
    ({"anthropic.response.service_tier": "batch"}, "service_tier", "batch"),
    ({"openai.request.service_tier": "auto", "openai.response.service_tier": "x"}, "service_tier", "x"),
    ({"gen_ai.openai.request.service_tier": "priority"}, "service_tier", "priority"),
    ({"error.type": "429"}, "error_type", "429"),
    ({"error.type": 429}, "error_type", "429"),
    ({"gen_ai.response.time_to_first_chunk": 0.25}, "time_to_first_token_ms", 250.0),
    ({"gen_ai.conversation.id": "c", "session.id": "s"}, "session_id", "c"),
    ({"session.id": "s", "gen_ai.conversation.id": ""}, "session_id", "s"),
    ({"enduser.id": "old", "user.id": "new"}, "user_id", "new"),
    ({"enduser.id": "old"}, "user_id", "old"),
    ({"gen_ai.agent.name": "planner"}, "agent_name", "planner"),
    ({"agent_name": "planner"}, "agent_name", "planner"),
    ({"gen_ai.agent.id": "a1"}, "agent_id", "a1"),
    ({"gen_ai.tool.name": "t"}, "tool_name", "t"),
    ({"gen_ai.tool.call.id": "call_1"}, "tool_call_id", "call_1"),
    ({"gen_ai.usage.input_tokens": 0}, "input_tokens", 0),
    ({"gen_ai.usage.input_tokens": "1535"}, "input_tokens", 1535),
    ({"gen_ai.usage.input_tokens": 12.0}, "input_tokens", 12),
    ({"gen_ai.usage.prompt_tokens": 5}, "input_tokens", 5),
    ({"gen_ai.usage.prompt_tokens": 5, "gen_ai.usage.input_tokens": 6}, "input_tokens", 6),
    ({"gen_ai.usage.output_tokens": 5}, "output_tokens", 5),
    ({"gen_ai.usage.completion_tokens": 5}, "output_tokens", 5),
    ({"gen_ai.usage.total_tokens": 5}, "total_tokens", 5),
    ({"gen_ai.usage.cache_read.input_tokens": 5}, "cache_read_tokens", 5),
    ({"gen_ai.usage.cache_read_input_tokens": 5}, "cache_read_tokens", 5),
    ({"gen_ai.usage.cache_write.input_tokens": 5}, "cache_write_tokens", 5),
    ({"gen_ai.usage.cache_creation.input_tokens": 5}, "cache_write_tokens", 5),
    ({"gen_ai.usage.cache_creation_input_tokens": 5}, "cache_write_tokens", 5),
    ({"gen_ai.usage.cache_write_input_tokens": 5}, "cache_write_tokens", 5),
    ({"anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 5}, "cache_write_5m_tokens", 5),
    ({"anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 5}, "cache_write_1h_tokens", 5),
    ({"gen_ai.usage.reasoning.output_tokens": 5}, "reasoning_tokens", 5),
    ({"gen_ai.usage.reasoning_tokens": 5}, "reasoning_tokens", 5),
    ({"gen_ai.usage.details.reasoning_tokens": 5}, "reasoning_tokens", 5),
    ({"gen_ai.usage.details.thoughts_tokens": 5}, "reasoning_tokens", 5),
    ({"gen_ai.usage.audio.input_tokens": 5}, "audio_input_tokens", 5),
    ({"gen_ai.usage.audio.output_tokens": 5}, "audio_output_tokens", 5),
    ({"gen_ai.usage.image.input_tokens": 5}, "image_input_tokens", 5),
    ({"gen_ai.request.stream": False}, "stream", False),
    ({"gen_ai.request.stream": "true"}, "stream", True),
    ({"tokenjam.billing_account": "c", "gen_ai.billing_account": "b"}, "billing_account", "b"),
    ({"billing_account": "a", "gen_ai.billing_account": "b"}, "billing_account", "a"),
    ({"tokenjam.plan_tier": "pro"}, "plan_tier", "pro"),
    ({"gen_ai.plan_tier": "team", "plan_tier": ""}, "plan_tier", "team"),
]


@pytest.mark.parametrize(("attributes", "column", "expected"), CLAIMS, ids=lambda value: str(value)[:60])
def test_every_name_of_every_generation_claims_its_column(
    attributes: dict[str, Any], column: str, expected: Any
) -> None:
    assert span_of(attributes)[column] == expected
    in_other_order = dict(reversed(attributes.items()))
    assert span_of(in_other_order)[column] == expected


@pytest.mark.parametrize("value", [-1, "many", 1.5, True, 2**63 - 1, ["5"], {"n": 5}, float("nan"), None])
def test_a_count_that_is_none_is_noted_and_the_next_key_is_tried(value: Any) -> None:
    row = span_of({"gen_ai.usage.input_tokens": value, "gen_ai.usage.prompt_tokens": 7})
    if value == 2**63 - 1:
        assert (row["input_tokens"], row["notes"]) == (value, None)
    else:
        assert row["input_tokens"] == 7
        assert row["notes"] == (["unusable_value"] if value is not None else None)


def test_missing_counts_are_null_never_zero() -> None:
    row = span_of({"gen_ai.operation.name": "chat"})
    assert [row[name] for name in row if name.endswith("_tokens")] == [None] * 13


@pytest.mark.parametrize(
    ("attributes", "dialect"),
    [
        ({"gen_ai.operation.name": "chat"}, "otel_genai"),
        ({"gen_ai.acme.unknown": 1}, "otel_genai"),
        ({"openai.api.type": "responses"}, "otel_genai"),
        ({"anthropic.request.id": "r"}, "otel_genai"),
        (
            {
                "session.id": "s",
                "user.id": "u",
                "error.type": "e",
                "billing_account": "b",
                "plan_tier": "pro",
            },
            None,
        ),
        ({"tokenjam.billing_account": "b", "agent_name": "a"}, None),
        ({"http.route": "/", "gen_aix": 1, "open": 1}, None),
    ],
)
def test_the_dialect_is_the_one_whose_keys_are_there(attributes: dict[str, Any], dialect: str | None) -> None:
    assert span_of(attributes)["dialect"] == dialect


def test_an_exception_event_names_the_error_of_a_failed_span_only() -> None:
    message = traces_message({}, {}, {"error.type": "own"})
    failure = key_values({"exception.type": "openai.RateLimitError"})
    for span, code in zip(message.resource_spans[0].scope_spans[0].spans, (2, 1, 2), strict=True):
        span.status.code = code
        span.events.add(name="exception", attributes=failure)
    assert read(message).spans["error_type"].to_pylist() == ["openai.RateLimitError", None, "own"]


@pytest.mark.parametrize(
    ("start", "end", "duration", "notes"),
    [
        (START, END, END - START, None),
        (START, START, 0, None),
        (START, 0, None, ["end_time_missing"]),
        (START, START - 1, None, ["end_time_before_start"]),
        (0, END, None, ["start_time_missing"]),
        (0, 0, None, ["end_time_missing", "start_time_missing"]),
        (RECEIVED_AT + 86400 * 10**9 + 1, 0, None, ["end_time_missing", "start_time_in_future"]),
        (RECEIVED_AT + 86400 * 10**9, INT64_MAX, INT64_MAX - RECEIVED_AT - 86400 * 10**9, None),
    ],
)
def test_odd_times_are_noted_and_give_no_duration(
    start: int, end: int, duration: int | None, notes: list[str] | None
) -> None:
    row = only_span(traces_json(span_json(startTimeUnixNano=start, endTimeUnixNano=end)))
    assert (row["duration_ns"], row["notes"]) == (duration, notes)
    assert (row["start_unix_nano"], row["end_unix_nano"]) == (start, end)


def test_long_values_are_cut_with_a_note_but_claimed_whole() -> None:
    settings = Settings(max_value_bytes=12)
    message = traces_message(
        {"gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.usage.input_tokens": 5, "n": "ok"}
    )
    span = message.resource_spans[0].scope_spans[0].spans[0]
    span.name = "n" * 20
    span.events.add(name="e" * 20, attributes=key_values({"text": "t" * 20}))
    row = only_span(message, settings)
    assert (row["request_model"], row["input_tokens"]) == ("claude-sonnet-4-5", 5)
    assert json.loads(row["attributes"]) == {
        "gen_ai.request.model": "claude-sonne…[cut]",
        "gen_ai.usage.input_tokens": 5,
        "n": "ok",
    }
    assert row["name"] == "n" * 12 + "…[cut]"
    [event] = json.loads(row["events"])
    assert (event["name"], event["attributes"]) == ("e" * 12 + "…[cut]", {"text": "t" * 12 + "…[cut]"})
    assert row["notes"] == ["value_cut"]


def test_malformed_link_ids_are_null_with_a_note() -> None:
    message = traces_message({})
    message.resource_spans[0].scope_spans[0].spans[0].links.add(trace_id=b"abc", span_id=SPAN_ID)
    row = only_span(message)
    assert json.loads(row["links"])[0]["trace_id"] is None
    assert json.loads(row["links"])[0]["span_id"] == SPAN_ID.hex()
    assert row["notes"] == ["malformed_link_id"]


@pytest.mark.parametrize(("keep", "kept"), [("all", 3), ("genai", 2), ("none", 0)])
def test_keep_spans(keep: Any, kept: int) -> None:
    genai = traces_message({"gen_ai.system": "openai"}, {"http.route": "/"})
    by_scope = traces_message({"http.route": "/"}, scope="com.anthropic.sdk.python")
    requests = [
        Request("traces", "protobuf", body.SerializeToString(), RECEIVED_AT) for body in (genai, by_scope)
    ]
    extracted = extract(requests, Settings(keep_spans=keep))
    assert extracted.spans.num_rows == kept
    assert extracted.counts["spans_read"] == 3
    assert extracted.counts["spans_not_kept"] == 3 - kept


def test_notes_of_resource_and_scope_are_on_each_record() -> None:
    message = traces_message({}, {})
    message.resource_spans[0].resource.attributes.extend(key_values({"service.name": "shop"}))
    assert read(message).spans["notes"].to_pylist() == [["duplicate_attribute"]] * 2


POISON: dict[str, Any] = {
    "nul": "a\x00b",
    "astral": "😀\ufffe\u2028",
    "empty key": {"": ""},
    "uint64": 2**63 - 1,
    "nan": float("nan"),
    "inf": -float("inf"),
    "tiny": 5e-324,
    "raw": b"\xff\xfe",
    "none": None,
    "deep": [[[[[[[[{"a": [None]}]]]]]]]],
}


def poisoned() -> list[Extracted]:
    """Extracts of requests with every value that has been seen to fail an insert somewhere."""
    attributes = {**POISON, "gen_ai.usage.input_tokens": float("inf"), "gen_ai.request.model": "a\x00b"}
    spans = traces_message(attributes, {"gen_ai.usage.input_tokens": 2**63 - 1})
    span = spans.resource_spans[0].scope_spans[0].spans[0]
    span.name = "a\x00b"
    span.end_time_unix_nano = INT64_MAX
    span.dropped_events_count = 2**32 - 1
    span.events.add(time_unix_nano=2**64 - 1, name="e")
    in_json = traces_json(
        span_json(flags=2**70, droppedLinksCount="1e40", kind=2**40, events=[{"timeUnixNano": -1}])
    )
    logs = logs_message({"body": POISON, "attributes": POISON, "severity_number": 2**31 - 1})
    metrics = metrics_message("gen_ai.x", POISON, float("nan"))
    histogram = (
        metrics.resource_metrics[0].scope_metrics[0].metrics.add(name="gen_ai.h").histogram.data_points.add()
    )
    histogram.count, histogram.sum = 2**64 - 1, float("inf")
    histogram.bucket_counts.append(2**64 - 1)
    histogram.exemplars.add(time_unix_nano=2**64 - 1, as_double=float("nan"))
    return [read(spans), read(in_json), read(logs, "logs"), read(metrics, "metrics")]


def test_no_value_can_fail_an_arrow_table_or_an_insert() -> None:
    """What cannot be stored is repaired record by record, so that one sender never spoils another's batch."""
    connection = duckdb.connect()
    for extracted in poisoned():
        for name in ("spans", "log_records", "metric_points"):
            batch = getattr(extracted, name)
            batch.validate(full=True)
            json_columns = [
                c for c in ("attributes", "events", "body", "buckets", "exemplars") if c in batch.column_names
            ]
            as_json = ", ".join(f"{column}::JSON AS {column}" for column in json_columns)
            query = f"CREATE OR REPLACE TABLE t AS SELECT * REPLACE ({as_json}) FROM batch"
            connection.execute(query)
            [stored] = connection.execute("SELECT count(*) FROM t").fetchone() or [None]
            assert stored == batch.num_rows


def test_poisoned_records_are_noted_not_lost() -> None:
    spans, in_json, _, metrics = poisoned()
    assert spans.spans["notes"].to_pylist()[0] == ["integer_out_of_range", "unusable_value"]
    assert in_json.spans["notes"].to_pylist() == [["integer_out_of_range"]]
    assert spans.spans["input_tokens"].to_pylist() == [None, 2**63 - 1]
    assert metrics.metric_points["notes"].to_pylist()[1] == ["integer_out_of_range", "time_missing"]


def test_all_notes_are_of_the_closed_vocabulary() -> None:
    for extracted in poisoned():
        for name in ("spans", "log_records", "metric_points"):
            for notes in getattr(extracted, name)["notes"].to_pylist():
                assert set(notes or ()) <= EXTRACTION_NOTES


def test_several_requests_are_one_table_in_their_order() -> None:
    bodies = [traces_message({"n": number}) for number in range(3)]
    requests = [Request("traces", "protobuf", body.SerializeToString(), RECEIVED_AT) for body in bodies]
    assert extract(requests, KEEP_ALL).spans["attributes"].to_pylist() == [f'{{"n":{n}}}' for n in range(3)]


def test_the_tables_compile_and_every_target_is_a_column() -> None:
    assert tables() is tables()
    assert set(RECORD_COLUMNS) - {"token_type"} == {name for name, _ in columns.CLAIMED}


def test_a_dialect_is_added_by_rows_alone() -> None:
    """A second dialect's table: its own key prefix, one key for two columns, and a number in a key."""
    acme = {
        "name": "acme",
        "rank": 20,
        "keys": ["acme.", "model_used"],
        "claims": [
            {"key": "model_used", "column": "request_model", "convert": "string", "precedence": 100},
            {"key": "model_used", "column": "response_model", "convert": "string", "precedence": 100},
            {"key": "acme.N.cost", "column": "reported_cost_usd", "convert": "money", "precedence": 10},
        ],
        "content": [{"key": "acme.N.text", "class": "completions"}],
    }
    own = compile_tables([acme])
    claimed = claim_record({"model_used": "m", "acme.7.cost": "0.1234567890125"}, own.records, [])
    row = dict(zip(RECORD_COLUMNS, claimed.values, strict=True))
    assert (row["request_model"], row["response_model"]) == ("m", "m")
    assert row["reported_cost_usd"] == Decimal("0.123456789012")
    assert own.rules.dialects[claimed.rank] == "acme"
    content = own.keys["acme.12.text"].content
    assert content is not None
    assert content.content_class == "completions"


@pytest.mark.parametrize(
    "row",
    [
        {"key": "k", "column": "no_such", "convert": "string", "precedence": 1},
        {"key": "k", "column": "provider", "convert": "no_such", "precedence": 1},
    ],
)
def test_a_wrong_row_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no such column or converter"):
        compile_tables([{"rank": 1, "claims": [row]}])


def test_two_rows_may_not_have_one_precedence() -> None:
    rows = [{"key": key, "column": "provider", "convert": "string", "precedence": 1} for key in "ab"]
    with pytest.raises(ValueError, match="one precedence"):
        compile_tables([{"rank": 1, "claims": rows}])


def test_made_up_keys_do_not_fill_the_memory() -> None:
    own = compile_tables([{"rank": 1}])
    for number in range(50_000):
        assert claim_record({f"key.{number}": 1, "other": 2}, own.records, []).values == [None] * len(
            RECORD_COLUMNS
        )
    claim_record(dict.fromkeys(map(str, range(500)), 1), own.records, [])
    assert len(own.keys) <= 20_000
    assert len(own.records) <= 4_000
    assert max(map(len, own.records)) == 2
