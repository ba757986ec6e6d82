"""What a page draws: charts by the reader's browser, bars without it. Each has its figures as text too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

# Series that get a colour of their own (--s0 to --s6 of page.css); what is left is the grey one (--rest).
COLOURS: Final = 7
REST: Final = "rest"
Slot: TypeAlias = int | Literal["rest"]


@dataclass(frozen=True, slots=True)
class Chart:
    """``data`` is what charts.js draws, of the function named ``kind``; ``rows`` are the same figures in words, each
    with as many cells as there are ``headings``."""

    anchor: str
    kind: Literal["stack", "lines", "bridge"]
    title: str
    data: Mapping[str, Any]
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    legend: Sequence[tuple[str, Slot]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """``length`` is 0 to 1, of the longest one; ``words`` its figure."""

    name: str
    words: str
    length: float


@dataclass(frozen=True, slots=True)
class Bars:
    title: str
    bars: Sequence[Bar]
    notes: Sequence[str] = ()
