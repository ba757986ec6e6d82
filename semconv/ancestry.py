"""Who stands above whom in a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

# Traces are a few levels deep; a chain of spans made to be long must not cost its length squared.
_FURTHEST: Final = 64
_MOST_NESTED: Final = 8  # wrappers around one call

_TELLING = pa.schema([("node", pa.int64()), ("ancestor", pa.int64()), ("distance", pa.int64())])


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Tables (node, ancestor, distance) for the candidates: `telling` ancestors, a node being its own at
    distance 0, and `nesting`, the nearest ancestors that are candidates themselves."""

    telling: pa.Table
    nesting: pa.Table


def walk(
    nodes: Sequence[int],
    parents: Sequence[int | None],
    is_candidate: Sequence[bool | None],
    is_telling: Sequence[bool],
) -> Ancestry:
    """Climb from each candidate to its root, at most 64 steps; a loop of parents ends at its start."""
    parent_of = dict(zip(nodes, parents, strict=True))
    candidates = {node for node, yes in zip(nodes, is_candidate, strict=True) if yes}
    tellers = {node for node, yes in zip(nodes, is_telling, strict=True) if yes}
    telling: list[tuple[int, int, int]] = []
    nesting: list[tuple[int, int, int]] = []
    for node in candidates:
        ancestor: int | None = node
        distance = nested = 0
        while ancestor is not None and distance <= _FURTHEST:
            if ancestor in tellers:
                telling.append((node, ancestor, distance))
            if distance and nested < _MOST_NESTED and ancestor in candidates:
                nesting.append((node, ancestor, distance))
                nested += 1
            ancestor = parent_of.get(ancestor)
            distance += 1
            if ancestor == node:
                break
    return Ancestry(_table(telling), _table(nesting))


def _table(rows: list[tuple[int, int, int]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table([pa.array(column, pa.int64()) for column in columns], schema=_TELLING)
