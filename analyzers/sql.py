"""The .sql files that stand beside the analyzers."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def read(name: str) -> str:
    """The text of ``analyzers/<name>``."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
