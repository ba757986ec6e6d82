"""OTLP as JSON: one object of any size, an array of them, several after each other, or one a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collector.backfill.jsontext import JsonCursor
from collector.backfill.parts import DEFAULT_SIZES, Chunk, Malformed, Pack, Rejected, Sizes, TooLarge
from collector.backfill.spill import Spill
from semconv.json_document import parse
from semconv.otlp import DecodeError
from semconv.settings import Signal

_DETECTION_LINES: Final = 100


@dataclass(frozen=True, slots=True)
class Shape:
    """The arrays of one signal, from the outside in."""

    signal: Signal
    resources: str
    scopes: str
    records: str


SHAPES: Final = {
    shape.resources: shape
    for shape in (
        Shape("traces", "resourceSpans", "scopeSpans", "spans"),
        Shape("logs", "resourceLogs", "scopeLogs", "logRecords"),
        Shape("metrics", "resourceMetrics", "scopeMetrics", "metrics"),
    )
}
_NO_SIGNAL: Final = f"JSON, but not OTLP: none of {', '.join(SHAPES)}"
_FIRST_KEY: Final = re.compile(rb'\s*\{\s*"(%s)"\s*:' % "|".join(SHAPES).encode())
_FIRST_KEY_OF_TEXT: Final = re.compile(rb'\s*(?:\{\s*(?:\}|"[^"\x00-\x1f]*"\s*:)|\[\s*[\]{])')


def looks_like_json(head: bytes) -> bool:
    """Whether the input begins as a JSON object or array; protobuf may begin with a line feed and a brace."""
    return _FIRST_KEY_OF_TEXT.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def has_json_lines(head: bytes) -> bool:
    """Whether one of the first lines is an OTLP object by itself: then every line is to be one."""
    lines = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", _DETECTION_LINES)[:_DETECTION_LINES]
    return any(_is_otlp_object(line) for line in lines)


def _is_otlp_object(line: bytes) -> bool:
    braces = line.lstrip()[:1] + line.rstrip()[-1:]
    if braces != b"{}" or len(line) > DEFAULT_SIZES.line:
        return False
    try:
        return not SHAPES.keys().isdisjoint(parse(line))
    except DecodeError:
        return False


class JsonReader:
    """Yields chunks and what had to be rejected between them."""

    def __init__(self, cursor: JsonCursor, scratch: Path | None, sizes: Sizes = DEFAULT_SIZES) -> None:
        self._cursor = cursor
        self._scratch = scratch
        self._sizes = sizes

    def lines(self) -> Iterator[Chunk | Rejected]:
        """One object a line, as the collector's file exporter writes them; a bad line costs itself alone."""
        while self._cursor.peek():
            number = self._cursor.line_number()
            try:
                line = self._cursor.line(self._sizes.line)
            except TooLarge:
                yield from self._until_malformed(self._cursor.where())
                self._cursor.skip_line()
            else:
                yield from self._line(line.encode("latin-1"), number)

    def documents(self) -> Iterator[Chunk | Rejected]:
        """Objects after each other, or arrays of them. Behind a malformed one, nothing can be read."""
        while first := self._cursor.peek():
            failed = False
            values = self._cursor.elements() if first == "[" else iter([None])
            try:
                for _ in values:
                    for part in self._until_malformed(self._cursor.where()):
                        yield part
                        failed = isinstance(part, Rejected) and part.reason != _NO_SIGNAL
                    if failed:
                        return
            except Malformed as error:
                yield Rejected(self._cursor.where(), str(error))
                return

    def _line(self, line: bytes, number: int) -> Iterator[Chunk | Rejected]:
        first = _FIRST_KEY.match(line)
        if first and not any(b'"%s"' % key.encode() in line for key in SHAPES if key.encode() != first[1]):
            yield Chunk(SHAPES[first[1].decode()].signal, "json", line, f"line {number:,}")
            return
        cursor = JsonCursor(_nothing, line, number)
        yield from JsonReader(cursor, self._scratch, self._sizes)._until_malformed(cursor.where())

    def _until_malformed(self, where: str) -> Iterator[Chunk | Rejected]:
        try:
            yield from self._document(where)
        except Malformed as error:
            yield Rejected(self._cursor.where(), str(error))

    def _document(self, where: str) -> Iterator[Chunk | Rejected]:
        empty, known = True, False
        for key in self._cursor.members():
            empty = False
            if key not in SHAPES:
                self._cursor.value()
                continue
            known = True
            if self._cursor.peek() == "[":
                yield from self._resources(SHAPES[key])
            elif self._cursor.value() != "null":
                raise Malformed(f"{key} must be an array")
        if not known and not empty:
            yield Rejected(where, _NO_SIGNAL)

    def _resources(self, shape: Shape) -> Iterator[Chunk]:
        pack = Pack(self._sizes.request)
        try:
            for _ in self._cursor.elements():
                where = self._cursor.where()
                resource = self._whole()
                if resource is None:
                    yield from (_request(shape, *left) for left in pack.drain())
                    yield from self._split_resource(shape)
                elif pack.add(resource, where):
                    yield _request(shape, *pack.take())
        except Malformed:
            yield from (_request(shape, *left) for left in pack.drain())
            raise
        yield from (_request(shape, *left) for left in pack.drain())

    def _whole(self) -> bytes | None:
        """The value at hand; None where it is too large, or broken: then its sound records are wanted."""
        try:
            return self._cursor.value(self._sizes.whole).encode("latin-1")
        except (TooLarge, Malformed):
            if self._cursor.peek() != "{":
                raise
            return None

    def _split_resource(self, shape: Shape) -> Iterator[Chunk]:
        with Spill(self._scratch) as spill:
            split = _SplitResource(self._cursor, shape, spill, self._sizes.request)
            failure: Malformed | None = None
            try:
                split.read()
            except Malformed as error:
                failure = error
            yield from split.requests()
            if failure:
                raise failure


class _SplitResource:
    """One resource, read record by record into the spill, and put together again as many small requests."""

    def __init__(self, cursor: JsonCursor, shape: Shape, spill: Spill, request_bytes: int) -> None:
        self._cursor = cursor
        self._shape = shape
        self._spill = spill
        self._request_bytes = request_bytes
        self._resource_members: list[bytes] = []
        self._scope_members: list[list[bytes]] = []

    def read(self) -> None:
        for key in self._cursor.members():
            if key == self._shape.scopes and self._cursor.peek() == "[":
                for _ in self._cursor.elements():
                    self._read_scope()
            else:
                self._resource_members.append(self._member(key))

    def _read_scope(self) -> None:
        members: list[bytes] = []
        self._scope_members.append(members)
        for key in self._cursor.members():
            if key == self._shape.records and self._cursor.peek() == "[":
                self._read_records()
            else:
                members.append(self._member(key))

    def _read_records(self) -> None:
        pack = Pack(self._request_bytes)
        try:
            for _ in self._cursor.elements():
                where = self._cursor.where()
                if pack.add(self._cursor.value().encode("latin-1"), where):
                    self._keep(*pack.take())
        finally:
            for left in pack.drain():
                self._keep(*left)

    def _keep(self, records: list[bytes], where: str) -> None:
        self._spill.add(len(self._scope_members) - 1, where, b",".join(records))

    def _member(self, key: str) -> bytes:
        return json.dumps(key).encode() + b":" + self._cursor.value().encode("latin-1")

    def requests(self) -> Iterator[Chunk]:
        shape = self._shape
        for scope, where, records in self._spill:
            members = [*self._scope_members[scope], b'"%s":[%s]' % (shape.records.encode(), records)]
            scopes = b'"%s":[{%s}]' % (shape.scopes.encode(), b",".join(members))
            resource = b"{%s}" % b",".join([*self._resource_members, scopes])
            yield _request(shape, [resource], where)


def _request(shape: Shape, resources: list[bytes], where: str) -> Chunk:
    body = b'{"%s":[%s]}' % (shape.resources.encode(), b",".join(resources))
    return Chunk(shape.signal, "json", body, where)


def _nothing() -> bytes:
    return b""
