"""The protobuf decoder's short cuts against upb itself."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from google.protobuf import message
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from semconv.otlp import DecodeError
from semconv.otlp_protobuf import parse, traces
from semconv.otlp_protobuf_values import any_value, remembered_pairs
from semconv.values import json_text
from tests.otlp_data import SPAN_ID, TRACE_ID, read, traces_message

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
SCALARS = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.binary(max_size=20),
    st.none(),
)


def span_with_raw_attribute(raw: bytes) -> bytes:
    """A request whose only span has one attribute of exactly these bytes."""
    span = field(1, TRACE_ID) + field(2, SPAN_ID) + field(9, raw)
    return field(1, field(2, field(2, span)))


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value: int) -> bytes:
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def attributes_of(body: bytes) -> dict[str, Any]:
    [group] = traces(body)
    [span] = group.records
    return dict(span.attributes)


def by_upb(raw: bytes) -> dict[str, Any]:
    pair = KeyValue.FromString(raw)
    return {pair.key: any_value(pair.value, [])}


def native(value: Any) -> AnyValue:
    kinds = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}
    return AnyValue() if value is None else AnyValue(**{kinds.get(type(value), "bytes_value"): value})


@given(key=TEXTS, value=SCALARS)
def test_every_scalar_reads_as_upb_reads_it(key: str, value: Any) -> None:
    raw = KeyValue(key=key, value=native(value)).SerializeToString()
    assert json_text(attributes_of(span_with_raw_attribute(raw))) == json_text(by_upb(raw))


@given(raw=st.binary(max_size=40))
def test_arbitrary_bytes_read_as_upb_reads_them_or_are_refused(raw: bytes) -> None:
    try:
        expected = by_upb(raw)
    except message.DecodeError:
        with pytest.raises(DecodeError):
            attributes_of(span_with_raw_attribute(raw))
    else:
        assert attributes_of(span_with_raw_attribute(raw)) == expected


TEXT_A = b"\x0a\x01a"
UNUSUAL = {
    "value before key": b"\x12\x03" + TEXT_A + b"\x0a\x01k",
    "no value": b"\x0a\x01k",
    "no key": b"\x12\x03" + TEXT_A,
    "nothing": b"",
    "key twice": b"\x0a\x01j\x0a\x01k\x12\x03" + TEXT_A,
    "value twice, the last kind holds": b"\x0a\x01k\x12\x03" + TEXT_A + b"\x12\x02\x18\x05",
    "two kinds in one value": b"\x0a\x01k\x12\x05" + TEXT_A + b"\x18\x05",
    "unknown field behind": b"\x0a\x01k\x12\x03" + TEXT_A + b"\xb8\x3e\x01",
    "unknown kind": b"\x0a\x01k\x12\x03\xb8\x3e\x01",
    "length in two bytes": b"\x0a\x81\x00k\x12\x03" + TEXT_A,
    "integer in more bytes than needed": b"\x0a\x01k\x12\x04\x18\x85\x80\x00",
    "boolean of two": b"\x0a\x01k\x12\x02\x10\x02",
    "double": b"\x0a\x01k\x12\x09\x21" + struct.pack("<d", -0.0),
    "empty string": b"\x0a\x01k\x12\x02\x0a\x00",
    "value of 127 bytes": b"\x0a\x01k\x12\x7f\x0a\x7d" + b"x" * 125,
    "value of 128 bytes": b"\x0a\x01k\x12\x80\x01\x0a\x7e" + b"x" * 126,
    "value of 200 bytes": b"\x0a\x01k\x12\xc8\x01\x0a\xc5\x01" + b"x" * 197,
    "text before the key": b"\x12\xc8\x01\x0a\xc5\x01" + b"x" * 197 + b"\x0a\x01k",
    "long text, further kind behind": b"\x0a\x01k\x12\xca\x01\x0a\xc5\x01" + b"x" * 197 + b"\x18\x05",
    "long text, unknown field behind": b"\x0a\x01k\x12\xc8\x01\x0a\xc5\x01" + b"x" * 197 + b"\xb8\x3e\x01",
    "length of a long text in three bytes": b"\x0a\x01k\x12\xc9\x01\x0a\xc5\x81\x00" + b"x" * 197,
    "text of 20,000 bytes": b"\x0a\x01k\x12\xa4\x9c\x01\x0a\xa0\x9c\x01" + b"x" * 20_000,
}


@pytest.mark.parametrize("case", UNUSUAL)
def test_unusual_spellings_on_the_wire_read_as_upb_reads_them(case: str) -> None:
    raw = UNUSUAL[case]
    assert attributes_of(span_with_raw_attribute(raw)) == by_upb(raw)


@pytest.mark.parametrize("case", UNUSUAL)
def test_unusual_spellings_of_a_known_key_read_as_upb_reads_them(case: str) -> None:
    """What is remembered of a key's usual spelling, also of texts as long, holds for no other spelling."""
    for text in (b"a", b"b", b"c"):
        attributes_of(span_with_raw_attribute(b"\x0a\x01k\x12\x03\x0a\x01" + text))
    raw = UNUSUAL[case]
    assert attributes_of(span_with_raw_attribute(raw)) == by_upb(raw)


@given(texts=st.lists(TEXTS, min_size=3, max_size=8))
def test_texts_of_a_known_key_read_as_upb_reads_them(texts: list[str]) -> None:
    for text in texts:
        raw = KeyValue(key="known", value=AnyValue(string_value=text)).SerializeToString()
        assert attributes_of(span_with_raw_attribute(raw)) == {"known": text}


def test_what_is_remembered_of_keys_without_end_is_bounded() -> None:
    for first in range(0, 60_000, 20_000):
        keys = range(first, first + 20_000)
        read(traces_message({f"endless.{key}": "text" for key in keys}))
        read(traces_message({"one": 1}))
        assert len(remembered_pairs()) <= 8192


def test_a_number_without_digits_is_refused_as_upb_refuses_it() -> None:
    raw = b"\x0a\x01k\x12\x01\x18"
    with pytest.raises(message.DecodeError):
        by_upb(raw)
    with pytest.raises(DecodeError):
        attributes_of(span_with_raw_attribute(raw))


def test_values_that_never_come_again_do_not_push_out_those_that_do() -> None:
    """Scenario: ids, prompts and measurements differ from span to span, a service's name does not.

    Guarantee: little is remembered of the former, and the latter stays remembered.
    """
    pairs = remembered_pairs()
    pairs.clear()
    for first in range(0, 6_000, 200):
        spans = (
            {"an.id": f"id-{n}", "a.prompt": "word " * (n % 29) + str(n), "a.number": n, "always": "the same"}
            for n in range(first, first + 200)
        )
        read(traces_message(*spans))
        assert ("always", "the same") in pairs.values()
    assert len(pairs) < 1_000


def test_repeated_attributes_are_read_once_and_stay_apart() -> None:
    """Remembered pairs must not leak between records: a list is shared, the dictionaries are not."""
    request = traces_message(*({"gen_ai.response.finish_reasons": ["stop"], "n": n % 3} for n in range(200)))
    rows = read(request).spans.to_pylist()
    assert [row["finish_reasons"] for row in rows] == [["stop"]] * 200
    assert [row["attributes"][-3:] for row in rows] == [f":{n % 3}}}" for n in range(200)]


def test_more_distinct_attributes_than_are_remembered() -> None:
    bodies = traces_message(*({f"key.{n}": n, "text": f"value {n}"} for n in range(247)))
    span = bodies.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.extend(KeyValue(key=f"k{n}", value=AnyValue(int_value=n)) for n in range(9000))
    rows = read(bodies).spans.to_pylist()
    assert rows[0]["attributes"].count(":") == 9002
    assert rows[-1]["attributes"] == '{"key.246":246,"text":"value 246"}'


def test_duplicate_keys_the_last_wins_with_a_note_also_inside_maps() -> None:
    outer = traces_message({"a": 1})
    outer.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="a").value.int_value = 2
    inner = traces_message({"m": {"x": 1}})
    values = inner.resource_spans[0].scope_spans[0].spans[0].attributes[0].value.kvlist_value.values
    values.add(key="x").value.int_value = 2
    for request, stored in ((outer, '{"a":2}'), (inner, '{"m":{"x":2}}')):
        for row in read(request).spans.to_pylist():
            assert (row["attributes"], row["notes"]) == (stored, ["duplicate_attribute"])


def test_a_note_about_a_repeated_value_is_not_forgotten() -> None:
    message = traces_message({"m": {"x": 1}}, {"m": {"x": 1}})
    for span in message.resource_spans[0].scope_spans[0].spans:
        span.attributes[0].value.kvlist_value.values.add(key="x").value.int_value = 2
    assert read(message).spans["notes"].to_pylist() == [["duplicate_attribute"]] * 2


def test_unknown_fields_are_skipped() -> None:
    raw = traces_message({"a": 1}).SerializeToString() + b"\xba\x3e\x03abc"
    assert read(raw, encoding="protobuf").spans.num_rows == 1


def test_a_parse_error_is_one_sentence_with_the_size() -> None:
    with pytest.raises(DecodeError, match=r"not a protobuf ExportTraceServiceRequest \(3 bytes\)"):
        parse(ExportTraceServiceRequest, b"\x0a\xff\x01")
