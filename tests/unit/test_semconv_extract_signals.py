"""Log records and data points as rows."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from semconv.extract import extract
from semconv.request import Request
from semconv.settings import CONTENT_CLASSES, Settings
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
    read,
)


def log_rows(*records: dict[str, Any], settings: Settings = KEEP_ALL, scope: str = "s") -> Any:
    return read(logs_message(*records, scope=scope), "logs", settings=settings).log_records.to_pylist()


def test_every_field_of_a_log_record() -> None:
    record = {
        "time_unix_nano": START,
        "observed_time_unix_nano": END,
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "flags": 1,
        "severity_number": 9,
        "severity_text": "INFO",
        "event_name": "acme.event",
        "body": {"n": 5},
        "attributes": {"gen_ai.usage.input_tokens": 7, "gen_ai.token.type": "x"},
        "dropped_attributes_count": 2,
    }
    [row] = log_rows(record)
    expected = {
        "time_unix_nano": START,
        "observed_time_unix_nano": END,
        "trace_id": TRACE_ID.hex(),
        "span_id": SPAN_ID.hex(),
        "flags": 1,
        "severity_number": 9,
        "severity_text": "INFO",
        "event_name": "acme.event",
        "body": '{"n":5}',
        "scope_name": "s",
        "dropped_attributes_count": 2,
        "dialect": "otel_genai",
        "input_tokens": 7,
        "notes": None,
    }
    assert {name: row[name] for name in expected} == expected
    assert len(row["record_hash"]) == 32


@pytest.mark.parametrize(
    ("fields", "time", "notes"),
    [
        ({"time_unix_nano": START, "observed_time_unix_nano": END}, START, None),
        ({"time_unix_nano": 0, "observed_time_unix_nano": END}, END, None),
        ({"time_unix_nano": 0}, RECEIVED_AT, ["time_missing"]),
    ],
)
def test_a_log_records_time_falls_back(fields: dict[str, int], time: int, notes: list[str] | None) -> None:
    table = read(logs_message(fields), "logs").log_records
    [row] = table.to_pylist()
    assert table["time"].cast(pa.int64()).to_pylist() == [time // 1000]
    assert row["time_unix_nano"] == (fields["time_unix_nano"] or None)
    assert row["notes"] == notes


def test_ids_of_a_log_record_may_be_missing_and_malformed_ones_are_null() -> None:
    missing, malformed = log_rows({}, {"trace_id": b"abc", "span_id": bytes(9)})
    assert (missing["trace_id"], missing["span_id"], missing["notes"]) == (None, None, None)
    assert (malformed["trace_id"], malformed["span_id"]) == (None, None)
    assert malformed["notes"] == ["malformed_span_id", "malformed_trace_id"]


def test_the_event_name_of_older_senders_is_an_attribute() -> None:
    [row] = log_rows({"attributes": {"event.name": "gen_ai.choice"}})
    assert (row["event_name"], row["dialect"]) == ("gen_ai.choice", "otel_genai")


@pytest.mark.parametrize(("keep", "kept"), [("all", 5), ("genai", 4), ("none", 0)])
def test_keep_logs(keep: Any, kept: int) -> None:
    bodies = [
        logs_message(
            {"attributes": {"gen_ai.system": "x"}}, {"body": "plain"}, {"event_name": "gen_ai.choice"}
        ),
        logs_message({"attributes": {"event.name": "gen_ai.choice"}}),
        logs_message({"body": "plain"}, scope="opentelemetry.instrumentation.openai_v2"),
    ]
    requests = [Request("logs", "protobuf", body.SerializeToString(), RECEIVED_AT) for body in bodies]
    extracted = extract(requests, Settings(keep_logs=keep))
    assert extracted.log_records.num_rows == kept
    assert extracted.counts["log_records_read"] == 5
    assert extracted.counts["log_records_not_kept"] == 5 - kept


BASE: dict[str, Any] = {"event_name": "e", "body": {"a": [1]}, "attributes": {"k": 1}}


@pytest.mark.parametrize(
    "change",
    [
        {"time_unix_nano": START + 1},
        {"event_name": "f"},
        {"body": {"a": [1.0]}},
        {"body": {"a": 1}},
        {"body": '{"a":[1]}'},
        {"attributes": {"k": "1"}},
        {"attributes": {}},
    ],
)
def test_records_that_differ_have_different_identities(change: dict[str, Any]) -> None:
    first, second = log_rows(BASE, {**BASE, **change})
    assert first["record_hash"] != second["record_hash"]


def test_a_record_sent_again_has_the_same_identity_whatever_is_captured() -> None:
    content = {**BASE, "event_name": "gen_ai.choice", "body": {"content": "text"}}
    [one], [two] = log_rows(content), log_rows(content, settings=Settings(capture=frozenset(CONTENT_CLASSES)))
    assert one["record_hash"] == two["record_hash"]
    [elsewhere] = log_rows(content, scope="other")
    assert one["record_hash"] != elsewhere["record_hash"]


def test_tenants_do_not_share_identities() -> None:
    body = logs_message(BASE).SerializeToString()
    requests = [Request("logs", "protobuf", body, RECEIVED_AT, tenant) for tenant in ("a", "b")]
    hashes = extract(requests, Settings(keep_logs="all")).log_records["record_hash"].to_pylist()
    assert len(set(hashes)) == 2


def all_metric_types() -> ExportMetricsServiceRequest:
    """One metric of each type, each with one point."""
    request = ExportMetricsServiceRequest()
    scope_metrics = request.resource_metrics.add().scope_metrics.add()
    times = {"time_unix_nano": END, "start_time_unix_nano": START, "flags": 1}

    gauge = scope_metrics.metrics.add(name="gauge", description="d", unit="u")
    gauge.metadata.extend(key_values({"m": 1}))
    gauge.gauge.data_points.add(as_double=0.5, **times)

    total = scope_metrics.metrics.add(name="sum").sum
    total.aggregation_temporality, total.is_monotonic = 1, True
    point = total.data_points.add(as_int=-5, attributes=key_values({"gen_ai.token.type": "input"}), **times)
    exemplar = point.exemplars.add(time_unix_nano=END, as_int=3, trace_id=TRACE_ID, span_id=b"bad")
    exemplar.filtered_attributes.extend(key_values({"x": 1}))

    histogram = scope_metrics.metrics.add(name="histogram").histogram
    histogram.aggregation_temporality = 2
    histogram.data_points.add(
        count=3, sum=6.0, min=1.0, max=3.0, bucket_counts=[1, 2], explicit_bounds=[2.0], **times
    )

    exponential = scope_metrics.metrics.add(name="exponential").exponential_histogram.data_points.add(
        count=2, scale=-1, zero_count=1, zero_threshold=0.25, **times
    )
    exponential.positive.offset = -2
    exponential.positive.bucket_counts.append(1)

    summary = scope_metrics.metrics.add(name="summary").summary.data_points.add(count=4, sum=8.0, **times)
    summary.quantile_values.add(quantile=0.5, value=2.0)
    return request


def test_data_points_of_every_type_are_stored_whole() -> None:
    table = read(all_metric_types(), "metrics").metric_points
    rows = {row["metric_name"]: row for row in table.to_pylist()}
    types = {
        name: (row["metric_type"], row["temporality"], row["is_monotonic"]) for name, row in rows.items()
    }
    assert types == {
        "gauge": ("gauge", None, None),
        "sum": ("sum", "delta", True),
        "histogram": ("histogram", "cumulative", None),
        "exponential": ("exponential_histogram", "unspecified", None),
        "summary": ("summary", None, None),
    }
    gauge, total, histogram = rows["gauge"], rows["sum"], rows["histogram"]
    assert (gauge["description"], gauge["unit"], gauge["metric_metadata"]) == ("d", "u", '{"m":1}')
    assert (gauge["value_double"], gauge["value_int"], gauge["buckets"], gauge["flags"]) == (
        0.5,
        None,
        None,
        1,
    )
    assert (total["value_int"], total["value_double"], total["token_type"]) == (-5, None, "input")
    assert (total["dialect"], total["notes"]) == ("otel_genai", ["malformed_exemplar_id"])
    assert json.loads(total["exemplars"]) == [
        {
            "time_unix_nano": END,
            "value": 3,
            "trace_id": TRACE_ID.hex(),
            "span_id": None,
            "filtered_attributes": {"x": 1},
        }
    ]
    assert [histogram[name] for name in ("count", "sum", "min", "max")] == [3, 6.0, 1.0, 3.0]
    assert json.loads(histogram["buckets"]) == {"bucket_counts": [1, 2], "explicit_bounds": [2.0]}
    assert json.loads(rows["exponential"]["buckets"]) == {
        "scale": -1,
        "zero_count": 1,
        "zero_threshold": 0.25,
        "positive": {"offset": -2, "bucket_counts": [1]},
        "negative": {"offset": 0, "bucket_counts": []},
    }
    assert [rows["exponential"][name] for name in ("count", "sum", "min", "max")] == [2, None, None, None]
    assert json.loads(rows["summary"]["buckets"]) == {"quantile_values": [{"quantile": 0.5, "value": 2.0}]}
    assert {row["time_unix_nano"] for row in rows.values()} == {END}
    assert {row["start_time_unix_nano"] for row in rows.values()} == {START}


def test_a_metric_without_data_has_no_points() -> None:
    request = ExportMetricsServiceRequest()
    request.resource_metrics.add().scope_metrics.add().metrics.add(name="gen_ai.nothing")
    assert read(request, "metrics").counts["metric_points_read"] == 0


@pytest.mark.parametrize(("keep", "kept"), [("all", 3), ("genai", 2), ("none", 0)])
def test_keep_metrics(keep: Any, kept: int) -> None:
    bodies = [
        metrics_message("gen_ai.client.token.usage", {}),
        metrics_message("acme.tokens", {"gen_ai.request.model": "m"}),
        metrics_message("http.server.duration", {"http.route": "/"}),
    ]
    requests = [Request("metrics", "protobuf", body.SerializeToString(), RECEIVED_AT) for body in bodies]
    extracted = extract(requests, Settings(keep_metrics=keep))
    assert extracted.metric_points.num_rows == kept
    assert extracted.counts["metric_points_not_kept"] == 3 - kept


def point_hash(name: str = "gen_ai.m", value: float = 7, **attributes: Any) -> str:
    [row] = read(metrics_message(name, attributes, value), "metrics").metric_points.to_pylist()
    return str(row["record_hash"])


def test_a_points_identity_is_its_series_its_times_and_its_values() -> None:
    assert point_hash() == point_hash()
    others = [
        point_hash(name="gen_ai.n"),
        point_hash(value=8),
        point_hash(value=float("nan")),
        point_hash(k=1),
    ]
    assert len({point_hash(), *others}) == 5
    by_type = read(all_metric_types(), "metrics").metric_points["record_hash"].to_pylist()
    assert len(set(by_type)) == 5
