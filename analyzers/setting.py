"""What an analyzer may be asked: its settings, with their defaults, and what each accepts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from analyzers.window import BadWindow, format_length, parse_length

Settings: TypeAlias = Mapping[str, object]
# Takes the name and what was given, gives the value, or raises BadSetting.
Reader: TypeAlias = Callable[[str, object], Any]

# As far as the lake's DECIMAL(38, 12) goes.
_MOST_USD: Final = Decimal(10) ** 25


class BadSetting(ValueError):  # noqa: N818 - the name says what is the case
    """A setting that the analyzer does not have, or a value it cannot use; says what is allowed."""


@dataclass(frozen=True, slots=True)
class Setting:
    """``default`` is a value as ``read`` gives it; None means that there is none."""

    name: str
    help: str
    read: Reader
    default: object = None


def chosen(declared: Iterable[Setting], given: Settings) -> dict[str, Any]:
    """Every declared setting with its value. Raises BadSetting."""
    return {
        one.name: one.default if given.get(one.name) is None else one.read(one.name, given[one.name])
        for one in declared
    }


def written(value: object) -> object:
    """A value as it would be given: a length of time as 90m or 7d, all else as it is."""
    return format_length(value) if isinstance(value, dt.timedelta) else value


def count(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise BadSetting(f"`{name}` is a whole number from 0, not {value!r}")


def usd(name: str, value: object) -> Decimal:
    amount = _decimal(value)
    if amount is None or not 0 <= amount < _MOST_USD:
        raise BadSetting(f"`{name}` is an amount in USD from 0, such as 0.10, not {value!r}")
    return amount


def share(name: str, value: object) -> Decimal:
    amount = _decimal(value)
    if amount is None or not 0 <= amount <= 1:
        raise BadSetting(f"`{name}` is a share from 0 to 1, such as 0.3, not {value!r}")
    return amount


def number(name: str, value: object) -> float:
    amount = _decimal(value)
    if amount is None or amount < 0:
        raise BadSetting(f"`{name}` is a number from 0, not {value!r}")
    return float(amount)


def length(name: str, value: object) -> dt.timedelta:
    try:
        return parse_length(str(value))
    except BadWindow as error:
        raise BadSetting(f"`{name}`: {error}") from None


def text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise BadSetting(f"`{name}` is a text, not {value!r}")


def texts(name: str, value: object) -> list[str]:
    """A list of texts, or one with commas between them; each once."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise BadSetting(f"`{name}` is a list of texts or a comma-separated text, not {value!r}")
    return list(dict.fromkeys(name.strip() for part in parts for name in part.split(",")))


def yes_or_no(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise BadSetting(f"`{name}` is true or false, not {value!r}")


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None
