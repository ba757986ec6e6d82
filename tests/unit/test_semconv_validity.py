"""The receivers' verdict: what is refused, what is rejected alone, what is fine, on both encodings."""

from __future__ import annotations

import json
import random
import re
from typing import Any, get_args

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.config import LimitsConfig
from semconv.admission import admit
from semconv.otlp import INT64_MAX
from semconv.settings import Encoding, Signal
from semconv.validity import DecodeError, Verdict, check
from semconv.wire import TooMany
from tests.otlp_data import (
    END,
    KEEP_ALL,
    RECEIVED_AT,
    SPAN_ID,
    START,
    TRACE_ID,
    logs_message,
    metrics_message,
    read,
    span_json,
    traces_json,
    traces_message,
)

BEYOND = INT64_MAX + 1


def judge(body: Any, signal: Signal = "traces") -> Verdict:
    if isinstance(body, bytes):
        return check(signal, "json", body, RECEIVED_AT)
    return check(signal, "protobuf", body.SerializeToString(), RECEIVED_AT)


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_empty_requests_are_accepted(signal: Signal) -> None:
    nothing = Verdict(0, 0, ())
    assert check(signal, "protobuf", b"", RECEIVED_AT) == nothing
    assert check(signal, "json", b"{}", RECEIVED_AT) == nothing
    assert check(signal, "json", b"", RECEIVED_AT) == nothing


def test_a_valid_request_is_counted() -> None:
    assert judge(traces_message({}, {}, {})) == Verdict(3, 0, ())
    assert judge(traces_json(span_json(), span_json())) == Verdict(2, 0, ())
    assert judge(logs_message({}, {}), "logs") == Verdict(2, 0, ())
    assert judge(metrics_message("gen_ai.x", {}), "metrics") == Verdict(1, 0, ())


BAD_SPANS = {
    "no trace id": ({"trace_id": b""}, {"traceId": ""}, "trace_id is empty"),
    "zero trace id": ({"trace_id": bytes(16)}, {"traceId": "0" * 32}, "trace_id is all zero"),
    "short trace id": ({"trace_id": b"abc"}, {"traceId": b"abc".hex()}, "trace_id has 3 bytes; expected 16"),
    "long trace id": ({"trace_id": bytes(17)}, {"traceId": "0" * 34}, "trace_id has 17 bytes"),
    "no span id": ({"span_id": b""}, {"spanId": None}, "span_id is empty"),
    "zero span id": ({"span_id": bytes(8)}, {"spanId": "0" * 16}, "span_id is all zero"),
    "long span id": ({"span_id": bytes(16)}, {"spanId": "0" * 32}, "span_id has 16 bytes; expected 8"),
    "start beyond int64": (
        {"start_time_unix_nano": BEYOND},
        {"startTimeUnixNano": str(BEYOND)},
        "start_time_unix_nano is not a time",
    ),
    "end beyond int64": (
        {"end_time_unix_nano": 2**64 - 1},
        {"endTimeUnixNano": 2**64 - 1},
        "end_time_unix_nano is not a time",
    ),
}


@pytest.mark.parametrize("case", BAD_SPANS)
def test_a_bad_span_is_rejected_alone_in_both_encodings_and_dropped_by_extraction(case: str) -> None:
    in_protobuf, in_json, reason = BAD_SPANS[case]
    message = traces_message({}, {})
    for field, value in in_protobuf.items():
        setattr(message.resource_spans[0].scope_spans[0].spans[0], field, value)
    for body in (message, traces_json(span_json(**in_json), span_json())):
        verdict = judge(body)
        assert (verdict.items, verdict.rejected) == (2, 1)
        assert verdict.reasons[0].startswith(reason)
        extracted = read(body)
        assert extracted.spans.num_rows == 1
        assert extracted.counts == {"spans_read": 2, "spans_rejected": 1}


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (
            "traceId",
            "AQIDBAUGBwgJCgsMDQ4PEA==",
            "trace_id is not hex: in OTLP/JSON it is 32 hex digits, not base64",
        ),
        ("spanId", "AQIDBAUGBwg=", "span_id is not hex: in OTLP/JSON it is 16 hex digits, not base64"),
        ("spanId", "01 02 03 04 05 06", "span_id is not hex"),  # bytes.fromhex would take the spaces
        ("spanId", 5, "span_id is not hex"),
        ("startTimeUnixNano", -5, "start_time_unix_nano is not a time"),
        ("startTimeUnixNano", "yesterday", "start_time_unix_nano is not a time"),
        ("startTimeUnixNano", 1.5, "start_time_unix_nano is not a time"),
    ],
)
def test_json_spans_that_protobuf_cannot_spell(field: str, value: Any, reason: str) -> None:
    verdict = judge(traces_json(span_json(), span_json(**{field: value})))
    assert (verdict.items, verdict.rejected) == (2, 1)
    assert verdict.reasons[0].startswith(reason)


def test_reasons_are_distinct_few_and_quote_nothing() -> None:
    bad = [
        {"traceId": "canary"},
        {"traceId": "canary"},
        {"spanId": "canary"},
        {"traceId": ""},
        {"spanId": ""},
    ]
    verdict = judge(traces_json(*(span_json(**fields) for fields in bad)))
    assert verdict.rejected == 5
    assert len(set(verdict.reasons)) == len(verdict.reasons) == 3
    assert "canary" not in str(verdict.reasons)


@pytest.mark.parametrize(
    "fields",
    [
        {"startTimeUnixNano": 0, "endTimeUnixNano": 0},
        {"startTimeUnixNano": str(RECEIVED_AT + 10**18)},
        {"startTimeUnixNano": str(INT64_MAX), "endTimeUnixNano": str(INT64_MAX)},
        {"traceId": TRACE_ID.hex().upper(), "spanId": SPAN_ID.hex().upper()},
        {"parentSpanId": ""},
        {"parentSpanId": "nonsense"},
        {"name": 5, "attributes": "none", "links": [{"traceId": "x"}], "unknown": {"deep": []}},
    ],
)
def test_everything_else_about_a_span_is_accepted(fields: dict[str, Any]) -> None:
    assert judge(traces_json(span_json(**fields))) == Verdict(1, 0, ())


def test_log_records_need_no_ids_but_times_that_can_be_held() -> None:
    records = [{"trace_id": b"x"}, {"time_unix_nano": BEYOND}, {"observed_time_unix_nano": BEYOND}, {}]
    message = logs_message(*records)
    verdict = judge(message, "logs")
    assert (verdict.items, verdict.rejected) == (4, 2)
    extracted = read(message, "logs")
    assert extracted.log_records.num_rows == 2
    assert extracted.counts == {"log_records_read": 4, "log_records_rejected": 2}


def test_data_points_need_times_that_can_be_held() -> None:
    message = metrics_message("gen_ai.x", {})
    message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points.add(time_unix_nano=BEYOND)
    verdict = judge(message, "metrics")
    assert (verdict.items, verdict.rejected) == (2, 1)
    assert read(message, "metrics").counts == {"metric_points_read": 2, "metric_points_rejected": 1}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", "line 1 column 2"),
        (b'{"resourceSpans": [\n  {"scopeSpans": [nan]}]}', "line 2 column 19"),
        (b'{"resourceSpans": []} x', "line 1 column 23"),
        (b'{"resourceSpans": [{"scopeSpans": [NaN]}]}', "resourceSpans[0].scopeSpans[0] is a number"),
        (b'{"a": "\xff"}', "the body is not UTF-8: invalid start byte at byte 7"),
        (b"\x00", "line 1 column 1"),
        (b"[]", "the body is an array; expected one JSON object"),
        (b"null", "the body is null"),
        (b'{"resourceSpans": 5}', "resourceSpans is a number; expected an array"),
        (b'{"resourceSpans": [5]}', "resourceSpans[0] is a number; expected an object"),
        (
            b'{"resourceSpans": [{}, {"scopeSpans": [{"spans": {}}]}]}',
            "resourceSpans[1].scopeSpans[0].spans is an object; expected an array",
        ),
        (
            b'{"resourceSpans": [{"scopeSpans": [{"spans": [{}, "x"]}]}]}',
            "resourceSpans[0].scopeSpans[0].spans[1] is a string",
        ),
        (b'{"resourceSpans": [{"resource": []}]}', "resourceSpans[0].resource is an array"),
    ],
)
def test_json_that_cannot_be_read_is_refused_with_the_place(body: bytes, expected: str) -> None:
    for action in (lambda: judge(body), lambda: read(body)):
        with pytest.raises(DecodeError) as refusal:
            action()
        assert expected in str(refusal.value)


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_bytes_that_are_no_protobuf_are_refused(signal: Signal) -> None:
    with pytest.raises(DecodeError, match=r"the body is not a protobuf Export.*ServiceRequest"):
        check(signal, "protobuf", b"\x0a\xffgarbage", RECEIVED_AT)


def test_text_that_is_not_utf8_is_refused_and_never_half_read() -> None:
    raw = traces_message({"key": "text"}).SerializeToString().replace(b"text", b"te\xfft")
    for refuse in (
        lambda: check("traces", "protobuf", raw, RECEIVED_AT),
        lambda: read(raw, encoding="protobuf"),
    ):
        with pytest.raises(DecodeError):
            refuse()


def test_null_and_snake_case_fields_are_absent() -> None:
    body = orjson.dumps({"resourceSpans": None, "resource_spans": [{"scope_spans": [{"spans": [{}]}]}]})
    assert judge(body) == Verdict(0, 0, ())


def test_a_data_point_of_the_wrong_shape_is_named() -> None:
    body = b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":{}}}]}]}]}'
    with pytest.raises(DecodeError, match=r"metrics\[0\]\.gauge\.dataPoints is an object; expected an array"):
        judge(body, "metrics")


def test_extraction_names_the_request_that_cannot_be_read() -> None:
    with pytest.raises(DecodeError, match=r"request 0 \(traces, json\): the body is not JSON"):
        read(b"{", settings=KEEP_ALL)


def test_the_clock_is_no_reason_to_reject() -> None:
    message = traces_message({})
    raw = message.SerializeToString()
    assert check("traces", "protobuf", raw, 0) == check("traces", "protobuf", raw, END) == Verdict(1, 0, ())
    assert START < END


# --- what is accepted can be loaded ---------------------------------------------------------------

ITEMS: dict[Signal, str] = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}
LIMITS = LimitsConfig(max_spans=1000)


def judge_and_load(signal: Signal, encoding: Encoding, body: bytes) -> bool:
    """Whether the receivers accept a body; then the loader reads it, and both count the same."""
    try:
        admit(signal, encoding, body, LIMITS)
        verdict = check(signal, encoding, body, RECEIVED_AT, LIMITS.max_depth)
    except (DecodeError, TooMany) as error:
        assert str(error).isprintable()
        return False
    extracted = read(body, signal, encoding)
    counts, items = extracted.counts, ITEMS[signal]
    assert (counts[f"{items}_read"], counts[f"{items}_rejected"]) == (verdict.items, verdict.rejected)
    assert getattr(extracted, items).num_rows == verdict.items - verdict.rejected
    return True


# Between two @ stands a literal that json.dumps does not write.
ODD_LITERALS = (
    "1e999",
    "-1e999",
    "5.0",
    "1e3",
    "9007199254740993.0",
    "-9223372036854775809",
    "1" * 30,
    "0e99",
)
ODD = [
    *(
        None,
        True,
        False,
        "",
        "x",
        0,
        -1,
        7,
        1.5,
        2**31,
        2**32,
        2**53 + 1,
        2**63 - 1,
        2**63,
        2**64 - 1,
        -(2**63),
    ),
    *(float("nan"), float("inf"), "NaN", "Infinity", "1e400", "-5", "007", "1e3", "0x1", " 5"),
    *(
        "\ud83d",
        "a\x00b",
        "ünïcode",
        "AP8=",
        "AP8",
        "__-_",
        "0" * 16,
        "0" * 32,
        "ab" * 8,
        "ab" * 16,
        "ABCDEF",
    ),
    *("SPAN_KIND_CLIENT", "STATUS_CODE_ERROR", "SEVERITY_NUMBER_INFO", "gen_ai.usage.input_tokens", "chat"),
    *([], {}, [[]], [{}], [None], {"values": None}, {"values": [{}]}, {"key": None}, [5], ["x"]),
    *(f"@{literal}@" for literal in ODD_LITERALS),
]
KINDS = (
    "stringValue",
    "boolValue",
    "intValue",
    "doubleValue",
    "bytesValue",
    "arrayValue",
    "kvlistValue",
    "other",
)
odd = st.sampled_from(ODD)
ids = st.sampled_from(["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "0AF7651916CD43DD"])
times = st.sampled_from([str(START), START, END, f"{START}.0", f"@{START + 1}.0@", 0])
one_odd_value = st.dictionaries(st.sampled_from(KINDS), odd, max_size=2)
values = st.recursive(
    one_odd_value,
    lambda inner: (
        st.builds(lambda items: {"arrayValue": {"values": items}}, st.lists(inner | odd, max_size=3))
        | st.builds(
            lambda items: {"kvlistValue": {"values": [{"key": "k", "value": item} for item in items]}},
            st.lists(inner, max_size=3),
        )
    ),
    max_leaves=4,
)


def fields(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of these fields, each now and then something else altogether, or unknown ones."""
    optional = {name: strategy | odd for name, strategy in known.items()}
    return st.fixed_dictionaries({}, optional={**optional, "unknown": odd})


def several(strategy: st.SearchStrategy[Any], odd_ones: bool = True) -> st.SearchStrategy[list[Any]]:
    return st.lists(strategy | odd if odd_ones else strategy, max_size=3)


attributes = several(
    fields(key=st.sampled_from(["a", "gen_ai.usage.input_tokens", "gen_ai.prompt"]), value=values)
)
events = several(fields(timeUnixNano=times, name=odd, attributes=attributes, droppedAttributesCount=odd))
links = several(fields(traceId=ids, spanId=ids, attributes=attributes, flags=odd))
exemplars = several(
    fields(timeUnixNano=times, asInt=odd, asDouble=odd, spanId=ids, filteredAttributes=attributes)
)
spans = fields(
    traceId=st.just("0af7651916cd43dd8448eb211c80319c"),
    spanId=st.just("b7ad6b7169203331"),
    parentSpanId=ids,
    name=odd,
    kind=odd,
    startTimeUnixNano=times,
    endTimeUnixNano=times,
    attributes=attributes,
    events=events,
    links=links,
    status=fields(code=odd, message=odd),
    flags=odd,
    droppedEventsCount=odd,
)
log_records = fields(
    timeUnixNano=times,
    observedTimeUnixNano=times,
    severityNumber=odd,
    traceId=ids,
    spanId=ids,
    body=values,
    attributes=attributes,
    eventName=odd,
    flags=odd,
)
points = fields(
    timeUnixNano=times,
    startTimeUnixNano=times,
    asInt=odd,
    asDouble=odd,
    count=odd,
    sum=odd,
    min=odd,
    max=odd,
    bucketCounts=several(odd),
    explicitBounds=several(odd),
    scale=odd,
    zeroCount=odd,
    zeroThreshold=odd,
    positive=fields(offset=odd, bucketCounts=several(odd)),
    quantileValues=several(fields(quantile=odd, value=odd)),
    exemplars=exemplars,
    attributes=attributes,
    flags=odd,
)
data = st.fixed_dictionaries(
    {"dataPoints": several(points, odd_ones=False)},
    optional={"aggregationTemporality": odd, "isMonotonic": odd},
)
metrics = st.builds(
    lambda kind, data, rest: {**rest, kind: data},
    st.sampled_from(["gauge", "sum", "histogram", "exponentialHistogram", "summary", "future"]),
    data,
    fields(name=odd, unit=odd, metadata=attributes),
)
ENVELOPES = {
    "traces": ("resourceSpans", "scopeSpans", "spans", spans),
    "logs": ("resourceLogs", "scopeLogs", "logRecords", log_records),
    "metrics": ("resourceMetrics", "scopeMetrics", "metrics", metrics),
}


@pytest.mark.parametrize("examples", [40, pytest.param(400, marks=pytest.mark.soak)])
@pytest.mark.parametrize("signal", ENVELOPES)
def test_odd_json_that_is_accepted_can_be_loaded(signal: Signal, examples: int) -> None:
    """Whatever stands where something else is expected: refused at once, or stored, with equal counts."""
    resources, scopes, items, record = ENVELOPES[signal]
    sender = fields(attributes=attributes)
    scope = st.fixed_dictionaries({items: several(record, odd_ones=False)}, optional={"schemaUrl": odd})
    accepted = []

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(scope, max_size=2), sender, odd)
    def check_one(scope_groups: list[Any], resource: Any, unknown: Any) -> None:
        request = {resources: [{"resource": resource, scopes: scope_groups}], "unknown": unknown}
        text = re.sub(r'"@(.*?)@"', r"\1", json.dumps(request))
        accepted.append(judge_and_load(signal, "json", text.encode()))

    check_one()
    assert sum(accepted) > len(accepted) / 2


@pytest.mark.parametrize("signal", get_args(Signal))
def test_changed_protobuf_is_refused_or_can_be_loaded(signal: Signal) -> None:
    """Bytes changed, cut out and put in at random; groups, field 0, wire types that do not exist, long varints."""
    message = {
        "traces": lambda: traces_message({"a": "x", "n": 5, "deep": [{"k": [1.5, None, b"y"]}]}, {}),
        "logs": lambda: logs_message(
            {"body": {"k": [1]}, "attributes": {"a": "x"}, "trace_id": TRACE_ID}, {}
        ),
        "metrics": lambda: metrics_message("gen_ai.client.token.usage", {"a": [True, None]}),
    }[signal]()
    dice = random.Random(20_261_122)
    odd_bytes = [
        b"\x00",
        b"\x03",
        b"\x0b\x0c",
        b"\x0c",
        b"\x07",
        b"\x80" * 9 + b"\x01",
        b"\xff" * 11,
        b"\x0a\xff",
        b"\xc3",
    ]
    outcomes = []
    original = message.SerializeToString()
    for _ in range(1500):
        body = bytearray(original)
        for _ in range(dice.choice([1, 1, 2, 5])):
            start = dice.randrange(len(body))
            stop = start + dice.choice([0, 0, 1, 1, 3])
            body[start:stop] = dice.choice([bytes([dice.randrange(256)]), b"", *odd_bytes])
        outcomes.append(judge_and_load(signal, "protobuf", bytes(body)))
    assert 0.05 < sum(outcomes) / len(outcomes) < 0.95
