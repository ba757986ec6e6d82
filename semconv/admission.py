"""May a body be parsed? Its bytes, items and values are counted before any parser sees it.

64 KiB of gzip can be 64 MiB of empty spans, which cost the protobuf parser 5.9 GB; 64 MiB of ``{},{}`` cost
the JSON parser 2 GB. A cheap upper bound only ever admits; what exceeds it is counted exactly.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from semconv.settings import Encoding, Signal
from semconv.wire import SCHEMAS, Schema, Tally, TooMany, too_many, walk


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


_SLICE: Final = 1 << 20
# A value is the first thing in a container or follows a comma. Strings are passed over whole; the quantifiers are
# possessive, so that no body makes the expression try twice.
_JSON_NODE: Final = rb'(?:[^"\[{,]++|"(?:[^"\\]++|\\.)*+")*+[\[{,]'
_JSON_NODES: Final = tuple(
    (count, re.compile(b"(?:%b){%d}+" % (_JSON_NODE, count), re.DOTALL)) for count in (1000, 1)
)


def max_bytes(encoding: Encoding, limits: Limits) -> int:
    """The largest body of an encoding, decoded."""
    return limits.max_json_bytes if encoding == "json" else limits.max_request_bytes


def check_size(size: int, encoding: Encoding, limits: Limits) -> None:
    """TooMany for a body of ``size`` bytes, of which more may follow."""
    bound = max_bytes(encoding, limits)
    if size > bound:
        raise TooMany(f"the request is larger than {bound} bytes; send smaller batches")


def admit(signal: Signal, encoding: Encoding, body: bytes, limits: Limits) -> None:
    """Returns None where ``body`` is safe to parse. Raises TooMany, TooDeep or DecodeError.

    Items of JSON are values like any other until it is parsed.
    """
    check_size(len(body), encoding, limits)
    if encoding == "json":
        _count_json_nodes(body, limits.max_nodes)
    else:
        _admit_protobuf(signal, body, limits)


def _admit_protobuf(signal: Signal, body: bytes, limits: Limits) -> None:
    schema = SCHEMAS[signal]
    tally = Tally(signal, limits.max_spans, limits.max_nodes)
    if not _has_few_nodes(schema, body, limits.max_nodes):
        walk(body, schema.root, tally, limits.max_depth)
    elif len(body) // 2 > limits.max_spans:
        walk(body, schema.envelope, tally, limits.max_depth)


def _has_few_nodes(schema: Schema, body: bytes, max_nodes: int) -> bool:
    if len(body) // schema.least_node_bytes <= max_nodes:
        return True
    return schema.no_tag is not None and _count(body, schema.no_tag, max_nodes) <= max_nodes


def _count(body: bytes, others: bytes, enough: int) -> int:
    """How many bytes of ``body`` are not among ``others``; stops once there are more than ``enough``."""
    count = 0
    for start in range(0, len(body), _SLICE):
        count += len(body[start : start + _SLICE].translate(None, others))
        if count > enough:
            break
    return count


def _count_json_nodes(body: bytes, max_nodes: int) -> None:
    # Each value but the first takes a byte and a separator.
    if len(body) // 2 < max_nodes:
        return
    if body.count(b"{") + body.count(b"[") + body.count(b",") < max_nodes:
        return
    nodes, position = 1, 0
    for count, pattern in _JSON_NODES:
        while nodes <= max_nodes and (found := pattern.match(body, position)):
            nodes += count
            position = found.end()
    if nodes > max_nodes:
        raise too_many(max_nodes, "values")
