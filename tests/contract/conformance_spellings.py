"""Every way in which the rules of OTLP/JSON allow one request to be spelt."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from google.protobuf.message import Message

from tests.contract.conformance_messages import is_double, is_hex, is_integer, otlp_json, spell


def literal(text: str) -> str:
    """Stands for a JSON number of exactly this spelling, until ``dumped``."""
    return f"@{text}@"


def dumped(document: Any, **options: Any) -> bytes:
    return re.sub(r'"@([-+.0-9eE]+)@"', r"\1", json.dumps(document, **options)).encode()


def by_scalars(spelled: Callable[[Any, Any], Any]) -> Callable[[Message], bytes]:
    return lambda message: dumped(otlp_json(message, spelled))


def upper_case_ids(field: Any, value: Any) -> Any:
    return value.hex().upper() if is_hex(field) else spell(field, value)


def integers_as_numbers(field: Any, value: Any) -> Any:
    return value if is_integer(field) else spell(field, value)


def integers_as_text(field: Any, value: Any) -> Any:
    return str(value) if is_integer(field) else spell(field, value)


def doubles_as_text(field: Any, value: Any) -> Any:
    return str(spell(field, value)) if is_double(field) else spell(field, value)


def exponents_in_text(field: Any, value: Any) -> Any:
    return f"{Decimal(value):e}" if is_integer(field) else spell(field, value)


def exponents_in_numbers(field: Any, value: Any) -> Any:
    """1.2E+3, and 7.0 for what is small: larger integers than doubles can hold would not survive any parser."""
    if is_integer(field) and abs(value) < 2**53:
        return literal(f"{value}.0" if abs(value) < 100 else f"{Decimal(value):e}")
    return spell(field, value)


def changed(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Message], bytes]:
    """Spell the message, and change every object in it."""

    def visit(value: Any) -> Any:
        if isinstance(value, list):
            return [visit(item) for item in value]
        if isinstance(value, dict):
            return change({key: visit(item) for key, item in value.items()})
        return value

    return lambda message: dumped(visit(otlp_json(message)))


def with_unknown_fields(fields: dict[str, Any]) -> dict[str, Any]:
    unknown = {"futureText": "x", "futureNumber": -1e300, "futureFlag": False, "futureNothing": None}
    return {**unknown, **fields, "futureList": [[1, {"a": []}]], "futureObject": {"traceId": "00", "b": {}}}


def with_snake_case_twins(fields: dict[str, Any]) -> dict[str, Any]:
    """Beside each name its spelling in the .proto files, which JSON readers of protobuf accept."""
    twins = {re.sub("([A-Z])", r"_\1", key).lower(): twin_of(value) for key, value in fields.items()}
    return {**{key: value for key, value in twins.items() if key not in fields}, **fields}


def twin_of(value: Any) -> Any:
    return type(value)() if isinstance(value, list | dict) else "17"


def with_nulls(message: Message) -> bytes:
    """Every field that is not set is null."""

    def visit(part: Message, document: dict[str, Any]) -> None:
        for field, value in part.ListFields():
            if field.message_type:
                parts = value if field.is_repeated else [value]
                written = document[field.json_name]
                for inner, text in zip(parts, written if field.is_repeated else [written], strict=True):
                    visit(inner, text)
        for field in part.DESCRIPTOR.fields:
            document.setdefault(field.json_name, None)

    document = otlp_json(message)
    visit(message, document)
    return dumped(document)


def escaped(message: Message) -> bytes:
    """Each character of each name and text by its number."""
    text = dumped(otlp_json(message)).decode()
    return re.sub(
        r'"((?:[^"\\]|\\.)*)"',
        lambda quoted: '"' + "".join(f"\\u{ord(unit):04x}" for unit in units(quoted[0])) + '"',
        text,
    ).encode()


def units(quoted: str) -> str:
    """The UTF-16 units of a JSON text, as characters."""
    raw = json.loads(quoted).encode("utf-16-be", "surrogatepass")
    return "".join(chr(high << 8 | low) for high, low in zip(raw[::2], raw[1::2], strict=True))


SPELLINGS: dict[str, Callable[[Message], bytes]] = {
    "J1 ids in upper case": by_scalars(upper_case_ids),
    "J3 unknown fields everywhere": changed(with_unknown_fields),
    "J4 snake_case names beside the right ones": changed(with_snake_case_twins),
    "J5 integers as numbers": by_scalars(integers_as_numbers),
    "J5 integers as text": by_scalars(integers_as_text),
    "J6 doubles as text": by_scalars(doubles_as_text),
    "J8 null for what is absent": with_nulls,
    "J9 integers with exponents as text": by_scalars(exponents_in_text),
    "J9 integers with exponents or fractions": by_scalars(exponents_in_numbers),
    "plain UTF-8": lambda message: dumped(otlp_json(message), ensure_ascii=False),
    "indented": lambda message: dumped(otlp_json(message), indent="\t"),
    "fields backwards": changed(lambda fields: dict(reversed(fields.items()))),
    "all characters escaped": escaped,
}
