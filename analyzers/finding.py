"""What an analyzer hands back: typed columns, rows, what a reader must know beside them, and what is worth acting on.

An analyzer either states a fact (a `Finding`), or claims that something could be saved (a `Candidate` with claims on
single calls). frame.py settles the claims and judges how sure they are: what it lets through becomes a Finding too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import pyarrow as pa

from analyzers import honest
from analyzers.column import Column, Kind, Row
from analyzers.window import Window

__all__ = ["CLAIMS", "Candidate", "Column", "Estimate", "Finding", "Kind", "Report", "Row", "finding_id"]

Dimension = Mapping[str, str | None]

_USD: Final = pa.decimal128(38, 12)
# A row for each call that a candidate claims, once at most. `candidate`: its key. The call would have cost between
# `low_usd` and `high_usd` less; NULL where that is not known. `tokens`: that would not have been sent or answered.
CLAIMS: Final = pa.schema(
    [
        ("candidate", pa.string()),
        ("call_id", pa.string()),
        ("low_usd", _USD),
        ("high_usd", _USD),
        ("tokens", pa.int64()),
    ]
)
_ID_DIGITS: Final = 16


def finding_id(analyzer: str, kind: str, dimension: Dimension, pricing_mode: str | None = None) -> str:
    """The same for the same thing in every run."""
    about = json.dumps([analyzer, kind, sorted(dimension.items()), pricing_mode])
    return hashlib.sha256(about.encode()).hexdigest()[:_ID_DIGITS]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that would save, if chance does not explain it. `key`: what the report's claims call it. `kind`: which
    of the analyzer's findings it is. `dimension`: what it is about, such as {"agent": "planner", "model": "gpt-4o"}.
    Claims on calls of another pricing mode count for nothing.
    """

    key: str
    kind: str
    dimension: Dimension
    pricing_mode: str
    title: str
    method: str
    action: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()


# What an estimate is of, by pricing mode; tokens where no call's cost is known.
Basis = Literal["spend", "implied API value", "list price, plan not declared", "cost as configured", "tokens"]
_BASES: Final[Mapping[str, Basis]] = {
    "api": "spend",
    "subscription": "implied API value",
    "unknown": "list price, plan not declared",
    "local": "cost as configured",
}


def basis_of(pricing_mode: str) -> Basis:
    return _BASES[pricing_mode]


Figure = honest.Amount | int | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What acting on a finding would have saved in the window, and would save in a month of the same days: amounts, or
    tokens where `basis` says so.

    `high` is what was claimed of the window's calls; `low` is less where calls have two ends, or where days differ so
    that less is to be expected. The mean is expected between `low_per_month` and `high_per_month` with `confidence`;
    None: too few days to say. Tokens are freed whatever the plan; `token_share` is their part of the window's tokens.
    """

    basis: Basis
    low: Figure
    high: Figure
    low_per_month: Figure
    high_per_month: Figure
    tokens_low_per_month: int | None
    tokens_high_per_month: int | None
    token_share: float | None
    confidence: float | None
    method: str

    def as_dict(self) -> dict[str, object]:
        return {name: honest.plain(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth acting on. No renderer may drop the caveats.

    ``finding_id`` is stable across runs (the function of that name), ``kind`` which of its analyzer's findings it is.
    ``examples``: ids of calls behind it. ``p_value``: how likely chance alone makes the like; None for a fact. Money in
    ``evidence`` is an honest.Amount. Raises honest.UnnamedMoney.
    """

    finding_id: str
    title: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()
    dimension: Dimension = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    estimate: Estimate | None = None
    p_value: float | None = None
    action: str | None = None
    kind: str = ""

    def __post_init__(self) -> None:
        honest.check_texts((self.title, *self.caveats, *([self.action] if self.action else [])))
        honest.check_evidence(self.evidence)

    def as_dict(self) -> dict[str, object]:
        return {
            "finding_id": self.finding_id,
            "kind": self.kind,
            "title": self.title,
            "dimension": dict(self.dimension),
            "evidence": {name: honest.plain(value) for name, value in self.evidence.items()},
            "examples": list(self.examples),
            "estimate": self.estimate.as_dict() if self.estimate else None,
            "p_value": self.p_value,
            "caveats": list(self.caveats),
            "action": self.action,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """``rows`` and ``totals`` follow ``columns``; totals stand apart so that nobody adds them to the rows.

    Money is Decimal, tokens and counts int, ratios 0 to 1; None is unknown. ``notes`` qualify the figures and
    belong beside them wherever they are shown. ``candidates`` and ``claims`` (CLAIMS) await frame.settle. ``baseline``:
    the window that this one is compared with, if any. Raises honest.UnnamedMoney for money that honest.py did not name.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    totals: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    claims: pa.Table | None = None
    baseline: Window | None = None

    def __post_init__(self) -> None:
        honest.check_texts(self.notes)
        honest.check_rows(self.columns, (*self.rows, *self.totals), self.notes)

    def has_money(self) -> bool:
        """Whether any amount stands in it."""
        at = [position for position, column in enumerate(self.columns) if column.kind in ("usd", "amount")]
        return bool(self.candidates) or any(
            row[position] is not None for row in (*self.rows, *self.totals) for position in at
        )

    def as_dict(self) -> dict[str, object]:
        """The shape of ``--json`` and of ``runs.result``: rows as objects, column name -> value."""
        return {
            **({"baseline": self.baseline.as_dict()} if self.baseline else {}),
            "columns": [{"name": c.name, "label": c.label, "kind": c.kind} for c in self.columns],
            "rows": self._named(self.rows),
            "totals": self._named(self.totals),
            "notes": list(self.notes),
            "findings": [finding.as_dict() for finding in self.findings],
        }

    def _named(self, rows: Iterable[Row]) -> list[dict[str, object]]:
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in rows]
