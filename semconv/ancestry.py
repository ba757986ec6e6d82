"""Who stands above whom in a trace, and whose a call is as far as its own trace tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from semconv.calls import resource_dimension

# Traces are a few levels deep; a chain of spans made to be long must not cost its length squared.
_FURTHEST: Final = 64
_MOST_NESTED: Final = 8  # wrappers around one call

CANDIDATE_ROLES: Final = pa.array(["llm", "embeddings"], pa.string())
_BETWEEN: Final = pa.scalar("\x1f", pa.string())
_NESTING: Final = pa.schema([("node", pa.int64()), ("ancestor", pa.int64()), ("distance", pa.int64())])

Node = int  # the number of a record
# A record and its ancestors, the nearest first.
Chain = Sequence[Node]
Extremes = Mapping[str, tuple[str, str]]


class Ancestry:
    """Over `call_records` (semconv/calls.py), whose rows are the nodes."""

    def __init__(self, records: pa.Table) -> None:
        self._records = records
        keys = _keys(records, "trace_id", "tenant", "span_id")
        parents = pc.index_in(_keys(records, "trace_id", "tenant", "parent_span_id"), value_set=keys)
        self._parents: list[Node | None] = parents.to_pylist()
        is_candidate = pc.is_in(records.column("role"), value_set=CANDIDATE_ROLES)
        self.candidates: list[Node] = pc.indices_nonzero(is_candidate).to_pylist()
        self._chains = [self._climbed(node) for node in self.candidates]

    def _climbed(self, node: Node) -> Chain:
        """From a candidate to its root, at most 64 steps; a loop of parents ends at its start."""
        chain = [node]
        ancestor = self._parents[node]
        while ancestor is not None and ancestor != node and len(chain) <= _FURTHEST:
            chain.append(ancestor)
            ancestor = self._parents[ancestor]
        return chain

    def nesting(self) -> pa.Table:
        """(node, ancestor, distance): candidates and the nearest of their ancestors that are candidates too."""
        candidates = set(self.candidates)
        rows = [
            (chain[0], ancestor, distance)
            for chain in self._chains
            for distance, ancestor in _first(
                _MOST_NESTED, ((d, a) for d, a in enumerate(chain) if d and a in candidates)
            )
        ]
        columns = zip(*rows, strict=True) if rows else ((), (), ())
        return pa.table([pa.array(column, pa.int64()) for column in columns], schema=_NESTING)

    def told(self, values: Iterable[str], dimensions: Iterable[str]) -> pa.Table:
        """One row per candidate, with its node. For each value that a call may have from elsewhere, <value>_level says
        where it stood: 1 on the record itself, 2 on an ancestor, 3 elsewhere in the trace, 4 on the resource (of
        dimensions alone); <value>_low and <value>_high differ where it is in conflict. Likewise the agent and the tool.
        """
        columns: dict[str, pa.Array | pa.ChunkedArray] = {"node": pa.array(self.candidates, pa.int64())}
        for name in values:
            columns |= self._value(name, [None] * len(self.candidates))
        for name in dimensions:
            on_resource = self._records.column(resource_dimension(name)).take(columns["node"])
            columns |= self._value(name, on_resource.to_pylist())
        return pa.table({**columns, **self._agent(), **self._tool()})

    def _value(self, name: str, on_resource: Sequence[str | None]) -> dict[str, pa.Array | pa.ChunkedArray]:
        of_candidates = self._records.column(name).take(pa.array(self.candidates, pa.int64()))
        if not of_candidates.null_count:  # as where every span carries its session
            levels = pa.repeat(pa.scalar(1, pa.int32()), len(self.candidates))
            return {f"{name}_level": levels, f"{name}_low": of_candidates, f"{name}_high": of_candidates}
        own = self._known(name)
        near = [_nearest(chain, own) for chain in self._chains]
        found = [
            (1 if distance == 0 else 2, value, value)
            if value is not None
            else (None if resource is None else 4, resource, resource)
            for (distance, value), resource in zip(near, on_resource, strict=True)
        ]
        if own and any(value is None for _, value in near):
            extremes = self._extremes(own)
            traces = self._traces(self.candidates)
            for place, (trace, (_, value)) in enumerate(zip(traces, near, strict=True)):
                if value is None and trace in extremes:
                    found[place] = (3, *extremes[trace])
        levels, lows, highs = zip(*found, strict=True) if found else ((), (), ())
        return {
            f"{name}_level": pa.array(levels, pa.int32()),
            f"{name}_low": pa.array(lows, pa.string()),
            f"{name}_high": pa.array(highs, pa.string()),
        }

    def _agent(self) -> dict[str, pa.Array]:
        """The nearest; an ancestor completes a name or id that stands alone, if it agrees with it."""
        agents = self._pairs("agent_name", "agent_id")
        whole = {node: agent for node, agent in agents.items() if None not in agent}
        found = []
        for chain in self._chains:
            distance, agent = _nearest(chain, agents)
            name, agent_id = agent or (None, None)
            if (name is None) != (agent_id is None):
                other_name, other_id = _nearest(chain, whole)[1] or (None, None)
                if name is None and other_id == agent_id:
                    name = other_name
                elif agent_id is None and other_name == name:
                    agent_id = other_id
            found.append((name, agent_id, _level(distance)))
        return _columns(("agent_name", "agent_id", "agent_level"), found)

    def _tool(self) -> dict[str, pa.Array]:
        """The record's own, or the nearest span's of a tool."""
        tools = self._pairs("tool_name", "tool_call_id")
        nodes = pa.array(list(tools), pa.int64())
        roles = self._records.column("role").take(nodes).to_pylist()
        spans = {
            node: tool for (node, tool), role in zip(tools.items(), roles, strict=True) if role == "tool"
        }
        found = []
        for chain in self._chains:
            own = tools.get(chain[0])
            distance, tool = (0, own) if own else _nearest(chain, spans)
            found.append((*(tool or (None, None)), _level(distance)))
        return _columns(("tool_name", "tool_call_id", "tool_level"), found)

    def _known(self, name: str) -> dict[Node, str]:
        """The nodes that have a value of their own."""
        column = self._records.column(name)
        nodes = pc.indices_nonzero(pc.is_valid(column))
        return dict(zip(nodes.to_pylist(), column.take(nodes).to_pylist(), strict=True))

    def _pairs(self, one: str, other: str) -> dict[Node, tuple[str | None, str | None]]:
        """The nodes that have either value."""
        ones, others = self._known(one), self._known(other)
        return {node: (ones.get(node), others.get(node)) for node in (*ones, *others)}

    def _extremes(self, own: Mapping[Node, str]) -> Extremes:
        """The least and the greatest value in each trace."""
        found: dict[str, tuple[str, str]] = {}
        for trace, value in zip(self._traces(list(own)), own.values(), strict=True):
            least, greatest = found.get(trace, (value, value))
            found[trace] = (min(least, value), max(greatest, value))
        return found

    def _traces(self, nodes: Sequence[Node]) -> list[str]:
        records = self._records.select(["trace_id", "tenant"]).take(pa.array(nodes, pa.int64()))
        traces: list[str] = _keys(records, "trace_id", "tenant").to_pylist()
        return traces


def _keys(records: pa.Table, *names: str) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(*(records.column(name) for name in names), _BETWEEN).combine_chunks()


def _nearest(chain: Chain, own: Mapping[Node, Any]) -> tuple[int | None, Any]:
    for distance, node in enumerate(chain):
        if node in own:
            return distance, own[node]
    return None, None


def _level(distance: int | None) -> int | None:
    return None if distance is None else 1 if distance == 0 else 2


def _first(most: int, found: Iterable[tuple[int, Node]]) -> list[tuple[int, Node]]:
    return [item for item, _ in zip(found, range(most), strict=False)]


def _columns(names: tuple[str, str, str], rows: list[tuple[Any, Any, int | None]]) -> dict[str, pa.Array]:
    kinds = (pa.string(), pa.string(), pa.int32())
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return {name: pa.array(column, kind) for name, column, kind in zip(names, columns, kinds, strict=True)}
