"""The content gate: with its classes off, no text of people or models reaches any column."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from semconv.extract import Extracted
from semconv.settings import CONTENT_CLASSES, ContentClass, Settings
from tests.otlp_data import (
    END,
    START,
    key_values,
    logs_message,
    metrics_message,
    only_span,
    read,
    span_of,
    traces_message,
)

CANARY = "canary who sings"
GENAI = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 12}
GENAI_SCOPE = "opentelemetry.instrumentation.openai_v2"
CAPTURE_ALL = Settings(keep_logs="all", keep_metrics="all", capture=frozenset(CONTENT_CLASSES))
TABLES = ("spans", "log_records", "metric_points")

Keys = dict[str, ContentClass]
MARKED: Keys = {
    "gen_ai.input.messages": "prompts",
    "gen_ai.system_instructions": "prompts",
    "gen_ai.tool.definitions": "prompts",
    "gen_ai.prompt": "prompts",
    "gen_ai.prompt.0.content": "prompts",
    "gen_ai.retrieval.query.text": "prompts",
    "gen_ai.output.messages": "completions",
    "gen_ai.completion": "completions",
    "gen_ai.completion.12.content": "completions",
    "gen_ai.tool.call.arguments": "tool_inputs",
    "gen_ai.tool.call.result": "tool_outputs",
    "gen_ai.retrieval.documents": "tool_outputs",
}
BY_SUFFIX: Keys = {
    "acme.system_prompt": "prompts",
    "acme.Messages": "prompts",
    "traceloop.entity.input": "prompts",
    "input": "prompts",
    "acme.completion": "completions",
    "traceloop.entity.output": "completions",
    "llm.output_messages.0.message.content": "completions",
    "content": "completions",
    "acme.tool_arguments": "tool_inputs",
    "ai.toolCall.result": "tool_outputs",
}


def columns_with_canary(extracted: Extracted) -> set[str]:
    """table.column of every cell with the canary in it."""
    return {
        f"{table}.{column}"
        for table in (*TABLES, "contents")
        for row in getattr(extracted, table).to_pylist()
        for column, cell in row.items()
        if CANARY in str(cell)
    }


def traces_with_canaries() -> Any:
    """A request with the canary in every place of a GenAI span and of its surroundings."""
    message = traces_message(
        {**GENAI, **dict.fromkeys(MARKED, CANARY), **dict.fromkeys(BY_SUFFIX, CANARY)},
        {**GENAI, "acme.notes": CANARY * 200, "acme.list": ["x", {"deep": CANARY * 200}]},
        {**GENAI, "gen_ai.input.messages": [{"role": "user", "parts": [{"content": CANARY}]}]},
        {**GENAI, "gen_ai.output.messages": json.dumps([{"finish_reason": "stop", "content": CANARY}])},
        {"http.route": "/not/genai/itself", "request.input": CANARY},
        resource={"service.name": "shop", "acme.prompt": CANARY},
    )
    scope_spans = message.resource_spans[0].scope_spans[0]
    scope_spans.scope.attributes.extend(key_values({"acme.result": CANARY}))
    for span in scope_spans.spans:
        span.status.code = 2
        span.status.message = f"400: {CANARY}"
        failure = {"exception.type": "E", "exception.message": CANARY, "exception.stacktrace": CANARY}
        span.events.add(name="exception", attributes=key_values(failure))
        span.events.add(
            name="gen_ai.user.message", attributes=key_values({"text": CANARY, "gen_ai.system": "x"})
        )
        span.events.add(name="acme.event", attributes=key_values({"content": CANARY, "long": CANARY * 200}))
        span.links.add(attributes=key_values({"acme.messages": CANARY}))
    return message


def logs_with_canaries() -> Any:
    """Log records of GenAI events with the canary in bodies and attributes."""
    return logs_message(
        {"event_name": "gen_ai.user.message", "body": {"content": CANARY}},
        {"event_name": "gen_ai.choice", "body": {"message": {"content": CANARY}, "finish_reason": "stop"}},
        {"event_name": "gen_ai.tool.message", "body": {"content": CANARY, "id": "call_1"}},
        {"event_name": "gen_ai.acme", "body": CANARY, "attributes": {"gen_ai.input.messages": [CANARY]}},
        {"body": [CANARY, 5], "attributes": {"exception.message": CANARY, "acme.text": CANARY * 200}},
        {"attributes": {"event.name": "gen_ai.choice", "content": CANARY}},
    )


def metrics_with_canaries() -> ExportMetricsServiceRequest:
    """A GenAI metric with the canary in attributes, exemplars and metadata."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="gen_ai.client.token.usage")
    metric.metadata.extend(key_values({"acme.prompt": CANARY}))
    point = metric.gauge.data_points.add(time_unix_nano=END, as_int=5)
    point.attributes.extend(key_values({"gen_ai.completion": CANARY, "acme.text": CANARY * 200}))
    exemplar = {"gen_ai.prompt": CANARY, "acme.text": CANARY * 200}
    point.exemplars.add(time_unix_nano=END, as_int=5, filtered_attributes=key_values(exemplar))
    return request


PLANTED = {"traces": traces_with_canaries, "logs": logs_with_canaries, "metrics": metrics_with_canaries}


@pytest.mark.parametrize("signal", PLANTED)
def test_with_all_classes_off_a_canary_planted_everywhere_is_in_no_column(signal: Any) -> None:
    extracted = read(PLANTED[signal](), signal)
    assert sum(getattr(extracted, table).num_rows for table in TABLES) > 0
    assert columns_with_canary(extracted) == set()
    assert extracted.contents.num_rows == 0


@pytest.mark.parametrize("signal", PLANTED)
def test_with_all_classes_on_the_canary_is_in_contents_alone(signal: Any) -> None:
    assert columns_with_canary(read(PLANTED[signal](), signal, settings=CAPTURE_ALL)) == {"contents.content"}


@pytest.mark.parametrize("content_class", CONTENT_CLASSES)
@pytest.mark.parametrize("signal", PLANTED)
def test_one_class_on_stores_that_class_alone(signal: Any, content_class: ContentClass) -> None:
    settings = Settings(keep_logs="all", keep_metrics="all", capture=frozenset({content_class}))
    extracted = read(PLANTED[signal](), signal, settings=settings)
    kinds = set(extracted.contents["kind"].to_pylist())
    assert kinds <= {content_class}
    assert columns_with_canary(extracted) == ({"contents.content"} if kinds else set())


@pytest.mark.parametrize("capture", [(), CONTENT_CLASSES])
def test_nothing_but_contents_depends_on_what_is_captured(capture: tuple[ContentClass, ...]) -> None:
    plain = read(traces_with_canaries()).spans
    chosen = Settings(keep_logs="all", keep_metrics="all", capture=frozenset(capture))
    assert read(traces_with_canaries(), settings=chosen).spans == plain


@pytest.mark.parametrize(("key", "content_class"), [*MARKED.items(), *BY_SUFFIX.items()])
def test_each_content_key_goes_to_its_class_and_leaves_its_length(key: str, content_class: str) -> None:
    extracted = read(traces_message({**GENAI, key: "häuser"}), settings=CAPTURE_ALL)
    [content] = extracted.contents.to_pylist()
    [span] = extracted.spans.to_pylist()
    assert (content["kind"], content["key"], content["content"]) == (content_class, key, "häuser")
    assert (content["trace_id"], content["span_id"]) == (span["trace_id"], span["span_id"])
    assert content["start_time"] == span["start_time"]
    assert key not in json.loads(span["attributes"])
    assert json.loads(span["evidence"]) == {"gated": {key: 7}}


@pytest.mark.parametrize("value", [5, 0.5, True, [1, 2], {"a": 1}, "", None])
@pytest.mark.parametrize("key", ["gen_ai.usage.input", "acme.completion", "gen_ai.input.messages"])
def test_numbers_are_never_taken(key: str, value: Any) -> None:
    row = span_of({**GENAI, key: value})
    assert json.loads(row["attributes"])[key] == value
    assert row["evidence"] is None


@pytest.mark.parametrize(
    "key", ["gen_ai.prompt.name", "gen_ai.response.id", "acme.inputs_used", "gen_ai.output.type", "url.path"]
)
def test_other_keys_keep_their_text(key: str) -> None:
    assert json.loads(span_of({**GENAI, key: "short"})["attributes"])[key] == "short"


def test_strings_are_long_above_2_kib_of_utf8_and_only_in_genai_scopes() -> None:
    fits, exceeds = "x" * 2048, "ä" * 1025
    row = span_of({**GENAI, "a": fits, "b": exceeds, "c": ["x", exceeds]})
    assert set(json.loads(row["attributes"])) == {*GENAI, "a"}
    assert json.loads(row["evidence"])["gated"] == {"b": 2050, "c": 2058}
    assert json.loads(span_of({"b": exceeds})["attributes"]) == {"b": exceeds}


def test_evidence_keeps_listed_numbers_and_identifiers_but_no_text() -> None:
    messages = [
        {"finish_reason": "stop", "id": "x"},
        {"finish_reason": f"because {CANARY}"},
        {"finish_reason": 3},
    ]
    row = span_of({**GENAI, "gen_ai.output.messages": json.dumps(messages)})
    kept = json.loads(row["evidence"])["kept"]
    assert kept == {"gen_ai.output.messages": {"0.finish_reason": "stop", "2.finish_reason": 3}}


def test_evidence_of_an_event_body() -> None:
    body = {
        "index": 0,
        "finish_reason": "tool_calls",
        "message": {"tool_calls": [{"id": "call_1", "function": {"arguments": CANARY}}]},
    }
    [row] = read(logs_message({"event_name": "gen_ai.choice", "body": body}), "logs").log_records.to_pylist()
    assert row["body"] is None
    assert json.loads(row["evidence"])["kept"] == {
        "body": {"index": 0, "finish_reason": "tool_calls", "message.tool_calls.0.id": "call_1"}
    }


def test_content_that_is_no_json_leaves_no_evidence_but_its_length() -> None:
    row = span_of({**GENAI, "gen_ai.output.messages": "[broken"})
    assert json.loads(row["evidence"]) == {"gated": {"gen_ai.output.messages": 7}}


def test_error_messages_are_kept_outside_genai_scopes() -> None:
    message = traces_message({"http.route": "/"})
    span = message.resource_spans[0].scope_spans[0].spans[0]
    span.status.message = "boom"
    span.events.add(name="exception", attributes=key_values({"exception.message": "boom"}))
    row = only_span(message)
    assert row["status_message"] == "boom"
    assert json.loads(row["events"])[0]["attributes"] == {"exception.message": "boom"}
    assert row["evidence"] is None


@pytest.mark.parametrize(
    ("attributes", "scope"), [({}, GENAI_SCOPE), (GENAI, "my.app"), ({"anthropic.request.id": "r"}, "")]
)
def test_a_scope_is_genai_by_its_name_or_by_a_records_attribute(
    attributes: dict[str, Any], scope: str
) -> None:
    message = traces_message({"http.route": "/"}, attributes, scope=scope)
    for span in message.resource_spans[0].scope_spans[0].spans:
        span.status.message = CANARY
    assert columns_with_canary(read(message)) == set()


def test_a_scope_is_genai_by_its_own_attributes() -> None:
    message = traces_message({"http.route": "/"})
    scope_spans = message.resource_spans[0].scope_spans[0]
    scope_spans.scope.attributes.extend(key_values({"gen_ai.provider.name": "openai"}))
    scope_spans.spans[0].status.message = CANARY
    assert columns_with_canary(read(message)) == set()


def test_claimed_attributes_of_a_content_event_stay() -> None:
    message = traces_message(GENAI)
    own = {"gen_ai.system": "aws.bedrock", "role": CANARY, "tokens": 5}
    message.resource_spans[0].scope_spans[0].spans[0].events.add(
        name="gen_ai.user.message", time_unix_nano=START, attributes=key_values(own)
    )
    row = only_span(message)
    assert json.loads(row["events"]) == [
        {
            "time_unix_nano": START,
            "name": "gen_ai.user.message",
            "attributes": {"gen_ai.system": "aws.bedrock", "tokens": 5},
            "dropped_attributes_count": 0,
        }
    ]
    assert json.loads(row["evidence"]) == {"gated": {"gen_ai.user.message/role": len(CANARY)}}


def test_log_bodies_of_no_genai_scope_are_kept() -> None:
    [row] = read(
        logs_message({"body": {"message": "started", "content": "x"}}), "logs"
    ).log_records.to_pylist()
    assert json.loads(row["body"]) == {"message": "started", "content": "x"}


def test_a_text_too_long_for_an_identifier_is_in_no_claimed_column_either() -> None:
    row = span_of({"user.id": CANARY * 200})
    assert row["user_id"] is None
    assert row["notes"] == ["unusable_value"]
    genai = read(traces_message({**GENAI, "gen_ai.request.model": CANARY * 200}))
    assert columns_with_canary(genai) == set()


def large(message: Any, records: Any, make_last_genai: Any) -> Any:
    """``message`` with its first record, without anything of GenAI, in 3 MB of copies, and a last one that is
    GenAI.
    """
    for _ in range(1500):
        records.append(records[0])
    records.append(records[0])
    make_last_genai(records[-1])
    return message


def large_scopes() -> dict[str, Any]:
    """By signal a request of several MB with one scope, which only its last record makes GenAI."""
    filler, own = {"k": "v" * 2000}, {"gen_ai.system": "openai"}
    traces = traces_message(filler)
    spans = traces.resource_spans[0].scope_spans[0].spans
    spans[0].status.message = CANARY
    logs = logs_message({"attributes": filler, "body": CANARY})
    records = logs.resource_logs[0].scope_logs[0].log_records
    metrics = metrics_message("m", {**filler, "long": CANARY * 200})
    of_scope = metrics.resource_metrics[0].scope_metrics[0].metrics
    return {
        "traces": large(traces, spans, lambda span: span.attributes.extend(key_values(own))),
        "logs": large(logs, records, lambda record: record.attributes.extend(key_values(own))),
        "metrics": large(metrics, of_scope, lambda metric: setattr(metric, "name", "gen_ai.x")),
    }


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_a_scope_is_genai_as_a_whole_however_large_it_is(signal: Any) -> None:
    """A large request is read in pieces; what the last one says of a scope holds for the first one too."""
    extracted = read(large_scopes()[signal], signal)
    assert sum(getattr(extracted, table).num_rows for table in TABLES) == 1502
    assert columns_with_canary(extracted) == set()


def test_a_scope_beside_it_is_none_for_that() -> None:
    message = large_scopes()["traces"]
    other = message.resource_spans[0].scope_spans.add()
    other.spans.append(message.resource_spans[0].scope_spans[0].spans[0])
    assert read(message).spans["status_message"].to_pylist() == [None] * 1502 + [CANARY]


@pytest.mark.parametrize(
    ("document", "kept"),
    [
        (
            {"id": "chatcmpl-1", "text": "a secret", "usage": {"prompt_tokens": 7}},
            {"id": "chatcmpl-1", "usage.prompt_tokens": 7},
        ),
        ({"id": "a secret", "usage": {"prompt_tokens": "secret"}}, None),
        ({"id": "chatcmpl-1", "model": "secret", "spoken": "tokens"}, None),
    ],
    ids=["an answer", "words in its places", "no usage"],
)
def test_of_an_answer_with_usage_under_an_unknown_key_its_usage_is_kept(
    document: dict[str, Any], kept: dict[str, Any] | None
) -> None:
    """Tables to come may look there; what tells no tokens is not taken for an answer, and nothing of it is kept."""
    row = span_of({"acme.output": json.dumps(document), "gen_ai.system": "openai"})
    assert "acme.output" not in row["attributes"]
    evidence = json.loads(row["evidence"])
    assert evidence.get("kept", {}).get("acme.output") == kept
    assert "secret" not in row["evidence"]
