"""One input of any format as a stream of small OTLP requests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from collector.backfill.jsonreader import JsonReader, has_json_lines, looks_like_json
from collector.backfill.jsontext import JsonCursor
from collector.backfill.parts import DEFAULT_SIZES, ONE_BY_ONE, Chunk, Malformed, Rejected, Sizes
from collector.backfill.protoreader import Framing, ProtoCursor, ProtoReader, detect_framing
from collector.backfill.signals import possible_signals
from collector.backfill.source import Source, UnreadableInput
from semconv.settings import Signal

Format = Literal["auto", "otlp"]
FORMATS: Final[tuple[Format, ...]] = ("auto", "otlp")
_NOT_OTLP: Final = (
    "not OTLP: neither JSON (objects with resourceSpans, resourceLogs or resourceMetrics, in an array, "
    "after each other, or one a line) nor protobuf (one message, or messages with their lengths before them)"
)


def read_chunks(
    source: Source, signal: Signal | None, scratch: Path | None, sizes: Sizes = DEFAULT_SIZES
) -> Iterator[Chunk | Rejected]:
    """Yields requests and what could not be read, in the order of the input.

    ``signal`` settles what a protobuf input holds where that cannot be told. ``scratch`` is a directory for
    the records of a resource too large for memory (None = the system's). A damaged input ends with a
    Rejected that says where. Raises UnreadableInput where the input is not OTLP, or its signal must be
    given.
    """
    head, complete = _head(source, sizes)
    if not head.strip(b"\x00\xef\xbb\xbf \t\r\n"):
        chunks: Iterator[Chunk | Rejected] = iter(())
    elif looks_like_json(head) or has_json_lines(head):
        chunks = _json(source, head, scratch, sizes)
    elif framing := detect_framing(head, complete) or detect_framing(head, complete=False):
        reader = ProtoReader(ProtoCursor(source.read, head), scratch, sizes)
        chunks = _tell_signal(reader, framing, signal)
    else:
        raise UnreadableInput(source.damage or _NOT_OTLP)
    del head  # up to 17 MiB, which the cursors hold in their own way
    yield from chunks
    if source.damage:
        yield Rejected("the end", source.damage)


def _head(source: Source, sizes: Sizes) -> tuple[bytes, bool]:
    """Enough of the beginning to tell the format (a whole line, unless that is longer than a request may be),
    and whether that is all there is."""
    head = b""
    while block := source.read():
        head += block
        if (len(head) >= sizes.head and b"\n" in head[1:]) or len(head) > sizes.line:
            return head, False
    return head, True


def _json(source: Source, head: bytes, scratch: Path | None, sizes: Sizes) -> Iterator[Chunk | Rejected]:
    reader = JsonReader(JsonCursor(source.read, head), scratch, sizes)
    return reader.lines() if has_json_lines(head) else reader.documents()


def _tell_signal(reader: ProtoReader, framing: Framing, signal: Signal | None) -> Iterator[Chunk | Rejected]:
    bodies = reader.read(framing)
    held: list[tuple[bytes, str] | Rejected] = []
    while signal is None and (body := next(bodies, None)) is not None:
        held.append(body)
        signal = None if isinstance(body, Rejected) else _only_signal(body[0])
    for part in itertools.chain(held, bodies):
        if isinstance(part, Rejected):
            yield part
        elif signal is not None:
            yield Chunk(signal, "protobuf", *part)


def _only_signal(body: bytes) -> Signal | None:
    """The signal of a body, None where it has no records. Raises UnreadableInput where that is not clear."""
    possible = possible_signals(body)
    if not possible:
        raise UnreadableInput(_NOT_OTLP)
    if len(possible) == 1:
        return possible.pop()
    if len(possible) == 3:
        return None
    names = sorted(possible)
    raise UnreadableInput(
        f"protobuf that could be {' or '.join(names)}: say which with --signal {'|'.join(names)}"
    )


def one_by_one(chunk: Chunk, scratch: Path | None) -> Iterator[Chunk | Rejected]:
    """A request that cannot be decoded, as one request for each of its records: the sound ones are to be
    kept.

    A body that is not JSON, or not protobuf, in its very structure is rejected as a whole.
    """
    parts: Iterator[Chunk | Rejected]
    if chunk.encoding == "protobuf":
        reader = ProtoReader(ProtoCursor(_nothing, chunk.body), scratch, ONE_BY_ONE)
        parts = _tell_signal(reader, "none", chunk.signal)
    elif problem := _json_problem(chunk.body):
        parts = iter([Rejected(chunk.where, problem)])
    else:
        parts = JsonReader(JsonCursor(_nothing, chunk.body), scratch, ONE_BY_ONE).documents()
    for part in parts:
        yield replace(part, where=chunk.where)


def _json_problem(body: bytes) -> str | None:
    try:
        JsonCursor(_nothing, body).value()
    except Malformed as error:
        return str(error)
    return None


def _nothing() -> bytes:
    return b""
