"""The walk over the wire format counts exactly what the parser would build, however a body is spelt."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from semconv.otlp import DecodeError, TooDeep
from semconv.settings import Signal
from semconv.wire import SCHEMAS, Tally, TooMany, walk
from tests.otlp_messages import REQUESTS

PLENTY = 1 << 40
ITEM_LISTS = {"spans", "log_records", "data_points"}
SEED = 20_261_122


def varint(number: int, *, longer: int = 0) -> bytes:
    """A number as encoders write it, or with ``longer`` bytes more than it needs."""
    digits = bytearray()
    while number > 0x7F or longer:
        longer -= number <= 0x7F
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def delimited(field: int, content: bytes, *, longer: int = 0) -> bytes:
    return varint(field << 3 | 2, longer=longer) + varint(len(content), longer=longer) + content


def counted(signal: Signal, body: bytes) -> tuple[int, int]:
    """Items and nodes, by the walk."""
    tally = Tally(signal, PLENTY, PLENTY)
    walk(body, SCHEMAS[signal].root, tally, 32)
    return tally.items, tally.nodes


def built(message: Any) -> tuple[int, int]:
    """Items and nodes (sub-messages and elements of repeated scalars) of a parsed message: the oracle."""
    items = nodes = 0
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.message_type is None:
            nodes += len(values) if field.is_repeated else 0
            continue
        items += len(values) if field.name in ITEM_LISTS else 0
        for one in values:
            inner = built(one)
            items, nodes = items + inner[0], nodes + inner[1] + 1
    return items, nodes


def random_message(message: Any, dice: random.Random, depth: int = 0) -> Any:
    """Any fields, with any content, twice or thrice the same ones in a list."""
    for field in message.DESCRIPTOR.fields:
        if dice.random() < 0.4 or depth > 14:
            continue
        make: Callable[[], Any] = lambda field=field: _random_value(field, dice)  # noqa: E731
        inner = getattr(message, field.name)
        if field.message_type is not None:
            if not field.is_repeated:
                random_message(inner, dice, depth + 1)
                inner.SetInParent()
            for _ in range(dice.choice([0, 1, 1, 3]) if field.is_repeated else 0):
                one = random_message(inner.add(), dice, depth + 1)
                inner.extend([one] * dice.choice([0, 0, 0, 1, 5]))
        elif field.is_repeated:
            inner.extend([make() for _ in range(dice.choice([0, 1, 5]))] * dice.choice([1, 1, 4]))
        else:
            setattr(message, field.name, make())
    return message


def _random_value(field: FieldDescriptor, dice: random.Random) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return dice.randbytes(dice.choice([0, 1, 16, 200]))
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return "é*2J\n" * dice.choice([0, 1, 40])
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return dice.choice([0.0, -1.5, 1e300])
        case FieldDescriptor.CPPTYPE_BOOL:
            return dice.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            return dice.choice([0, 1])
    return dice.choice([0, 1, 127, 128, 1 << 30])


@pytest.mark.parametrize("signal", REQUESTS)
def test_the_walk_counts_what_the_parser_builds(signal: Signal) -> None:
    """Over random messages of every field, and each of them several times behind itself."""
    dice = random.Random(SEED)
    largest = 0
    for _ in range(60):
        message = random_message(REQUESTS[signal](), dice)
        body = message.SerializeToString()
        items, nodes = built(message)
        assert counted(signal, body) == (items, nodes)
        assert counted(signal, body * 3) == (3 * items, 3 * nodes)
        envelope = Tally(signal, PLENTY, PLENTY)
        walk(body, SCHEMAS[signal].envelope, envelope, 32)
        assert envelope.items == items
        largest = max(largest, nodes)
    assert largest > 200


@pytest.mark.parametrize("signal", REQUESTS)
def test_what_is_unknown_or_spelt_oddly_changes_no_count(signal: Signal) -> None:
    """Unknown fields of every wire type between the known ones, and tags and lengths longer than they need be."""
    dice = random.Random(SEED)
    unknown = [
        varint(200 << 3) + b"\x05",
        varint(200 << 3 | 1) + bytes(8),
        varint(200 << 3 | 5) + bytes(4),
        delimited(200, b"\x0a\x12\x4a"),
        delimited(15, b"", longer=1),
        varint(200 << 3 | 3) + varint(200 << 3 | 4),  # an empty group
    ]
    for _ in range(60):
        body = b""
        for _, groups in random_message(REQUESTS[signal](), dice).ListFields():
            for group in groups:
                body += dice.choice(unknown) * dice.choice([1, 3])
                body += delimited(1, group.SerializeToString(), longer=dice.randrange(3))
        assert counted(signal, body) == built(REQUESTS[signal].FromString(body))


def test_numbers_count_whether_packed_or_not() -> None:
    """Two buckets each, as packed and as separate fields: both readings are the parser's own."""
    separate = b"\x10\x01\x10\x02" + b"\x90\x00\x03"  # the last one's tag is longer than it need be
    packed = delimited(2, b"\x01\xac\x02\x03")
    for buckets in (separate, packed):
        point = delimited(8, buckets)
        body = delimited(1, delimited(2, delimited(2, delimited(10, delimited(1, point)))))
        assert counted("metrics", body) == (1, 6 + 3)
        assert built(REQUESTS["metrics"].FromString(body)) == (1, 6 + 3)


@pytest.mark.parametrize("signal", REQUESTS)
def test_a_cut_or_changed_body_ends_in_an_answer(signal: Signal) -> None:
    """Whatever byte a body is cut at or whatever byte of it is another: counts, or an error, and no exception else."""
    dice = random.Random(SEED)
    body = max((random_message(REQUESTS[signal](), dice).SerializeToString() for _ in range(5)), key=len)[
        :4000
    ]
    bodies = [body[:end] for end in range(0, len(body), 7)]
    for _ in range(1500):
        changed = bytearray(body)
        changed[dice.randrange(len(body))] = dice.randrange(256)
        bodies.append(bytes(changed))
    outcomes = set()
    for one in bodies:
        try:
            walk(one, SCHEMAS[signal].root, Tally(signal, 1000, 10_000), 32)
        except (DecodeError, TooMany) as error:
            outcomes.add(type(error))
    assert DecodeError in outcomes


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 1000, 40_000])
@pytest.mark.parametrize("size", [0, 1, 90, 5000])
def test_repeated_fields_are_each_counted(count: int, size: int) -> None:
    """Also beyond the size and number that are compared at once, and with another field behind them."""
    event = delimited(11, delimited(2, b"x" * size)) if size else delimited(11, b"")
    count = min(count, 4_000_000 // len(event))
    body = delimited(1, delimited(2, delimited(2, event * count + delimited(11, delimited(2, b"y" * size)))))
    assert counted("traces", body) == (1, 3 + count + 1)


def test_each_limit_is_met_exactly() -> None:
    """3 spans of 2 attributes are 3 items, 2 + 3 + 3 * 4 values and 3 * 3 further fields with a length."""
    text = delimited(1, b"key" * 60) + delimited(2, delimited(1, b"text" * 60))
    span = delimited(2, delimited(5, b"name") + delimited(9, text) * 2)
    body = delimited(1, delimited(2, span * 3))
    assert counted("traces", body) == (3, 17)
    walk(body, SCHEMAS["traces"].root, Tally("traces", 3, 17), 1)
    for items, nodes, message in ((2, 17, "more than 2 spans"), (3, 16, "more than 16 values")):
        with pytest.raises(TooMany, match=message):
            walk(body, SCHEMAS["traces"].root, Tally("traces", items, nodes), 1)


def test_fields_that_are_no_values_are_limited_too() -> None:
    """Texts and unknown fields with a length: twice as many as values at most, for each costs time."""
    varied = b"".join(delimited(15, bytes([number % 251])) for number in range(2001))
    with pytest.raises(TooMany, match="more than 2000 fields"):
        walk(varied, SCHEMAS["traces"].root, Tally("traces", 10, 1000), 32)
    walk(varied[:-3], SCHEMAS["traces"].root, Tally("traces", 10, 1000), 32)


def nested(kinds: list[str]) -> bytes:
    """An AnyValue's content: lists and maps in each other, nothing in the innermost."""
    content = b""
    for kind in reversed(kinds):
        inner = delimited(1, content)
        content = delimited(5, inner) if kind == "list" else delimited(6, delimited(1, delimited(2, content)))
    return content


@pytest.mark.parametrize("kinds", [["list"] * 31, ["map"] * 31, ["map", "list"] * 15 + ["map"]])
def test_depth_is_how_many_lists_and_maps_a_value_stands_in(kinds: list[str]) -> None:
    """31 of them around a value make it 32 deep; one more is too many, also an empty one."""
    for around, too_deep in ((kinds, False), ([*kinds, "list"], True), ([*kinds, "map"], True)):
        body = delimited(1, delimited(1, delimited(1, delimited(2, nested(around)))))
        tally = Tally("traces", PLENTY, PLENTY)
        if too_deep:
            with pytest.raises(TooDeep, match="more than 32 deep"):
                walk(body, SCHEMAS["traces"].root, tally, 32)
        else:
            walk(body, SCHEMAS["traces"].root, tally, 32)


def test_values_nested_without_end_end_in_an_answer() -> None:
    """Where the limit allows more than Python's stack."""
    with pytest.raises(TooDeep):
        walk(
            delimited(1, delimited(1, delimited(1, delimited(2, nested(["list"] * 3000))))),
            SCHEMAS["traces"].root,
            Tally("traces", PLENTY, PLENTY),
            10_000,
        )
