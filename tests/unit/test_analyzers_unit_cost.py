"""The figures of the analyzer `unit-cost`: every expected number is computed by hand from the rows beside it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from analyzers import registry
from analyzers.finding import Report
from analyzers.registry import BadSetting
from analyzers.window import Window
from tests.calls_table import call, calls_table

MARCH = Window(dt.datetime(2026, 3, 1, tzinfo=dt.UTC), dt.datetime(2026, 4, 1, tzinfo=dt.UTC))
NOON = dt.datetime(2026, 3, 10, 12)
SECOND = dt.timedelta(seconds=1)


def unit_cost(connection: duckdb.DuckDBPyConnection, window: Window = MARCH, **settings: Any) -> Report:
    return registry.get("unit-cost").run(connection, window, settings)


def rows(report: Report) -> list[dict[str, Any]]:
    return report.as_dict()["rows"]


def total(report: Report, mode: str = "api") -> dict[str, Any]:
    (found,) = (row for row in report.as_dict()["totals"] if row["pricing_mode"] == mode)
    return found


def dear(user: str | None, usd: str | None, **columns: Any) -> dict[str, Any]:
    """A call of a user that cost so much."""
    return call(user_id=user, cost_usd=usd and Decimal(usd), **columns)


def failed(**columns: Any) -> dict[str, Any]:
    """A call refused without usage."""
    return call(status_code="ERROR", input_tokens=None, output_tokens=None, cost_note="no_usage", **columns)


def note(report: Report, part: str) -> str:
    (found,) = (note for note in report.notes if part in note)
    return found


# --- figures per unit


def test_each_units_total_is_the_sum_over_its_calls() -> None:
    """Seven units of sums of different digits: each equals a plain SUM, and all with the rest equal the total."""
    calls = [dear(f"u{n % 7}" if n % 8 else None, f"0.{n:012d}") for n in range(1, 100)]
    connection = calls_table(*calls)
    report = unit_cost(connection, by="user", top=0)
    plain = dict(connection.execute("SELECT user_id, sum(cost_usd) FROM calls GROUP BY ALL").fetchall())
    assert {row["user"]: row["spend_usd"] for row in rows(report)} == plain
    assert len(plain) == 8
    # 1 + 2 + … + 99 = 4950, at the twelfth place
    assert total(report)["spend_usd"] == Decimal("0.000000004950")
    assert total(report)["calls"] == 99


def test_calls_without_a_unit_stand_in_a_row_of_their_own_and_in_no_statistic() -> None:
    report = unit_cost(calls_table(dear("ann", "1"), dear("bob", "3"), dear(None, "100")), by="user")
    assert [(row["user"], row["spend_usd"]) for row in rows(report)] == [("bob", 3), ("ann", 1), (None, 100)]
    found = total(report)
    assert (found["units"], found["spend_usd"], found["spend_per_unit_mean_usd"]) == (2, 104, 2)
    assert note(report, "have no user").startswith("1 of 3 calls")


def test_llm_and_embeddings_apart_tokens_cache_latency_and_agents() -> None:
    """Cache share 300 of 1,000 + 50; the 95th percentile of 1 s and 3 s stands 0.95 of the way: 2.9 s."""
    one = dear("ann", "0.5", input_tokens=1000, cache_read_tokens=300, output_tokens=20, agent_name="writer")
    two = dear("ann", "0.25", role="embeddings", input_tokens=50, output_tokens=None, duration_ns=3 * 10**9)
    (row,) = rows(unit_cost(calls_table(one, two, failed(user_id="ann", agent_name="critic")), by="user"))
    assert (row["spend_usd"], row["llm_spend_usd"], row["embeddings_spend_usd"]) == (
        Decimal("0.75"),
        Decimal("0.5"),
        Decimal("0.25"),
    )
    assert (row["input_tokens"], row["cache_read_tokens"], row["output_tokens"]) == (1050, 300, 20)
    assert row["cache_share"] == pytest.approx(300 / 1050)
    assert row["latency_p95_ms"] == pytest.approx(2900)
    assert (row["agents"], row["agent_names"]) == (2, "critic, writer")
    assert (row["calls"], row["failed_calls"], row["calls_without_cost"]) == (3, 1, 1)


def test_statistics_of_units_are_exact_decimals() -> None:
    """Units of 1, 2, 4 and 10.000000000001 USD. Median (2 + 4) / 2; p95 0.85 of the way from 4 to the dearest:
    4 + 0.85 times 6.000000000001 = 9.10000000000085, to twelve places half even 9.100000000001."""
    report = unit_cost(
        calls_table(*(dear(str(n), usd) for n, usd in enumerate(("2", "10.000000000001", "1", "4")))),
        by="user",
    )
    found = total(report)
    statistics = {
        name: found[f"spend_per_unit_{name}_usd"] for name in ("mean", "median", "p95", "max", "min")
    }
    assert statistics == {
        "mean": Decimal("4.25"),  # 17.000000000001 / 4 = 4.25000000000025
        "median": Decimal(3),
        "p95": Decimal("9.100000000001"),
        "max": Decimal("10.000000000001"),
        "min": Decimal(1),
    }
    assert "median 3.000000 USD" in note(report, "spend per user, of 4 with a known cost")


def test_one_unit_is_its_own_statistics() -> None:
    found = total(unit_cost(calls_table(dear("ann", "0.7")), by="user"))
    assert {found[f"spend_per_unit_{name}_usd"] for name in ("mean", "median", "p95", "max", "min")} == {
        Decimal("0.7")
    }


def test_pricing_modes_stay_apart_even_within_a_unit() -> None:
    """A user of 1 USD of spend, 10 of implied value, 100 of list price: three rows, and no sum of two of them."""
    other = {"subscription": "max_20x", "unknown": "unknown"}
    connection = calls_table(
        dear("ann", "1"),
        *(dear("ann", f"10{'0' * n}", pricing_mode=m, plan_tier=t) for n, (m, t) in enumerate(other.items())),
        call(user_id="ann", pricing_mode="local", plan_tier="local", cost_note="local"),
    )
    report = unit_cost(connection, by="user", unit_budget=5)
    money = ("spend_usd", "implied_api_value_usd", "list_price_usd")
    assert {row["pricing_mode"]: tuple(row[name] for name in money) for row in rows(report)} == {
        "api": (1, None, None),
        "subscription": (None, 10, None),
        "unknown": (None, None, 100),
        "local": (None, None, None),
    }
    assert total(report)["all_under_budget"] is True
    assert total(report, "unknown")["all_under_budget"] is False
    assert total(report, "local")["all_under_budget"] is None
    assert total(report, "local")["calls_without_cost"] == 0
    assert {11, 101, 110, 111}.isdisjoint(value for row in report.rows + report.totals for value in row)


def test_the_dearest_units_are_shown_and_the_rest_is_in_the_totals() -> None:
    connection = calls_table(*(dear(f"u{n}", str(n)) for n in range(1, 31)), dear(None, "0.5"))
    report = unit_cost(connection, by="user", top=2)
    assert [row["user"] for row in rows(report)] == ["u30", "u29", None]
    assert (total(report)["units"], total(report)["spend_usd"]) == (30, Decimal("465.5"))
    assert note(report, "are shown").startswith("2 of 30 units")
    assert len(rows(unit_cost(connection, by="user"))) == 21
    assert len(rows(unit_cost(connection, by="user", top=0))) == 31


def test_short_ids_keep_units_apart() -> None:
    """Eight characters, or as many as tell the shown ones apart."""
    ids = ("aaaaaaaaaa-1", "aaaaaaaaaa-2", "b")
    report = unit_cost(
        calls_table(*(dear(one, "1") for one in ids), dear(None, "1")), by="user", short_ids=True
    )
    assert {row["user"] for row in rows(report)} == {*ids, None}
    long = ("0123456789abcdef", "fedcba9876543210")
    report = unit_cost(calls_table(*(dear(one, "1") for one in long)), by="user", short_ids=True)
    assert {row["user"] for row in rows(report)} == {"01234567", "fedcba98"}


# --- a budget per unit


@pytest.mark.parametrize(
    ("calls", "verdict"),
    [
        ([dear("ann", "0.1"), dear("bob", "0.05")], True),
        ([dear("ann", "0.100000000001"), dear("bob", "0.05")], False),
        ([dear("ann", "0.05"), dear("ann", "0.06")], False),
        ([dear("ann", "0.05"), dear("ann", None, cost_note="unknown_model")], None),
        ([dear("ann", "0.2"), dear("ann", None, cost_note="unknown_model")], False),
        ([dear("ann", "0.2"), dear("bob", None, cost_note="unknown_model")], False),
        ([dear("ann", "0.05"), dear(None, "9")], True),
        ([dear("ann", "0.05", cost_low_usd=Decimal("0.05"), cost_high_usd=Decimal("0.2"))], None),
        ([dear("ann", None, cost_low_usd=Decimal("0.01"), cost_high_usd=Decimal("0.02"))], None),
    ],
)
def test_all_under_budget_is_never_true_where_a_cost_is_unknown(
    calls: list[dict[str, Any]], verdict: bool | None
) -> None:
    report = unit_cost(calls_table(*calls), by="user", unit_budget=0.10)
    assert total(report)["all_under_budget"] is verdict
    assert {True: ": yes", False: ": no", None: ": unknown"}[verdict] in note(report, "every user within")
    assert "all_under_budget" not in total(unit_cost(calls_table(*calls), by="user"))


# --- units that succeeded


def test_a_failure_counts_unless_the_same_agent_succeeded_later() -> None:
    """`good` retried, `other` was only helped by another agent, `again` failed after its success: one of three
    succeeded, and all that the three cost, 1 + 2 + 3 USD, is what a success took."""

    def at(user: str, second: int, agent: str, **columns: Any) -> dict[str, Any]:
        return call(user_id=user, start_time=NOON + second * SECOND, agent_name=agent, **columns)

    def refused(user: str, second: int, agent: str) -> dict[str, Any]:
        return at(user, second, agent, status_code="ERROR", input_tokens=None, cost_usd=Decimal(0))

    report = unit_cost(
        calls_table(
            refused("good", 1, "a"),
            at("good", 2, "a", cost_usd=Decimal(1)),
            refused("other", 1, "a"),
            at("other", 2, "b", cost_usd=Decimal(2)),
            at("again", 1, "a", cost_usd=Decimal(3)),
            refused("again", 2, "a"),
        ),
        by="user",
    )
    assert {row["user"]: row["succeeded"] for row in rows(report)} == {
        "good": True,
        "other": False,
        "again": False,
    }
    assert (total(report)["successful_units"], total(report)["spend_per_successful_unit_usd"]) == (1, 6)


def test_without_a_success_a_success_has_no_cost() -> None:
    found = total(unit_cost(calls_table(failed(user_id="ann", cost_usd=Decimal(1))), by="user"))
    assert (found["successful_units"], found["spend_per_successful_unit_usd"]) == (0, None)


# --- the month


def test_headroom_is_what_the_months_budget_leaves_in_units_of_the_windows_mean() -> None:
    """The window is the 8th to the 10th of March, 10 USD in 3 days for 4 users: 2.50 each. In March 15 USD were spent
    so far, 21 days are left: 15 + 10 times 21 / 3 = 85. Of 100 USD, 85 are left for 34 users."""
    window = Window(dt.datetime(2026, 3, 8, tzinfo=dt.UTC), dt.datetime(2026, 3, 11, tzinfo=dt.UTC))
    connection = calls_table(
        *(dear(f"u{n}", str(n)) for n in range(1, 5)),
        dear("early", "5", start_time=dt.datetime(2026, 3, 1)),
        dear("february", "7", start_time=dt.datetime(2026, 2, 28, 23)),
        dear("late", "11", start_time=dt.datetime(2026, 3, 11)),
        dear("u1", "1000", pricing_mode="subscription", plan_tier="pro"),
    )
    report = unit_cost(connection, window, by="user", budget="100")
    found = total(report)
    assert (found["spend_this_month_usd"], found["projected_spend_this_month_usd"]) == (15, 85)
    assert found["headroom_units"] == 34
    assert "about 34 more units (user)" in note(report, "leaves room")
    assert "if calls of all kinds go on" in note(report, "spend in March 2026")
    assert total(report, "subscription")["headroom_units"] is None
    assert "projected_implied_api_value_this_month_usd" not in found


@pytest.mark.parametrize("days", [31, 10])
def test_what_is_to_come_was_not_silent(days: int) -> None:
    """10 USD were spent until the end of the 10th: 31 at March's end, whether all of March is asked for or what is
    over of it."""
    analyzer = registry.get("unit-cost").bind({"now": dt.datetime(2026, 3, 11, tzinfo=dt.UTC)})
    window = Window(MARCH.start, MARCH.start + dt.timedelta(days=days))
    report = analyzer.run(calls_table(dear("ann", "10")), window, {"by": "user"})
    assert total(report)["projected_spend_this_month_usd"] == 31


def test_a_spent_budget_leaves_nothing() -> None:
    assert total(unit_cost(calls_table(dear("ann", "5")), by="user", budget=4))["headroom_units"] == 0


def test_headroom_is_an_upper_bound_where_costs_are_missing_and_unknown_where_all_are() -> None:
    some = unit_cost(
        calls_table(dear("ann", "2"), dear("bob", None, cost_note="no_price")), by="user", budget=10
    )
    assert "at most 4 more units" in note(some, "leaves room")
    assert "at least 2.000000 USD so far" in note(some, "spend in March")
    none = unit_cost(calls_table(dear("ann", None, cost_note="no_price")), by="user", budget=10)
    assert total(none)["headroom_units"] is None
    assert note(none, "is unknown")
    assert "an unknown amount so far" in note(none, "spend in March")


def test_only_spend_counts_against_a_months_budget() -> None:
    report = unit_cost(
        calls_table(dear("ann", "9", pricing_mode="subscription", plan_tier="pro")), by="user", budget=5
    )
    assert "headroom_units" not in total(report, "subscription")
    assert note(report, "nothing is spent of the budget")


@pytest.mark.parametrize(
    ("zone", "end", "month", "spent"),
    [
        # 23:30 UTC on 28 February is the 1st of March in Berlin.
        ("UTC", dt.datetime(2026, 3, 5, tzinfo=dt.UTC), "March 2026", 1),
        ("Europe/Berlin", dt.datetime(2026, 3, 5, tzinfo=dt.UTC), "March 2026", 3),
        # A window that ends with February is February's, also where that ends an hour before UTC's.
        ("UTC", dt.datetime(2026, 3, 1, tzinfo=dt.UTC), "February 2026", 2),
        ("Europe/Berlin", dt.datetime(2026, 2, 28, 23, tzinfo=dt.UTC), "February 2026", None),
    ],
)
def test_a_month_is_one_of_the_configured_zone(
    zone: str, end: dt.datetime, month: str, spent: int | None
) -> None:
    connection = calls_table(
        dear("ann", "1", start_time=dt.datetime(2026, 3, 1, 0, 30)),
        dear("ann", "2", start_time=dt.datetime(2026, 2, 28, 23, 30)),
        dear("ann", None, start_time=dt.datetime(2026, 2, 28, 22, 30)),
    )
    window = Window(dt.datetime(2026, 2, 20, tzinfo=dt.UTC), end, zone)
    report = unit_cost(connection, window, by="user")
    assert total(report)["spend_this_month_usd"] == spent
    assert note(report, f"spend in {month}")


def test_a_leap_february_has_29_days() -> None:
    """1 USD in the window's one day; the 28th and 29th are left: 3 USD."""
    window = Window(dt.datetime(2028, 2, 27, tzinfo=dt.UTC), dt.datetime(2028, 2, 28, tzinfo=dt.UTC))
    connection = calls_table(dear("ann", "1", start_time=dt.datetime(2028, 2, 27, 12)))
    assert total(unit_cost(connection, window, by="user"))["projected_spend_this_month_usd"] == 3


# --- settings


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({"by": ["user", "agent"]}, "one dimension or one attribute"),
        ({"by": "user,agent"}, "one dimension or one attribute"),
        ({"by": 7}, "one dimension or one attribute"),
        ({"by": ""}, "no key of an attribute"),
        ({"by": 'a"b'}, "no key of an attribute"),
        ({"by": "*"}, "no key of an attribute"),
        ({"success_attr": "=yes"}, "no key of an attribute"),
        ({"success_attr": 1}, "KEY or KEY=VALUE"),
        ({"unit_budget": -1}, "an amount in USD"),
        ({"unit_budget": "cheap"}, "an amount in USD"),
        ({"unit_budget": True}, "an amount in USD"),
        ({"budget": float("nan")}, "an amount in USD"),
        ({"budget": "1e400"}, "an amount in USD"),
        ({"top": -1}, "a whole number from 0"),
        ({"top": 1.5}, "a whole number from 0"),
        ({"short_ids": "yes"}, "true or false"),
        (
            {"bye": "user"},
            "has no setting 'bye'; allowed: by, unit_budget, top, short_ids, success_attr, budget",
        ),
    ],
)
def test_bad_settings_are_refused_with_what_is_allowed(settings: dict[str, Any], allowed: str) -> None:
    with pytest.raises(BadSetting, match=allowed):
        unit_cost(calls_table(), **settings)


def test_every_dimension_of_cost_is_a_unit_and_sessions_are_the_default() -> None:
    """`day` needs the zone, `lead` is configured."""
    connection = calls_table(call(session_id="s", lead="7", cost_usd=Decimal(1)), dimensions=("lead",))
    assert [row["session"] for row in rows(unit_cost(connection))] == ["s"]
    assert [row["lead"] for row in rows(unit_cost(connection, by="lead"))] == ["7"]
    assert [row["day"] for row in rows(unit_cost(connection, by=["day"]))] == [dt.date(2026, 3, 10)]


def test_an_empty_window_says_so() -> None:
    report = unit_cost(calls_table(call(start_time=dt.datetime(2025, 1, 1))), unit_budget=1, budget=1)
    assert (report.rows, report.totals) == ((), ())
    assert report.notes == ("no calls from 2026-03-01 00:00 to 2026-04-01 00:00 (UTC)",)


def test_the_order_of_loading_does_not_matter() -> None:
    some = [dear(name, "1", agent_name=name) for name in ("b", "a", "c")]
    assert unit_cost(calls_table(*some), by="user") == unit_cost(calls_table(*reversed(some)), by="user")
