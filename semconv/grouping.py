"""Which records are one call: the constrained grouping of the few that have anything to do with another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from semconv.call_groups import Groups, Node, Reporter
from semconv.log_twins import LogTwin, join_log_twins


class Edge(NamedTuple):
    """Two records that may be one call; of a nested pair the left one is the ancestor."""

    rule: Literal["id", "nested", "twin", "doubt"]
    left: Node
    right: Node
    left_reporter: Reporter
    right_reporter: Reporter
    agreement: int  # 3 equal counts, 2 both without usage, 1 not in conflict, 0 in conflict


@dataclass(frozen=True, slots=True)
class Grouping:
    """`groups`: the members of each call that has several; `doubtful`: pairs kept apart that look alike."""

    groups: tuple[tuple[Node, ...], ...]
    doubtful: frozenset[tuple[Node, Node]]


def group(
    edges: Sequence[Edge], nesting: frozenset[tuple[Node, Node]], log_twins: Sequence[LogTwin] = ()
) -> Grouping:
    """Join records along `edges`, best first, then log records with their like; the order of both decides, and
    nothing else.

    `nesting` holds (ancestor, descendant). A group never holds two records of one reporter unless one is the
    other's ancestor, also not through a third record; but an event that comes twice (OpenLIT's for streams) makes no
    second call of a span that has its id and counts. Nested pairs and twins join only where each is the
    other's best.
    """
    groups = Groups(nesting)
    refused = []
    for edge in _mutually_best(edges):
        if edge.rule == "doubt" or not groups.join(
            edge.left, edge.left_reporter, edge.right, edge.right_reporter
        ):
            refused.append(edge)
    join_log_twins(log_twins, groups)
    for edge in refused:
        if edge.rule == "id" and edge.agreement == 3:
            groups.join_repeated_log(edge.left, edge.left_reporter, edge.right, edge.right_reporter)
    apart = (edge for edge in refused if edge.agreement >= 2 and not _is_explained(edge, groups))
    return Grouping(groups.several(), frozenset((edge.left, edge.right) for edge in apart))


def _is_explained(edge: Edge, groups: Groups) -> bool:
    """Whether both are one call, or two that each of both libraries reports."""
    if groups.are_one(edge.left, edge.right):
        return True
    return (
        edge.left_reporter != edge.right_reporter
        and edge.right_reporter in groups.reporters(edge.left, edge.left_reporter)
        and edge.left_reporter in groups.reporters(edge.right, edge.right_reporter)
    )


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
