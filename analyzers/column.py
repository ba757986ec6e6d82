"""What a column of a report is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# `usd` is US dollars, `amount` a sum in the currency that its row names; only honest.py makes columns of these.
Kind = Literal["text", "date", "count", "usd", "amount", "ratio", "milliseconds"]
Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """``name`` is what programs read, ``label`` what people read; ``kind`` gives the unit."""

    name: str
    label: str
    kind: Kind
