"""Groups of records under the rule that no reporter stands in one twice."""

from __future__ import annotations

from typing import Final

Node = int
Reporter = str  # signal, scope and, of a log record, its event

# No call is reported that often; a group that grows beyond it is a sender's mistake and must not cost its square.
_LARGEST_GROUP: Final = 32


class Groups:
    """`nesting` holds (ancestor, descendant): such two may be of one reporter."""

    def __init__(self, nesting: frozenset[tuple[Node, Node]]) -> None:
        self._nesting = nesting
        # node -> its group, shared by all members: node -> reporter
        self._members: dict[Node, dict[Node, Reporter]] = {}

    def join(self, one: Node, its: Reporter, other: Node, others: Reporter) -> bool:
        """Make one group of the groups of both; whether they are one now."""
        left = self._members.setdefault(one, {one: its})
        right = self._members.setdefault(other, {other: others})
        if left is right:
            return True
        if not self._may_meet(left, right):
            return False
        left.update(right)
        self._members.update(dict.fromkeys(right, left))
        return True

    def join_repeated_log(self, one: Node, its: Reporter, other: Node, others: Reporter) -> None:
        """Add a log record that stands alone to a group with a span, whoever is in it."""
        for record, reporter, span, spans in ((one, its, other, others), (other, others, one, its)):
            alone = len(self._members.get(record, ())) <= 1
            members = self._members.setdefault(span, {span: spans})
            if (
                alone
                and reporter.startswith("log")
                and spans.startswith("span")
                and len(members) < _LARGEST_GROUP
            ):
                members[record] = reporter
                self._members[record] = members

    def reporters(self, node: Node, own: Reporter) -> frozenset[Reporter]:
        """Who reports in the node's group; a node by itself is reported by `own`."""
        return frozenset(self._members[node].values()) if node in self._members else frozenset((own,))

    def are_one(self, one: Node, other: Node) -> bool:
        """Whether both are in one group."""
        return other in self._members.get(one, ())

    def several(self) -> tuple[tuple[Node, ...], ...]:
        """The groups of more than one record."""
        distinct = {id(members): members for members in self._members.values() if len(members) > 1}
        return tuple(tuple(members) for members in distinct.values())

    def _may_meet(self, left: dict[Node, Reporter], right: dict[Node, Reporter]) -> bool:
        return len(left) + len(right) <= _LARGEST_GROUP and all(
            (a, b) in self._nesting or (b, a) in self._nesting
            for a, reporter in left.items()
            for b, other in right.items()
            if reporter == other
        )
