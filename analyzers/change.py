"""Why two windows cost differently: by how many calls there were, by which, and by what a call of the same kind cost.

The three effects add up to the change, exactly. Each is measured at the mean of both windows (the midpoint or Bennet
decomposition), so that none depends on which window is looked at first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from analyzers import honest


class Cell(NamedTuple):
    """What the calls of one kind came to."""

    calls: int
    tokens: int
    cost_usd: Decimal


# Provider, model, agent.
Key: TypeAlias = tuple[str | None, ...]
Cells: TypeAlias = Mapping[Key, Cell]


@dataclass(frozen=True, slots=True)
class Change:
    """From one window's cost to another's, USD of one pricing mode: volume + mix + price = after - before.

    volume: more or fewer calls; mix: calls of other kinds; price: more or less for a call of the same kind, which is
    size (more or fewer tokens in it) + rate (more or less for a token; cheaper cached ones and dearer output included).
    """

    before: Decimal
    after: Decimal
    volume: Decimal
    mix: Decimal
    price: Decimal
    size: Decimal
    rate: Decimal

    @property
    def difference(self) -> Decimal:
        return self.after - self.before


def decompose(before: Cells, after: Cells) -> Change:
    """Exact: rounded to the twelve places of money only at the end, where `price` and `rate` take up what rounding
    leaves."""
    calls = [sum(cell.calls for cell in cells.values()) for cells in (before, after)]
    costs = [sum((cell.cost_usd for cell in cells.values()), Decimal(0)) for cells in (before, after)]
    change = costs[1] - costs[0]
    if not all(calls):  # nothing to compare a call with: all of it is calls that came or went
        nothing = Decimal(0)
        return Change(costs[0], costs[1], change, nothing, nothing, nothing, nothing)
    per_call = [Fraction(cost) / count for cost, count in zip(costs, calls, strict=True)]
    volume = honest.rounded((calls[1] - calls[0]) * sum(per_call, Fraction(0)) / 2)
    mix = size = Fraction(0)
    for key in before.keys() | after.keys():
        of_mix, of_size = _effects(before.get(key), after.get(key), calls)
        mix, size = mix + of_mix, size + of_size
    mean_calls = Fraction(sum(calls), 2)
    mixed, sized = honest.rounded(mix * mean_calls), honest.rounded(size * mean_calls)
    price = change - volume - mixed
    return Change(costs[0], costs[1], volume, mixed, price, sized, price - sized)


def _effects(before: Cell | None, after: Cell | None, calls: list[int]) -> tuple[Fraction, Fraction]:
    """Of one kind of call on the mean cost of a call: that of its share, and that of its calls' tokens."""
    # What is there in one window alone is as dear and long as it is there: all of it is mix.
    old, new = before or after, after or before
    if old is None or new is None:
        return Fraction(0), Fraction(0)
    shares = [
        Fraction(cell.calls if cell else 0, total) for cell, total in zip((before, after), calls, strict=True)
    ]
    costs = [_per(cell.cost_usd, cell.calls) for cell in (old, new)]
    mix = (shares[1] - shares[0]) * sum(costs, Fraction(0)) / 2
    lengths = [_per(cell.tokens, cell.calls) for cell in (old, new)]
    rates = [_per(cell.cost_usd, cell.tokens) for cell in (old, new)]
    return mix, sum(shares, Fraction(0)) / 2 * (lengths[1] - lengths[0]) * sum(rates, Fraction(0)) / 2


def _per(amount: Decimal | int, count: int) -> Fraction:
    return Fraction(amount) / count if count else Fraction(0)
