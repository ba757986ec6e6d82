"""Calls that asked what was asked before: what is counted of them, and how they are claimed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from os.path import commonprefix
from typing import Final

import duckdb
import pyarrow as pa

from analyzers import honest, sql
from analyzers.fields import Field, money
from analyzers.finding import Candidate, Column, Dimension, Finding, Report
from analyzers.frame import MOST_CANDIDATES
from analyzers.prompts import HOW_TO_SWITCH_ON, prompts
from analyzers.setting import Setting, texts
from analyzers.shared import Shared
from analyzers.unit_key import check_key
from analyzers.window import Window
from semconv.planned import relation
from semconv.sqltext import literal

# Of the analyzers that begin with `asked`.
FAMILY: Final = "what was asked before"
METHOD: Final = (
    "what the repeated calls cost: at the high end all of them, at the low end those that were answered with as many "
    "tokens as before"
)
CAVEATS: Final = (
    "the same question may need a new answer: where what stands behind it changes, or where answers are to differ",
    "answers are not compared: as many tokens are no proof of the same answer",
)


@dataclass(frozen=True, slots=True)
class Repeated:
    """A row of repeats.sql: of one pricing mode, what asked the same."""

    candidate: str
    agent: str | None
    service: str | None
    model: str | None
    pricing_mode: str
    prompt: str
    calls: int
    cost_usd: Decimal | None
    repeats: int
    same_answers: int
    for_others: int
    places: int
    repeated_tokens: int | None
    repeated_usd: Decimal | None
    repeats_without_cost: int

    @property
    def share(self) -> float:
        return self.repeats / self.calls

    @property
    def dimension(self) -> Dimension:
        whose = {"service": self.service} if self.agent is None else {"agent": self.agent}
        return {**whose, "model": self.model}

    @property
    def who(self) -> str:
        name = self.agent or self.service
        return "calls without an agent" if name is None else honest.said(name)


# What spans say of a cache of answers. Nobody has agreed on one: the first is what most gateways and frameworks that
# tell call it, the second stands in the conventions of Sentry's SDKs, the third is used with LiteLLM.
HIT_ATTRIBUTES: Final = Setting(
    "hit_attributes",
    "attributes of spans that say whether a cache of the application answered",
    texts,
    ["gen_ai.cache.hit", "cache.hit", "litellm.cache_hit"],
)


@contextmanager
def asked(
    connection: duckdb.DuckDBPyConnection, window: Window, attributes: Sequence[str], shared: Shared
) -> Iterator[pa.Table]:
    """What calls asked (prompts.py). Meanwhile statements know it as `prompts`, those that asked what another did as
    `asked_again`, and what spans tell of a cache with these attributes (cache_lookups.sql) as `cache_lookups`. Raises
    BadSetting.
    """
    known, again = shared.once(_prompts, connection, window)
    lookups = shared.once(_cache_lookups, connection, window, tuple(attributes))
    with (
        relation(connection, "prompts", known),
        relation(connection, "asked_again", again),
        relation(connection, "cache_lookups", lookups),
    ):
        yield known


def _prompts(connection: duckdb.DuckDBPyConnection, window: Window) -> tuple[pa.Table, pa.Table]:
    """Of all calls of which it is known, and of those of which others asked the same."""
    known = prompts(connection, window)
    with relation(connection, "prompts", known):
        return known, connection.execute(sql.read("asked_again.sql")).to_arrow_table()


def _cache_lookups(
    connection: duckdb.DuckDBPyConnection, window: Window, attributes: tuple[str, ...]
) -> pa.Table:
    for attribute in attributes:
        check_key(attribute)
    # How all of them end is looked for in a tenth of the time, and hardly ever found.
    backwards = [one[::-1] for one in attributes]
    ending = literal(commonprefix(backwards)[::-1] + '":')  # noqa: RUF071 - no paths
    mark = literal(f'"({"|".join(map(re.escape, attributes))})":')
    mentions = (
        f"CASE WHEN contains(attributes::VARCHAR, {ending}) THEN regexp_matches(attributes::VARCHAR, {mark}) END"
        if attributes
        else "FALSE"
    )
    asked = window.parameters() | {
        "attributes": attributes,
        "paths": [f'$."{attribute}"' for attribute in attributes],
    }
    return connection.execute(sql.read("cache_lookups.sql").format(mentions=mentions), asked).to_arrow_table()


def repeats(
    connection: duckdb.DuckDBPyConnection, calls: pa.Table, least_repeats: int, least_share: Decimal
) -> tuple[list[Repeated], pa.Table | None]:
    """What costs most first, and the claims. ``calls``: as reuse.sql and application_cache.sql have them."""
    if not calls.num_rows:
        return [], None
    least = {"least_repeats": least_repeats, "least_share": least_share}
    with relation(connection, "repeated", calls):
        found = connection.execute(sql.read("repeats.sql"), least).fetchall()
        return [Repeated(*row) for row in found], connection.execute(
            sql.read("repeats_claims.sql")
        ).to_arrow_table()


def report(
    fields: Sequence[Field],
    found: Sequence[Repeated],
    candidates: Sequence[Candidate],
    claims: pa.Table | None,
    top: int,
    notes: Sequence[str],
    findings: Sequence[Finding] = (),
) -> Report:
    """The first ``top`` (0: all) as rows, with what is to be said beside them."""
    shown = found[: top or None]
    left_out = len(found) - len(shown)
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(read(one) for _, read in fields) for one in shown),
        notes=(*notes, *([f"{left_out} more rows that cost less are not shown"] if left_out else [])),
        findings=tuple(findings),
        candidates=tuple(candidates[:MOST_CANDIDATES]),
        claims=claims,
    )


def fields(*counts: tuple[str, str]) -> Iterator[Field]:
    """Whose calls they are, these counts of them, and what they cost."""
    for name in ("agent", "service", "model"):
        yield Column(name, name, "text"), attrgetter(name)
    yield honest.MODE, attrgetter("pricing_mode")
    for name, label in counts:
        yield Column(name, label, "count"), attrgetter(name)
    yield Column("share", "share of repeats", "ratio"), attrgetter("share")
    yield Column("repeated_tokens", "tokens of repeats", "count"), attrgetter("repeated_tokens")
    yield from money(honest.COLUMNS, attrgetter("cost_usd"))
    yield from money(honest.columns("{}_of_repeats", "{} of repeats"), attrgetter("repeated_usd"))


def notes(
    connection: duckdb.DuckDBPyConnection, window: Window, prompts: pa.Table, found: Sequence[Repeated]
) -> Iterator[str]:
    """Of how many calls it is known what they asked, and of what the cost is not."""
    ((calls,),) = connection.execute(sql.read("repeats_gaps.sql"), window.parameters()).fetchall()
    if not calls:
        yield f"no model calls from {window}"
    elif not prompts.num_rows:
        yield HOW_TO_SWITCH_ON
    elif prompts.num_rows < calls:
        yield f"what {calls - prompts.num_rows} of {calls} calls asked is not known: they are left out"
    if unknown := sum(one.repeats_without_cost for one in found):
        yield f"{unknown} repeated calls have no known cost and are in no sum of money"
    if any(one.pricing_mode == "unknown" for one in found):
        yield from honest.undeclared_plans(connection, window)
