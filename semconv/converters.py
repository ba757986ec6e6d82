"""The closed set of converters that rows of the dialect tables may name.

Each takes a non-empty value as :mod:`semconv.otlp` describes it and returns what the column holds, or raises
ValueError. They change types only; what a value means is decided later.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext
from typing import Any, Final

import orjson

from semconv.otlp import Value
from semconv.values import in_int64, is_small_json, parse_double, parse_integer, utf8_length

# Longer texts are no model, id or tier, whatever key they stand under.
MAX_IDENTIFIER_BYTES: Final = 2048
_MONEY_SCALE: Final = Decimal(1).scaleb(-12)  # DECIMAL(38,12)
_MONEY_LIMIT: Final = Decimal(10) ** 26
# OpenAI and those that speak its language, Anthropic, OpenRouter.
_RESPONSE_IDS: Final = ("chatcmpl-", "cmpl-", "resp_", "msg_", "gen-")
_BOOLEANS: Final = {"true": True, "True": True, "false": False, "False": False}


def string(value: Value) -> str:
    """A text of at most 2 KiB; numbers as their text."""
    if isinstance(value, str) and utf8_length(value) <= MAX_IDENTIFIER_BYTES:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError("not an identifier")


def response_id(value: Value) -> str:
    """The id of a provider's response. Among answers that stand where a response may, ids of other things are as
    common: only what begins as the providers' own do is one.
    """
    if isinstance(value, str) and value.startswith(_RESPONSE_IDS):
        return string(value)
    raise ValueError("not a response id")


def tokens(value: Value) -> int:
    """A count of 0 or more, from an integer in any spelling (``5``, ``"5"``, ``5.0``)."""
    number = parse_integer(value)
    if number is None or number < 0 or not in_int64(number):
        raise ValueError("not a count")
    return number


def floating(value: Value) -> float:
    """A finite number."""
    number = parse_double(value)
    if number is None or number - number != 0:
        raise ValueError("not a number")
    return number


def boolean(value: Value) -> bool:
    """A boolean, also as ``true`` or ``True`` in text."""
    found = value if isinstance(value, bool) else _BOOLEANS.get(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("not a boolean")
    return found


def quoted_string(value: Value) -> str:
    """A text of at most 2 KiB that may stand in quotes, as JSON writes it (MLflow)."""
    if isinstance(value, str) and value.startswith('"'):
        value = _json(value)
    return string(value)


def error_status(value: Value) -> str | None:
    """An HTTP status of 400 or more, as text; None for any other, which tells of no error."""
    status = tokens(value)
    return str(status) if 400 <= status <= 599 else None


def seconds_to_ms(value: Value) -> float:
    """Seconds, returned in milliseconds."""
    return floating(value) * 1000.0


def time_to_first_token(value: Value) -> float:
    """Milliseconds from an integer of them (Strands), or from seconds as a double (OpenLIT)."""
    return floating(value) if isinstance(value, int) else seconds_to_ms(value)


def strings(value: Value) -> list[str]:
    """A list of identifiers, at most 2 KiB in all; one alone, or a JSON array of them in text (LiteLLM, Agent
    Framework), is one too, and so is one in quotes (Langfuse).
    """
    if isinstance(value, str) and value.startswith(("[", '"')):
        value = _json(value)
    found = [string(item) for item in (value if isinstance(value, list) else [value]) if item is not None]
    if sum(map(utf8_length, found)) + len(found) > MAX_IDENTIFIER_BYTES + 1:
        raise ValueError("not a list of identifiers")
    return found


def _json(text: str) -> Any:
    """What a text is as JSON, itself if it is none."""
    if not is_small_json(text):
        raise ValueError("not an identifier")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def money(value: Value) -> Decimal:
    """US dollars of 0 or more as the lake's DECIMAL(38,12), rounded half even."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:  # whatever is no number, True and lists included
        raise ValueError("not an amount") from error
    if not amount.is_finite() or not 0 <= amount < _MONEY_LIMIT:
        raise ValueError("not an amount")
    with localcontext(prec=40):
        return amount.quantize(_MONEY_SCALE, ROUND_HALF_EVEN)


def money_or_none(value: Value) -> Decimal | None:
    """The same of a sender that writes 0 where it knows no price."""
    return money(value) or None


CONVERTERS: Final[dict[str, Callable[[Value], Any]]] = {
    "string": string,
    "quoted_string": quoted_string,
    "tokens": tokens,
    "float": floating,
    "bool": boolean,
    "error_status": error_status,
    "seconds_to_ms": seconds_to_ms,
    "time_to_first_token": time_to_first_token,
    "strings": strings,
    "money": money,
    "money_or_none": money_or_none,
    "response_id": response_id,
}

# What a converter returns unchanged where it is positive or not empty, so that the hot loop need not call it.
EXACT_TYPES: Final[dict[str, type]] = {"string": str, "bool": bool, "tokens": int}
