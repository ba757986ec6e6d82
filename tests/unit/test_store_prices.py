"""The lake's price lists: which one is active, and that every call's price stands in `prices`."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from collector.store import prices
from collector.store.lake import Lake
from collector.store.migrate import open_current
from collector.store.prices import activate, activate_installed, active, active_on, history
from semconv.prices import PriceList, installed, read_file
from semconv.settings import PriceOverride, Settings
from tests.price_support import price_file
from tests.store_support import Store, call, lay_empty_lake, store, traces

COST = "SELECT cost_usd FROM calls ORDER BY trace_id"
UNFOUND = "SELECT count(*) FROM calls ANTI JOIN prices USING (price_id) WHERE price_id IS NOT NULL"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Store]:
    with store(tmp_path / "data") as lake:
        yield lake


@pytest.fixture
def other(tmp_path: Path) -> PriceList:
    """gpt-4.1-mini at 10 and 20 USD for a million tokens of input and output."""
    return read_file(price_file(tmp_path, input_mtok="10", output_mtok="20"))


def test_a_new_lake_has_the_installed_list(opened: Store) -> None:
    (only,) = history(opened.lake.connection)
    assert (only.snapshot_id, only.source) == (installed().snapshot_id, "genai-prices")
    assert opened.one("SELECT count(*) FROM prices") == installed().rows.num_rows


def test_what_is_stored_prices_like_what_was_activated(opened: Store, other: PriceList) -> None:
    """The text in the lake is enough: the file and the package may be gone."""
    activate(opened.lake.connection, other)
    again = active(opened.lake.connection)
    assert again is not other
    assert again.snapshot_id == other.snapshot_id
    assert again.rows.equals(other.rows)
    for model in ("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", "gpt-4.1"):
        assert again.finder.find("openai", model) == other.finder.find("openai", model)


def test_the_active_list_again_changes_nothing(opened: Store, other: PriceList) -> None:
    snapshots = "SELECT count(*) FROM __ducklake_metadata_lake.ducklake_snapshot"
    assert activate(opened.lake.connection, other)
    before = opened.one(snapshots)
    assert not activate(opened.lake.connection, other)
    assert opened.one(snapshots) == before


def test_going_back_is_an_activation_whose_rows_are_there(opened: Store, other: PriceList) -> None:
    activate(opened.lake.connection, other)
    rows = opened.one("SELECT count(*) FROM prices")
    assert activate(opened.lake.connection, installed())
    lists = [each.snapshot_id for each in history(opened.lake.connection)]
    assert lists == [installed().snapshot_id, other.snapshot_id, installed().snapshot_id]
    assert opened.one("SELECT count(*) FROM prices") == rows
    assert opened.one("SELECT count(DISTINCT activated_at) FROM price_snapshots") == 3


def test_a_start_keeps_a_list_from_a_file(opened: Store, other: PriceList) -> None:
    activate(opened.lake.connection, other)
    assert not activate_installed(opened.lake.connection)
    open_current(opened.data_dir, {}).close()
    assert opened.one("SELECT arg_max(snapshot_id, activated_at) FROM price_snapshots") == other.snapshot_id


def test_a_start_brings_another_version_of_the_package(opened: Store, other: PriceList) -> None:
    """An update of the package is enough: its prices hold from the next start on."""
    connection = opened.lake.connection
    activate(connection, other)
    connection.execute("UPDATE lake.price_snapshots SET source = 'genai-prices', source_version = '0.0.1'")
    assert activate_installed(connection)
    assert active(connection).snapshot_id == installed().snapshot_id


def test_an_activation_hides_no_later_one_where_the_clock_was_set_back(
    opened: Store, other: PriceList
) -> None:
    connection = opened.lake.connection
    connection.execute("UPDATE lake.price_snapshots SET activated_at = TIMESTAMP '2999-01-01'")
    activate(connection, other)
    assert active(connection).snapshot_id == other.snapshot_id


def test_the_list_of_a_day_is_the_one_at_its_end(opened: Store, other: PriceList) -> None:
    connection = opened.lake.connection
    connection.execute("UPDATE lake.price_snapshots SET activated_at = TIMESTAMP '2026-03-01 23:59:59'")
    activate(connection, other)
    by_day = {day: active_on(connection, dt.date(2026, 3, day)) for day in (1, 2)}
    assert [each and each.snapshot_id for each in by_day.values()] == [installed().snapshot_id] * 2
    assert active_on(connection, dt.date(2026, 2, 28)) is None
    today = active_on(connection, dt.datetime.now(dt.UTC).date())
    assert today is not None
    assert today.snapshot_id == other.snapshot_id


def test_a_lake_of_the_version_before_comes_up(tmp_path: Path) -> None:
    """A lake without price_snapshots gets the table and a list; its calls stay, and it equals a new lake."""
    with store(tmp_path / "data") as old:
        old.load(traces(call(1, 1)))
        costs = old.ask(COST)
        old.lake.connection.execute(
            "DROP TABLE lake.price_snapshots; DROP TABLE lake.alerts; ALTER TABLE lake.prices DROP COLUMN model_match;"
            "DELETE FROM lake.schema_migrations;"
            "INSERT INTO lake.schema_migrations VALUES (1, now()::TIMESTAMP)"
        )
        assert history(old.lake.connection) == []
        assert active(old.lake.connection) is installed()
    lay_empty_lake(tmp_path / "new")
    with open_current(tmp_path / "data", {}) as lake, Lake.open(tmp_path / "new") as new:
        assert [each.snapshot_id for each in history(lake.connection)] == [installed().snapshot_id]
        described = (
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
            " WHERE table_catalog = 'lake' ORDER BY table_name, ordinal_position"
        )
        assert lake.connection.execute(described).fetchall() == new.connection.execute(described).fetchall()
    with store(tmp_path / "data") as up:
        assert up.ask(COST) == costs
        assert up.load(traces(call(2, 2))).calls_written == 1


def test_calls_are_priced_by_the_active_list_soon_after_it_changed(
    opened: Store, other: PriceList, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 tokens of input at 10 and 100 of output at 20 USD a million make 0.012 USD; before, it was 0.4 and 1.6."""
    opened.load(traces(call(1, 1)))
    with Lake.open(opened.data_dir) as another_process:
        activate(another_process.connection, other)
    opened.load(traces(call(2, 2)))
    monkeypatch.setattr(prices, "_LOOK_SECONDS", 0.0)
    opened.load(traces(call(3, 3)))
    assert opened.ask(COST) == [(Decimal("0.00056"),), (Decimal("0.00056"),), (Decimal("0.012"),)]
    assert opened.one(UNFOUND) == 0


def test_the_rows_of_overrides_come_with_the_first_calls(tmp_path: Path) -> None:
    """1,000 and 100 tokens at 1 and 2 USD a million make 0.0012 USD."""
    override = PriceOverride(
        "ours", model="gpt-4.1*", prices={"input_mtok": Decimal(1), "output_mtok": Decimal(2)}
    )
    with store(tmp_path / "data", Settings(price_overrides=(override,))) as opened:
        opened.load(traces(call(1, 1)), dry_run=True)
        assert opened.one("SELECT count(*) FROM prices WHERE source = 'config'") == 0
        with store(tmp_path / "data", opened.settings) as fresh:
            fresh.load(traces(call(1, 1)))
            fresh.load(traces(call(2, 2)))
            assert fresh.ask(COST) == [(Decimal("0.0012"),)] * 2
            assert fresh.one("SELECT count(*) FROM prices WHERE source = 'config'") > 0
            assert fresh.one(UNFOUND) == 0


def test_a_price_file_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps([{"id": "openai", "models": [{"id": "m", "prices": {"input_mtok": -1}}]}]))
    with pytest.raises(ValueError, match="openai"):
        read_file(broken)
