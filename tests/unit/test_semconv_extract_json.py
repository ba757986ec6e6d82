"""OTLP/JSON by its own rules, and the same rows as from protobuf."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from semconv.extract import Extracted, extract
from semconv.request import Request
from semconv.settings import CONTENT_CLASSES, Encoding, Settings, Signal
from semconv.validity import check
from tests.otlp_data import END, RECEIVED_AT, START, TRACE_ID, only_span, read, span_json, traces_json

CORPUS = Path(__file__).parents[1] / "corpus"
CAPTURES = sorted(CORPUS.glob("*/*.pb"))
EVERYTHING = Settings(keep_logs="all", keep_metrics="all", capture=frozenset(CONTENT_CLASSES))
METADATA_ONLY = Settings(keep_logs="all", keep_metrics="all")
TABLES = ("spans", "log_records", "metric_points", "contents")


def _signal(capture: Path) -> Signal:
    return "logs" if ".logs." in capture.name else "metrics" if ".metrics." in capture.name else "traces"


def _read(capture: Path, encoding: Encoding, settings: Settings) -> Extracted:
    return extract([Request(_signal(capture), encoding, capture.read_bytes(), RECEIVED_AT)], settings)


def test_the_corpus_is_there() -> None:
    assert len(CAPTURES) > 100


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_real_captures_give_identical_tables_in_both_encodings(capture: Path) -> None:
    as_json = capture.with_suffix(".json")
    for settings in (EVERYTHING, METADATA_ONLY):
        from_protobuf = _read(capture, "protobuf", settings)
        from_json = _read(as_json, "json", settings)
        for table in TABLES:
            assert getattr(from_protobuf, table).to_pylist() == getattr(from_json, table).to_pylist()
        assert from_protobuf.counts == from_json.counts
    verdicts = [
        check(_signal(capture), "protobuf", capture.read_bytes(), RECEIVED_AT),
        check(_signal(capture), "json", as_json.read_bytes(), RECEIVED_AT),
    ]
    assert verdicts[0] == verdicts[1]
    assert verdicts[0].items > 0


def test_ids_are_hex_in_either_case() -> None:
    upper = span_json(
        traceId=TRACE_ID.hex().upper(), spanId="ABCDEF0123456789", parentSpanId="00000000000000AA"
    )
    row = only_span(traces_json(upper))
    assert row["trace_id"] == TRACE_ID.hex()
    assert row["span_id"] == "abcdef0123456789"
    assert row["parent_span_id"] == "00000000000000aa"


@pytest.mark.parametrize("parent", ["", None, "0" * 16])
def test_an_empty_or_zero_parent_is_a_root(parent: str | None) -> None:
    row = only_span(traces_json(span_json(parentSpanId=parent)))
    assert row["parent_span_id"] is None
    assert row["notes"] is None


@pytest.mark.parametrize("parent", ["AQIDBAUGBwg=", "abcd", "0" * 32, 7])
def test_a_malformed_parent_is_null_with_a_note(parent: Any) -> None:
    row = only_span(traces_json(span_json(parentSpanId=parent)))
    assert row["parent_span_id"] is None
    assert row["notes"] == ["malformed_parent_span_id"]


@pytest.mark.parametrize("start", [START, str(START), f"{START}.0", f"{START // 10**6}e6"])
def test_times_come_as_numbers_or_strings(start: Any) -> None:
    row = only_span(traces_json(span_json(startTimeUnixNano=start)))
    assert row["start_unix_nano"] == int(str(START)[:13]) * 10**6
    assert row["duration_ns"] == END - START


@pytest.mark.parametrize("tokens", [1000, "1000", 1000.0, "1e3", "1000.0"])
def test_integers_come_in_every_spelling(tokens: Any) -> None:
    attribute = {"key": "gen_ai.usage.input_tokens", "value": {"intValue": tokens}}
    row = only_span(traces_json(span_json(attributes=[attribute])))
    assert row["input_tokens"] == 1000
    assert row["attributes"] == '{"gen_ai.usage.input_tokens":1000}'


@pytest.mark.parametrize("number", [2**63, str(-(2**63) - 1), "1" * 30, 10**29, "1e400"])
def test_integers_beyond_64_bits_are_null_with_a_note(number: Any) -> None:
    row = only_span(traces_json(span_json(attributes=[{"key": "n", "value": {"intValue": number}}])))
    assert row["attributes"] == '{"n":null}'
    assert row["notes"] == ["integer_out_of_range"]


@pytest.mark.parametrize(
    ("value", "stored", "note"),
    [
        ({"doubleValue": 5}, "5.0", None),
        ({"doubleValue": "0.5"}, "0.5", None),
        ({"doubleValue": "NaN"}, '{"$double":"NaN"}', None),
        ({"bytesValue": "AP8="}, '{"$bytes":"AP8="}', None),
        ({"stringValue": None}, "null", None),
        ({"stringValue": None, "intValue": "5"}, "5", None),
        ({}, "null", None),
        (None, "null", None),
        ({"string_value": "x"}, "null", None),
        ({"futureValue": "x"}, "null", None),
        ({"arrayValue": {}}, "[]", None),
        ({"kvlistValue": {"values": None}}, "{}", None),
        ({"bytesValue": "***"}, "null", "malformed_value"),
        ({"stringValue": 5}, "null", "malformed_value"),
        ({"boolValue": "true"}, "null", "malformed_value"),
        ({"intValue": "five"}, "null", "malformed_value"),
        ({"doubleValue": "five"}, "null", "malformed_value"),
        ({"arrayValue": []}, "null", "malformed_value"),
        ("text", "null", "malformed_value"),
    ],
)
def test_values_by_the_rules(value: Any, stored: str, note: str | None) -> None:
    row = only_span(traces_json(span_json(attributes=[{"key": "a", "value": value}])))
    assert row["attributes"] == f'{{"a":{stored}}}'
    assert row["notes"] == ([note] if note else None)


def test_values_nested_without_end_do_not_exhaust_the_stack() -> None:
    value: dict[str, Any] = {"intValue": 1}
    for _ in range(75):
        value = {"arrayValue": {"values": [value]}}
    row = only_span(traces_json(span_json(attributes=[{"key": "deep", "value": value}])))
    assert row["notes"] == ["malformed_value"]


def test_enums_are_integers_and_names_are_understood() -> None:
    rows = [
        only_span(traces_json(span_json(kind=kind, status={"code": code})))
        for kind, code in ((3, 2), ("SPAN_KIND_CLIENT", "STATUS_CODE_ERROR"), ("3", "2"))
    ]
    assert [(row["kind"], row["status_code"], row["notes"]) for row in rows] == [
        ("CLIENT", "ERROR", None)
    ] * 3


@pytest.mark.parametrize("kind", ["NO_SUCH_KIND", 1.5, -1])
def test_an_unreadable_enum_is_unspecified_with_a_note(kind: Any) -> None:
    row = only_span(traces_json(span_json(kind=kind)))
    assert row["kind"] == "UNSPECIFIED"
    assert row["notes"] in (["malformed_field"], ["integer_out_of_range"])


def test_an_enum_number_of_the_future_is_unspecified() -> None:
    assert only_span(traces_json(span_json(kind=17)))["kind"] == "UNSPECIFIED"


def test_unknown_and_snake_case_fields_are_ignored_at_any_depth() -> None:
    span = span_json({"a": 1}, parent_span_id="ff" * 8, newField={"x": [1]}, start_time_unix_nano="5")
    span["attributes"][0]["weight"] = 5
    row = only_span(traces_json(span))
    assert row["parent_span_id"] is None
    assert row["start_unix_nano"] == START
    assert row["attributes"] == '{"a":1}'
    assert row["notes"] is None


def test_null_is_absent_everywhere() -> None:
    fields = ("parentSpanId", "kind", "attributes", "events", "links", "status", "traceState", "flags")
    row = only_span(traces_json(span_json(**dict.fromkeys(fields))))
    assert (row["kind"], row["attributes"], row["events"], row["status_code"]) == (
        "UNSPECIFIED",
        "{}",
        "[]",
        "UNSET",
    )
    assert row["notes"] is None


def test_fields_of_the_wrong_type_are_absent_with_a_note() -> None:
    span = span_json(name=5, attributes={}, events=[7], links="x", status=[], traceState=1, flags="x")
    row = only_span(traces_json(span))
    assert (row["name"], row["attributes"], row["events"], row["links"]) == ("", "{}", "[]", "[]")
    assert row["notes"] == ["malformed_field"]


def test_duplicate_keys_the_last_wins_with_a_note() -> None:
    attributes = [{"key": "k", "value": {"intValue": number}} for number in (1, 2)]
    row = only_span(traces_json(span_json(attributes=attributes)))
    assert row["attributes"] == '{"k":2}'
    assert row["notes"] == ["duplicate_attribute"]


def test_metric_points_of_every_type_in_json() -> None:
    point = {"timeUnixNano": str(END), "startTimeUnixNano": str(START)}
    metrics = [
        {"name": "g", "gauge": {"dataPoints": [{**point, "asDouble": "NaN"}]}},
        {
            "name": "s",
            "sum": {
                "aggregationTemporality": 1,
                "isMonotonic": True,
                "dataPoints": [{**point, "asInt": "5"}],
            },
        },
        {
            "name": "h",
            "histogram": {
                "aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE",
                "dataPoints": [
                    {**point, "count": "3", "sum": 6, "bucketCounts": ["1", 2], "explicitBounds": [1]}
                ],
            },
        },
        {
            "name": "e",
            "exponentialHistogram": {
                "aggregationTemporality": 2,
                "dataPoints": [
                    {**point, "count": 3, "scale": -1, "positive": {"offset": 2, "bucketCounts": [1]}}
                ],
            },
        },
        {
            "name": "q",
            "summary": {"dataPoints": [{**point, "quantileValues": [{"quantile": 0.5, "value": 1}]}]},
        },
    ]
    body = orjson.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]})
    rows = {row["metric_name"]: row for row in read(body, "metrics").metric_points.to_pylist()}
    assert str(rows["g"]["value_double"]) == "nan"
    assert (rows["s"]["value_int"], rows["s"]["temporality"], rows["s"]["is_monotonic"]) == (5, "delta", True)
    assert (rows["h"]["count"], rows["h"]["sum"], rows["h"]["temporality"]) == (3, 6.0, "cumulative")
    assert rows["h"]["buckets"] == '{"bucket_counts":[1,2],"explicit_bounds":[1.0]}'
    assert '"scale":-1' in rows["e"]["buckets"]
    assert rows["q"]["buckets"] == '{"quantile_values":[{"quantile":0.5,"value":1.0}]}'
    assert rows["q"]["temporality"] is None
