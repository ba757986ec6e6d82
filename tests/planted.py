"""Lakes on which nothing is out of line, so that what an analyzer finds in them it found by chance; what is to be found
a test plants into them itself.

They have what makes figures differ for no reason: weekdays, growth, long and short sessions, agents and users of which
some do much more than others, failed calls, two pricing modes, providers that tell what was written to the cache and
such that do not.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import duckdb

from analyzers.window import Window
from tests.calls_table import calls_table

_SQL: Final = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
# What is drawn about something, which has one or two numbers: evenly between 0 and 1, or by the normal distribution.
_MACROS: Final = """
    CREATE OR REPLACE TEMP MACRO even(seed, about, one, two) AS
        ((hash(hash(seed, about, one, two)) >> 11) + 0.5e0) / 9007199254740992e0;
    CREATE OR REPLACE TEMP MACRO normal(seed, about, one, two) AS
        sqrt(-2 * ln(even(seed, about, one, two))) * cos(2 * pi() * even(seed, about || ' turned', one, two));
"""
# The busiest day has hardly ever more than so many times the sessions of the mean weekday.
_MOST_TIMES: Final = 2


@dataclass(frozen=True, slots=True)
class Model:
    """Prices in USD per million tokens; None where the provider caches nothing, or does not bill what it writes."""

    provider: str
    name: str
    input: str
    output: str
    cache_read: str | None = None
    cache_write: str | None = None


# List prices of March 2026.
MODELS: Final = (
    Model("openai", "gpt-4o", "2.5", "10", "1.25"),
    Model("anthropic", "claude-sonnet-4-5", "3", "15", "0.3", "3.75"),
    Model("openai", "gpt-4o-mini", "0.15", "0.6", "0.075"),
    Model("anthropic", "claude-haiku-4-5", "1", "5", "0.1", "1.25"),
)


@dataclass(frozen=True, slots=True)
class Quiet:
    """What a lake is made of. ``growth`` is a part per day; ``failures`` is the share of calls without an answer, cost
    and tokens. Agents have models and modes (pricing mode, plan) in turn.
    """

    seed: int = 1
    days: int = 28
    first_day: dt.date = dt.date(2026, 2, 2)  # a Monday
    sessions_a_day: float = 12
    calls_a_session: float = 5  # the median
    growth: float = 0.0
    agents: int = 6
    users: int = 10
    failures: float = 0.01
    unrest: float = 0.1
    mood: float = 0.0
    spread: float = 1.0
    models: tuple[Model, ...] = MODELS
    modes: tuple[tuple[str, str], ...] = (("api", "api"), ("api", "api"), ("subscription", "team"))

    def window(self, timezone: str = "UTC") -> Window:
        """The days of which calls are made; all of it."""
        start = dt.datetime.combine(self.first_day, dt.time(), dt.UTC)
        return Window(start, start + dt.timedelta(days=self.days), timezone)


_QUIET: Final = Quiet()


def fill(
    connection: duckdb.DuckDBPyConnection,
    quiet: Quiet,
    calls: str = "calls",
    spans: str = "spans",
    days: range | None = None,
) -> None:
    """Add the calls, and the spans of the tools that were used between them, of all days or of these."""
    make(connection, quiet, days or range(quiet.days))
    _add(connection, quiet.seed, calls, spans)


def make(connection: duckdb.DuckDBPyConnection, quiet: Quiet, days: range) -> None:
    """The same as TEMP tables `planted_calls` and `planted_spans`, whose column `seed` a lake does not have."""
    _make(connection, quiet, 1, days)


def quiet_lakes(count: int, quiet: Quiet = _QUIET) -> Iterator[tuple[Quiet, duckdb.DuckDBPyConnection]]:
    """So many lakes, which differ by their seeds alone. They share one connection, also with those that are asked for
    next if they are the same: each takes the place of the last."""
    connection = _made(count, quiet)
    for seed in range(quiet.seed, quiet.seed + count):
        connection.execute("DELETE FROM calls; DELETE FROM spans")
        _add(connection, seed, "calls", "spans")
        yield replace(quiet, seed=seed), connection


@lru_cache(maxsize=1)
def _made(count: int, quiet: Quiet) -> duckdb.DuckDBPyConnection:
    connection = calls_table()
    _make(connection, quiet, count, range(quiet.days))
    return connection


def _make(connection: duckdb.DuckDBPyConnection, quiet: Quiet, lakes: int, days: range) -> None:
    """All rows of so many lakes, in TEMP tables with a column `seed`."""
    busiest = quiet.sessions_a_day * max(1.0, (1 + quiet.growth) ** quiet.days)
    values = {name: getattr(quiet, name) for name in quiet.__slots__} | {
        "first_seed": quiet.seed,
        "last_seed": quiet.seed + lakes,
        "first": days.start,
        "last": days.stop,
        "most_sessions": math.ceil(_MOST_TIMES * busiest),
        "models": _rows(map(_model_row, quiet.models)),
        "model_count": len(quiet.models),
        "modes": _rows(quiet.modes),
        "mode_count": len(quiet.modes),
    }
    connection.execute(_MACROS + _SQL.format(**values))


def _add(connection: duckdb.DuckDBPyConnection, seed: int, calls: str, spans: str) -> None:
    for table, made in ((calls, "planted_calls"), (spans, "planted_spans")):
        connection.execute(
            f"INSERT INTO {table} BY NAME SELECT * EXCLUDE (seed) FROM {made} WHERE seed = {seed}"
        )


def _model_row(model: Model) -> tuple[Any, ...]:
    rates = (model.input, model.output, model.cache_read, model.cache_write)
    return model.provider, model.name, *(None if rate is None else Decimal(rate).scaleb(-6) for rate in rates)


def _rows(rows: Iterable[tuple[Any, ...]]) -> str:
    """As VALUES has them, each with its number before it."""
    return ", ".join(f"({number}, {', '.join(map(_literal, row))})" for number, row in enumerate(rows))


def _literal(value: str | Decimal | None) -> str:
    if value is None:
        return "NULL::DECIMAL(18, 12)"
    return f"'{value}'" if isinstance(value, str) else f"{value:f}::DECIMAL(18, 12)"
