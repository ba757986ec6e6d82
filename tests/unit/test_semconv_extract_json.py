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


@pytest.mark.parametrize("kind", ["NO_SUCH_KIND", 1.5, 2**31, -(2**31) - 1])
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


# --- the same rules in every signal ---------------------------------------------------------------

HEX_TRACE, HEX_SPAN = TRACE_ID.hex(), "0102030405060708"
BASE64_TRACE, BASE64_SPAN = "AQIDBAUGBwgJCgsMDQ4PEA==", "AQIDBAUGBwg="


def log_json(**fields: Any) -> dict[str, Any]:
    return {"timeUnixNano": str(START), "observedTimeUnixNano": str(END), **fields}


def only_log(**fields: Any) -> dict[str, Any]:
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [log_json(**fields)]}]}]}
    [row] = read(orjson.dumps(body), "logs").log_records.to_pylist()
    return dict(row)


def only_point(kind: str = "gauge", metric: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The row of one data point; ``metric`` are fields beside the list of points, or of the metric itself."""
    point = {"timeUnixNano": str(END), "startTimeUnixNano": str(START), **fields}
    data = {"dataPoints": [point], **(metric or {})}
    body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", kind: data}]}]}]}
    [row] = read(orjson.dumps(body), "metrics").metric_points.to_pylist()
    return dict(row)


def stored(value: Any) -> list[Any]:
    """What an AnyValue becomes in a span, an event, a link, a resource, a log record, its body, and two of a point."""
    pair = [{"key": "a", "value": value}]
    span = only_span(
        traces_json(span_json(attributes=pair, events=[{"attributes": pair}], links=[{"attributes": pair}]))
    )
    log = only_log(attributes=pair, body=value)
    point = only_point(attributes=pair, exemplars=[{"filteredAttributes": pair}])
    body = orjson.dumps(
        {"resourceSpans": [{"resource": {"attributes": pair}, "scopeSpans": [{"spans": [span_json()]}]}]}
    )
    return [
        orjson.loads(span["attributes"])["a"],
        orjson.loads(span["events"])[0]["attributes"]["a"],
        orjson.loads(span["links"])[0]["attributes"]["a"],
        orjson.loads(only_span(body)["resource_attributes"])["a"],
        orjson.loads(log["attributes"])["a"],
        None if log["body"] is None else orjson.loads(log["body"]),
        orjson.loads(point["attributes"])["a"],
        orjson.loads(point["exemplars"])[0]["filtered_attributes"]["a"],
    ]


EVERY_SHAPE = {
    "text": ({"stringValue": "é\n"}, "é\n"),
    "empty text": ({"stringValue": ""}, ""),
    "true": ({"boolValue": True}, True),
    "false": ({"boolValue": False}, False),
    "zero": ({"intValue": "0"}, 0),
    "negative": ({"intValue": "-9223372036854775808"}, -(2**63)),
    "largest": ({"intValue": 9223372036854775807}, 2**63 - 1),
    "double": ({"doubleValue": 1e300}, 1e300),
    "infinite": ({"doubleValue": "-Infinity"}, {"$double": "-Infinity"}),
    "bytes": ({"bytesValue": "+/8="}, {"$bytes": "+/8="}),
    "no bytes": ({"bytesValue": ""}, {"$bytes": ""}),
    "nothing": ({}, None),
    "empty list": ({"arrayValue": {"values": []}}, []),
    "empty map": ({"kvlistValue": {"values": []}}, {}),
    "nothing in a list": (
        {"arrayValue": {"values": [{}, None, {"arrayValue": {}}, {"kvlistValue": {}}]}},
        [None, None, [], {}],
    ),
    "all kinds in a list": (
        {
            "arrayValue": {
                "values": [{"stringValue": "x"}, {"intValue": "1"}, {"doubleValue": 1}, {"boolValue": False}]
            }
        },
        ["x", 1, 1.0, False],
    ),
    "lists in lists": (
        {
            "arrayValue": {
                "values": [{"arrayValue": {"values": [{"intValue": "1"}]}}, {"arrayValue": {"values": []}}]
            }
        },
        [[1], []],
    ),
    "maps in maps": (
        {
            "kvlistValue": {
                "values": [{"key": "m", "value": {"kvlistValue": {"values": [{"key": "", "value": {}}]}}}]
            }
        },
        {"m": {"": None}},
    ),
    "a key without a value": ({"kvlistValue": {"values": [{"key": "k"}, {}]}}, {"k": None, "": None}),
}


@pytest.mark.parametrize("shape", EVERY_SHAPE)
def test_every_shape_of_a_value_is_kept_wherever_it_stands(shape: str) -> None:
    value, native = EVERY_SHAPE[shape]
    for found in stored(value):
        assert orjson.dumps(found) == orjson.dumps(native)


@pytest.mark.parametrize("text", ["-_8=", "-_8", "+/8=", "+/8"])
def test_bytes_come_in_either_alphabet_padded_or_not(text: str) -> None:
    row = only_span(traces_json(span_json(attributes=[{"key": "a", "value": {"bytesValue": text}}])))
    assert (row["attributes"], row["notes"]) == ('{"a":{"$bytes":"+/8="}}', None)


@pytest.mark.parametrize("text", ["A", "AP8==", "A=P8", "AP 8", "ÄÖÜ8", 5, ["AP8="]])
def test_what_is_no_base64_is_null_with_a_note(text: Any) -> None:
    row = only_span(traces_json(span_json(attributes=[{"key": "a", "value": {"bytesValue": text}}])))
    assert (row["attributes"], row["notes"]) == ('{"a":null}', ["malformed_value"])


def test_ids_are_hex_in_links_log_records_and_exemplars() -> None:
    """In either case, and never base64, which is NULL with a note and costs no record."""
    ids = {"traceId": HEX_TRACE.upper(), "spanId": HEX_SPAN.upper()}
    expected = (HEX_TRACE, HEX_SPAN)
    span = only_span(traces_json(span_json(links=[ids])))
    point = only_point(exemplars=[ids])
    for found in (orjson.loads(span["links"])[0], only_log(**ids), orjson.loads(point["exemplars"])[0]):
        assert (found["trace_id"], found["span_id"]) == expected
    wrong = {"traceId": BASE64_TRACE, "spanId": BASE64_SPAN}
    span, log, point = (
        only_span(traces_json(span_json(links=[wrong]))),
        only_log(**wrong),
        only_point(exemplars=[wrong]),
    )
    for found in (orjson.loads(span["links"])[0], log, orjson.loads(point["exemplars"])[0]):
        assert (found["trace_id"], found["span_id"]) == (None, None)
    assert span["notes"] == ["malformed_link_id"]
    assert log["notes"] == ["malformed_span_id", "malformed_trace_id"]
    assert point["notes"] == ["malformed_exemplar_id"]


@pytest.mark.parametrize("absent", ["", None, "0" * 16, "0" * 32])
def test_log_records_links_and_exemplars_need_no_ids(absent: str | None) -> None:
    ids = {"traceId": absent if absent != "0" * 16 else "", "spanId": absent if absent != "0" * 32 else ""}
    log, point = only_log(**ids), only_point(exemplars=[ids])
    assert (log["trace_id"], log["span_id"], log["notes"], point["notes"]) == (None, None, None, None)


@pytest.mark.parametrize(
    ("column", "row"),
    [
        ("severity_number", lambda number: only_log(severityNumber=number)),
        ("kind", lambda number: only_span(traces_json(span_json(kind=number)))),
        ("temporality", lambda number: only_point("sum", {"aggregationTemporality": number})),
    ],
)
def test_enums_are_numbers_and_their_names_are_understood(column: str, row: Any) -> None:
    name, number = {
        "severity_number": ("SEVERITY_NUMBER_INFO", 9),
        "kind": ("SPAN_KIND_PRODUCER", 4),
        "temporality": ("AGGREGATION_TEMPORALITY_DELTA", 1),
    }[column]
    rows = [row(spelt) for spelt in (number, str(number), float(number), name)]
    assert len({one[column] for one in rows}) == 1
    assert rows[0][column] in (9, "PRODUCER", "delta")
    assert [one["notes"] for one in rows] == [None] * 4


@pytest.mark.parametrize("spelt", [1_789_999_999_123_456_000, "1789999999123456000", "1.789999999123456e18"])
def test_64_bit_integers_are_numbers_or_strings_in_every_signal(spelt: Any) -> None:
    number = 1_789_999_999_123_456_000
    span = span_json(startTimeUnixNano=spelt, endTimeUnixNano=spelt, events=[{"timeUnixNano": spelt}])
    assert orjson.loads(only_span(traces_json(span))["events"])[0]["time_unix_nano"] == number
    log = only_log(
        timeUnixNano=spelt,
        observedTimeUnixNano=spelt,
        attributes=[{"key": "a", "value": {"intValue": spelt}}],
    )
    assert (log["time_unix_nano"], log["attributes"]) == (number, f'{{"a":{number}}}')
    point = only_point(timeUnixNano=spelt, asInt=spelt, exemplars=[{"asInt": spelt, "timeUnixNano": spelt}])
    assert (point["time_unix_nano"], point["value_int"]) == (number, number)
    exemplar = orjson.loads(point["exemplars"])[0]
    assert (exemplar["value"], exemplar["time_unix_nano"]) == (number, number)
    histogram = only_point("histogram", count=spelt, bucketCounts=[spelt])
    assert (histogram["count"], orjson.loads(histogram["buckets"])["bucket_counts"]) == (number, [number])


@pytest.mark.parametrize(
    ("spelt", "number"),
    [
        (0.5, 0.5),
        ("0.5", 0.5),
        ("5e-1", 0.5),
        (1, 1.0),
        ("Infinity", float("inf")),
        ("-Infinity", float("-inf")),
    ],
)
def test_doubles_are_numbers_numeric_strings_or_names(spelt: Any, number: float) -> None:
    assert only_point(asDouble=spelt)["value_double"] == number
    row = only_point("histogram", sum=spelt, min=spelt, max=spelt)
    assert (row["sum"], row["min"], row["max"], row["notes"]) == (number, number, number, None)
    assert only_point("summary", sum=spelt)["sum"] == number


def test_null_is_absent_in_log_records_and_data_points() -> None:
    log = only_log(
        **dict.fromkeys(
            ("traceId", "spanId", "severityNumber", "severityText", "body", "attributes", "flags")
        )
    )
    assert (log["notes"], log["body"], log["attributes"]) == (None, None, "{}")
    for kind in ("gauge", "histogram", "exponentialHistogram", "summary"):
        names = (
            "attributes",
            "exemplars",
            "count",
            "sum",
            "bucketCounts",
            "explicitBounds",
            "quantileValues",
            "flags",
        )
        row = only_point(
            kind, **dict.fromkeys((*names, "asInt", "asDouble", "positive", "scale", "zeroThreshold"))
        )
        assert (row["notes"], row["attributes"], row["exemplars"]) == (None, "{}", "[]")


def test_snake_case_and_unknown_fields_are_ignored_in_log_records_and_data_points() -> None:
    log = only_log(severity_number=9, trace_id=HEX_TRACE, newField=[{"x": None}], event_name="e")
    assert (log["severity_number"], log["trace_id"], log["event_name"], log["notes"]) == (0, None, None, None)
    point = only_point(as_int=5, asDouble=1.5, start_time_unix_nano="7", future={"a": [1]})
    assert (point["value_int"], point["value_double"], point["start_time_unix_nano"]) == (None, 1.5, START)
    assert point["notes"] is None


def test_more_events_links_and_exemplars_than_are_read_are_counted_as_dropped() -> None:
    """As from protobuf: the first 10,000, and the others added to what the sender dropped."""
    span = span_json(events=[{}] * 10_003, links=[{}] * 10_001, droppedEventsCount=4)
    row = only_span(traces_json(span))
    assert len(orjson.loads(row["events"])) == len(orjson.loads(row["links"])) == 10_000
    assert (row["dropped_events_count"], row["dropped_links_count"]) == (7, 1)
    assert "events_dropped" in row["notes"]
    assert len(orjson.loads(only_point(exemplars=[{}] * 10_001)["exemplars"])) == 10_000


@pytest.mark.parametrize("count", [2**32, "4294967296", -1, "1e99"])
def test_counts_of_what_was_dropped_have_32_bits(count: Any) -> None:
    row = only_span(traces_json(span_json(droppedAttributesCount=count, flags=count)))
    assert (row["dropped_attributes_count"], row["flags"]) == (0, 0)
    assert row["notes"] == ["integer_out_of_range"]
