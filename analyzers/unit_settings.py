"""What `unit-cost` may be asked."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

import duckdb

from analyzers.registry import BadSetting, Settings
from analyzers.unit_key import UnitKey, attribute, unit_key

NAMES: Final = ("by", "unit_budget", "top", "short_ids", "success_attr", "budget")
DEFAULT_BY: Final = "session"
DEFAULT_TOP: Final = 20
_ALL: Final = 2**62
# As far as the lake's DECIMAL(38, 12) goes.
_MOST_USD: Final = Decimal(10) ** 25


class Asked(NamedTuple):
    """The settings, checked. Amounts in USD."""

    by: UnitKey
    success: UnitKey | None
    success_value: str | None
    unit_budget: Decimal | None
    budget: Decimal | None
    top: int
    short_ids: bool


def asked(connection: duckdb.DuckDBPyConnection, settings: Settings) -> Asked:
    """Raises BadSetting, which says what is allowed."""
    key, is_given, value = _text("success_attr", settings.get("success_attr", "")).partition("=")
    return Asked(
        by=unit_key(connection, _one_key(settings.get("by", DEFAULT_BY))),
        success=attribute(key, "success_of_call") if key or is_given else None,
        success_value=value if is_given else None,
        unit_budget=_amount("unit_budget", settings.get("unit_budget")),
        budget=_amount("budget", settings.get("budget")),
        top=_count("top", settings.get("top", DEFAULT_TOP)) or _ALL,
        short_ids=_yes_or_no("short_ids", settings.get("short_ids", False)),
    )


def _one_key(by: object) -> str:
    """The CLI gives a list; a comma may stand in no key, so that several are not taken for one."""
    keys = [by] if isinstance(by, str) else by
    if isinstance(keys, list | tuple) and len(keys) == 1 and isinstance(keys[0], str) and "," not in keys[0]:
        return keys[0].strip()
    raise BadSetting(f"`by` is one dimension or one attribute, not {by!r}")


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise BadSetting(f"`{name}` is KEY or KEY=VALUE, not {value!r}")


def _amount(name: str, value: object) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or not 0 <= amount < _MOST_USD:
        raise BadSetting(f"`{name}` is an amount in USD from 0, such as 0.10, not {value!r}")
    return amount


def _count(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise BadSetting(f"`{name}` is a whole number from 0 (all units), not {value!r}")


def _yes_or_no(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise BadSetting(f"`{name}` is true or false, not {value!r}")
