"""What an analyzer hands back: typed columns, rows, and what a reader must know beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from analyzers import honest
from analyzers.column import Column, Kind, Row

__all__ = ["Column", "Finding", "Kind", "Report", "Row"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth acting on. ``finding_id`` is stable across runs; no renderer may drop the caveats.

    Money in ``evidence`` is an honest.Amount. Raises honest.UnnamedMoney.
    """

    finding_id: str
    title: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        honest.check_texts((self.title, *self.caveats))
        honest.check_evidence(self.evidence)

    def as_dict(self) -> dict[str, object]:
        return {
            "finding_id": self.finding_id,
            "title": self.title,
            "evidence": {name: honest.plain(value) for name, value in self.evidence.items()},
            "caveats": list(self.caveats),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """``rows`` and ``totals`` follow ``columns``; totals stand apart so that nobody adds them to the rows.

    Money is Decimal, tokens and counts int, ratios 0 to 1; None is unknown. ``notes`` qualify the figures and
    belong beside them wherever they are shown. Raises honest.UnnamedMoney for money that honest.py did not name.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    totals: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        honest.check_texts(self.notes)
        honest.check_rows(self.columns, (*self.rows, *self.totals), self.notes)

    def has_money(self) -> bool:
        """Whether any amount stands in it."""
        at = [position for position, column in enumerate(self.columns) if column.kind in ("usd", "amount")]
        return any(row[position] is not None for row in (*self.rows, *self.totals) for position in at)

    def as_dict(self) -> dict[str, object]:
        """The shape of ``--json`` and of ``runs.result``: rows as objects, column name -> value."""
        return {
            "columns": [{"name": c.name, "label": c.label, "kind": c.kind} for c in self.columns],
            "rows": [self._named(row) for row in self.rows],
            "totals": [self._named(row) for row in self.totals],
            "notes": list(self.notes),
            "findings": [finding.as_dict() for finding in self.findings],
        }

    def _named(self, row: Row) -> dict[str, object]:
        return dict(zip((column.name for column in self.columns), row, strict=True))
