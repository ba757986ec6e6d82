"""What the tests of dialect tables share: documents of one value, and rows of attributes with what is read of them."""

from __future__ import annotations

import json
from typing import Any

Rows = list[tuple[dict[str, Any], dict[str, Any]]]
LANGCHAIN = "generations", 0, 0, "message", "kwargs"


def nested(*steps: str | int, value: Any) -> Any:
    """A document with one value, its lists of one element."""
    for step in reversed(steps):
        value = [value] if isinstance(step, int) else {step: value}
    return value


def text(*steps: str | int, value: Any) -> str:
    """The same as JSON text."""
    return json.dumps(nested(*steps, value=value))


def columns(row: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    return {column: row[column] for column in expected}
