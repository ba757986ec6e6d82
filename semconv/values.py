"""Values between OTLP, Python and JSON text."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import orjson

from semconv.otlp import INT64_MAX, INT64_MIN, Value

_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_NON_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_UINT64_DIGITS: Final = 20
CUT_MARKER: Final = "…[cut]"
# Values in one JSON text that is worth parsing: some 60 MB of Python objects.
_MOST_JSON_VALUES: Final = 500_000


def json_text(value: Value) -> str:
    """JSON text of a value as :mod:`semconv.otlp` describes it. Doubles always carry ``.`` or ``e``."""
    return orjson.dumps(value).decode()


def bytes_value(raw: bytes) -> dict[str, str]:
    """How bytes stand in JSON."""
    return {"$bytes": base64.b64encode(raw).decode()}


def double_value(number: float) -> float | dict[str, str]:
    """A double as it stands in JSON: itself, or ``{"$double": "NaN" | "Infinity" | "-Infinity"}``."""
    if math.isfinite(number):
        return number
    if math.isnan(number):
        return {"$double": "NaN"}
    return {"$double": "Infinity" if number > 0 else "-Infinity"}


def in_int64(number: int) -> bool:
    """Whether a BIGINT can hold the number."""
    return INT64_MIN <= number <= INT64_MAX


def parse_integer(value: Any) -> int | None:
    """The integer that a JSON value spells (``5``, ``"5"``, ``5.0``, ``"5e3"``), None if it spells none.

    The result may be beyond 64 bits.
    """
    if isinstance(value, str):
        return _integer_of_text(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def _integer_of_text(text: str) -> int | None:
    if len(text) <= _UINT64_DIGITS and text.isdigit() and text.isascii():
        return int(text)
    if not _NUMBER.fullmatch(text):
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent of 19 digits or more
        return None
    if not number:  # 0e999999999 is 0
        return 0
    if number.adjusted() > _UINT64_DIGITS:  # no need to spell out 1e999999999
        return INT64_MAX * 4 if number > 0 else INT64_MIN * 4
    whole = int(number)
    return whole if whole == number else None


def parse_double(value: Any) -> float | None:
    """The double that a JSON value spells, non-finite ones by name; None if it spells none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else _NON_FINITE.get(value)
    return None


def is_small_json(text: str) -> bool:
    """Whether parsing a JSON text cannot cost much memory: `{},{},…` takes twenty times its length."""
    return text.count(",") + text.count("{") + text.count("[") < _MOST_JSON_VALUES


def has_text(value: Value) -> bool:
    """Whether a value holds any text: a non-empty string, alone or anywhere in a list or map."""
    if isinstance(value, str):
        return value != ""
    if isinstance(value, list):
        return any(map(has_text, value))
    if isinstance(value, dict):
        return "$double" not in value and any(map(has_text, value.values()))
    return False


def longest_text(value: Value) -> int:
    """UTF-8 bytes of the longest string in a value, map keys included."""
    if isinstance(value, str):
        return utf8_length(value)
    if isinstance(value, list):
        return max(map(longest_text, value), default=0)
    if isinstance(value, dict):
        return max(map(longest_text, (*value, *value.values())), default=0)
    return 0


def utf8_length(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def total_length(texts: Iterable[str | None]) -> int:
    """Bytes of texts in UTF-8."""
    return sum(utf8_length(text) for text in texts if text)


def cut_text(text: str, limit: int) -> str:
    """The text, or its first ``limit`` bytes up to a whole character with a marker behind."""
    if len(text) * 4 <= limit or utf8_length(text) <= limit:
        return text
    return text.encode()[:limit].decode(errors="ignore") + CUT_MARKER


def cut_value(value: Value, limit: int) -> Value:
    """A value of at most about ``limit`` bytes: strings are cut, a list or map that is too long becomes
    cut text.
    """
    if isinstance(value, str):
        return cut_text(value, limit)
    if isinstance(value, list | dict):
        text = json_text(value)
        return value if utf8_length(text) <= limit else cut_text(text, limit)
    return value
