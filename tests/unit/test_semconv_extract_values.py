"""Every shape of an attribute's value is stored without loss, and by the same text from either encoding."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from tests.otlp_data import (
    any_value,
    logs_message,
    metrics_message,
    read,
    span_json,
    traces_json,
    traces_message,
)

# Name: (OTLP/JSON of the AnyValue, JSON text that is stored).
SHAPES: dict[str, tuple[dict[str, Any], str]] = {
    "empty AnyValue": ({}, "null"),
    "empty text": ({"stringValue": ""}, '""'),
    "NUL and control characters": (
        {"stringValue": "a\x00\x01\x1f\x7f\t\n"},
        r'"a\u0000\u0001\u001f' + "\x7f" + r'\t\n"',
    ),
    "quotes and backslashes": ({"stringValue": '"\\/'}, r'"\"\\/"'),
    "characters beyond the first plane": ({"stringValue": "😀\U0010ffff"}, '"😀\U0010ffff"'),
    "separators and non-characters": (
        {"stringValue": "\u2028\u2029\ufeff\ufffe"},
        '"\u2028\u2029\ufeff\ufffe"',
    ),
    "JSON in text": ({"stringValue": '{"a": [1.0, 1e5]}'}, r'"{\"a\": [1.0, 1e5]}"'),
    "true": ({"boolValue": True}, "true"),
    "false": ({"boolValue": False}, "false"),
    "zero": ({"intValue": "0"}, "0"),
    "largest integer": ({"intValue": "9223372036854775807"}, "9223372036854775807"),
    "smallest integer": ({"intValue": "-9223372036854775808"}, "-9223372036854775808"),
    "integer beyond 2**53": ({"intValue": "9007199254740993"}, "9007199254740993"),
    "integer as a number": ({"intValue": 9007199254740993}, "9007199254740993"),
    "whole double": ({"doubleValue": 5.0}, "5.0"),
    "whole double written as an integer": ({"doubleValue": 5}, "5.0"),
    "negative zero": ({"doubleValue": -0.0}, "-0.0"),
    "smallest double": ({"doubleValue": 5e-324}, "5e-324"),
    "largest double": ({"doubleValue": 1.7976931348623157e308}, "1.7976931348623157e+308"),
    "double of 17 digits": ({"doubleValue": 0.1 + 0.2}, "0.30000000000000004"),
    "large double": ({"doubleValue": 1e22}, "1e+22"),
    "NaN": ({"doubleValue": "NaN"}, '{"$double":"NaN"}'),
    "infinity": ({"doubleValue": "Infinity"}, '{"$double":"Infinity"}'),
    "negative infinity": ({"doubleValue": "-Infinity"}, '{"$double":"-Infinity"}'),
    "bytes": ({"bytesValue": "AAH/"}, '{"$bytes":"AAH/"}'),
    "no bytes": ({"bytesValue": ""}, '{"$bytes":""}'),
    "empty array": ({"arrayValue": {}}, "[]"),
    "array of everything": (
        {
            "arrayValue": {
                "values": [
                    {"stringValue": "a"},
                    {"intValue": "1"},
                    {"doubleValue": 1.0},
                    {"boolValue": True},
                    {},
                    {"bytesValue": "AA=="},
                    {"arrayValue": {"values": [{"arrayValue": {"values": [{"intValue": "2"}, {}]}}]}},
                    {"kvlistValue": {"values": [{"key": "k", "value": {"doubleValue": "NaN"}}]}},
                ]
            }
        },
        '["a",1,1.0,true,null,{"$bytes":"AA=="},[[2,null]],{"k":{"$double":"NaN"}}]',
    ),
    "empty map": ({"kvlistValue": {}}, "{}"),
    "map with an empty key and an empty value": (
        {"kvlistValue": {"values": [{"key": "", "value": {}}]}},
        '{"":null}',
    ),
    "map in its order": (
        {
            "kvlistValue": {
                "values": [{"key": "b", "value": {"intValue": "1"}}, {"key": "a", "value": {"intValue": "2"}}]
            }
        },
        '{"b":1,"a":2}',
    ),
    "map with keys like ours": (
        {"kvlistValue": {"values": [{"key": "$bytes", "value": {"intValue": "1"}}]}},
        '{"$bytes":1}',
    ),
    "key with characters of all kinds": (
        {"kvlistValue": {"values": [{"key": '\x00"😀', "value": {"boolValue": False}}]}},
        r'{"\u0000\"' + '😀":false}',
    ),
}


def message_of(shape: dict[str, Any]) -> AnyValue:
    """The protobuf of an AnyValue in OTLP/JSON, spelled out so that no decoder is judged by itself."""
    [(kind, content)] = shape.items() or [("", None)]
    if kind == "arrayValue":
        return AnyValue(array_value=ArrayValue(values=map(message_of, content.get("values", ()))))
    if kind == "kvlistValue":
        pairs = (
            KeyValue(key=pair["key"], value=message_of(pair["value"])) for pair in content.get("values", ())
        )
        return AnyValue(kvlist_value=KeyValueList(values=pairs))
    return any_value(_NATIVE[kind](content))


_NATIVE: dict[str, Any] = {
    "": lambda _: None,
    "stringValue": str,
    "boolValue": bool,
    "intValue": int,
    "doubleValue": float,
    "bytesValue": lambda content: {"AAH/": b"\x00\x01\xff", "AA==": b"\x00", "": b""}[content],
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_stored_by_one_text_from_both_encodings(name: str) -> None:
    shape, text = SHAPES[name]
    json.loads(text)  # what is expected is JSON
    in_json = traces_json(span_json(attributes=[{"key": "k", "value": shape}]))
    in_protobuf = traces_message({})
    span = in_protobuf.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="k", value=message_of(shape))
    rows = [read(body).spans.to_pylist()[0] for body in (in_json, in_protobuf)]
    assert [row["attributes"] for row in rows] == [f'{{"k":{text}}}'] * 2
    assert [row["notes"] for row in rows] == [None] * 2


@pytest.mark.parametrize("name", SHAPES)
def test_in_bodies_exemplars_and_metadata_too(name: str) -> None:
    shape, text = SHAPES[name]
    value = message_of(shape)
    logs = logs_message({})
    logs.resource_logs[0].scope_logs[0].log_records[0].body.CopyFrom(value)
    [row] = read(logs, "logs").log_records.to_pylist()
    assert row["body"] == (None if text == "null" else text)
    metrics = metrics_message("m", {})
    metric = metrics.resource_metrics[0].scope_metrics[0].metrics[0]
    metric.metadata.add(key="k", value=value)
    metric.gauge.data_points[0].exemplars.add().filtered_attributes.add(key="k", value=value)
    [point] = read(metrics, "metrics").metric_points.to_pylist()
    assert point["metric_metadata"] == f'{{"k":{text}}}'
    assert f'"filtered_attributes":{{"k":{text}}}' in point["exemplars"]


def test_of_a_key_that_stands_twice_the_last_value_is_kept_and_noted() -> None:
    twice = [{"key": "k", "value": {"intValue": "1"}}, {"key": "k", "value": {"stringValue": "2"}}]
    nested = {"kvlistValue": {"values": twice}}
    for pairs, text in ((twice, '{"k":"2"}'), ([{"key": "m", "value": nested}], '{"m":{"k":"2"}}')):
        in_protobuf = traces_message({})
        span = in_protobuf.resource_spans[0].scope_spans[0].spans[0]
        for pair in pairs:
            span.attributes.add(key=pair["key"], value=message_of(pair["value"]))  # type: ignore[arg-type]
        for body in (in_protobuf, traces_json(span_json(attributes=pairs))):
            [row] = read(body).spans.to_pylist()
            assert (row["attributes"], row["notes"]) == (text, ["duplicate_attribute"])


def test_values_nest_as_deep_as_the_limit_of_requests() -> None:
    """Admission refuses what is deeper; here nothing on the way gives up earlier."""
    for kind, opening, closing in (("arrayValue", "[", "]"), ("kvlistValue", '{"k":', "}")):
        shape: dict[str, Any] = {"intValue": "5"}
        for _ in range(31):
            inner = [shape] if kind == "arrayValue" else [{"key": "k", "value": shape}]
            shape = {kind: {"values": inner}}
        in_protobuf = traces_message({})
        in_protobuf.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="k", value=message_of(shape))
        for body in (in_protobuf, traces_json(span_json(attributes=[{"key": "k", "value": shape}]))):
            [row] = read(body).spans.to_pylist()
            assert row["attributes"] == f'{{"k":{opening * 31}5{closing * 31}}}'
