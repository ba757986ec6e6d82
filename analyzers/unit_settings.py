"""What `unit-cost` may be asked."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

import duckdb

from analyzers import setting
from analyzers.setting import BadSetting, Setting
from analyzers.unit_key import UnitKey, attribute, unit_key
from analyzers.window import Window

_DEFAULT_BY: Final = "session"
_DEFAULT_TOP: Final = 20
_ALL: Final = 2**62


class Asked(NamedTuple):
    """The settings, checked. Amounts in USD."""

    by: UnitKey
    success: UnitKey | None
    success_value: str | None
    unit_budget: Decimal | None
    budget: Decimal | None
    top: int
    short_ids: bool


def _one_key(name: str, value: object) -> str:
    """The CLI gives a list; a comma may stand in no key, so that several are not taken for one."""
    keys = [value] if isinstance(value, str) else value
    if isinstance(keys, list | tuple) and len(keys) == 1 and isinstance(keys[0], str) and "," not in keys[0]:
        return keys[0].strip()
    raise BadSetting(f"`{name}` is one dimension or one attribute, not {value!r}")


def _key_and_value(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise BadSetting(f"`{name}` is KEY or KEY=VALUE, not {value!r}")


SETTINGS: Final = (
    Setting("by", "the unit: a dimension, or the key of an attribute", _one_key, _DEFAULT_BY),
    Setting("unit_budget", "USD that a unit may cost", setting.usd),
    Setting("top", "most units to show of each pricing mode; 0 = all", setting.count, _DEFAULT_TOP),
    Setting("short_ids", "cut units' ids to what tells them apart", setting.yes_or_no, False),
    Setting("success_attr", "KEY or KEY=VALUE that says of a unit that it succeeded", _key_and_value, ""),
    Setting("budget", "USD that may be spent in a month", setting.usd),
)


def asked(connection: duckdb.DuckDBPyConnection, window: Window, settings: Mapping[str, Any]) -> Asked:
    """Raises BadSetting for a key that none can be."""
    key, is_given, value = settings["success_attr"].partition("=")
    return Asked(
        by=unit_key(connection, window, settings["by"]),
        success=attribute(key, "success_of_call") if key or is_given else None,
        success_value=value if is_given else None,
        unit_budget=settings["unit_budget"],
        budget=settings["budget"],
        top=settings["top"] or _ALL,
        short_ids=settings["short_ids"],
    )
