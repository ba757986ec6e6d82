"""The one place that decides under which name money may be shown.

``calls.cost_usd`` is the list price in every pricing mode. Only in mode ``api`` is it money spent. On a
subscription it is what the same calls would have cost through the API, beside the fee; where no plan is
declared nobody knows which of the two it is; a local model costs what the configuration says, or nothing that
is known. Two modes are never added. A Report checks itself here, so that no analyzer and no renderer can show an
amount without its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from operator import itemgetter
from typing import Any, Final

import duckdb

from analyzers import sql
from analyzers.column import Column, Row
from analyzers.window import Window, naive_utc


class UnnamedMoney(ValueError):  # noqa: N818 - the name says what is the case
    """An amount that does not say what it is, or says what it is not: a bug of an analyzer."""


@dataclass(frozen=True, slots=True)
class _Money(Column):
    """``pricing_mode``: that of the calls whose list prices stand here; None for money that is no list price."""

    pricing_mode: str | None


# By mode: how names and labels begin.
_NAMES: Final = {
    "api": ("spend", "spend"),
    "subscription": ("implied_api_value", "implied API value (beside the fee)"),
    "unknown": ("list_price", "list price, plan not declared"),
    "local": ("local_cost", "cost of local models as configured"),
}
MODE: Final = Column("pricing_mode", "pricing mode", "text")
MODES: Final = tuple(_NAMES)
PLANS: Final = ("api", "pro", "max_5x", "max_20x", "plus", "team", "enterprise", "local")
_ACCOUNTS_SHOWN: Final = 5


def columns(name: str = "{}", label: str = "{}") -> tuple[Column, ...]:
    """One column of money per mode, for ``amounts``; ``{}`` stands for what the mode calls its list prices.

    ``columns("llm_{}", "{} of LLM calls")`` -> llm_spend_usd, llm_implied_api_value_usd, …
    """
    return tuple(
        _Money(f"{name.format(called)}_usd", f"{label.format(words)}, USD", "usd", mode)
        for mode, (called, words) in _NAMES.items()
    )


def per_unit(statistic: str = "") -> tuple[Column, ...]:
    """``columns`` of what one unit costs: spend_per_unit_usd, or with a statistic spend_per_unit_mean_usd, …"""
    return columns(
        f"{{}}_per_unit_{statistic}" if statistic else "{}_per_unit",
        f"{{}} per unit, {statistic}" if statistic else "{} per unit",
    )


COLUMNS: Final = columns()
# What was agreed on for a plan, however much is used: in its own currency, and in dollars where the rate is known.
FEE: Final[Column] = _Money("fee_usd", "fee, USD", "usd", None)
FEE_AMOUNT: Final[Column] = _Money("fee_amount", "fee", "amount", None)
# What may be spent, and how much of that is left; below 0 where it is overspent.
BUDGET: Final[Column] = _Money("budget_usd", "budget, USD", "usd", None)
BUDGET_LEFT: Final[Column] = _Money("budget_left_usd", "left of the budget, USD", "usd", None)
VALUE_LESS_FEE: Final[Column] = _Money(
    "implied_api_value_less_fee_usd", "implied API value less fee, USD", "usd", "subscription"
)


def amounts(pricing_mode: str, list_price: Decimal | None) -> tuple[Decimal | None, ...]:
    """One value per mode, as ``columns`` have them: under the mode's own name, None under the others."""
    return tuple(list_price if mode == pricing_mode else None for mode in MODES)


def rounded(amount: Fraction) -> Decimal:
    """Half even, to the twelve places that money has in the lake."""
    return Decimal(round(amount * 10**12)).scaleb(-12)


def label(pricing_mode: str) -> str:
    """What an amount of this mode is called in a sentence."""
    return _NAMES[pricing_mode][1]


@dataclass(frozen=True, slots=True)
class Amount:
    """Money in a sentence or in a finding's evidence: ``str()`` says what it is, None is unknown."""

    pricing_mode: str
    usd: Decimal | None

    def __str__(self) -> str:
        amount = "unknown" if self.usd is None else f"{self.usd:,.6f} USD"
        return f"{label(self.pricing_mode)}: {amount}"

    def as_dict(self) -> dict[str, object]:
        return {"pricing_mode": self.pricing_mode, f"{_NAMES[self.pricing_mode][0]}_usd": self.usd}


def amount(document: Mapping[str, Any]) -> Amount:
    """What ``Amount.as_dict`` made, read from JSON."""
    mode = document["pricing_mode"]
    usd = document[f"{_NAMES[mode][0]}_usd"]
    return Amount(mode, None if usd is None else Decimal(usd))


def plain(value: object) -> object:
    """A value of a finding's evidence as JSON has it."""
    if isinstance(value, Amount):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


# --- what a report may not be

_USD_IN_TEXT: Final = re.compile(r"\d\s*USD\b|\$\s*\d")
# What else is known to be money by what it is called, whatever the plan.
_OTHER_NAMES: Final = ("fee", "reported by the sender", "budget")
_NAMED: Final = (*(words for _, words in _NAMES.values()), *_OTHER_NAMES)
# What telemetry calls something stands in quotes where it could be taken for an amount.
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_DECLARE: Final = "Declare the plan in the configuration"


def said(name: str) -> str:
    """A name that came with the telemetry, to stand in a sentence: whoever calls an agent "$5 bot" breaks nothing."""
    return json.dumps(name) if "$" in name or "USD" in name else name


def check_texts(texts: Iterable[str]) -> None:
    """Raises UnnamedMoney for dollars in a sentence that does not say what they are; names in quotes are none."""
    for text in texts:
        if _USD_IN_TEXT.search(_QUOTED.sub("", text)) and not any(name in text for name in _NAMED):
            raise UnnamedMoney(f"dollars without a name, use honest.Amount: {text!r}")


def check_evidence(evidence: Mapping[str, object]) -> None:
    """Raises UnnamedMoney for a bare Decimal, however deep."""
    for name, value in evidence.items():
        for inner in value if isinstance(value, list | tuple) else (value,):
            if isinstance(inner, Decimal):
                raise UnnamedMoney(f"money in evidence is an honest.Amount: {name!r}")
            if isinstance(inner, Mapping):
                check_evidence(inner)


def check_rows(shown: Sequence[Column], rows: Sequence[Row], notes: Iterable[str]) -> None:
    """Raises UnnamedMoney for money outside of columns made here, or in those of another pricing mode; and for list
    prices without a declared plan whose report does not say how to declare it (``undeclared_plans``)."""
    for at, column in enumerate(shown):
        if isinstance(column, _Money):
            continue
        # As a set of types, as a report can have a million rows.
        if column.kind in ("usd", "amount") or Decimal in set(map(type, map(itemgetter(at), rows))):
            raise UnnamedMoney(f"only honest.py makes columns of money: {column.name!r}")
    modes = set(_modes_with_money(shown, rows))
    if "unknown" in modes and not any(_DECLARE in note for note in notes):
        raise UnnamedMoney("list prices without a declared plan need the note of honest.undeclared_plans")


def _modes_with_money(shown: Sequence[Column], rows: Sequence[Row]) -> Iterator[str]:
    mode_at = shown.index(MODE) if MODE in shown else None
    for at, column in enumerate(shown):
        if not isinstance(column, _Money) or column.pricing_mode is None:
            continue
        for row in rows:
            if row[at] is not None:
                if mode_at is not None and row[mode_at] != column.pricing_mode:
                    raise UnnamedMoney(f"{column.name!r} in a row of pricing mode {row[mode_at]!r}")
                yield column.pricing_mode


# --- the plan that is missing


def undeclared_plans(connection: duckdb.DuckDBPyConnection, window: Window) -> tuple[str, ...]:
    """The notes for calls whose plan nobody declared, with the line that declares it; none without such calls."""
    accounts = connection.execute(sql.read("undeclared_plans.sql"), window.parameters()).fetchall()
    if not accounts:
        return ()
    calls = sum(count for _, count in accounts)
    return (
        f"calls without a declared plan: {calls}; their list price is not counted as spend. "
        f"{_DECLARE} (one of {', '.join(PLANS)}), as in: {_declaration(accounts)}",
        read_again(window),
    )


def read_again(window: Window) -> str:
    """How calls that are stored get an account or a plan that was declared after them."""
    return f"calls that are stored get what is declared with: otlp-collector renormalize --since {_since(window)}"


def price_again(window: Window) -> str:
    """How calls that are stored get a way of billing, or a price, that was declared after them."""
    return f"calls that are stored get what is declared with: otlp-collector reprice --since {_since(window)}"


def _since(window: Window) -> str:
    return f"{naive_utc(window.start):%Y-%m-%dT%H:%MZ}"


def _declaration(accounts: list[tuple[str | None, int]]) -> str:
    """The line to write: per account where calls have one, else the default for everything."""
    named = [account for account, _ in accounts if account is not None]
    if len(named) < len(accounts):
        return "default_plan_tier: api"
    entries = ", ".join(
        f"{{name: {json.dumps(account)}, plan_tier: api}}" for account in named[:_ACCOUNTS_SHOWN]
    )
    more = len(named) - _ACCOUNTS_SHOWN
    return f"accounts: [{entries}]" + (f" and {more} more accounts" if more > 0 else "")
