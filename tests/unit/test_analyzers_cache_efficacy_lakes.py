"""The analyzer `cache-efficacy` over many made-up lakes: silent where caches work; estimates hold what is planted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

import duckdb
import pytest

from analyzers import statistics
from analyzers.finding import Report, finding_id
from tests.cached_calls import (
    DAY,
    DAYS,
    DAYS_IN_MONTH,
    MINUTE,
    OPUS,
    START,
    cached_call,
    priced_table,
    report_of,
)
from tests.calls_table import replace_calls

NEW, READ, WRITE, HOUR = (
    float(OPUS[unit]) / 1e6
    for unit in ("input_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")
)
Row = dict[str, Any]
# A session's calls: minute, input, read, written.
Session = list[tuple[float, int, int, int]]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with priced_table() as made:
        yield made


def run(connection: duckdb.DuckDBPyConnection, rows: list[Row], **settings: Any) -> Report:
    replace_calls(connection, rows)
    return report_of("cache-efficacy", connection, **settings)


def sessions(chance: random.Random, day: int) -> int:
    """How many of an agent there are on a day: few at weekends."""
    return chance.randint(0, 2) if day % 7 > 4 else chance.randint(2, 5)


def prompts(chance: random.Random) -> list[int]:
    """The lengths of a session's prompts, each beginning with the one before: sessions differ much in length."""
    tokens = int(chance.lognormvariate(9.6, 0.5)) + 5_000
    lengths = [tokens]
    while chance.random() < 0.65 and len(lengths) < 12:
        tokens += int(chance.lognormvariate(7, 1))
        lengths.append(tokens)
    return lengths


def lake(
    chance: random.Random, made: dict[str, Callable[[random.Random], Session]], **columns: Any
) -> Iterator[Row]:
    for agent, session in made.items():
        for day in range(DAYS):
            for number in range(sessions(chance, day)):
                name = f"{agent} {day} {number}"
                begin = START + day * DAY + chance.uniform(0, 20 * 60) * MINUTE
                for at, (minute, *tokens) in enumerate(session(chance)):
                    yield cached_call(
                        begin + minute * MINUTE,
                        *tokens,
                        agent_name=agent,
                        session_id=name,
                        call_id=f"{name} {at}",
                        **columns,
                    )


# --- caches that work


def working(chance: random.Random) -> Session:
    """Each call reads what the one before had and writes the rest, but after a rare pause everything is written."""
    made: Session = []
    minute, before = 0.0, 0
    for tokens in [*prompts(chance), *(prompts(chance)[-1] + 60_000 for _ in range(2))]:
        if chance.random() < 0.05:
            minute, before = minute + 15, 0
        read = min(before, tokens)
        made.append((minute, tokens, read, tokens - read))
        minute, before = minute + chance.uniform(1, 3), tokens
    return made


def silent(chance: random.Random) -> Session:
    return [(at, tokens, 0, 0) for at, tokens in enumerate(prompts(chance))]


@pytest.mark.parametrize("lakes", [40, pytest.param(200, marks=pytest.mark.soak)])
def test_lakes_whose_caches_work_are_left_alone(connection: duckdb.DuckDBPyConnection, lakes: int) -> None:
    """One agent's cache is read nearly always, another's library never mentions a cache: fewer than 5 % of such lakes
    have any finding."""
    alarms = 0
    for seed in range(lakes):
        chance = random.Random(seed)
        rows = list(lake(chance, {"works": working}))
        quiet = lake(chance, {"silent": silent}, cache_read_tokens=None, cache_write_tokens=None)
        alarms += bool(run(connection, [*rows, *quiet]).findings)
    assert alarms < 0.05 * lakes


def single(chance: random.Random) -> Session:
    """A single call, which writes nothing."""
    return [(0, prompts(chance)[-1], 0, 0)]


def test_calls_that_have_nothing_in_common_have_a_low_share_and_save_nothing(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """200 agents whose sessions have one call: that little came from the cache is true and told, and that is all."""
    rows = list(lake(random.Random(1), {f"agent {number}": single for number in range(200)}))
    assert [one.p_value for one in run(connection, rows, top=0).findings] == [None] * 200


# --- planted savings


def single_writes(chance: random.Random) -> Session:
    tokens = prompts(chance)[0]
    return [(0, tokens, 0, tokens)]


def changing(chance: random.Random) -> Session:
    """Something at the beginning of each prompt is new: all of it is written again."""
    return [(at, tokens, 0, tokens) for at, tokens in enumerate(prompts(chance))]


def pausing(chance: random.Random) -> Session:
    """Two calls of the same prompt, twenty minutes apart: the second writes all of it again."""
    tokens = prompts(chance)[0]
    return [(0, tokens, 0, tokens), (20, tokens, 0, tokens)]


def unasked(chance: random.Random) -> Session:
    return [(at, tokens, 0, 0) for at, tokens in enumerate(prompts(chance))]


def saved_single(made: Session) -> float:
    """Without a cache."""
    return sum(written * (WRITE - NEW) for _, _, _, written in made)


def saved_changing(made: Session) -> float:
    """With a beginning that stays the same; writes that no later call came to read stay as they are."""
    return sum(tokens * (WRITE - READ) for _, tokens, _, _ in made[:-1])


def saved_pausing(made: Session) -> float:
    """With a cache that lives an hour: one write at its price, and a read."""
    return made[0][1] * (WRITE + WRITE - HOUR - READ)


def saved_unasked(made: Session) -> float:
    """Each prompt's new part is written, the rest is read."""
    new = sum(tokens * NEW for _, tokens, _, _ in made)
    read = sum(tokens for _, tokens, _, _ in made[:-1])
    return new - read * READ - made[-1][1] * WRITE


PLANTED: Final = {
    "unread_writes": (single_writes, saved_single),
    "changed": (changing, saved_changing),
    "pause": (pausing, saved_pausing),
    "not_asked_for": (unasked, saved_unasked),
}


def per_month(session: Callable[[random.Random], Session], saved: Callable[[Session], float]) -> float:
    """What is planted, in USD: the mean of many sessions, as often as they come in a week."""
    chance = random.Random(1)
    many = 5_000
    mean = sum(saved(session(chance)) for _ in range(many)) / many
    a_day = (5 * 3.5 + 2 * 1) / 7
    return mean * a_day * DAYS_IN_MONTH


@pytest.fixture
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fifth of the draws of the bootstrap, as a thousand intervals are asked for."""
    monkeypatch.setattr(statistics, "DRAWS", 400)
    statistics._draws.cache_clear()
    yield
    statistics._draws.cache_clear()


@pytest.mark.usefixtures("fewer_draws")
@pytest.mark.parametrize(
    ("lakes", "agents"),
    [(1, 60), pytest.param(200, 1, marks=[pytest.mark.soak, pytest.mark.timeout(600)])],
    ids=["agents", "lakes"],
)
@pytest.mark.parametrize("kind", PLANTED)
def test_estimates_hold_what_was_planted(
    connection: duckdb.DuckDBPyConnection, kind: str, lakes: int, agents: int
) -> None:
    """Two weeks of agents with a fault, all in one lake or 200 each in its own: in at least 90 % it is found as what it
    is, and the interval of its saving in a month holds the mean of all such agents; nothing else is claimed of any."""
    session, saved = PLANTED[kind]
    truth, held = Decimal(per_month(session, saved)), 0
    for batch in range(lakes):
        made = {f"agent {number}": session for number in range(agents)}
        for found in run(connection, list(lake(random.Random(batch), made)), top=0).findings:
            if found.estimate is not None:
                kinds = finding_id("cache-efficacy", kind, found.dimension, "api")
                assert found.finding_id == kinds
                held += found.estimate.low_per_month.usd <= truth <= found.estimate.high_per_month.usd
    assert held >= 0.9 * lakes * agents
