"""Text that is sent again and again behind something that varies, where no cache finds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import duckdb
import pyarrow as pa

from analyzers import honest, sql
from analyzers.cache_figures import Group
from analyzers.cache_findings import model_of
from analyzers.finding import Candidate

KIND: Final = "order"
# Design figure: briefer texts come again by chance.
_LEAST_TOKENS: Final = 100
_METHOD: Final = (
    "each call that sends what one shortly before had sent too, behind another beginning, reads that at the cache's "
    "price, less what the first of them pay to write it; nothing at the low end, for the order may matter to the model"
)


class _Moved(NamedTuple):
    """A row of cache_moved_groups.sql."""

    number: int
    calls: int
    tokens: int
    varies: str
    after: int


def moved(connection: duckdb.DuckDBPyConnection, least_calls: int) -> pa.Table:
    """The rows of cache_moved.sql, where `flagged` and `asked` are known."""
    parameters = {"least_calls": least_calls, "least_tokens": _LEAST_TOKENS}
    return connection.execute(sql.read("cache_moved.sql"), parameters).to_arrow_table()


def candidates(
    connection: duckdb.DuckDBPyConnection, looked_at: Sequence[Group], most: int
) -> Iterator[Candidate]:
    """Those that moved most first; `cache_moved` is known."""
    for row in connection.execute(sql.read("cache_moved_groups.sql")).fetchmany(most):
        found = _Moved(*row)
        yield _candidate(looked_at[found.number], found)


def _candidate(group: Group, found: _Moved) -> Candidate:
    who = f"agent {honest.said(group.agent)}" if group.agent else "calls without an agent"
    part = {"tools": "tools", "system": "system text"}.get(found.varies.removesuffix("*"), "messages")
    return Candidate(
        f"{KIND}/{found.number}",  # as cache_recommend_claims.sql has it
        KIND,
        {"provider": group.provider, "model": group.model, "agent": group.agent},
        group.pricing_mode,
        f"{found.calls} prompts of {who} to {model_of(group)} differ within their first {found.after:,} tokens, in the "
        f"{part}, and go on as one shortly before did: a cache ends where they first differ",
        _METHOD,
        f"find what varies in the {part} within the first {found.after:,} tokens (a date, an id, a name, the order of "
        "tools) and put it behind what stays the same",
        {
            "calls": found.calls,
            "tokens_behind": found.tokens,
            "varies_in": part,
            "varies_within_tokens": found.after,
        },
        (
            "text is compared in pieces of at most 4,096 bytes: where what varies has another length each time, what "
            "follows it in the same text looks new",
            "what stays the same may only be understood behind what varies",
        ),
    )
