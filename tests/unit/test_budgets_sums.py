"""What is used of budgets, kept up to date beside a real lake that changes: always what counting everything gives."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from analyzers.budget_standing import standings
from analyzers.budget_terms import Budget
from collector.budgets import sums as module
from collector.budgets.sums import Sums
from collector.store.lake import Lake
from collector.store.lock import writer_lock
from semconv.settings import AccountPlan
from tests.calls_table import call, copied_lake, insert_calls

# In Berlin the clocks went forward on the day before.
NOW = dt.datetime(2026, 3, 30, 10, 30, tzinfo=dt.UTC)
BERLIN = "Europe/Berlin"
BUDGETS = [
    Budget("all", usd=Decimal(100)),
    Budget("agents", tokens=1000, each="agent", period="day"),
    Budget("weekly", usd=Decimal(5), scope={"agent": "planner", "provider": "openai"}, period="week"),
    Budget("cycles", tokens=10**6, each="billing_account", period="cycle"),
    Budget("models", tokens=10**6, each="model"),
]
PLANS = [AccountPlan("openai", "api", cycle_start_day=29), AccountPlan("other", "pro", cycle_start_day=31)]


def made(chance: random.Random, start: dt.datetime, **columns: Any) -> dict[str, Any]:
    return call(
        start_time=start.astimezone(dt.UTC).replace(tzinfo=None),
        agent_name=chance.choice(["planner", "coder", None]),
        billing_account=chance.choice(["openai", "other", "third"]),
        pricing_mode=chance.choice(["api", "api", "subscription", "unknown", "local"]),
        cost_usd=chance.choice([None, Decimal("0.125"), Decimal("0.000000000001")]),
        input_tokens=chance.choice([None, 0, 1000]),
        response_model=chance.choice(["gpt-4o-2024-08-06", None]),
        **columns,
    )


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    chance = random.Random(1)
    hours = [NOW - dt.timedelta(hours=chance.uniform(0, 24 * 40)) for _ in range(60)]
    calls = (made(chance, start, call_id=f"early-{at}") for at, start in enumerate(hours))
    return copied_lake(tmp_path / "lake", *calls)


@pytest.fixture
def kept(data_dir: Path) -> Iterator[Sums]:
    with Lake.open(data_dir, read_only=True, threads=1, memory_limit="40MB") as lake:
        yield Sums(lake, BUDGETS, PLANS, BERLIN)


@pytest.fixture
def writer(data_dir: Path) -> Iterator[Lake]:
    with Lake.open(data_dir, threads=1) as lake:
        yield lake


def store(writer: Lake, *calls: dict[str, Any]) -> None:
    with writer_lock(writer.data_dir):
        writer.connection.begin()
        insert_calls(writer.connection, "lake.calls", calls)
        writer.connection.commit()


def change(writer: Lake, statement: str) -> None:
    with writer_lock(writer.data_dir):
        writer.connection.execute(statement)


def check(kept: Sums, now: dt.datetime = NOW) -> int:
    """The same as the analyzer, which counts everything each time; how many calls that are."""
    every = standings(kept.lake.connection, BUDGETS, PLANS, now, BERLIN).every
    numbers = {budget.name: number for number, budget in enumerate(BUDGETS)}
    wanted = {(numbers[one.budget.name], one.value or ""): one for one in every}
    found = kept.used(list(wanted))
    for key, one in wanted.items():
        use = found.get(key, module.NOTHING)
        assert (use.amount, use.calls, use.calls_unknown) == (one.amount, one.calls, one.calls_unknown), key
        assert (use.subscription_calls, use.local_calls, use.undeclared_calls) == (
            one.subscription_calls,
            one.local_calls,
            one.undeclared_calls,
        )
        assert kept.periods is not None
        assert kept.periods.of_value(*key) == one.span
    return sum(one.calls for one in every)


def test_at_first_everything_is_counted(kept: Sums) -> None:
    kept.refresh(NOW)
    assert check(kept) > 60


def test_what_comes_later_is_counted_whenever_it_started(
    kept: Sums, writer: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call of this minute, one of weeks ago, one of both sides of each period's start; in many small commits."""
    monkeypatch.setattr(module, "_REST_PER_COST", 0.0)
    chance = random.Random(2)
    kept.refresh(NOW)
    before = check(kept)
    edges = [kept.periods.start, *kept.periods.edges] if kept.periods else []
    around = [edge + dt.timedelta(microseconds=step) for edge in edges for step in (-1, 0)]
    for start in [NOW, NOW - dt.timedelta(days=20), NOW - dt.timedelta(minutes=59), *around]:
        if start < NOW:
            store(writer, made(chance, start))
            kept.refresh(NOW)
            assert check(kept) >= before


def test_what_becomes_old_stays_counted_and_is_not_counted_again(
    kept: Sums, writer: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six hours with a call in each: only the time that is not settled is read."""
    chance = random.Random(3)
    kept.refresh(NOW)
    monkeypatch.setattr(Sums, "_count_all", lambda *_: pytest.fail("everything was counted again"))
    for hour in range(6):
        now = NOW + dt.timedelta(hours=hour)
        store(writer, made(chance, now - dt.timedelta(minutes=1)))
        kept.refresh(now)
        check(kept, now)
    rows = kept.lake.connection.execute(
        "SELECT count(*), count(DISTINCT (budget, value)) FROM memory.settled"
    )
    assert len(set(rows.fetchall()[0])) == 1


def test_periods_that_end_begin_anew(kept: Sums, writer: Lake) -> None:
    chance = random.Random(4)
    kept.refresh(NOW)
    tomorrow = NOW + dt.timedelta(hours=11, minutes=31)
    assert kept.is_waiting(tomorrow - dt.timedelta(minutes=2)) is False
    assert kept.is_waiting(tomorrow)
    store(writer, made(chance, tomorrow - dt.timedelta(seconds=30)), made(chance, NOW))
    kept.refresh(tomorrow)
    check(kept, tomorrow)
    agents = [(1, "planner"), (1, "coder")]
    assert sum(use.calls for use in kept.used(agents).values()) <= 2
    # Two days later also the month is another.
    april = NOW + dt.timedelta(days=2)
    kept.refresh(april)
    assert check(kept, april) >= 0
    assert (0, "") not in kept.used([(0, "")])


def test_what_is_deleted_or_replaced_is_counted_no_more(
    kept: Sums, writer: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LEAST_REST_GONE", 0.0)
    monkeypatch.setattr(module, "_REST_PER_COST_GONE", 0.0)
    kept.refresh(NOW)
    before = check(kept)
    change(writer, "DELETE FROM lake.calls WHERE start_time < TIMESTAMP '2026-03-15'")
    kept.refresh(NOW)
    assert check(kept) < before
    change(writer, "UPDATE lake.calls SET agent_name = 'planner', pricing_mode = 'api'")
    kept.refresh(NOW)
    check(kept)


def test_deletions_wait_so_that_merging_files_costs_little(
    kept: Sums, writer: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merging changes no sum, and is no reason to count everything at once; a deletion is counted after a minute."""
    chance = random.Random(5)
    kept.refresh(NOW)
    for _ in range(4):
        store(writer, made(chance, NOW - dt.timedelta(days=3)))
    monkeypatch.setattr(module, "_REST_PER_COST", 0.0)
    kept.refresh(NOW)
    with monkeypatch.context() as patch:
        patch.setattr(Sums, "_count_all", lambda *_: pytest.fail("everything was counted again"))
        change(writer, "CALL ducklake_merge_adjacent_files('lake')")
        kept.refresh(NOW)
        check(kept)
        change(writer, "DELETE FROM lake.calls WHERE start_time < TIMESTAMP '2026-03-15'")
        kept.refresh(NOW)
    assert kept.is_waiting(NOW)
    monkeypatch.setattr(module, "_LEAST_REST_GONE", 0.0)
    monkeypatch.setattr(module, "_REST_PER_COST_GONE", 0.0)
    kept.refresh(NOW)
    check(kept)
    assert not kept.is_waiting(NOW)


def test_older_calls_that_wait_make_the_answer_old(
    kept: Sums, writer: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While they are not counted, the sums do not say that they are as of now."""
    kept.refresh(NOW)
    as_of = kept.as_of
    monkeypatch.setattr(module, "_REST_PER_COST", 1e9)
    store(writer, made(random.Random(6), NOW - dt.timedelta(days=9)))
    kept.refresh(NOW)
    assert kept.as_of == as_of
    monkeypatch.setattr(module, "_REST_PER_COST", 0.0)
    kept.refresh(NOW)
    assert kept.as_of > as_of
    check(kept)


def test_a_quote_in_a_value_is_a_value(kept: Sums, writer: Lake) -> None:
    store(writer, call(start_time=NOW.replace(tzinfo=None), agent_name="o'neill; --"))
    kept.refresh(NOW)
    assert kept.used([(1, "o'neill; --"), (1, "' OR true --")])[1, "o'neill; --"].amount == 110
    assert len(kept.used([(1, "' OR true --")])) == 0
