"""Stored calls priced again: exactly what a fresh load by the same list gives, at once, and nothing else changes."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from collector.store import maintenance, reprice
from collector.store.lake import Lake
from collector.store.maintenance import Maintenance
from collector.store.prices import activate, active
from collector.store.reprice import Outcome, Repricer, UnknownModel
from semconv.prices import PriceList, installed, read_file
from semconv.settings import PriceOverride, Settings
from tests.price_support import price_file
from tests.store_support import HOUR, SECOND, Store, call, copy_of, fingerprint, span, store, traces

DAY = 24 * HOUR
START, END = dt.datetime(1970, 1, 1), dt.datetime(9999, 1, 1)
CALLS = "SELECT * FROM calls ORDER BY call_id"
COSTS = "SELECT request_model, cost_usd, price_id FROM calls ORDER BY call_id"
FILES = "SELECT DISTINCT filename FROM calls WHERE request_model = 'gpt-4.1' ORDER BY 1"
CLAUDE = {"gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-sonnet-4-5"}


def load_all(opened: Store) -> None:
    """Forty calls of three months in two commits, in turn of four models, one of which is unknown."""
    models: list[dict[str, Any]] = [
        {},
        CLAUDE
        | {"gen_ai.usage.cache_read.input_tokens": 400, "gen_ai.usage.cache_creation.input_tokens": 100},
        {"gen_ai.request.model": "gpt-4.1"},
        {"gen_ai.request.model": "no-such-model"},
    ]
    for commit in range(2):
        opened.load(
            traces(
                *(
                    call(number, 1, at=number * 2 * DAY, attributes=models[number % 4])
                    for number in range(20 * commit + 1, 20 * commit + 21)
                )
            )
        )


@pytest.fixture(scope="module")
def loaded_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("loaded") / "data"
    with store(data_dir) as opened:
        load_all(opened)
    return data_dir


@pytest.fixture
def opened(loaded_lake: Path, tmp_path: Path) -> Iterator[Store]:
    with store(copy_of(loaded_lake, tmp_path / "data")) as lake:
        yield lake


@pytest.fixture
def other(tmp_path: Path) -> PriceList:
    """gpt-4.1-mini at 10 and 20 USD for a million tokens of input and output, and no other model."""
    return read_file(price_file(tmp_path, input_mtok="10", output_mtok="20"))


def run(
    opened: Store,
    price_list: PriceList,
    *,
    start: dt.datetime = START,
    end: dt.datetime = END,
    settings: Settings | None = None,
    models: Mapping[str, str] | None = None,
    dry: bool = False,
) -> Outcome:
    repricer = Repricer(opened.lake, settings or opened.settings, price_list, models)
    return (repricer.compare if dry else repricer.reprice)(start, end, lambda _: None)


def test_the_same_list_again_changes_nothing_and_writes_nothing(opened: Store) -> None:
    before = fingerprint(opened.data_dir)
    outcome = run(opened, installed())
    assert (outcome.calls, outcome.changed) == (40, 0)
    assert fingerprint(opened.data_dir) == before


def test_it_equals_a_fresh_load_by_that_list(opened: Store, other: PriceList, tmp_path: Path) -> None:
    """Every column of every call, whichever list comes first; going back restores what was."""
    with store(tmp_path / "fresh") as fresh:
        activate(fresh.lake.connection, other)
        with store(tmp_path / "fresh") as later:
            load_all(later)
            expected = later.ask(CALLS)
    first = opened.ask(CALLS)
    assert first != expected
    assert run(opened, other).changed == 30  # the unknown model stays unknown
    assert opened.ask(CALLS) == expected
    assert run(opened, other).changed == 0
    run(opened, installed())
    assert opened.ask(CALLS) == first


def test_what_costs_the_same_stays_where_it_is(opened: Store) -> None:
    """An override for one model: 1,000 and 100 tokens at 1 and 2 USD a million make 0.0012; the files that hold others
    are not written again."""
    ours = PriceOverride("o", model="gpt-4.1", prices={"input_mtok": Decimal(1), "output_mtok": Decimal(2)})
    rest = "SELECT * FROM calls WHERE request_model <> 'gpt-4.1' ORDER BY call_id"
    rows = "SELECT rowid, filename FROM calls WHERE request_model <> 'gpt-4.1' ORDER BY ALL"
    before, where = opened.ask(rest), opened.ask(rows)
    outcome = run(opened, installed(), settings=Settings(price_overrides=(ours,)))
    assert outcome.changed == 10
    assert opened.ask(rest) == before
    assert opened.ask(rows) == where
    assert {cost for model, cost, _ in opened.ask(COSTS) if model == "gpt-4.1"} == {Decimal("0.0012")}
    assert (
        opened.one("SELECT count(*) FROM calls ANTI JOIN prices USING (price_id)") == 10
    )  # the unknown ones
    assert run(opened, installed()).changed == 10


def test_what_changes_is_told_by_model_and_mode(opened: Store, other: PriceList) -> None:
    """Of 40 calls in turn each model has ten: 1,000 and 100 tokens at 0.4 and 1.6, then at 10 and 20 USD a million."""
    outcome = run(opened, other, dry=True)
    mini = outcome.models["gpt-4.1-mini", None, "unknown"]
    assert (mini.calls, mini.changed) == (10, 10)
    assert (mini.before, mini.after) == (Decimal("0.0056"), Decimal("0.12"))
    claude = outcome.models["claude-sonnet-4-5", None, "unknown"]
    assert (claude.after, claude.unpriced_before, claude.unpriced_after) == (None, 0, 10)
    unknown = outcome.models["no-such-model", None, "unknown"]
    assert (unknown.before, unknown.changed, unknown.unpriced_before) == (None, 0, 10)


def test_an_estimate_by_an_embeddings_text_stays(opened: Store, other: PriceList) -> None:
    """What it was made of, the length of a text, is known where calls are built, and nowhere else."""
    attributes = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "text-embedding-3-small",
        "gen_ai.input.messages": "x" * 1600,
    }
    opened.load(traces(span(99, 1, attributes=attributes)))
    estimate = "SELECT cost_note, cost_low_usd, cost_high_usd FROM calls WHERE role = 'embeddings'"
    before = opened.ask(estimate)
    assert before == [("estimated_from_text", Decimal("0.000002"), Decimal("0.000032"))]
    assert run(opened, other).changed > 0
    assert opened.ask(estimate) == before


def test_a_comparison_writes_nothing(opened: Store, other: PriceList) -> None:
    before = fingerprint(opened.data_dir)
    with store(opened.data_dir) as another:
        assert run(another, other, dry=True).changed == 30
    assert fingerprint(opened.data_dir) == before


def test_a_window_is_the_sum_of_its_parts(opened: Store, other: PriceList) -> None:
    """Before and after, and repriced in parts as at once."""
    edges = [START, dt.datetime(2026, 3, 20, 12), END]
    parts = list(pairwise(edges))

    def totals(start: dt.datetime, end: dt.datetime) -> tuple[Decimal, Decimal]:
        changes = run(opened, other, start=start, end=end, dry=True).models.values()
        return sum((c.before or Decimal(0) for c in changes), Decimal(0)), sum(
            (c.after or Decimal(0) for c in changes), Decimal(0)
        )

    whole = totals(START, END)
    assert whole == tuple(map(sum, zip(*(totals(*part) for part in parts), strict=True)))
    assert whole[0] == opened.one("SELECT sum(cost_usd) FROM calls")
    changed = [run(opened, other, start=start, end=end).changed for start, end in parts]
    assert all(changed)
    assert sum(changed) == 30
    assert whole[1] == opened.one("SELECT sum(cost_usd) FROM calls")
    assert run(opened, other).changed == 0


def test_the_edges_of_a_window_are_kept(opened: Store, other: PriceList) -> None:
    """From the start on, to before the end, to the microsecond."""
    first, second = (row[0] for row in opened.ask("SELECT start_time FROM calls ORDER BY 1 LIMIT 2"))
    assert run(opened, other, start=first, end=second, dry=True).calls == 1
    assert run(opened, other, start=first, end=second + dt.timedelta(microseconds=1), dry=True).calls == 2
    assert run(opened, other, end=first, dry=True).calls == 0


def test_steps_of_any_size_give_the_same(
    opened: Store, other: PriceList, loaded_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(opened, other)
    with store(copy_of(loaded_lake, tmp_path / "small")) as small:
        monkeypatch.setattr(reprice, "_STEP_CALLS", 3)
        run(small, other)
        assert small.ask(CALLS) == opened.ask(CALLS)


def test_rows_that_were_replaced_in_the_same_file_stay_gone(opened: Store, other: PriceList) -> None:
    """A root that comes late takes calls' places: their files keep the old rows beside a list of what is deleted."""
    root = {"gen_ai.conversation.id": "s"}
    opened.load(traces(call(99, 2, parent=1, at=SECOND), call(98, 2, at=SECOND)))
    opened.load(traces(span(99, 1, attributes=root, lasts=9 * SECOND)))
    rows = opened.ask("SELECT call_id, session_id FROM calls ORDER BY 1")
    assert len(rows) == 42
    run(opened, other)
    assert opened.ask("SELECT call_id, session_id FROM calls ORDER BY 1") == rows


def test_the_lake_lives_on_after_it(
    opened: Store, other: PriceList, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merged, moved, given dimensions (one named like a part of the files' paths), loaded into, priced again."""
    run(opened, other)
    before = opened.ask(CALLS)
    monkeypatch.setattr(maintenance, "_WORTH_REWRITING", 1)
    monkeypatch.setattr(maintenance, "GRACE_SECONDS", 0)
    keeper = Maintenance(opened.lake)
    while keeper.step():
        pass
    assert opened.ask(CALLS) == before
    opened.close()
    moved = opened.data_dir.rename(tmp_path / "moved")
    with store(moved, Settings(dimensions={"month": "app.month", "lead": "app.lead"})) as up:
        up.load(traces(call(50, 1, attributes={"app.month": "may", "app.lead": "x"})))
        assert run(up, installed(), settings=up.settings).changed > 0
        assert run(up, other, settings=up.settings).changed > 0
        tagged = "SELECT count(*), count(month), count(lead), min(month), min(lead) FROM calls"
        assert up.ask(tagged) == [(41, 1, 1, "may", "x")]
        assert up.load(traces(call(50, 1))).spans_duplicate == 1
        assert {row[: len(before[0])] for row in map(_hashable, up.ask(CALLS))} >= set(map(_hashable, before))


def _hashable(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(str(value) if isinstance(value, list) else value for value in row)


def test_a_failure_leaves_no_trace(opened: Store, other: PriceList, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(opened.data_dir)

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("collector.store.reprice_files.CallFiles.register", fail)
    with pytest.raises(OSError, match="the disk is full"):
        run(opened, other)
    assert fingerprint(opened.data_dir) == before
    monkeypatch.undo()
    assert run(opened, other).changed == 30


def test_beside_a_loader_nothing_is_lost(opened: Store, other: PriceList) -> None:
    """Loading goes on between repricings; each call is there once, at a price of one of the two lists."""
    done = threading.Event()

    def keep_repricing() -> None:
        with Lake.open(opened.data_dir, threads=1) as lake:
            for price_list in (other, installed()):
                Repricer(lake, Settings(), price_list).reprice(START, END, lambda _: None)
        done.set()

    worker = threading.Thread(target=keep_repricing)
    worker.start()
    number = 100
    while not done.is_set() and number < 200:
        opened.load(traces(call(number, 1, at=number * SECOND)))
        number += 1
    worker.join()
    assert done.is_set()
    assert opened.ask("SELECT count(*), count(DISTINCT call_id) FROM calls") == [(number - 60, number - 60)]
    costs = {row[0] for row in opened.ask("SELECT cost_usd FROM calls WHERE request_model = 'gpt-4.1-mini'")}
    assert costs <= {Decimal("0.012"), Decimal("0.00056")}


def test_an_experiment_prices_calls_as_other_models(opened: Store) -> None:
    """gpt-4.1 costs 2 and 8 USD a million tokens: 1,000 and 100 of them 0.0028. An id itself wins over a beginning."""
    outcome = run(
        opened, active(opened.lake.connection), models={"gpt*": "gpt-4.1", "GPT-4.1": "gpt-4.1"}, dry=True
    )
    as_other = outcome.models["gpt-4.1-mini", "gpt-4.1", "unknown"]
    assert (as_other.before, as_other.after) == (Decimal("0.0056"), Decimal("0.028"))
    same = outcome.models["gpt-4.1", "gpt-4.1", "unknown"]
    assert (same.before, same.after, same.changed) == (Decimal("0.028"), Decimal("0.028"), 0)


def test_a_model_of_another_provider_can_stand_in(opened: Store) -> None:
    named = run(opened, installed(), models={"claude-*": "openai/gpt-4.1"}, dry=True)
    found = run(opened, installed(), models={"claude-*": "gpt-4.1"}, dry=True)
    assert named.models["claude-sonnet-4-5", "gpt-4.1", "unknown"].after is not None
    assert named.models == found.models


def test_a_model_that_nothing_has_a_price_for_cannot_stand_in(opened: Store) -> None:
    with pytest.raises(UnknownModel, match="'no-such-model'"):
        run(opened, installed(), models={"gpt*": "no-such-model"}, dry=True)
