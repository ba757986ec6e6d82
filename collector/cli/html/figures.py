"""Figures as a page shows them: short in sentences and cards, whole in tables."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from collector.cli import finding_text

UNKNOWN: Final = "unknown"
_MILLION: Final = 1_000_000
_MINUS: Final = "\N{MINUS SIGN}"


def usd(amount: Any) -> str:
    """Without its unit."""
    return finding_text.dollars(None if amount is None else Decimal(amount))


def tokens(count: Any) -> str:
    """Without their unit, too."""
    if count is None:
        return UNKNOWN
    return f"{count:,}" if count < _MILLION else f"{count / _MILLION:,.1f} million"


def share(part: Any) -> str:
    return UNKNOWN if part is None else f"{float(part):.1%}"


def change(before: Any, after: Any) -> str:
    """How much more, in percent where that says something."""
    if before is None or after is None:
        return UNKNOWN
    difference = Decimal(after) - Decimal(before)
    sign = "+" if difference > 0 else _MINUS if difference < 0 else ""
    relative = f" ({signed(difference / Decimal(before))})" if before else ""
    return f"{sign}{usd(abs(difference))} USD{relative}"


def signed(part: Any) -> str:
    """In percent of what it is compared with."""
    return f"{float(part):+.0%}".replace("-", _MINUS)


def cell(value: Any) -> str:
    """One value of a table: thousands apart, nothing rounded further."""
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return f"{value:,}" if is_number else str(value)
