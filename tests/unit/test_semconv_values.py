"""AnyValue between OTLP, Python and JSON text."""

from __future__ import annotations

import json
import math

import pytest

from semconv.values import (
    CUT_MARKER,
    bytes_value,
    cut_text,
    cut_value,
    double_value,
    has_text,
    json_text,
    longest_text,
    parse_double,
    parse_integer,
)
from tests.otlp_data import only_span, span_json, span_of, traces_json


@pytest.mark.parametrize(
    "number",
    [0.0, -0.0, 1.0, 5.0, 1e15, 1e16, 1e22, 123456789012345678.0, 5e-324, 1e-7, 0.1, -1e100, 2.0**53],
)
def test_doubles_in_json_text_never_look_like_integers(number: float) -> None:
    text = json_text(number)
    assert "." in text or "e" in text
    assert math.copysign(1, json.loads(text)) == math.copysign(1, number)
    assert json.loads(text) == number


@pytest.mark.parametrize(
    ("number", "expected"),
    [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")],
)
def test_non_finite_doubles_are_spelled_out(number: float, expected: str) -> None:
    assert double_value(number) == {"$double": expected}


def test_bytes_stand_as_base64() -> None:
    assert bytes_value(b"\x00\xff") == {"$bytes": "AP8="}


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        (5, 5),
        ("5", 5),
        ("-5", -5),
        (5.0, 5),
        ("5.0", 5),
        ("1e3", 1000),
        ("12.5e1", 125),
        (1e3, 1000),
        ("9223372036854775807", 2**63 - 1),
        (2**70, 2**70),
        (5.5, None),
        ("5.5", None),
        (True, None),
        ("", None),
        (" 5", None),
        ("1_000", None),
        ("٣", None),
        ("0x10", None),
        ("abc", None),
        ([5], None),
        (None, None),
        (math.inf, None),
        (math.nan, None),
    ],
)
def test_integers_in_every_spelling_of_json(spelled: object, expected: int | None) -> None:
    assert parse_integer(spelled) == expected


def test_a_huge_exponent_costs_nothing_and_is_out_of_range() -> None:
    number = parse_integer("1e999999999")
    assert number is not None
    assert number > 2**64
    assert parse_integer("-1e999999999") < -(2**63)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [(1, 1.0), (0.5, 0.5), ("0.5", 0.5), ("1e-3", 0.001), ("Infinity", math.inf), ("x", None), (True, None)],
)
def test_doubles_in_every_spelling_of_json(spelled: object, expected: float | None) -> None:
    assert parse_double(spelled) == expected


def test_doubles_named_nan() -> None:
    number = parse_double("NaN")
    assert number is not None
    assert math.isnan(number)


@pytest.mark.parametrize("value", ["x", ["x"], [[{"a": "x"}]], {"a": 1, "b": ["x"]}, {"$bytes": "eA=="}])
def test_text_is_found_at_any_depth(value: object) -> None:
    assert has_text(value)


@pytest.mark.parametrize("value", ["", 5, 0.5, True, None, [], {}, [1, 2.0], {"a": 1}, {"$double": "NaN"}])
def test_numbers_are_no_text(value: object) -> None:
    assert not has_text(value)


def test_length_is_of_the_longest_string_in_utf8() -> None:
    assert longest_text({"key": ["a", "äöü"], "a long key": 5}) == 10
    assert longest_text("äöü") == 6
    assert longest_text(12345678) == 0


@pytest.mark.parametrize("limit", range(1, 12))
def test_texts_are_cut_between_characters(limit: int) -> None:
    text = "aä€😀" * 3
    cut = cut_text(text, limit)
    kept = cut.removesuffix(CUT_MARKER)
    assert cut.endswith(CUT_MARKER)
    assert text.startswith(kept)
    assert limit - 4 < len(kept.encode()) <= limit


def test_short_texts_are_not_cut() -> None:
    assert cut_text("äöü", 6) == "äöü"
    assert cut_value(["a", 1], 100) == ["a", 1]
    assert cut_value(12345678901234567890, 3) == 12345678901234567890


def test_a_long_list_becomes_cut_text() -> None:
    cut = cut_value(list(range(1000)), 10)
    assert cut == "[0,1,2,3,4" + CUT_MARKER


NATIVE = {
    "text": 'ä "quoted"\n\u0000',
    "flag": False,
    "whole": 5,
    "least": -(2**63),
    "double": 5.0,
    "nan": math.nan,
    "raw": b"\x00\xff",
    "empty": None,
    "mixed": [1, "a", None, [True], {"k": -math.inf}],
    "map": {"z": 1, "a": {"deep": [b"x"]}},
    "nothing": [],
    "no pairs": {},
}
STORED = (
    '{"text":"ä \\"quoted\\"\\n\\u0000","flag":false,"whole":5,"least":-9223372036854775808,"double":5.0,'
    '"nan":{"$double":"NaN"},"raw":{"$bytes":"AP8="},"empty":null,'
    '"mixed":[1,"a",null,[true],'
    '{"k":{"$double":"-Infinity"}}],"map":{"z":1,"a":{"deep":[{"$bytes":"eA=="}]}},'
    '"nothing":[],"no pairs":{}}'
)


def test_every_kind_of_value_is_stored_as_received_in_its_order_from_protobuf() -> None:
    assert span_of(NATIVE)["attributes"] == STORED


def test_every_kind_of_value_is_stored_as_received_in_its_order_from_json() -> None:
    assert only_span(traces_json(span_json(NATIVE)))["attributes"] == STORED
