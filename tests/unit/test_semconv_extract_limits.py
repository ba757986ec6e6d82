"""How large a row can get: a span is never rejected for being big, and nothing of it grows without bound."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from semconv import context, gate
from semconv.settings import MOST_EVENTS, AccountRule, Settings, Signal
from tests.otlp_data import (
    END,
    SPAN_ID,
    START,
    TRACE_ID,
    key_values,
    logs_message,
    metrics_message,
    only_span,
    pairs_json,
    read,
    span_json,
    span_of,
    traces_json,
    traces_message,
)
from tests.unit.work_support import calls_counted

GENAI: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.input_tokens": 7,
}
LIMIT = 64 * 1024
BIG = "é" * 500_000  # 1 MB, of characters of two bytes each
TABLES: dict[Signal, str] = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}


def with_limits(**limits: Any) -> Settings:
    return Settings(keep_logs="all", keep_metrics="all", **limits)


def rows(body: Any, signal: Signal = "traces", settings: Settings | None = None) -> list[dict[str, Any]]:
    found = getattr(read(body, signal, settings=settings or with_limits()), TABLES[signal]).to_pylist()
    return list(found)


# --- long texts -----------------------------------------------------------------------------------


def add(attributes: Any, **own: Any) -> None:
    attributes.extend(key_values(own))


BIG_JSON = json.dumps([{"finish_reason": "stop", "content": BIG}] * 10)
OF_A_SPAN: dict[str, Callable[[Any], object]] = {
    "attribute": lambda span: add(span.attributes, k=BIG),
    "attribute of 10 MB": lambda span: add(span.attributes, k=BIG * 10),
    "key": lambda span: add(span.attributes, **{BIG: 1}),
    "key of 10 MB": lambda span: add(span.attributes, **{BIG * 10: "v"}),
    "content under a long key": lambda span: add(span.attributes, **{BIG + ".prompt": "v"}),
    "list": lambda span: add(span.attributes, k=["short", [BIG]]),
    "list of many": lambda span: add(span.attributes, k=list(range(100_000))),
    "map": lambda span: add(span.attributes, k={"a": {"b": BIG}}),
    "key of a map": lambda span: add(span.attributes, k={BIG: 1}),
    "bytes": lambda span: add(span.attributes, k=BIG.encode()),
    "JSON text of 10 MB": lambda span: add(span.attributes, k=BIG_JSON),
    "name": lambda span: setattr(span, "name", BIG),
    "status message": lambda span: setattr(span.status, "message", BIG),
    "trace state": lambda span: setattr(span, "trace_state", BIG),
    "name of an event": lambda span: span.events.add(name=BIG),
    "attribute of an event": lambda span: add(span.events.add().attributes, k=BIG),
    "key of an event": lambda span: add(span.events.add().attributes, **{BIG: 1}),
    "content of an event": lambda span: add(span.events.add(name=BIG).attributes, **{BIG + ".prompt": BIG}),
    "trace state of a link": lambda span: span.links.add(trace_state=BIG),
    "attribute of a link": lambda span: add(span.links.add().attributes, k=BIG),
}
OF_A_SENDER: dict[str, Callable[[Any, Any], object]] = {
    "resource": lambda resource, scope: add(resource.resource.attributes, k=BIG),
    "key of a resource": lambda resource, scope: add(resource.resource.attributes, **{BIG: 1}),
    "service version": lambda resource, scope: add(resource.resource.attributes, **{"service.version": BIG}),
    "account": lambda resource, scope: add(resource.resource.attributes, billing_account=BIG),
    "plan": lambda resource, scope: add(resource.resource.attributes, plan_tier=BIG),
    "schema of a resource": lambda resource, scope: setattr(resource, "schema_url", BIG),
    "schema of a scope": lambda resource, scope: setattr(scope, "schema_url", BIG),
    "name of a scope": lambda resource, scope: setattr(scope.scope, "name", BIG),
    "version of a scope": lambda resource, scope: setattr(scope.scope, "version", BIG),
    "scope": lambda resource, scope: add(scope.scope.attributes, k=BIG),
}
OF_A_LOG: dict[str, dict[str, Any]] = {
    "severity": {"severity_text": BIG},
    "name of a log's event": {"event_name": BIG},
    "the same as an attribute": {"attributes": {"event.name": BIG}},
    "body": {"body": BIG},
    "body that is a map": {"body": {"a": [BIG], "n": 1}},
    "key of a body": {"body": {BIG: 1}},
    "body of bytes": {"body": BIG.encode()},
    "attribute of a log": {"attributes": {"k": BIG}},
}
OF_A_METRIC: dict[str, Callable[[Any], object]] = {
    "name of a metric": lambda metric: setattr(metric, "name", BIG),
    "description": lambda metric: setattr(metric, "description", BIG),
    "unit": lambda metric: setattr(metric, "unit", BIG),
    "metadata": lambda metric: add(metric.metadata, k=BIG),
    "attribute of a point": lambda metric: add(metric.gauge.data_points[0].attributes, k=BIG),
    "exemplar": lambda metric: add(metric.gauge.data_points[0].exemplars.add().filtered_attributes, k=BIG),
    "buckets": lambda metric: metric.histogram.data_points.add(
        time_unix_nano=END, bucket_counts=range(100_000)
    ),
}


def request_with(place: str, own: dict[str, Any]) -> tuple[Signal, Any]:
    """A request with one record that has ``own`` attributes and a text of 1 MB in a place."""
    if place in OF_A_LOG:
        fields = OF_A_LOG[place]
        return "logs", logs_message({**fields, "attributes": {**own, **fields.get("attributes", {})}})
    if place in OF_A_METRIC:
        metrics = metrics_message("m", own)
        OF_A_METRIC[place](metrics.resource_metrics[0].scope_metrics[0].metrics[0])
        return "metrics", metrics
    traces = traces_message(own)
    resource_spans = traces.resource_spans[0]
    if place in OF_A_SPAN:
        OF_A_SPAN[place](resource_spans.scope_spans[0].spans[0])
    else:
        OF_A_SENDER[place](resource_spans, resource_spans.scope_spans[0])
    return "traces", traces


PLACES = [*OF_A_SPAN, *OF_A_SENDER, *OF_A_LOG, *OF_A_METRIC]


@pytest.mark.parametrize("place", PLACES)
def test_a_long_text_is_cut_wherever_it_stands(place: str) -> None:
    """At a whole character, with a marker and a note; the record is stored, with what else it says."""
    signal, body = request_with(place, {"k2": "v2"})
    [row] = rows(body, signal)
    texts = [cell for cell in row.values() if isinstance(cell, str)]
    assert max(len(text.encode()) for text in texts) < LIMIT * 1.2  # as JSON, quotes and the like take two
    assert {"value_cut", "unusable_value"} & set(row["notes"] or ()) or row["evidence"]
    if row["notes"] == ["value_cut"]:
        assert any("…[cut]" in text for text in texts)
    if place != "buckets":
        assert '"k2":"v2"' in row["attributes"]


@pytest.mark.parametrize("place", PLACES)
def test_in_genai_scopes_too_and_tokens_models_and_ids_are_read(place: str) -> None:
    """There long texts are taken for content instead, and evidence tells how long they were."""
    signal, body = request_with(place, {**GENAI, "k2": "v2"})
    row = rows(body, signal)[0]
    for cell in row.values():
        assert not isinstance(cell, str) or len(cell.encode()) < LIMIT * 1.2
    if place != "buckets":
        assert (row["operation"], row["request_model"]) == ("chat", "gpt-4o")
    if signal != "metrics":
        assert (row["response_id"], row["input_tokens"]) == ("chatcmpl-1", 7)


IDENTIFIERS = {
    "gen_ai.request.model": "request_model",
    "gen_ai.provider.name": "provider",
    "gen_ai.conversation.id": "session_id",
    "user.id": "user_id",
    "billing_account": "billing_account",
    "gen_ai.response.finish_reasons": "finish_reasons",
}
TOO_LONG: dict[str, Any] = {
    "text": BIG,
    "list": [BIG],
    "list of many": ["stop"] * 10_000,
    "JSON of many": json.dumps(["stop"] * 60_000),
}


@cache
def identified_by(value: str) -> dict[str, Any]:
    return span_of({**GENAI, **dict.fromkeys(IDENTIFIERS, TOO_LONG[value])})


@pytest.mark.parametrize("column", IDENTIFIERS.values())
@pytest.mark.parametrize("value", TOO_LONG)
def test_what_is_too_long_for_an_identifier_is_none(column: str, value: str) -> None:
    row = identified_by(value)
    assert row[column] is None
    assert "unusable_value" in row["notes"]
    assert row["input_tokens"] == 7


@pytest.mark.parametrize(("key", "column"), IDENTIFIERS.items())
@pytest.mark.parametrize("value", ["x" * 3000, ["x" * 3000], json.dumps(["stop"] * 500)])
def test_each_identifier_that_is_too_long_is_noted(key: str, column: str, value: Any) -> None:
    row = span_of({**GENAI, key: value})
    assert row[column] is None
    assert "unusable_value" in row["notes"]


def test_it_is_none_even_where_its_attribute_is_one_too_many() -> None:
    row = span_of({"user.id": "u", "gen_ai.request.model": BIG}, with_limits(max_attributes=1))
    assert (row["user_id"], row["request_model"]) == ("u", None)


@pytest.mark.parametrize(
    "value", ["1" * 1_000_000, "0." + "0" * 1_000_000 + "1", "1e" + "9" * 1_000_000, [0] * 100_000]
)
def test_a_count_of_a_million_digits_is_none(value: Any) -> None:
    """Python's own integer of a million digits would be made in the square of them."""
    row = span_of(
        {**GENAI, "gen_ai.usage.output_tokens": value, "gen_ai.response.time_to_first_chunk": value}
    )
    assert row["output_tokens"] is None
    assert row["input_tokens"] == 7


def test_evidence_is_not_read_from_json_that_would_cost_much_memory() -> None:
    """`[{},{},…]` of 3 MB would be 70 MB of Python's, and 64 MB of it 1.4 GB."""
    row = span_of({**GENAI, "gen_ai.output.messages": f"[{'{},' * 1_000_000}1]"})
    assert json.loads(row["evidence"]) == {"gated": {"gen_ai.output.messages": 3_000_003}}
    long = json.dumps([{"finish_reason": "stop", "content": BIG * 10}])
    evidence = json.loads(span_of({**GENAI, "gen_ai.output.messages": long})["evidence"])
    assert evidence["kept"] == {"gen_ai.output.messages": {"0.finish_reason": "stop"}}


# --- many attributes ------------------------------------------------------------------------------

MANY = {f"k{number}": number for number in range(20)}
FEW = with_limits(
    max_attributes=6,
    dimensions={"team": "acme.team"},
    account_rules=(AccountRule("a", attributes={"acme.account": "a"}),),
)
WANTED = {
    "gen_ai.usage.input_tokens": 7,
    "user.id": "u",
    "acme.team": "t",
    "acme.account": "a",
    "service.instance.id": "i",
}


def test_claimed_attributes_are_kept_first_wherever_they_stand() -> None:
    """And those that dimensions, account rules and the merging of calls will look up."""
    row = span_of({**MANY, **WANTED}, FEW)
    assert json.loads(row["attributes"]) == {"k0": 0, **WANTED}
    assert (row["input_tokens"], row["user_id"]) == (7, "u")
    assert row["notes"] == ["attributes_dropped"]
    assert row["dropped_attributes_count"] == 19


def test_the_limit_holds_wherever_attributes_stand() -> None:
    message = traces_message({}, resource={**MANY, "service.name": "shop", "service.instance.id": "i"})
    scope_spans = message.resource_spans[0].scope_spans[0]
    add(scope_spans.scope.attributes, **MANY)
    add(scope_spans.spans[0].events.add(dropped_attributes_count=2).attributes, **MANY)
    add(scope_spans.spans[0].links.add().attributes, **MANY)
    [row] = rows(message, settings=FEW)
    first = {f"k{number}": number for number in range(6)}
    sender = {"k0": 0, "k1": 1, "k2": 2, "k3": 3, "service.name": "shop", "service.instance.id": "i"}
    assert json.loads(row["resource_attributes"]) == sender
    assert json.loads(row["scope_attributes"]) == first
    [event], [link] = json.loads(row["events"]), json.loads(row["links"])
    assert (event["attributes"], event["dropped_attributes_count"]) == (first, 16)
    assert (link["attributes"], link["dropped_attributes_count"]) == (first, 14)
    assert (row["service_name"], row["notes"]) == ("shop", ["attributes_dropped"])


def test_the_limit_holds_for_logs_and_metrics() -> None:
    [log] = rows(logs_message({"attributes": {**MANY, **WANTED}}), "logs", FEW)
    assert json.loads(log["attributes"]) == {"k0": 0, **WANTED}
    assert (log["dropped_attributes_count"], log["notes"]) == (19, ["attributes_dropped"])
    message = metrics_message("gen_ai.x", {**MANY, **WANTED})
    metric = message.resource_metrics[0].scope_metrics[0].metrics[0]
    add(metric.metadata, **MANY)
    add(metric.gauge.data_points[0].exemplars.add().filtered_attributes, **MANY)
    [point] = rows(message, "metrics", FEW)
    first = {f"k{number}": number for number in range(6)}
    assert json.loads(point["attributes"]) == {"k0": 0, **WANTED}
    assert json.loads(point["metric_metadata"]) == first
    assert json.loads(point["exemplars"])[0]["filtered_attributes"] == first
    assert point["notes"] == ["attributes_dropped"]


def test_a_span_of_fifty_thousand_attributes_costs_some_calls_for_each() -> None:
    """Five times the default limit; a step that were quadratic would make thousands."""
    many = {f"made.up.{number}": number for number in range(50_000)}
    message = traces_message({**many, **GENAI})
    with calls_counted() as calls:
        row = only_span(message, with_limits())
    assert calls.made < 100 * 50_000
    assert len(json.loads(row["attributes"])) == 10_000
    assert (row["input_tokens"], row["request_model"]) == (7, "gpt-4o")
    assert row["dropped_attributes_count"] == 40_000 + len(GENAI)


# --- what rows repeat -----------------------------------------------------------------------------


def many_spans(count: int, message: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    spans = message.resource_spans[0].scope_spans[0].spans
    for number in range(count):
        spans.add(trace_id=TRACE_ID, span_id=(number + 1).to_bytes(8, "big"), start_time_unix_nano=START)
    return message


def test_what_rows_repeat_of_their_sender_is_cut_short_where_it_is_too_much() -> None:
    """250 KB of bytes would be 650 MB of rows."""
    message = traces_message(resource={"service.name": "shop", "k": "v" * 60_000, "service.instance.id": "i"})
    message.resource_spans[0].scope_spans[0].scope.name = "n" * 65_000
    extracted = read(many_spans(5_000, message), settings=with_limits())
    assert extracted.spans.num_rows == 5_000
    assert extracted.spans.nbytes < 10_000_000
    row = extracted.spans.slice(4_999, 1).to_pylist()[0]
    assert row["scope_name"] == "n" * 128 + "…[cut]"
    assert json.loads(row["resource_attributes"]) == {
        "service.name": "shop",
        "k": "v" * 128 + "…[cut]",
        "service.instance.id": "i",
    }
    assert row["notes"] == ["end_time_missing", "value_cut"]


def test_an_ordinary_batch_repeats_its_resource_whole() -> None:
    resource = {f"k8s.label.{number}": "v" * 100 for number in range(40)}
    extracted = read(many_spans(512, traces_message(resource=resource)), settings=with_limits())
    assert {len(json.loads(text)) for text in extracted.spans["resource_attributes"].to_pylist()} == {40}


def test_points_repeat_no_more_of_their_metric() -> None:
    message = metrics_message("m", {})
    metric = message.resource_metrics[0].scope_metrics[0].metrics[0]
    metric.description = "d" * 65_000
    add(metric.metadata, k="v" * 60_000)
    for number in range(5_000):
        metric.gauge.data_points.add(time_unix_nano=END + number, as_int=1)
    extracted = read(message, "metrics", settings=with_limits())
    assert extracted.metric_points.num_rows == 5_001
    assert extracted.metric_points.nbytes < 10_000_000
    assert extracted.metric_points["description"][0].as_py() == "d" * 128 + "…[cut]"


@pytest.mark.parametrize("spans", [[], [span_json()]], ids=["empty", "of one span"])
@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_scopes_share_what_their_resource_costs(encoding: str, spans: list[Any]) -> None:
    """A resource of 2,000 attributes and 2,000 scopes: read once for all, not once for each."""
    resource = {f"k{number}": number for number in range(2_000)}
    document = {"resource": {"attributes": pairs_json(resource)}, "scopeSpans": [{"spans": spans}] * 2_000}
    body: Any = json.dumps({"resourceSpans": [document]}).encode()
    if encoding == "protobuf":
        body = traces_message(resource=resource)
        scopes = body.resource_spans[0].scope_spans
        scopes[0].spans.extend(traces_message(*({} for _ in spans)).resource_spans[0].scope_spans[0].spans)
        scopes.extend([scopes[0]] * 1_999)
    with calls_counted() as calls:
        extracted = read(body, settings=with_limits())
    assert calls.made < 1_000 * 2_000
    assert extracted.counts.get("spans_read", 0) == 2_000 * len(spans)


# --- what rows hold -------------------------------------------------------------------------------


def test_a_span_has_so_many_events_and_links_and_the_rest_is_counted() -> None:
    item = {"traceId": TRACE_ID.hex(), "spanId": SPAN_ID.hex()}
    sent = {"events": [{}] * (MOST_EVENTS + 5), "links": [item] * (MOST_EVENTS + 7)}
    in_json = span_json(**sent, droppedEventsCount=1)
    message = traces_message({})
    span = message.resource_spans[0].scope_spans[0].spans[0]
    span.dropped_events_count = 1
    for _ in sent["events"]:
        span.events.add()
    for _ in sent["links"]:
        span.links.add(trace_id=TRACE_ID, span_id=SPAN_ID)
    for body in (message, traces_json(in_json)):
        row = only_span(body)
        assert len(json.loads(row["events"])) == len(json.loads(row["links"])) == MOST_EVENTS
        assert (row["dropped_events_count"], row["dropped_links_count"]) == (6, 7)
        assert row["notes"] == ["events_dropped"]


def test_rows_of_a_request_that_hold_too_much_text_are_followed_by_short_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many control characters as fit into a request would be 400 MB of JSON, empty events 150 MB."""
    monkeypatch.setattr(context, "_OWN_BYTES", 1000)
    message = traces_message({"k": "x" * 2000}, {**GENAI, "k": "x" * 200, "l": ["m"]})
    last = message.resource_spans[0].scope_spans[0].spans[1]
    last.status.code = 2
    last.events.add(name="exception", attributes=key_values({"exception.type": "E"}))
    last.links.add(trace_id=TRACE_ID, span_id=SPAN_ID)
    first, row = rows(message)
    assert json.loads(first["attributes"]) == {"k": "x" * 2000}
    assert json.loads(row["attributes"]) == {**GENAI, "k": "x" * 128 + "…[cut]", "l": ["m"]}
    assert (row["events"], row["links"]) == ("[]", "[]")
    assert (row["dropped_events_count"], row["dropped_links_count"]) == (1, 1)
    assert (row["input_tokens"], row["error_type"]) == (7, "E")
    assert row["notes"] == ["text_dropped", "value_cut"]


def test_logs_and_points_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_OWN_BYTES", 1000)
    records = [{"body": "x" * 2000}, {"body": "short", "attributes": {**MANY, "user.id": "u"}}]
    first, log = rows(logs_message(*records), "logs")
    assert json.loads(first["body"]) == "x" * 2000
    assert (log["body"], len(json.loads(log["attributes"])), log["user_id"]) == (None, 8, "u")
    assert log["notes"] == ["attributes_dropped", "text_dropped"]
    message = metrics_message("gen_ai.x", {"k": "x" * 1500})
    gauge = message.resource_metrics[0].scope_metrics[0].metrics[0].gauge
    point = gauge.data_points.add(time_unix_nano=END, as_int=5, attributes=key_values(WANTED))
    point.exemplars.add(as_int=1)
    _, row = rows(message, "metrics")
    assert (row["exemplars"], row["value_int"], row["user_id"]) == ("[]", 5, "u")
    assert row["notes"] == ["text_dropped"]


def test_one_record_holds_no_more_than_the_longest_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_LARGEST_TEXT", 5000)
    message = traces_message({**dict.fromkeys("klm", "x" * 2000), **GENAI}, resource={"r": "x" * 6000})
    span = message.resource_spans[0].scope_spans[0].spans[0]
    for _ in range(50):
        span.events.add(name="n" * 100)
    [row] = rows(message)
    assert "gen_ai.usage.input_tokens" in json.loads(row["attributes"])
    assert len(row["attributes"]) <= 5000
    assert (row["dropped_attributes_count"], row["input_tokens"]) == (1, 7)
    assert (row["events"], row["dropped_events_count"]) == ("[]", 50)
    assert row["resource_attributes"] == "{}"
    assert row["notes"] == ["text_dropped"]


def test_records_wait_for_the_first_genai_one_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where so many wait that memory is at stake, their scope passes for GenAI: the gate is then the strict one."""
    monkeypatch.setattr(context, "_PORTION", 10)
    monkeypatch.setattr(context, "_MOST_WAITING", 45)
    for count, gated in ((40, False), (60, True)):
        message = many_spans(count, traces_message())
        for span in message.resource_spans[0].scope_spans[0].spans:
            span.status.message = "boom"
        found = {row["status_message"] for row in rows(message)}
        assert found == {None if gated else "boom"}


def test_where_no_record_can_be_genai_none_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_WORTH_SEARCHING", 1)
    monkeypatch.setattr(context, "_PORTION", 10)
    monkeypatch.setattr(context, "_MOST_WAITING", 45)
    for word, gated in (("", False), ("gen_ai.", True)):
        message = many_spans(60, traces_message(resource={"k": word}))
        for span in message.resource_spans[0].scope_spans[0].spans:
            span.status.message = "boom"
        assert {row["status_message"] for row in rows(message)} == {None if gated else "boom"}
