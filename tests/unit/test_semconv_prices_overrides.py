"""What a deployment pays instead of list prices. gpt-4o lists 2.50 USD in, 1.25 cached, 10 out, per million tokens."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from semconv.prices import PriceBook, installed
from semconv.settings import PriceOverride
from tests.unit.price_calls import PARTS, call, cost, parts, price

LISTED = Decimal("0.21")  # 60,000 in, 40,000 cached, 1,000 out
FLAT = {"input_mtok": Decimal(1), "output_mtok": Decimal(1)}


def flat(name: str, usd: str = "1", **given: Any) -> PriceOverride:
    """Every token for so many USD a million."""
    return PriceOverride(name, prices={"input_mtok": Decimal(usd), "output_mtok": Decimal(usd)}, **given)


def at(time: str, *overrides: PriceOverride, **given: Any) -> Decimal | None:
    found: Decimal | None = cost(*overrides, start_time=dt.datetime.fromisoformat(time), **given)["cost_usd"]
    return found


def test_rows_of_two_accounts_that_pay_the_same_have_ids_of_their_own() -> None:
    """A price_id names one row of `prices` per unit, whoever has the same agreement."""
    book = PriceBook(installed(), [flat("deal", model="gpt-4o", billing_account=name) for name in ("a", "b")])
    rows = [(row["price_id"], row["unit"]) for row in book.rows.to_pylist() if row["source"] == "config"]
    assert len(rows) == len(set(rows)) == 4


# --- the four kinds


def test_a_list_price_of_ones_own_replaces_the_source_as_a_whole() -> None:
    """What it does not name costs what it belongs to: cached input as input."""
    row = cost(flat("own", model="gpt-4o"))
    assert (row["cost_usd"], row["cost_input_usd"], row["cost_cache_read_usd"]) == (
        Decimal("0.101"),
        Decimal("0.06"),
        Decimal("0.04"),
    )


def test_a_discount_is_taken_off_every_price_of_the_list() -> None:
    row = cost(PriceOverride("deal", provider="openai", discount=Decimal("0.15")))
    assert row["cost_usd"] == LISTED * Decimal("0.85")
    assert row["cost_output_usd"] == Decimal("0.0085")


def test_an_hour_of_a_gpu_is_paid_by_the_calls_duration() -> None:
    """1.80 USD an hour for 90 seconds, without a price by the token; of a model that the list does not know."""
    own = PriceOverride("rack", provider="house", model="llama*", gpu_hour_usd=Decimal("1.8"))
    given: dict[str, Any] = {"provider": "house", "request_model": "llama-70b", "duration_ns": 90 * 10**9}
    row = cost(own, **given)
    assert (row["cost_usd"], row["cost_request_usd"], parts(row)) == (
        Decimal("0.045"),
        Decimal("0.045"),
        [Decimal("0.045")],
    )
    assert cost(own, **given | {"input_tokens": None, "output_tokens": None})["cost_usd"] == Decimal("0.045")
    assert cost(own, **given | {"duration_ns": None})["cost_usd"] is None


def test_an_hour_is_rounded_once_half_even() -> None:
    """One nanosecond of 0.18 USD an hour is 5e-14 USD; 10 and 30 of them are 0.5 and 1.5 of the last decimal."""
    own = PriceOverride("rack", model="llama", gpu_hour_usd=Decimal("0.18"))
    calls = [call(request_model="llama", duration_ns=nanoseconds) for nanoseconds in (10, 30, 31)]
    assert [row["cost_usd"] for row in price(calls, overrides=[own])] == [
        Decimal(0),
        Decimal("2e-12"),
        Decimal("2e-12"),
    ]


def test_what_is_free_costs_nothing_and_not_an_unknown_amount() -> None:
    row = cost(PriceOverride("gift", model="gpt-4o", free=True), service_tier="priority")
    assert (row["cost_usd"], row["cost_low_usd"], row["cost_high_usd"], row["cost_note"]) == (0, 0, 0, None)


def test_a_call_that_failed_without_usage_costs_an_unknown_amount_even_where_calls_are_free() -> None:
    failed = {"status_code": "ERROR", "input_tokens": None, "output_tokens": None, "cache_read_tokens": None}
    row = cost(PriceOverride("gift", model="gpt-4o", free=True), **failed)
    assert (row["cost_usd"], row["cost_note"]) == (None, "no_usage")


@pytest.mark.parametrize("given", [{}, {"free": True, "discount": Decimal("0.1")}])
def test_an_override_says_exactly_one_thing(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected one of"):
        PriceOverride("odd", **given)


# --- local models


def test_a_local_model_costs_nothing_known_unless_the_configuration_prices_it() -> None:
    local = {"plan_tier": "local", "request_model": "gpt-4o"}
    assert (cost(**local)["cost_usd"], cost(**local)["cost_note"]) == (None, "local")
    row = cost(flat("own", model="gpt-4o"), **local)
    assert (row["cost_usd"], row["pricing_mode"], row["cost_note"]) == (Decimal("0.101"), "local", None)


# --- which one holds


@pytest.mark.parametrize(
    ("wins", "loses"),
    [
        ({"billing_account": "acme"}, {"model": "gpt-4o", "provider": "openai"}),
        ({"model": "gpt-4o"}, {"model": "gpt-4*", "provider": "openai"}),
        ({"model": "GPT-4o*"}, {"model": "gpt*", "provider": "openai"}),
        ({"model": "gpt*"}, {"provider": "openai"}),
        ({"model": "gpt-4o", "provider": "openai"}, {"model": "gpt-4o"}),
        ({"provider": "openai"}, {}),
    ],
)
def test_the_most_specific_override_wins_in_any_order(wins: dict[str, Any], loses: dict[str, Any]) -> None:
    pair = [flat("wins", "1", **wins), flat("loses", "2", **loses)]
    for overrides in (pair, pair[::-1]):
        assert cost(*overrides, billing_account="acme")["cost_usd"] == Decimal("0.101")


@pytest.mark.parametrize(
    "other",
    [{"provider": "anthropic"}, {"model": "gpt-4"}, {"model": "o*"}, {"billing_account": "other"}],
)
def test_an_override_for_something_else_changes_nothing(other: dict[str, Any]) -> None:
    assert cost(flat("other", **other), billing_account="acme")["cost_usd"] == LISTED


@pytest.mark.parametrize(
    "names",
    [
        {"request_model": "my-deployment", "response_model": "gpt-4o-2024-08-06"},
        {"request_model": "openrouter/gpt-4o"},
        {"request_model": "GPT-4o"},
    ],
)
def test_a_call_goes_by_each_of_its_names(names: dict[str, Any]) -> None:
    """By what was sent, by what stands behind a gateway's path, and by the listed model that it means."""
    assert cost(flat("own", model="gpt-4o"), **names)["cost_usd"] == Decimal("0.101")


def test_an_override_of_a_variant_leaves_the_others_alone() -> None:
    own = flat("own", model="gpt-4o", variant="batch")
    assert cost(own)["cost_usd"] == LISTED
    assert cost(own, batch=True)["cost_usd"] == Decimal("0.101")


# --- when


def test_an_override_holds_from_midnight_utc_until_before_midnight() -> None:
    own = flat("leap", model="gpt-4o", since=dt.date(2028, 2, 29), until=dt.date(2028, 3, 1))
    assert at("2028-02-28T23:59:59.999999", own) == LISTED
    assert at("2028-02-29T00:00:00", own) == Decimal("0.101")
    assert at("2028-02-29T23:59:59.999999", own) == Decimal("0.101")
    assert at("2028-03-01T00:00:00", own) == LISTED


def test_two_overrides_follow_each_other_without_a_gap() -> None:
    first = flat("first", "1", model="gpt-4o", until=dt.date(2026, 7, 1))
    then = flat("then", "2", model="gpt-4o", since=dt.date(2026, 7, 1))
    assert at("2026-06-30T23:59:59.999999", first, then) == Decimal("0.101")
    assert at("2026-07-01T00:00:00", first, then) == Decimal("0.202")


def test_a_less_specific_override_holds_where_a_more_specific_one_does_not_yet() -> None:
    later = flat("later", "1", model="gpt-4o", since=dt.date(2026, 7, 1))
    always = flat("always", "2", provider="openai")
    assert at("2026-06-01T00:00:00", later, always) == Decimal("0.202")


def test_a_discount_follows_the_lists_own_dates() -> None:
    """claude-sonnet-4-5's list price is the same for a call of any day; its tiers stay where they are."""
    deal = PriceOverride("deal", provider="anthropic", discount=Decimal("0.5"))
    given = {"provider": "anthropic", "request_model": "claude-sonnet-4-5", "cache_read_tokens": 0}
    for tokens in (200_000, 200_001):
        full, half = cost(**given, input_tokens=tokens), cost(deal, **given, input_tokens=tokens)
        assert half["cost_usd"] * 2 == full["cost_usd"]


# --- rows


def test_every_price_id_is_found_among_the_books_rows() -> None:
    overrides = [
        PriceOverride("deal", provider="openai", model="gpt-4o", discount=Decimal("0.15")),
        flat("own", model="house*"),
        PriceOverride("rack", model="llama", gpu_hour_usd=Decimal(2)),
        PriceOverride("gift", model="tiny", free=True),
    ]
    models = ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4.1", "house-1", "llama", "tiny"]
    priced = price([call(request_model=model) for model in models], overrides=overrides)
    book = PriceBook(installed(), overrides)
    rows = book.rows
    assert {row["price_id"] for row in priced} <= set(rows.column("price_id").to_pylist())
    assert set(rows.column("source").to_pylist()) == {"genai-prices", "config"}
    starts = {price_id.partition("/")[0] for price_id in rows.column("price_id").to_pylist()}
    assert starts == set(rows.column("snapshot_id").to_pylist())


def test_a_discount_brings_rows_of_the_models_it_can_reach_only() -> None:
    one = PriceBook(
        installed(), [PriceOverride("one", provider="openai", model="gpt-4o", discount=Decimal("0.1"))]
    )
    assert {sheet.model for override in one.overrides for sheet in override.sheets} == {"gpt-4o"}


def test_the_same_override_always_has_the_same_rows() -> None:
    first, second = (PriceBook(installed(), [flat("own", model="gpt-4o")]).rows for _ in range(2))
    assert first.equals(second)


def test_a_book_finds_what_only_an_override_prices() -> None:
    book = PriceBook(installed(), [flat("own", provider="house", model="llama*")])
    assert book.find("house", None, "llama-70b") == ("house", "llama*")
    assert book.find("openai", "gpt-4o-2024-08-06", None) == ("openai", "gpt-4o")
    assert book.find("house", None, "other") is None


def test_parts_of_an_override_add_up() -> None:
    row = cost(PriceOverride("deal", provider="openai", discount=Decimal("0.123456")))
    assert row["cost_usd"] == sum(parts(row))
    assert len(PARTS) == 7
