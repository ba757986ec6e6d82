"""JSON that the fast parser refuses, or reads as something else than it says: read exactly, in bounded time."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
from fractions import Fraction
from typing import Any

import orjson
import pytest

from collector.receivers.intake import COST_PER_BYTE
from semconv import json_document, json_exact
from semconv.json_exact import Number, parse
from semconv.otlp import INT64_MAX, INT64_MIN, DecodeError
from semconv.validity import Verdict, check
from tests.otlp_data import END, RECEIVED_AT, START, only_span, read, span_json, traces_json

INTEGER_BEYOND = ["integer_out_of_range"]
DOUBLE_BEYOND = ["double_out_of_range"]
MALFORMED = ["malformed_value"]


def with_literal(literal: str, **fields: Any) -> bytes:
    """A request with a span, ``"@"`` in its fields being replaced by a literal as it stands."""
    return traces_json(span_json(**fields)).replace(b'"@"', literal.encode())


def attribute(kind: str, literal: str) -> tuple[Any, list[str] | None]:
    """What becomes of ``{kind: literal}``: the stored value, and the span's notes."""
    row = only_span(with_literal(literal, attributes=[{"key": "a", "value": {kind: "@"}}]))
    return json.loads(row["attributes"])["a"], row["notes"]


# --- numbers --------------------------------------------------------------------------------------

INTEGERS: dict[str, tuple[int | None, list[str] | None]] = {
    "9223372036854775807": (INT64_MAX, None),
    "-9223372036854775808": (INT64_MIN, None),
    "9223372036854775808": (None, INTEGER_BEYOND),
    "-9223372036854775809": (None, INTEGER_BEYOND),  # the double next to it is within the range
    "18446744073709551616": (None, INTEGER_BEYOND),
    "123456789012345678901234567890": (None, INTEGER_BEYOND),
    "1" * 5000: (None, INTEGER_BEYOND),  # more digits than Python's int() reads
    "-" + "1" * 400: (None, INTEGER_BEYOND),
    "1e999": (None, INTEGER_BEYOND),
    "-1e999": (None, INTEGER_BEYOND),
    "1e20": (None, INTEGER_BEYOND),
    "5.0": (5, None),
    "-0.0": (0, None),
    "1e3": (1000, None),
    "12.5e1": (125, None),
    "5000e-3": (5, None),
    "0e999": (0, None),
    "0.000e99": (0, None),
    "9007199254740993.0": (9007199254740993, None),  # 2**53 + 1, which no double is
    "9007199254740993e0": (9007199254740993, None),
    "9223372036854775807.0": (INT64_MAX, None),  # as a double one more, out of range
    "-9223372036854775808.0": (INT64_MIN, None),
    "-9223372036854775809.0": (None, INTEGER_BEYOND),
    "4.99999999999999999999": (None, MALFORMED),  # as a double 5
    "0.1e-400": (None, MALFORMED),  # as a double 0
    "4.5": (None, MALFORMED),
    "NaN": (None, MALFORMED),
    "Infinity": (None, MALFORMED),
}


@pytest.mark.parametrize("literal", INTEGERS, ids=lambda text: text[:30])
def test_an_integer_is_what_exact_arithmetic_says(literal: str) -> None:
    """As a number and as a string: the integer that is spelt, or none with a note. Never a rounded one."""
    assert attribute("intValue", literal) == INTEGERS[literal]
    assert attribute("intValue", f'"{literal}"') == INTEGERS[literal]


@pytest.mark.parametrize(
    ("literal", "nearest"),
    [
        ("5", 5.0),
        ("9007199254740993", 9007199254740992.0),
        ("123456789012345678901234567890", 1.2345678901234568e29),
        ("1" * 300, float("1" * 300)),
        ("0.1", 0.1),
        ("1e-999", 0.0),
        ("1.7976931348623157e308", 1.7976931348623157e308),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_double_is_the_nearest_one(literal: str, nearest: float) -> None:
    for spelt in (literal, f'"{literal}"'):
        value, notes = attribute("doubleValue", spelt)
        assert struct.pack("<d", value) == struct.pack("<d", nearest)
        assert notes is None


@pytest.mark.parametrize("literal", ["1e999", "-1e999", "1.7976931348623159e308", "9" * 400])
def test_what_no_double_can_hold_is_absent_with_a_note_and_never_infinity(literal: str) -> None:
    for spelt in (literal, f'"{literal}"'):
        assert attribute("doubleValue", spelt) == (None, DOUBLE_BEYOND)


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_python_writes_non_finite_doubles_as_bare_words(name: str) -> None:
    """``json.dumps`` does; the specification wants strings. Both are the same double."""
    assert (
        attribute("doubleValue", name) == attribute("doubleValue", f'"{name}"') == ({"$double": name}, None)
    )


def test_one_odd_number_spoils_no_other() -> None:
    """In one body: the records around are what they are by themselves."""
    odd = [{"key": "n", "value": {"intValue": "@"}}, {"key": "d", "value": {"doubleValue": 1.0}}]
    plain = span_json({"gen_ai.usage.input_tokens": 7}, startTimeUnixNano=START, kind=3)
    body = traces_json(plain, span_json(attributes=odd), plain).replace(b'"@"', b"9007199254740993.0")
    rows = read(body).spans.to_pylist()
    assert rows[0] == rows[2] == only_span(traces_json(plain))
    assert rows[1]["attributes"] == '{"n":9007199254740993,"d":1.0}'
    assert [row["notes"] for row in rows] == [None] * 3


def test_times_are_exact_for_the_receiver_and_for_the_loader() -> None:
    """As a double, the latest time would be one nanosecond beyond the range, and others up to 128 off."""
    body = with_literal("1789999999123456789.0", startTimeUnixNano="@")
    assert only_span(body)["start_unix_nano"] == 1789999999123456789
    for literal, rejected in (("9223372036854775807.0", 0), ("9223372036854775808.0", 1), ("1e999", 1)):
        body = with_literal(literal, endTimeUnixNano="@")
        verdict = check("traces", "json", body, RECEIVED_AT)
        assert (verdict.items, verdict.rejected) == (1, rejected)
        assert read(body).spans.num_rows == 1 - rejected


def test_times_of_log_records_and_data_points_are_exact() -> None:
    for signal, body in (
        (
            "logs",
            '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":@,"body":{"intValue":7.0}}]}]}]}',
        ),
        (
            "metrics",
            '{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"timeUnixNano":@}]}}]}]}]}',
        ),
    ):
        raw = body.replace("@", "1789999999123456789.0").encode()
        assert check(signal, "json", raw, RECEIVED_AT) == Verdict(1, 0, ())  # type: ignore[arg-type]
        extracted = read(raw, signal)  # type: ignore[arg-type]
        table = extracted.log_records if signal == "logs" else extracted.metric_points
        assert table["time_unix_nano"].to_pylist() == [1789999999123456789]


def test_counts_of_data_points_are_exact() -> None:
    """64 bits, unsigned in the buckets; what they cannot hold is noted."""
    point = (
        '{"timeUnixNano":"%d","count":9007199254740993.0,"sum":1e999,"min":-Infinity,"max":1e3,'
        '"bucketCounts":[18446744073709551615,18446744073709551616,18446744073709551615.0],"explicitBounds":[1e999]}'
    )
    metric = f'{{"name":"m","histogram":{{"dataPoints":[{point % END}]}}}}'
    body = f'{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}'
    [row] = read(body.encode(), "metrics").metric_points.to_pylist()
    assert (row["count"], row["sum"], row["min"], row["max"]) == (
        9007199254740993,
        None,
        float("-inf"),
        1000.0,
    )
    assert json.loads(row["buckets"])["bucket_counts"] == [2**64 - 1, 0, 2**64 - 1]
    assert row["notes"] == ["double_out_of_range", "integer_out_of_range"]


def test_ordinary_bodies_are_not_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole and broken doubles where a double stands, integers as numbers and strings: nothing is in doubt."""
    monkeypatch.setattr(json_exact, "parse", lambda _: pytest.fail("read again"))
    values = [{"doubleValue": 1.0}, {"doubleValue": 0.7}, {"intValue": 5}, {"intValue": str(INT64_MAX)}]
    span = span_json(
        attributes=[{"key": str(n), "value": value} for n, value in enumerate(values)],
        startTimeUnixNano=START,
    )
    assert read(traces_json(span, span)).spans.num_rows == 2


@pytest.mark.parametrize("digits", [1 << 20, 8 << 20])
@pytest.mark.parametrize(
    "spell", [lambda n: "7" * n, lambda n: "0." + "0" * n + "1", lambda n: "7" * n + f"e-{n - 3}"]
)
def test_numbers_of_millions_of_digits_are_read(digits: int, spell: Any) -> None:
    """In time that grows as they do: Python's own integers of that length take longer than a test may."""
    body = with_literal(spell(digits), attributes=[{"key": "a", "value": {"intValue": "@"}}])
    assert only_span(body)["attributes"] == '{"a":null}'


# --- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "read_as"),
    [
        (rb"\ud83d", "\ufffd"),
        (rb"\uDE00", "\ufffd"),
        (rb"a\ud83db", "a\ufffdb"),
        (rb"\ud83d\ud83d\ude00", "\ufffd😀"),
        (rb"\ude00\ud83d", "\ufffd\ufffd"),
        (rb"\ud83d\ude00", "😀"),
        (rb"\\ud83d", r"\ud83d"),  # an escaped backslash, and five letters
        (rb"\\\ud83d", "\\\ufffd"),
        (b"a\xed\xa0\xbdb", "a\ufffdb"),  # raw, as UTF-8 does not allow
        (b"\xed\x9f\xbf", "\ud7ff"),  # the last before them
        (b"\xee\x80\x80", "\ue000"),  # the first behind them
        (b"line\nfeed\x00\x1f", "line\nfeed\x00\x1f"),
        (rb"\u0000", "\x00"),
    ],
)
def test_text_is_kept_and_lone_surrogates_become_the_replacement_character(raw: bytes, read_as: str) -> None:
    """In values and in keys, at any depth."""
    body = b'{"a":{"%b":["%b",{"k":"%b"}]},"u":"\\udead"}' % (raw, raw, raw)
    assert parse(body) == {"a": {read_as: [read_as, {"k": read_as}]}, "u": "\ufffd"}
    row = only_span(traces_json(span_json({"KEY": "VALUE"}, name="NAME")).replace(b"NAME", raw))
    assert row["name"] == read_as
    assert row["notes"] is None


def test_a_surrogate_in_one_span_leaves_the_others_alone() -> None:
    body = traces_json(span_json({"a": "bad"}), span_json({"a": "fine"})).replace(b"bad", rb"\ud83d")
    assert [row["attributes"] for row in read(body).spans.to_pylist()] == ['{"a":"\ufffd"}', '{"a":"fine"}']


def test_of_equal_keys_the_last_wins_as_with_the_fast_parser() -> None:
    text = b'{"a":1,"b":{"c":1,"c":2},"a":3}'
    assert parse(text) == orjson.loads(text) == {"a": 3, "b": {"c": 2}}
    assert parse(rb'{"\ud800":1,"\udfff":2}') == {"\ufffd": 2}


def test_a_byte_order_mark_is_ignored_at_the_beginning_alone() -> None:
    body = traces_json(span_json({"a": 1}))
    assert only_span(b"\xef\xbb\xbf" + body) == only_span(body)
    with pytest.raises(DecodeError, match="line 1 column 1 "):
        parse(b"\xef\xbb\xbf\xef\xbb\xbf{}")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "line 1 column 1"),
        (b"{} x", "line 1 column 4"),
        (b"{}{}", "line 1 column 3"),
        (b"{}\x00", "line 1 column 3"),
        (b'{"a":\n\n 01}', "line 3 column 3"),
        (b"[1,]", "line 1 column"),
        (b"{'a': 1}", "line 1 column 2"),
        (b"nan", "line 1 column 1"),
        (b"+1", "line 1 column 1"),
        (b".5", "line 1 column 1"),
        (b'{"a": "\\u12', "line 1 column"),
        (b'["a" "b"]', "line 1 column 6"),
        (b'{"a": "\xff"}', "byte 7"),
        (b"\xef\xbb\xbf\xff", "byte 3"),
        (b'"\xed\xa0"', "byte 1"),
        (b'"\xed\xa0\x80\xc3"', "byte 4"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(body: bytes, place: str) -> None:
    with pytest.raises(DecodeError, match=place):
        parse(body)


# --- depth and cost -------------------------------------------------------------------------------


def test_unknown_fields_may_nest_as_deep_for_both_parsers() -> None:
    """1,024 levels, from however deep in the program; more is refused in one sentence, never a crash."""

    def from_far(calls: int, body: bytes) -> Any:
        return from_far(calls - 1, body) if calls else parse(body)

    for levels in (900, 1023):
        body = b'{"x":' + b"[" * levels + b"]" * levels + b"}"
        assert orjson.loads(body)
        assert from_far(150, body) == parse(body)
    for levels in (1024, 1200, 10_000, 1_000_000):
        body = b'{"x":' + b"[" * levels + b"]" * levels + b"}"
        for read_it in (parse, json_document.parse):
            with pytest.raises(DecodeError, match="nested more than 1024 deep"):
                read_it(body)
            with pytest.raises(DecodeError):
                read_it(b'{"x":' * levels)


def test_what_the_receiver_reads_the_loader_reads_too_however_deep() -> None:
    """A number to be read exactly beside an unknown field of 1,000 levels."""
    body = with_literal("5.0", attributes=[{"key": "a", "value": {"intValue": "@"}}])
    body = body.replace(b'"name"', b'"unknown": ' + b"[" * 1000 + b"]" * 1000 + b', "name"', 1)
    assert check("traces", "json", body, RECEIVED_AT) == Verdict(1, 0, ())
    assert only_span(body)["attributes"] == '{"a":5}'


@pytest.mark.parametrize(
    "unit",
    [
        b"{},",
        b"[],",
        b'{"":0},',
        b"1.0,",
        b"1e9,",
        b"5e-9,",
        b"0,",
        b"1" * 22 + b",",
        b'"",',
        '"é",'.encode(),
        b"NaN,",
    ],
)
def test_memory_holds_to_what_a_body_is_charged(unit: bytes) -> None:
    """The same bytes for each byte of JSON as the fast parser, where the values are the smallest there are."""
    body = b"[" + unit * (60_000 // len(unit)) + b"0]"
    tracemalloc.start()
    try:
        kept = parse(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept) > 1000
    assert peak < COST_PER_BYTE["json"] * len(body)


def test_a_number_that_is_not_whole_is_a_plain_double() -> None:
    assert type(parse(b"0.5")) is type(parse(b"NaN")) is float
    assert type(parse(b"5")) is int
    whole = parse(b"5.0")
    assert type(whole) is Number
    assert (whole, whole.integer) == (5.0, 5)


def test_integers_agree_with_fractions() -> None:
    """Random spellings with points and exponents, near what doubles can tell apart."""
    dice = random.Random(20_261_122)
    for _ in range(4_000):
        text = dice.choice(["", "-"]) + str(dice.randrange(10 ** dice.randrange(1, 18)))
        text += dice.choice(
            ["", ".0", ".5", "." + "9" * dice.randrange(1, 18), "." + "0" * dice.randrange(12) + "1"]
        )
        text += dice.choice(["", "", f"e{dice.randrange(-25, 25)}"])
        exact, value = Fraction(text), parse(text.encode())
        integer = value.integer if isinstance(value, Number) else value if isinstance(value, int) else None
        if abs(exact) < 10**20:
            assert integer == (exact if exact.denominator == 1 else None), text
        else:
            assert integer is None or abs(integer) > 2**64, text
