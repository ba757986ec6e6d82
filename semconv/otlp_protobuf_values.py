"""Attributes and values in OTLP/protobuf → native values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final

from google.protobuf import message
from opentelemetry.proto.common.v1 import common_pb2

from semconv import notes as note
from semconv.otlp import Attributes, DecodeError, Notes, Value
from semconv.values import bytes_value, double_value

_DOUBLE: Final = Struct("<d").unpack_from
# Tags of AnyValue's fields on the wire: field number << 3 | wire type.
_STRING, _BOOL, _INT, _FIXED64_DOUBLE = 0x0A, 0x10, 0x18, 0x21
_KEY_TAG, _VALUE_TAG = 0x0A, 0x12
_ONE_BYTE: Final = 0x80  # lengths below this take one byte

# Pairs, and beginnings of pairs, remembered at a time: enough for the repeating ones, a few MB at most.
_REMEMBERED_PAIRS: Final = 8192
_REMEMBERED_BYTES: Final = 160
# Pairs remembered of one beginning: those of an id or a prompt would only push out the ones that come again.
_REMEMBERED_TEXTS: Final = 64

Pair = tuple[str, Value]


class _Head:
    """What stands before a short text: the key, and the length of the whole pair."""

    __slots__ = ("key", "left", "size")

    def __init__(self, key: str, size: int) -> None:
        self.key = key
        self.size = size
        self.left = _REMEMBERED_TEXTS  # how many more pairs are remembered


class Pairs(dict[bytes, Pair]):
    """Serialised KeyValue → (key, value), each that repeats read once.

    By hand where it is short and written in the usual way, by upb where it is not, and from memory where the same
    bytes have been seen before.
    """

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[bytes, str] = {}  # one string object for each: later look-ups compare by identity
        self._heads: dict[bytes, _Head] = {}
        self._notes: Notes = []

    def attributes(self, raw_pairs: Sequence[bytes], notes: Notes) -> Attributes:
        """A list of attributes, the last of equal keys winning."""
        self._notes = notes
        # Of upb's lists a slice costs half of what their iterator does.
        attributes = dict(map(self.__getitem__, raw_pairs[:]))
        if len(self) > _REMEMBERED_PAIRS or len(self._heads) > _REMEMBERED_PAIRS:
            self._forget()
        if len(attributes) != len(raw_pairs):
            notes.append(note.DUPLICATE_ATTRIBUTE)
        return attributes

    def _forget(self) -> None:
        self.clear()
        self._keys.clear()
        self._heads.clear()

    def __missing__(self, raw: bytes) -> Pair:
        """The pair: by hand where the message is a key and a plain scalar, each under 128 bytes; else by
        upb.
        """
        try:
            end = raw[1] + 6  # of what stands before a text: tag, length and key, and tag and length twice
            head = self._heads.get(raw[:end])
            if head is None or head.size != len(raw):
                return self._read_scalar(raw) or self._read_any(raw)
            pair = head.key, raw[end:].decode()
        except IndexError:
            return self._read_any(raw)
        except UnicodeDecodeError as error:
            raise DecodeError(f"an attribute's text is not UTF-8: {error}") from error
        if head.left:
            head.left -= 1
            self[raw] = pair
        return pair

    def _read_scalar(self, raw: bytes) -> Pair | None:
        end = raw[1] + 2  # of the key
        size = len(raw) - end - 2  # of the AnyValue
        if not (raw[0] == _KEY_TAG and raw[end] == _VALUE_TAG and raw[end + 1] == size < _ONE_BYTE > end):
            return None
        is_text = raw[end + 2] == _STRING and raw[end + 3] == size - 2
        value: Value = raw[end + 4 :].decode() if is_text else _scalar(raw, end + 2, size)
        if value is None:
            return None
        key = self._keys.get(raw[2:end])
        if key is None:
            key = self._keys[raw[2:end]] = raw[2:end].decode()
        elif is_text:  # the key has come before, and may again
            self._heads[raw[: end + 4]] = _Head(key, len(raw))
        pair = self[raw] = key, value
        return pair

    def _read_any(self, raw: bytes) -> Pair:
        noted = len(self._notes)
        try:
            message_pair = common_pb2.KeyValue.FromString(raw)
        except message.DecodeError as error:
            raise DecodeError(f"an attribute is not a protobuf KeyValue: {error}") from error
        pair = message_pair.key, any_value(message_pair.value, self._notes)
        if len(raw) <= _REMEMBERED_BYTES and len(self._notes) == noted:
            self[raw] = pair
        return pair


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.pairs = Pairs()


_OF_THREAD: Final = _OfThread()


def remembered_pairs() -> Pairs:
    """The pairs that the requests before had: those of one sender have the same ones again and again."""
    return _OF_THREAD.pairs


def _scalar(raw: bytes, start: int, size: int) -> Value:
    """The number or boolean of the AnyValue of ``size`` bytes at ``start``; None for anything else."""
    tag = raw[start]
    if tag == _INT:
        return _varint(raw[start + 1 :])
    if tag == _FIXED64_DOUBLE:
        return double_value(_DOUBLE(raw, start + 1)[0]) if size == 9 else None
    if tag == _BOOL and size == 2:
        return raw[start + 1] == 1 if raw[start + 1] <= 1 else None
    return None


def _varint(digits: bytes) -> int | None:
    """The number that a varint of up to 8 bytes spells, which are the non-negative ones below 2**56."""
    if len(digits) == 2 and digits[1] < _ONE_BYTE <= digits[0]:  # most token counts: 128 to 16383
        return digits[0] & 0x7F | digits[1] << 7
    if len(digits) > 8 or digits[-1] >= _ONE_BYTE:
        return None
    value = digits[-1]
    for digit in digits[-2::-1]:
        if digit < _ONE_BYTE:
            return None
        value = value << 7 | digit & 0x7F
    return value


def any_value(value: Any, notes: Notes) -> Value:
    """An AnyValue message as a native value; an empty one is None."""
    kind = value.WhichOneof("value")
    read = _READERS.get(kind)
    content = None if kind is None else getattr(value, kind)
    return read(content, notes) if read else content


def _array(array: Any, notes: Notes) -> list[Value]:
    return [any_value(value, notes) for value in array.values]


def _map(kvlist: Any, notes: Notes) -> dict[str, Value]:
    return pair_map(kvlist.values, notes)


def pair_map(pairs: Any, notes: Notes) -> dict[str, Value]:
    """A list of KeyValue messages as a dictionary, the last of equal keys winning."""
    values = {pair.key: any_value(pair.value, notes) for pair in pairs}
    if len(values) != len(pairs):
        notes.append(note.DUPLICATE_ATTRIBUTE)
    return values


# What AnyValue's kinds need besides being read; str, bool and int need nothing, nor does any kind yet unknown
# (an index into the string table of profiles).
_READERS: Final[dict[str | None, Callable[[Any, Notes], Value]]] = {
    "double_value": lambda number, _notes: double_value(number),
    "bytes_value": lambda raw, _notes: bytes_value(raw),
    "array_value": _array,
    "kvlist_value": _map,
}
