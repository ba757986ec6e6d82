"""A finding in words: what it is about, what it would save and how sure that is, its evidence, caveats and action."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias, get_args

from analyzers import honest
from analyzers.finding import Basis

# As ``finding.Finding.as_dict`` has it, or `runs` kept it.
Document: TypeAlias = Mapping[str, Any]


def grouped(findings: Sequence[Document]) -> Iterator[tuple[str, list[Document]]]:
    """Facts first, then estimates, each kind of money under its own heading: they are never added."""
    facts = [finding for finding in findings if not finding.get("estimate")]
    if facts:
        yield "what is the case", facts
    estimates = [finding for finding in findings if finding.get("estimate")]
    for basis in get_args(Basis):
        if same := [finding for finding in estimates if finding["estimate"]["basis"] == basis]:
            yield f"what could be saved: {basis}", same


def details(finding: Document) -> Iterator[tuple[str, str]]:
    """What stands below a title: a name and a text each, caveats always."""
    if about := finding.get("dimension"):
        yield "about", ", ".join(f"{name} {value or '(none)'}" for name, value in about.items())
    if estimate := finding.get("estimate"):
        yield from _estimate(estimate)
    if evidence := finding["evidence"]:
        yield "evidence", "; ".join(_named(name, value) for name, value in evidence.items())
    if (p_value := finding.get("p_value")) is not None:
        yield "chance", f"p = {float(p_value):.4f} that chance alone makes the like"
    if examples := finding.get("examples"):
        yield "calls", ", ".join(examples)
    for caveat in finding["caveats"]:
        yield "note", caveat
    if action := finding.get("action"):
        yield "what to do", action


def _estimate(estimate: Document) -> Iterator[tuple[str, str]]:
    yield "saves in this window", _between(estimate["low"], estimate["high"])
    confidence = estimate["confidence"]
    sure = (
        "too few days to say how sure" if confidence is None else f"with {float(confidence):.0%} confidence"
    )
    yield "saves in a month", f"{_between(estimate['low_per_month'], estimate['high_per_month'])}, {sure}"
    if estimate["tokens_high_per_month"] is not None:
        freed = _between(estimate["tokens_low_per_month"], estimate["tokens_high_per_month"])
        share = estimate["token_share"]
        of_all = "" if share is None else f", {float(share):.1%} of this window's tokens"
        yield "frees in a month", f"{freed}{of_all}"
    yield "how", estimate["method"]


def _between(low: Any, high: Any) -> str:
    """Two ends that are amounts of one kind of money, or tokens."""
    if isinstance(high, Mapping):
        ends = [honest.amount(end) for end in (low, high)]
        least, most = (dollars(end.usd) for end in ends)
        words = honest.label(ends[1].pricing_mode)
        return f"{words}: {least if least == most else f'{least} to {most}'} USD"
    least, most = ("an unknown number of" if end is None else f"{end:,}" for end in (low, high))
    return f"{least if least == most else f'{least} to {most}'} tokens"


def dollars(usd: Decimal | None) -> str:
    """To the cent, two digits of less than a dollar: an estimate knows no more. JSON has every digit."""
    if usd is None:
        return "unknown"
    places = 2 if not usd else max(2, 1 - usd.adjusted())
    return f"{usd:,.{places}f}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _named(name: str, value: Any) -> str:
    """With its name before it; shares in percent."""
    is_share = name.endswith("share") and isinstance(value, float | Decimal)
    return f"{_words(name)} {f'{float(value):.1%}' if is_share else _value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        if "pricing_mode" in value:
            return str(honest.amount(value))
        return f"({', '.join(_named(name, inner) for name, inner in value.items())})"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    return "unknown" if value is None else _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{float(value):,.4g}" if isinstance(value, float | Decimal) else str(value)
