"""How much of the input came from caches, and why calls of the groups with little of it did not read theirs."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from analyzers import sql
from analyzers.cache_rules import Rule, rule_of
from analyzers.window import Window
from semconv.planned import relation

# Of the analyzers that begin with `groups`.
FAMILY: Final = "what caches saved"
_FLAGGED: Final = pa.schema(
    [
        ("number", pa.int32()),
        ("provider", pa.string()),
        ("model", pa.string()),
        ("agent", pa.string()),
        ("pricing_mode", pa.string()),
        ("min_tokens", pa.int64()),
        ("lives_seconds", pa.int64()),
        ("longer_seconds", pa.int64()),
        ("on_request", pa.bool_()),
        ("loss_share", pa.float64()),
    ]
)


class Group(NamedTuple):
    """One row of cache_efficacy.sql: the calls of a provider, model, agent and pricing mode. Counts of the cache are of
    calls that mention it; money is None where no call has a price.

    ``reading_saved_usd``: what was read, at the price of new input, less what it cost. ``writing_cost_usd``: what
    writing cost beyond the price of new input.
    """

    provider: str | None
    model: str | None
    agent: str | None
    pricing_mode: str
    calls: int
    telling_calls: int
    doubtful_calls: int
    calls_without_input: int
    input_tokens: int | None
    telling_input: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reading_saved_usd: Decimal | None
    writing_cost_usd: Decimal | None
    has_cache_price: bool | None

    @property
    def rule(self) -> Rule | None:
        return rule_of(self.provider, self.model)

    @property
    def has_known_cache(self) -> bool:
        """Nothing was ever cached, no price of it is known, no rule: there may be no cache at all."""
        return bool(self.cache_read_tokens or self.cache_write_tokens or self.has_cache_price or self.rule)

    @property
    def share(self) -> float | None:
        """The part of the input that was read from the cache; None where nobody says, or there may be none."""
        if not self.telling_input or not self.has_known_cache:
            return None
        return (self.cache_read_tokens or 0) / self.telling_input

    @property
    def saved_usd(self) -> Decimal | None:
        """What the cache saved; less than 0 where writing cost more."""
        if self.reading_saved_usd is None or self.writing_cost_usd is None:
            return None
        return self.reading_saved_usd - self.writing_cost_usd

    @property
    def loss_share(self) -> float | None:
        """The part of what writing cost that reading did not bring back; None where it did."""
        if self.saved_usd is None or not self.writing_cost_usd or self.saved_usd >= 0:
            return None
        return float(min(Decimal(1), -self.saved_usd / self.writing_cost_usd))


class Cause(NamedTuple):
    """One row of cache_causes.sql; `high_usd` None where nothing can be claimed."""

    number: int
    cause: str
    calls: int
    tokens: int
    missed_tokens: int
    lost_usd: Decimal | None
    high_usd: Decimal | None
    examples: list[dict[str, Any]]


def groups(connection: duckdb.DuckDBPyConnection, window: Window) -> list[Group]:
    """Those with the most input first."""
    statement = sql.read("cache_efficacy.sql").format(rates=sql.read("cache_rates.sql"))
    return [Group(*row) for row in connection.execute(statement, window.parameters()).fetchall()]


def causes(
    connection: duckdb.DuckDBPyConnection, window: Window, flagged: Iterable[Group]
) -> tuple[list[Cause], pa.Table]:
    """Why calls of these groups read so little, by the number of the group; and what that claims (finding.CLAIMS)."""
    statement = sql.read("cache_calls.sql").format(rates=sql.read("cache_rates.sql"))
    with relation(connection, "flagged", flagged_table(flagged)):
        calls = connection.execute(statement, window.parameters()).to_arrow_table()
    with relation(connection, "cache_calls", calls):
        found = connection.execute(sql.read("cache_causes.sql")).fetchall()
        claims = connection.execute(sql.read("cache_claims.sql")).to_arrow_table()
    return [Cause(*row) for row in found], claims


def flagged_table(groups: Iterable[Group]) -> pa.Table:
    """The groups with their rules, numbered from 0, for statements."""
    return pa.Table.from_pylist([_flagged(number, group) for number, group in enumerate(groups)], _FLAGGED)


def _flagged(number: int, group: Group) -> dict[str, Any]:
    rule = group.rule
    return {
        "number": number,
        "provider": group.provider,
        "model": group.model,
        "agent": group.agent,
        "pricing_mode": group.pricing_mode,
        "min_tokens": rule and rule.min_tokens,
        "lives_seconds": rule and rule.lives,
        "longer_seconds": rule and rule.longer,
        "on_request": rule and rule.on_request,
        "loss_share": group.loss_share,
    }
