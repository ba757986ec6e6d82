"""How long providers' prompt caches live, and from how many tokens on: the rows of cache_rules.toml."""

from __future__ import annotations

import re
import tomllib
from functools import cache, lru_cache
from typing import Final, NamedTuple

from analyzers import sql

_MOST_REMEMBERED: Final = 10_000


class Rule(NamedTuple):
    """``lives``, ``longer``: seconds from the last use; ``longer`` None where it cannot be asked for."""

    providers: tuple[str, ...]
    model: re.Pattern[str]
    min_tokens: int
    lives: int
    longer: int | None
    on_request: bool


@lru_cache(_MOST_REMEMBERED)
def rule_of(provider: str | None, model: str | None) -> Rule | None:
    """The first row that fits; None where nothing is known of the provider or the model."""
    name = (model or "").lower()
    return next((rule for rule in rules() if provider in rule.providers and rule.model.search(name)), None)


@cache
def rules() -> tuple[Rule, ...]:
    rows = tomllib.loads(sql.read("cache_rules.toml"))["rule"]
    return tuple(
        Rule(
            tuple(row["providers"]),
            re.compile(row["model"]),
            row["min_tokens"],
            row["lives"] * 60,
            row["longer"] * 60 if "longer" in row else None,
            row["on_request"],
        )
        for row in rows
    )
