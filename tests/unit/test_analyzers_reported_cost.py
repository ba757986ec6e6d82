"""The figures of the analyzer `reported-cost`: what senders claim beside the list price, computed by hand."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import duckdb

from analyzers import registry
from analyzers.finding import Report
from analyzers.window import Window
from tests.calls_table import call, calls_table

MARCH = Window(dt.datetime(2026, 3, 1, tzinfo=dt.UTC), dt.datetime(2026, 4, 1, tzinfo=dt.UTC))


def reported_cost(connection: duckdb.DuckDBPyConnection) -> Report:
    return registry.get("reported-cost").run(connection, MARCH, {})


def rows(report: Report) -> list[dict[str, Any]]:
    return report.as_dict()["rows"]


def told(reported: str | None, ours: str | None, **columns: Any) -> dict[str, Any]:
    """A call with a reported cost, one of ours, or both, in USD."""
    money = {"reported_cost_usd": reported and Decimal(reported), "cost_usd": ours and Decimal(ours)}
    return call(**{"service_name": "shop", "dialect": "litellm", **money, **columns})


def test_only_calls_with_both_costs_are_compared_and_the_others_are_counted() -> None:
    """Reported 3 + 1 beside ours 2 + 1: 1 too much, 4 thirds. Neither the 100 that only a sender knows nor the 50 that
    only we know are in an amount."""
    report = reported_cost(
        calls_table(
            told("3", "2"), told("1", "1"), told("100", None, cost_note="unknown_model"), told(None, "50")
        )
    )
    measured, unknown = sorted(rows(report), key=lambda row: row["ours"])
    assert (measured["calls_with_both"], measured["calls_only_ours"], measured["calls_agreeing"]) == (2, 1, 1)
    assert (measured["reported_spend_usd"], measured["spend_usd"]) == (4, 3)
    assert (measured["reported_less_spend_usd"], round(measured["ratio"], 9)) == (1, round(4 / 3, 9))
    assert (unknown["ours"], unknown["calls_only_reported"], unknown["reported_spend_usd"]) == (
        "unknown",
        1,
        None,
    )
    assert any(note.startswith("1 calls have a reported cost and none of ours") for note in report.notes)


def test_what_is_known_between_two_ends_stands_apart_from_what_was_measured() -> None:
    """Ours is 2, at least 2 and at most 3: a report of 2.5 agrees, one of 3.5 does not, and both are estimated rows."""
    ends = {"cost_low_usd": Decimal(2), "cost_high_usd": Decimal(3)}
    estimated, measured = rows(
        reported_cost(calls_table(told("2.5", "2", **ends), told("3.5", "2", **ends), told("1", "1")))
    )
    assert (estimated["ours"], estimated["calls_with_both"], estimated["calls_agreeing"]) == (
        "estimated",
        2,
        1,
    )
    assert (estimated["spend_usd"], estimated["spend_low_usd"], estimated["spend_high_usd"]) == (4, 4, 6)
    assert (measured["ours"], measured["spend_usd"]) == ("measured", 1)


def test_pricing_modes_services_libraries_and_models_stay_apart() -> None:
    report = reported_cost(
        calls_table(
            told("1", "1"),
            told("10", "10", pricing_mode="subscription", plan_tier="pro"),
            told("100", "100", service_name="web"),
            told("1000", "1000", dialect="openlit"),
            told("10000", "10000", response_model="gpt-4o-2024-08-06"),
        )
    )
    assert len(rows(report)) == 5
    totals = {row["pricing_mode"]: row for row in report.as_dict()["totals"]}
    assert totals["api"]["reported_spend_usd"] == 11101
    assert totals["subscription"]["reported_implied_api_value_usd"] == 10
    assert totals["subscription"]["spend_usd"] is None


def test_a_service_that_reports_nothing_is_not_listed() -> None:
    """Its calls are in the totals' count of what only we know."""
    report = reported_cost(calls_table(told("1", "1"), told(None, "5", service_name="web")))
    assert [row["service"] for row in rows(report)] == ["shop"]
    assert [row["calls_only_ours"] for row in report.as_dict()["totals"]] == [1]


def test_what_differs_most_is_one_finding_with_the_calls_that_differ_most() -> None:
    """Twelve calls of one model that are 1 to 12 USD too high and one of another that is 3 too low; one within a
    hundredth is in no finding."""
    calls = [told(str(1 + n), "1", call_id=f"too-high-{n:02}") for n in range(1, 13)]
    low = told("1", "4", call_id="too-low", request_model="gpt-4o-mini")
    report = reported_cost(calls_table(low, *calls, told("100.5", "100", call_id="near")))
    high, other = report.findings
    assert high.examples == tuple(f"too-high-{n:02}" for n in range(12, 7, -1))
    assert high.title == (
        "12 calls of shop, gpt-4o: 90.000000 USD reported by the sender, spend 12.000000 USD"
    )
    assert high.as_dict()["evidence"]["ours"] == {"pricing_mode": "api", "spend_usd": Decimal(12)}
    assert (other.examples, other.dimension["model"]) == (("too-low",), "gpt-4o-mini")


def test_a_cost_of_nothing_is_told_as_what_it_is() -> None:
    """A library without its price list reports 0; a model that is free is no such case."""
    report = reported_cost(calls_table(told("0", "2"), told("0", "0")))
    [row] = rows(report)
    assert (row["calls_reported_as_nothing"], row["calls_agreeing"], row["ratio"]) == (1, 1, 0)
    assert any(note.startswith("1 calls are reported as 0") for note in report.notes)


def test_without_any_report_that_is_said() -> None:
    report = reported_cost(calls_table(call(cost_usd=Decimal(1))))
    assert report.rows == ()
    assert report.notes == ("no call says what it cost, from 2026-03-01 00:00 to 2026-04-01 00:00 (UTC)",)
