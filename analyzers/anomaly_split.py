"""What made a day or a session cost more than those it is compared with: more calls, other calls, or dearer ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import duckdb
import pyarrow as pa

from analyzers import honest, sql
from analyzers.change import Cell, Cells, Change, decompose
from semconv.planned import relation

_WANTED: Final = pa.schema(
    [
        ("number", pa.int64()),
        ("is_after", pa.bool_()),
        ("kind", pa.string()),
        ("name", pa.string()),
        ("session_id", pa.string()),
        ("pricing_mode", pa.string()),
        ("day", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is compared: a day with other days, or a session, whose id is `name`, with others of `agent`."""

    kind: str
    name: str | None
    pricing_mode: str
    day: int
    before: Sequence[int]
    agent: str | None = None

    def rows(self, number: int) -> list[tuple[Any, ...]]:
        if self.kind == "session":
            return [
                (number, after, self.kind, self.agent, self.name, self.pricing_mode, None)
                for after in (True, False)
            ]
        days = [(True, self.day), *((False, day) for day in self.before)]
        return [(number, after, self.kind, self.name, None, self.pricing_mode, day) for after, day in days]


@dataclass(frozen=True, slots=True)
class Split:
    """From the mean of `compared` days or sessions to this one. ``examples``: its calls that cost most."""

    change: Change
    compared: int
    calls: int
    usual_calls: float
    examples: tuple[str, ...]


def splits(
    connection: duckdb.DuckDBPyConnection,
    day: str,
    parameters: Mapping[str, object],
    wanted: Sequence[Wanted],
) -> list[Split]:
    """One for each that is wanted. `day`: SQL for the day of a call. `parameters`: the ends of the history, and
    `known`, before which sessions are compared."""
    if not wanted:
        return []
    rows = [row for number, one in enumerate(wanted) for row in one.rows(number)]
    table = pa.Table.from_pylist([dict(zip(_WANTED.names, row, strict=True)) for row in rows], schema=_WANTED)
    with relation(connection, "wanted", table):
        found = connection.execute(sql.read("anomaly_cells.sql").format(day=day), dict(parameters)).fetchall()
    sides: dict[tuple[int, bool], _Side] = {}
    for number, is_after, *row in found:
        sides.setdefault((number, is_after), _Side()).add(*row)
    return [
        _split(one, *(sides.get((number, is_after), _Side()) for is_after in (False, True)))
        for number, one in enumerate(wanted)
    ]


class _Side:
    """The calls of one side of a comparison."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str | None, ...], Cell] = {}
        self.calls = self.sessions = 0
        self.examples: tuple[str, ...] = ()

    def add(self, *row: Any) -> None:
        """A row of anomaly_cells.sql from `provider` on."""
        provider, model, agent, is_total, calls, tokens, cost, sessions, examples = row
        if is_total:
            self.calls, self.sessions = calls, sessions
            self.examples = tuple(one["call_id"] for one in examples)
        else:
            self.cells[provider, model, agent] = Cell(calls, tokens, cost)


def _split(wanted: Wanted, before: _Side, after: _Side) -> Split:
    compared = before.sessions if wanted.kind == "session" else len(wanted.before)
    change = _to_the_mean(before.cells, after.cells, max(compared, 1))
    return Split(change, compared, after.calls, before.calls / max(compared, 1), after.examples)


def _to_the_mean(before: Cells, after: Cells, count: int) -> Change:
    """From a `count`-th of `before` to `after`. The effects add up exactly; price takes up what rounding leaves."""
    larger = {
        key: Cell(count * cell.calls, count * cell.tokens, count * cell.cost_usd)
        for key, cell in after.items()
    }
    whole = decompose(before, larger)

    def part(amount: Decimal) -> Decimal:
        return honest.rounded(Fraction(amount) / count)

    mean, cost, volume, mix, size = map(
        part, (whole.before, whole.after, whole.volume, whole.mix, whole.size)
    )
    price = cost - mean - volume - mix
    return Change(mean, cost, volume, mix, price, size, price - size)
