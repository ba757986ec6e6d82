"""Findings on a page: what each could save and what to do first, its evidence beside, its caveats never left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from analyzers import honest
from collector.cli import finding_text
from collector.cli.html import figures

# Of one kind so many are shown at once, the others when they are asked for.
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Told:
    """``saves`` is short, ``saves_of`` the kind of money; the exact figures are among ``details``, a name and a text
    each."""

    finding_id: str
    analyzer: str
    title: str
    saves: str | None
    saves_of: str | None
    action: str | None
    caveats: Sequence[str]
    details: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Group:
    heading: str
    shown: Sequence[Told]
    folded: Sequence[Told]

    @property
    def count(self) -> int:
        return len(self.shown) + len(self.folded)


def groups(results: Sequence[Mapping[str, Any]]) -> list[Group]:
    """Of all these results: what could be saved, each kind of money by itself and the most first, then what is the
    case."""
    every = [{**one, "analyzer": result["analyzer"]} for result in results for one in result["findings"]]
    of_kind = sorted(finding_text.grouped(every), key=lambda group: not group[1][0].get("estimate"))
    return [_group(heading, sorted(same, key=_most_first)) for heading, same in of_kind]


def _most_first(finding: Mapping[str, Any]) -> Decimal:
    """0 of a fact, so that facts stay in their order."""
    ends = (
        [finding["estimate"][f"{end}_per_month"] for end in ("low", "high")]
        if finding.get("estimate")
        else []
    )
    values = [honest.amount(end).usd if isinstance(end, Mapping) else end for end in ends]
    return -sum((Decimal(value) for value in values if value is not None), Decimal(0))


def _group(heading: str, findings: Sequence[Mapping[str, Any]]) -> Group:
    seen: Counter[tuple[str, str]] = Counter()
    shown: list[Told] = []
    folded: list[Told] = []
    for finding in findings:
        kind = (finding["analyzer"], finding["kind"])
        (shown if seen[kind] < _SHOWN else folded).append(_told(finding))
        seen[kind] += 1
    return Group(heading, shown, folded)


def _told(finding: Mapping[str, Any]) -> Told:
    estimate = finding.get("estimate")
    return Told(
        finding_id=finding["finding_id"],
        analyzer=finding["analyzer"],
        title=finding["title"],
        saves=_saves(estimate) if estimate else None,
        saves_of=estimate["basis"] if estimate else None,
        action=finding.get("action"),
        caveats=finding["caveats"],
        details=[*_evidence(finding)],
    )


def _evidence(finding: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is not said in the other places."""
    return (
        (name, text) for name, text in finding_text.details(finding) if name not in ("note", "what to do")
    )


def _saves(estimate: Mapping[str, Any]) -> str:
    ends = [estimate[f"{end}_per_month"] for end in ("low", "high")]
    if isinstance(ends[1], Mapping):
        least, most = (figures.usd(honest.amount(end).usd) for end in ends)
        unit = "USD"
    else:
        least, most = map(figures.tokens, ends)
        unit = "tokens"
    return f"{least if least == most else f'{least} to {most}'} {unit} a month"
