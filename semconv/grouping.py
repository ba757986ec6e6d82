"""Which records are one call: the constrained grouping of the few that have anything to do with another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Node = int

# No call is reported that often; a group that grows beyond it is a sender's mistake and must not cost its square.
_LARGEST_GROUP: Final = 32


class Edge(NamedTuple):
    """Two records that may be one call; of a nested pair the left one is the ancestor."""

    rule: Literal["id", "nested", "twin", "doubt"]
    left: Node
    right: Node
    left_reporter: str  # scope and signal
    right_reporter: str
    agreement: int  # 3 equal counts, 2 both without usage, 1 not in conflict, 0 in conflict


@dataclass(frozen=True, slots=True)
class Grouping:
    """`groups`: the members of each call that has several; `doubtful`: pairs kept apart that look alike."""

    groups: tuple[tuple[Node, ...], ...]
    doubtful: frozenset[tuple[Node, Node]]


def group(edges: Sequence[Edge], nesting: frozenset[tuple[Node, Node]]) -> Grouping:
    """Join records along `edges`, best first; the order of `edges` decides, and nothing else.

    `nesting` holds (ancestor, descendant). A group never holds two records of one reporter unless one is the
    other's ancestor, also not through a third record. Nested pairs and twins join only where each is the
    other's best.
    """
    groups = _Groups(nesting)
    refused = []
    for edge in _mutually_best(edges):
        if edge.rule == "doubt" or not groups.join(edge):
            refused.append(edge)
    apart = (edge for edge in refused if edge.agreement >= 2 and not groups.are_one(edge))
    return Grouping(groups.several(), frozenset((edge.left, edge.right) for edge in apart))


class _Groups:
    def __init__(self, nesting: frozenset[tuple[Node, Node]]) -> None:
        self._nesting = nesting
        self._members: dict[
            Node, dict[Node, str]
        ] = {}  # node -> its group, shared by all members: node -> reporter

    def join(self, edge: Edge) -> bool:
        left = self._members.setdefault(edge.left, {edge.left: edge.left_reporter})
        right = self._members.setdefault(edge.right, {edge.right: edge.right_reporter})
        if left is right:
            return True
        if not self._may_meet(left, right):
            return False
        left.update(right)
        self._members.update(dict.fromkeys(right, left))
        return True

    def _may_meet(self, left: dict[Node, str], right: dict[Node, str]) -> bool:
        return len(left) + len(right) <= _LARGEST_GROUP and all(
            (a, b) in self._nesting or (b, a) in self._nesting
            for a, reporter in left.items()
            for b, other in right.items()
            if reporter == other
        )

    def are_one(self, edge: Edge) -> bool:
        return edge.right in self._members.get(edge.left, ())

    def several(self) -> tuple[tuple[Node, ...], ...]:
        distinct = {id(members): members for members in self._members.values() if len(members) > 1}
        return tuple(tuple(members) for members in distinct.values())


def _mutually_best(edges: Iterable[Edge]) -> list[Edge]:
    """Nested pairs and twins are one to one per reporter and direction: both ends' first edge stays."""
    best: dict[tuple[object, ...], Edge] = {}
    kept = []
    for edge in edges:
        if edge.rule in ("id", "doubt"):
            kept.append(edge)
            continue
        firsts = [best.setdefault(end, edge) for end in _ends(edge)]
        if all(first is edge for first in firsts):
            kept.append(edge)
        elif edge.agreement == 3:
            kept.append(edge._replace(rule="doubt"))
    return kept


def _ends(edge: Edge) -> Iterable[tuple[object, ...]]:
    yield edge.rule, edge.left, "left" if edge.rule == "nested" else "", edge.right_reporter
    yield edge.rule, edge.right, "right" if edge.rule == "nested" else "", edge.left_reporter
