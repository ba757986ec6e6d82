"""JSON read exactly: slower than orjson, for the bodies that orjson refuses or bends.

Read here: lone surrogates (as U+FFFD), ``NaN`` and ``Infinity`` as Python's ``json.dumps`` writes them, numbers of
any length, control characters in strings, and a byte order mark, which RFC 8259 lets a reader ignore. What is no
JSON at all, or no UTF-8, is refused with its place. Of equal keys the last wins, as with orjson.
"""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any, Final

from semconv.otlp import DecodeError
from semconv.values import parse_integer

# As many levels of arrays and objects as orjson reads.
MAX_LEVELS: Final = 1024
# The standard library's reader counts its levels as Python's calls, and stands in some calls itself. Without room
# for both, a body that the receivers accepted could fail to be read again from deeper in the program.
_CALLS: Final = 300
sys.setrecursionlimit(max(sys.getrecursionlimit(), MAX_LEVELS + _CALLS))

_BYTE_ORDER_MARK: Final = "\ufeff"
# UTF-8 has no other bytes that look like these; the replacement is as long, so places stay what they are.
_RAW_SURROGATE: Final = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_ESCAPED_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_REPLACEMENT: Final = "\ufffd"
# A sign and 19 digits: no longer number fits into 64 bits.
_INT64_CHARACTERS: Final = 20
_BEYOND: Final = 1 << 70
# No two numbers of up to 15 digits have the same double (DBL_DIG). With a whole double from 10**15 to 2**53, where
# doubles are half a unit apart or less, such a number is whole as well, so it is that double.
_EXACT_CHARACTERS: Final = 15
_EXACT_BELOW: Final = 1 << 53


class Number(float):
    """A double that is whole, or infinite, with the integer that its text spells; None where it spells none.

    ``9007199254740993.0`` is the double 9007199254740992 and the integer 9007199254740993;
    ``0.99999999999999999`` is the double 1 and no integer. The integer of what is far beyond 64 bits is only beyond
    them too.
    """

    __slots__ = ("integer",)
    integer: int | None


def parse(body: bytes) -> Any:
    """The value of a JSON text. Whole doubles are Numbers. DecodeError names the line and column, or the byte."""
    try:
        value = _READER.decode(_text(body).removeprefix(_BYTE_ORDER_MARK))
    except json.JSONDecodeError as error:
        raise DecodeError(f"the body is not JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise DecodeError(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError:
        raise _too_deep() from None
    _tidy(value, has_surrogates=_ESCAPED_SURROGATE.search(body) is not None)
    return value


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return _RAW_SURROGATE.sub(_REPLACEMENT.encode(), body).decode()


def _integer(text: str) -> int | Number:
    if len(text) <= _INT64_CHARACTERS:
        return int(text)
    return _number(float(text), -_BEYOND if text.startswith("-") else _BEYOND)


def _double(text: str) -> float:
    nearest = float(text)
    if nearest.is_integer() or math.isinf(nearest):
        return _number(nearest, _exact_integer(text, nearest))
    return nearest


def _exact_integer(text: str, nearest: float) -> int | None:
    """The integer that a text spells whose double is whole or infinite."""
    if nearest == 0:  # of a tiny number too
        digits = text.lower().partition("e")[0]
        return None if digits.strip("-0.") else 0
    if len(text) <= _EXACT_CHARACTERS and abs(nearest) < _EXACT_BELOW:
        return int(nearest)
    return parse_integer(text)


def _number(nearest: float, integer: int | None) -> Number:
    number = Number(nearest)
    number.integer = integer
    return number


_READER: Final = json.JSONDecoder(strict=False, parse_int=_integer, parse_float=_double)


def _too_deep() -> DecodeError:
    return DecodeError(f"the body is JSON nested more than {MAX_LEVELS} deep")


def _tidy(document: Any, *, has_surrogates: bool) -> None:
    """Replace lone surrogates, level by level. DecodeError where the levels are too many."""
    level = _inner([document])
    for _ in range(MAX_LEVELS):
        if has_surrogates:
            for container in level:
                _replace_surrogates(container)
        level = [inner for container in level for inner in _inner(container)]
    if level:
        raise _too_deep()


def _inner(container: Any) -> list[Any]:
    values = container.values() if type(container) is dict else container
    return [value for value in values if type(value) is dict or type(value) is list]


def _replace_surrogates(container: Any) -> None:
    if type(container) is dict:
        pairs = [(_clean(key), _clean(value)) for key, value in container.items()]
        container.clear()
        container.update(pairs)
    else:
        container[:] = map(_clean, container)


def _clean(value: Any) -> Any:
    return _SURROGATE.sub(_REPLACEMENT, value) if type(value) is str else value
