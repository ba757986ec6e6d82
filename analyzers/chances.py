"""How likely chance alone makes counts like those that were seen, by exact tests or by bounds that always hold."""

from __future__ import annotations

import math
from typing import Final

# What is smaller beside a sum changes none of the digits of it that matter.
_NEGLIGIBLE: Final = 1e-12


def as_many_marked(marked: int, drawn: int, all_marked: int, population: int) -> float:
    """Of ``population`` things ``all_marked`` are marked: how likely it is that of ``drawn`` ones, taken by chance,
    at least ``marked`` are. Fisher's exact test, one-sided.
    """
    total = 0.0
    for count in range(max(marked, drawn + all_marked - population), min(drawn, all_marked) + 1):
        part = math.exp(
            _ways(all_marked, count)
            + _ways(population - all_marked, drawn - count)
            - _ways(population, drawn)
        )
        total += part
        if part < total * _NEGLIGIBLE:
            break
    return min(1.0, total)


def leaning(total: int, squares: int) -> float:
    """Of a sum of numbers whose signs are tossed up: how likely, at most, it is ``total`` or more, where their squares
    add up to ``squares``. Hoeffding (1963), theorem 2: it holds for any number of them and of whatever size.
    """
    return math.exp(-(total**2) / (2 * squares)) if total > 0 else 1.0


def _ways(things: int, chosen: int) -> float:
    """The logarithm of in how many ways so many can be chosen."""
    return math.lgamma(things + 1) - math.lgamma(chosen + 1) - math.lgamma(things - chosen + 1)
