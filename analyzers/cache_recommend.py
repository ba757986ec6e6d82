"""Beginnings of prompts that many calls share and did not read from the cache: where to ask for it, what it saves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from analyzers import cache_order, honest, sql
from analyzers.cache_figures import FAMILY, Group, flagged_table, groups
from analyzers.cache_findings import model_of
from analyzers.fields import Field, money
from analyzers.finding import Candidate, Column, Report
from analyzers.frame import MOST_CANDIDATES
from analyzers.prompts import HOW_TO_SWITCH_ON, prompts
from analyzers.registry import register
from analyzers.setting import Setting, count, share
from analyzers.window import Window
from semconv.planned import relation

# Design figures: how far the tokens of a part may be from its share of the text, as tools and lists have more tokens
# for a byte than prose has.
_LEAST: Final = 0.8
_MOST: Final = 1.2
_SAVED: Final = honest.columns("{}_saved", "{} saved, at most")
_BASIS: Final = (
    "the tokens of a beginning are its share of the prompt's text, a fifth less at the low end and a fifth more at the "
    "high end"
)
_ASKED_METHOD: Final = (
    "each call that begins as one before it, within the time that the cache lives, reads that at the cache's price, "
    f"less what the other calls pay to write it; {_BASIS}"
)
_AUTOMATIC_METHOD: Final = (
    "each call that begins as one before it, within the time that the cache lives, reads that at the cache's price; "
    f"{_BASIS}, and nothing where requests that begin alike reach machines without the cache"
)


class _Recommended(NamedTuple):
    """A row of cache_recommended.sql."""

    number: int
    strategy: int
    is_longer: bool
    calls: int
    sharing_calls: int
    shared_tokens: int
    read_tokens: int
    missed_tokens: int
    to_write: int
    low_usd: Decimal | None
    high_usd: Decimal | None
    median_tokens: int
    part: str
    message: int
    next_part: str | None
    break_even: float | None


class _Row(NamedTuple):
    """What a row of the report is read off."""

    group: Group
    found: _Recommended

    @property
    def pricing_mode(self) -> str:
        return self.group.pricing_mode

    @property
    def on_request(self) -> bool:
        return self.group.rule is not None and self.group.rule.on_request

    @property
    def place(self) -> str:
        return _place(self.found)


@register(
    "cache-recommend",
    help="beginnings of prompts that many calls share and that are not cached, and where to cut them",
    settings=(
        Setting("least_calls", "fewer calls with the same beginning share nothing", count, 3),
        Setting(
            "least_missed",
            "least part of the shared beginnings that was not read from the cache",
            share,
            Decimal("0.5"),
        ),
        Setting("top", "most groups to show, those that missed most; 0 = all", count, 20),
    ),
    family=FAMILY,
)
def cache_recommend(
    connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]
) -> Report:
    """One row per provider, model, agent and pricing mode whose calls begin alike and did not read that from the cache,
    most tokens first. Beginnings are compared by hash (prompts.py), at the ends of tools, system text and messages.
    """
    found = [one for one in settings["shared"].once(groups, connection, window) if one.rule is not None]
    looked_at = [one for one in found if one.share is not None and one.share < 1 - settings["least_missed"]]
    if not looked_at:
        return _report([], None, [f"no calls that miss their cache from {window}"])
    with relation(connection, "flagged", flagged_table(looked_at)):
        asked = _asked(connection, window)
        if asked is None:
            return _report([], None, [HOW_TO_SWITCH_ON])
        with relation(connection, "asked", asked):
            prefixes = _prefixes(connection, settings)
            moved = cache_order.moved(connection, settings["least_calls"])
    with relation(connection, "cache_prefixes", prefixes), relation(connection, "cache_moved", moved):
        rows = [
            _Row(looked_at[row[0]], _Recommended(*row))
            for row in connection.execute(sql.read("cache_recommended.sql")).fetchall()
        ]
        order = tuple(cache_order.candidates(connection, looked_at, MOST_CANDIDATES))
        claims = connection.execute(sql.read("cache_recommend_claims.sql")).to_arrow_table()
    shown = rows[: settings["top"] or None]
    notes = [*_notes(connection, window, looked_at, shown, len(rows))]
    return _report(shown, claims, notes, (*map(_candidate, rows[:MOST_CANDIDATES]), *order))


def _asked(connection: duckdb.DuckDBPyConnection, window: Window) -> pa.Table | None:
    """The rows of cache_asked.sql; None where no prompt is known."""
    told = prompts(connection, window, boundaries=True, of=sql.read("cacheable_calls.sql"))
    if not told.num_rows:
        return None
    statement = sql.read("cache_asked.sql").format(rates=sql.read("cache_rates.sql"))
    with relation(connection, "told", told):
        return connection.execute(statement, window.parameters()).to_arrow_table()


def _prefixes(connection: duckdb.DuckDBPyConnection, settings: dict[str, Any]) -> pa.Table:
    parameters = {
        "least_calls": settings["least_calls"],
        "least_missed": float(settings["least_missed"]),
        "least": _LEAST,
        "most": _MOST,
    }
    return connection.execute(sql.read("cache_prefixes.sql"), parameters).to_arrow_table()


def _report(
    rows: Sequence[_Row],
    claims: pa.Table | None,
    notes: Sequence[str],
    candidates: tuple[Candidate, ...] = (),
) -> Report:
    return Report(
        columns=tuple(column for column, _ in _FIELDS),
        rows=tuple(tuple(read(row) for _, read in _FIELDS) for row in rows),
        notes=tuple(notes),
        candidates=candidates,
        claims=claims,
    )


def _fields() -> Iterator[Field]:
    for name in ("provider", "model", "agent"):
        yield Column(name, name, "text"), attrgetter(f"group.{name}")
    yield honest.MODE, attrgetter("pricing_mode")
    for name, label in (
        ("calls", "calls whose prompt is known"),
        ("sharing_calls", "begin as one before"),
        ("shared_tokens", "tokens of that"),
        ("read_tokens", "read from the cache"),
        ("missed_tokens", "not read"),
    ):
        yield Column(name, label, "count"), attrgetter(f"found.{name}")
    yield Column("place", "cache up to", "text"), attrgetter("place")
    yield from money(_SAVED, attrgetter("found.high_usd"))


_FIELDS: Final = tuple(_fields())


def _candidate(row: _Row) -> Candidate:
    group, found = row
    who = f"agent {honest.said(group.agent)}" if group.agent else "calls without an agent"
    return Candidate(
        str(found.number),
        "not-asked-for" if row.on_request else "not-served",
        {"provider": group.provider, "model": group.model, "agent": group.agent},
        group.pricing_mode,
        f"{found.sharing_calls} of {found.calls} prompts of {who} to {model_of(group)} begin as one shortly before, "
        f"with about {found.median_tokens:,} tokens, that were not read from the cache",
        _ASKED_METHOD if row.on_request else _AUTOMATIC_METHOD,
        " ".join(_action(row)),
        {
            "calls": found.calls,
            "sharing_calls": found.sharing_calls,
            "shared_tokens": found.shared_tokens,
            "read_tokens": found.read_tokens,
            "missed_tokens": found.missed_tokens,
            "tokens_to_write": found.to_write if row.on_request else None,
            "cache_up_to": row.place,
            "reads_that_pay_one_write": None if found.break_even is None else round(found.break_even, 2),
            "cache_lives_seconds": group.rule
            and (group.rule.longer if found.is_longer else group.rule.lives),
        },
        tuple(_caveats(row)),
    )


def _place(found: _Recommended) -> str:
    if not found.strategy:
        return "the end of each prompt"
    if found.part.endswith("*"):
        return f"about {found.median_tokens:,} tokens, within the {_part(found.part)}"
    return _part(found.part) if found.part in ("tools", "system") else f"message {found.message}"


def _part(part: str) -> str:
    """In a sentence."""
    return {"tools": "tools", "system": "system text"}.get(part.removesuffix("*"), "message")


def _action(row: _Row) -> Iterator[str]:
    found, rule = row.found, row.group.rule
    if row.on_request:
        yield f"set a cache breakpoint (cache_control, cachePoint) at {_end_of(found)}"
        if found.is_longer:
            yield "with the longer time to live"
    else:
        yield "send requests that begin alike with one key (OpenAI: prompt_cache_key), and keep what varies at the end"
        if found.is_longer and rule is not None and rule.longer:
            yield "; ask for the longer retention"


def _end_of(found: _Recommended) -> str:
    if not found.strategy:
        return "the end of each request, so that the next one of its session reads all of it"
    if found.part.endswith("*"):
        cut = f"cut the {_part(found.part)} after about {found.median_tokens:,} tokens"
        return f"the end of a block of its own: {cut}, behind which it varies"
    varies = f"; the {_part(found.next_part)} behind it may vary" if found.next_part else ""
    return f"the end of {'' if found.part not in ('tools', 'system') else 'the '}{_place(found)}{varies}"


def _caveats(row: _Row) -> Iterator[str]:
    yield (
        "what the telemetry tells of a prompt is compared: tools, images or files that it leaves out may differ, or "
        "make the beginning longer"
    )
    if row.on_request:
        yield "how often calls begin alike again, and how soon, is taken from this window"
    else:
        yield "whether a provider serves its cache is its own decision"


def _notes(
    connection: duckdb.DuckDBPyConnection,
    window: Window,
    found: Sequence[Group],
    shown: Sequence[_Row],
    rows: int,
) -> Iterator[str]:
    if rows > len(shown):
        yield f"{rows - len(shown)} more groups are not shown"
    if any(row.pricing_mode == "unknown" for row in shown):
        yield from honest.undeclared_plans(connection, window)
    if silent := sum(one.calls - one.calls_without_input - one.telling_calls for one in found):
        yield f"{silent} calls do not mention their cache and are left out: how much of them was cached is unknown"
