"""Whether a decoded body may be parsed at all: its bytes, spans, nodes and depth, before any parser sees it.

64 KiB of gzip can be 64 MiB of empty spans, which cost the protobuf parser 5.9 GB; 64 MiB of ``{},{}`` cost
the JSON parser 2 GB. So a body is counted first. A cheap upper bound only ever admits; what exceeds it is
counted exactly.
"""

from __future__ import annotations

import re
from typing import Any, Final, Protocol

import orjson

from collector.receivers.status import TooDeep, TooLarge
from collector.receivers.wire import SCHEMAS, Schema, Tally, walk
from semconv.settings import Encoding, Signal


class Limits(Protocol):
    """The part of the configured limits that concerns one body."""

    @property
    def max_request_bytes(self) -> int: ...
    @property
    def max_json_bytes(self) -> int: ...
    @property
    def max_spans(self) -> int: ...
    @property
    def max_nodes(self) -> int: ...
    @property
    def max_depth(self) -> int: ...


# The exact walk of a body up to this size costs less than what handling a request costs anyway.
_ALWAYS_WALKED_BYTES: Final = 16 << 10
_SLICE: Final = 1 << 20
# Each level of nesting below the first stands in an array_value or kvlist_value of AnyValue (fields 5 and 6).
_NESTING_TAGS: Final = frozenset(byte for tag in (0x2A, 0x32) for byte in (tag, tag | 0x80))
_NOT_NESTING: Final = bytes(byte for byte in range(0x100) if byte not in _NESTING_TAGS)


def max_bytes(encoding: Encoding, limits: Limits) -> int:
    return limits.max_json_bytes if encoding == "json" else limits.max_request_bytes


def check_size(size: int, encoding: Encoding, limits: Limits) -> None:
    """Raises TooLarge for a body of ``size`` bytes, of which more may follow."""
    bound = max_bytes(encoding, limits)
    if size > bound:
        raise TooLarge(f"the request is larger than {bound} bytes; send smaller batches")


def admit(signal: Signal, encoding: Encoding, body: bytes, limits: Limits) -> None:
    """Returns None where ``body`` is safe to parse. Raises TooLarge, TooDeep or Malformed.

    Depth is how deep attribute values (AnyValue) nest, alike in both encodings: a scalar is 1 deep. Protobuf
    bodies above 16 KiB are held to it exactly only where their nodes are counted as well; elsewhere the
    parser's own limit of 100 messages holds, which is 32 to 47 values. Spans of JSON are counted by the
    caller, after the parse: they are nodes like any other until then.
    """
    check_size(len(body), encoding, limits)
    if encoding == "json":
        _admit_json(body, limits)
    else:
        _admit_protobuf(SCHEMAS[signal], body, limits)


def _admit_protobuf(schema: Schema, body: bytes, limits: Limits) -> None:
    may_be_deep = len(body) <= _ALWAYS_WALKED_BYTES and _may_be_deep(body, limits.max_depth)
    if may_be_deep or not _has_few_nodes(schema, body, limits.max_nodes):
        walk(body, schema.root, Tally(limits.max_spans, limits.max_nodes, limits.max_depth))
    elif schema.envelope is not None and len(body) // 2 > limits.max_spans:
        walk(body, schema.envelope, Tally(limits.max_spans, limits.max_nodes, limits.max_depth))


def _has_few_nodes(schema: Schema, body: bytes, max_nodes: int) -> bool:
    if len(body) // schema.least_node_bytes <= max_nodes:
        return True
    return schema.no_tag is not None and _count(body, schema.no_tag, max_nodes) <= max_nodes


def _may_be_deep(body: bytes, max_depth: int) -> bool:
    return _count(body, _NOT_NESTING, max_depth) >= max_depth


def _count(body: bytes, others: bytes, enough: int) -> int:
    """How many bytes of ``body`` are not among ``others``; stops once there are more than ``enough``."""
    count = 0
    for start in range(0, len(body), _SLICE):
        count += len(body[start : start + _SLICE].translate(None, others))
        if count > enough:
            break
    return count


# A value is the first thing in a container or follows a comma. Strings are passed over whole; the quantifiers
# are possessive, so that no body makes the expression try twice.
_JSON_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|([\[{,])', re.DOTALL)
# An array with no array inside: between its brackets stand whole strings, and no quote or bracket besides.
_FLAT_VALUES: Final = re.compile(rb'values"\s*+:\s*+\[(?:[^\[\]"]++|"(?:[^"\\]++|\\.)*+")*+\]', re.DOTALL)
# Escapes with which the key "values" could be spelt otherwise: those of letters, \u0061 to \u007a.
_LETTER_ESCAPES: Final = (b"\\u006", b"\\u007")


def _admit_json(body: bytes, limits: Limits) -> None:
    # Each value but the first takes a byte and a separator.
    if len(body) // 2 + 1 > limits.max_nodes:
        _count_json_nodes(body, limits.max_nodes)
    if _json_may_be_deep(body, limits.max_depth):
        _check_json_depth(body, limits.max_depth)


def _count_json_nodes(body: bytes, max_nodes: int) -> None:
    if body.count(b"{") + body.count(b"[") + body.count(b",") < max_nodes:
        return
    nodes = 1
    for token in _JSON_TOKEN.finditer(body):
        if token.lastindex:
            nodes += 1
            if nodes > max_nodes:
                raise TooLarge(f"the request has more than {max_nodes} values; send smaller batches")


def _json_may_be_deep(body: bytes, max_depth: int) -> bool:
    # Each level of nesting below the first stands in an array under the key "values", and all but the
    # innermost of these hold a further array.
    if any(escape in body for escape in _LETTER_ESCAPES):
        return body.count(b"[") >= max_depth
    arrays = body.count(b'values"')
    if arrays < max_depth:
        return False
    return arrays - sum(1 for _ in _FLAT_VALUES.finditer(body)) >= max_depth - 1


def _check_json_depth(body: bytes, max_depth: int) -> None:
    """Parses, as the nodes are counted by now; the validity check explains what does not parse."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    around: list[tuple[Any, int]] = [(document, 1)]
    while around:
        value, depth = around.pop()
        if depth > max_depth:
            raise TooDeep(f"a value is nested more than {max_depth} deep")
        if isinstance(value, dict):
            around.extend(
                (child, depth + (key in ("arrayValue", "kvlistValue"))) for key, child in value.items()
            )
        elif isinstance(value, list):
            around.extend((child, depth) for child in value)
