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
# Values remembered of one key: those of an id or a prompt would only push out the ones that come again.
_REMEMBERED_VALUES: Final = 256

Pair = tuple[str, Value]


class _Key:
    """A key that has come before."""

    __slots__ = ("left", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.left = _REMEMBERED_VALUES  # how many more of its values are remembered


# What stands before a short text, or up to a number's first byte: the key, the length of the whole pair, and whether
# a text follows.
_Head = tuple[_Key, int, bool]


class Pairs(dict[bytes, Pair]):
    """Serialised KeyValue → (key, value), each that repeats read once.

    By hand where it is short and written in the usual way, by upb where it is not, and from memory where the same
    bytes have been seen before.
    """

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[str, _Key] = {}  # one string object for each: later look-ups compare by identity
        self._heads: dict[bytes, _Head] = {}
        self._notes: Notes = []

    def attributes(self, raw_pairs: Sequence[bytes], notes: Notes) -> Attributes:
        """A list of attributes, the last of equal keys winning."""
        self._notes = notes
        # Of upb's lists a slice costs half of what their iterator does.
        raw = raw_pairs[:]
        attributes = dict(map(self.__getitem__, raw))
        if len(attributes) != len(raw):
            notes.append(note.DUPLICATE_ATTRIBUTE)
        if len(self) > _REMEMBERED_PAIRS or len(self._heads) > _REMEMBERED_PAIRS:
            self._forget()
        return attributes

    def _forget(self) -> None:
        self.clear()
        self._keys.clear()
        self._heads.clear()

    def __missing__(self, raw: bytes) -> Pair:
        """The pair: by hand where the message is a key and a plain scalar in the usual order; else by upb."""
        try:
            start = raw[1] + 6  # of a text: behind tag, length and key, and tag and length twice
            head = self._heads.get(raw[:start]) or self._learned(raw, start)
            if head is None or head[1] != len(raw):
                return self._long_text(raw, start) or self._read_any(raw)
            key, _, is_text = head
            value = raw[start:].decode() if is_text else _scalar(raw, start - 1)
            if value is None:
                return self._read_any(raw)
        except IndexError:
            return self._read_any(raw)
        except UnicodeDecodeError as error:
            raise DecodeError(f"an attribute's text is not UTF-8: {error}") from error
        pair = key.name, value
        if key.left:
            key.left -= 1
            self[raw] = pair
        return pair

    def _learned(self, raw: bytes, start: int) -> _Head | None:
        """What the bytes before ``start`` say, remembered; None where they are no key and beginning of a scalar, each
        under 128 bytes.
        """
        end = start - 4  # of the key
        size = len(raw) - end - 2  # of the AnyValue
        if not (raw[0] == _KEY_TAG and raw[end] == _VALUE_TAG and 1 < raw[end + 1] == size < _ONE_BYTE > end):
            return None
        is_text = raw[end + 2] == _STRING
        if is_text and raw[end + 3] != size - 2:
            return None
        head = self._heads[raw[:start]] = self._key(raw[2:end].decode()), len(raw), is_text
        return head

    def _long_text(self, raw: bytes, start: int) -> Pair | None:
        """A pair whose text takes 128 bytes to 16 KiB: its length and that of its value take two bytes each."""
        end = start - 4  # of the key
        text = raw[start + 2 :]
        if not (
            raw[0] == _KEY_TAG and raw[end] == _VALUE_TAG and raw[end + 3] == _STRING and end < _ONE_BYTE
        ):
            return None
        if _two_bytes(raw, end + 1) != len(text) + 3 or _two_bytes(raw, end + 4) != len(text):
            return None
        return self._key(raw[2:end].decode()).name, text.decode()

    def _key(self, name: str) -> _Key:
        key = self._keys.get(name)
        if key is None:
            if len(self._keys) > _REMEMBERED_PAIRS:
                self._forget()
            key = self._keys[name] = _Key(name)
        return key

    def _read_any(self, raw: bytes) -> Pair:
        noted = len(self._notes)
        try:
            message_pair = common_pb2.KeyValue.FromString(raw)
        except message.DecodeError as error:
            raise DecodeError(f"an attribute is not a protobuf KeyValue: {error}") from error
        pair = message_pair.key, any_value(message_pair.value, self._notes)
        if len(raw) <= _REMEMBERED_BYTES and len(self._notes) == noted:
            key = self._key(pair[0])
            if key.left:
                key.left -= 1
                self[raw] = pair
        return pair


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.pairs = Pairs()


_OF_THREAD: Final = _OfThread()


def remembered_pairs() -> Pairs:
    """The pairs that the requests before had: those of one sender have the same ones again and again."""
    return _OF_THREAD.pairs


def _scalar(raw: bytes, start: int) -> Value:
    """The number or boolean whose tag stands before ``start``, and which ends the pair; None for anything else."""
    tag, size = raw[start - 1], len(raw) - start
    if tag == _INT:
        return _varint(raw, start, size)
    if tag == _FIXED64_DOUBLE:
        return double_value(_DOUBLE(raw, start)[0]) if size == 8 else None
    if tag == _BOOL and size == 1:
        return raw[start] == 1 if raw[start] <= 1 else None
    return None


def _two_bytes(raw: bytes, start: int) -> int | None:
    """The number that a varint of two bytes spells, None for one of another length."""
    low, high = raw[start], raw[start + 1]
    return low & 0x7F | high << 7 if high < _ONE_BYTE <= low else None


def _varint(raw: bytes, start: int, size: int) -> int | None:
    """The number that a varint of up to 8 bytes spells, which are the non-negative ones below 2**56."""
    if size == 2 and raw[start + 1] < _ONE_BYTE <= raw[start]:  # most token counts: 128 to 16383
        return raw[start] & 0x7F | raw[start + 1] << 7
    value = raw[-1]
    if size > 8 or value >= _ONE_BYTE:
        return None
    for digit in raw[-2 : start - 1 : -1]:
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
