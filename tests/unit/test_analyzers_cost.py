"""The figures of the analyzer `cost`: every expected number is computed by hand from the rows beside it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from analyzers import registry
from analyzers.finding import Report
from analyzers.registry import BadSetting
from analyzers.window import Window, parse_moment
from tests.calls_table import call, calls_table

MARCH = Window(dt.datetime(2026, 3, 1, tzinfo=dt.UTC), dt.datetime(2026, 4, 1, tzinfo=dt.UTC))


def cost(connection: duckdb.DuckDBPyConnection, window: Window = MARCH, **settings: Any) -> Report:
    return registry.get("cost").run(connection, window, settings)


def rows(report: Report) -> list[dict[str, Any]]:
    return report.as_dict()["rows"]


def totals(report: Report) -> dict[str, dict[str, Any]]:
    """By pricing mode; fails where a mode has two totals."""
    found = report.as_dict()["totals"]
    assert len({row["pricing_mode"] for row in found}) == len(found)
    return {row["pricing_mode"]: row for row in found}


def test_sums_of_tokens_and_money_are_exact_and_grouped_by_the_answering_model():
    """The model is the one that answered, else the one asked for; a millionth of a millionth is not lost."""
    report = cost(
        calls_table(
            call(
                request_model="gpt-4o",
                response_model="gpt-4o-2024-08-06",
                input_tokens=1000,
                cache_read_tokens=600,
                cache_write_tokens=50,
                output_tokens=200,
                reasoning_tokens=120,
                cost_usd=Decimal("0.100000000001"),
            ),
            call(
                request_model="gpt-4o-2024-08-06",
                input_tokens=500,
                cache_read_tokens=0,
                output_tokens=100,
                cost_usd=Decimal("0.200000000002"),
            ),
            call(request_model="o3", input_tokens=7, output_tokens=3, cost_usd=Decimal("12345678901.5")),
        ),
        by="model",
    )
    dearest, second = rows(report)
    assert (dearest["model"], dearest["spend_usd"]) == ("o3", Decimal("12345678901.5"))
    assert second["model"] == "gpt-4o-2024-08-06"
    assert second["calls"] == 2
    assert second["spend_usd"] == Decimal("0.300000000003")
    assert (second["input_tokens"], second["output_tokens"]) == (1500, 300)
    assert (second["cache_read_tokens"], second["cache_write_tokens"]) == (600, 50)
    assert second["reasoning_tokens"] == 120
    assert second["cache_share"] == pytest.approx(600 / 1500)
    total = totals(report)["api"]
    assert total["model"] is None
    assert (total["calls"], total["input_tokens"]) == (3, 1507)
    assert total["spend_usd"] == Decimal("12345678901.800000000003")


def test_money_of_two_pricing_modes_is_never_in_one_figure():
    """One model in all four modes: four rows, each amount under the one name that its mode allows."""
    report = cost(
        calls_table(
            call(cost_usd=Decimal(1)),
            call(pricing_mode="subscription", plan_tier="max_20x", cost_usd=Decimal(10)),
            call(pricing_mode="unknown", plan_tier="unknown", cost_usd=Decimal(100)),
            call(pricing_mode="local", plan_tier="local", cost_usd=Decimal(1000)),
        )
    )
    money = ("spend_usd", "implied_api_value_usd", "list_price_usd", "local_cost_usd")
    expected = {
        "api": (1, None, None, None),
        "subscription": (None, 10, None, None),
        "unknown": (None, None, 100, None),
        "local": (None, None, None, 1000),
    }
    assert {row["pricing_mode"]: tuple(row[name] for name in money) for row in rows(report)} == expected
    assert {mode: tuple(row[name] for name in money) for mode, row in totals(report).items()} == expected
    labels = {column.name: column.label for column in report.columns}
    assert "list price, plan not declared" in labels["list_price_usd"]
    for forbidden in (11, 101, 110, 111, 1111):
        assert Decimal(forbidden) not in {value for row in report.rows + report.totals for value in row}


def test_unknown_counts_and_costs_stay_unknown_and_are_counted():
    """NULL is not 0: a group without a known cost has none, and the columns say how much is missing."""
    report = cost(
        calls_table(
            call(request_model="dark", input_tokens=None, output_tokens=None, cost_note="no_tokens"),
            call(request_model="half", input_tokens=40, output_tokens=None),
            call(request_model="half", input_tokens=2, output_tokens=1, cost_usd=Decimal("0.5")),
            call(request_model="embed", role="embeddings", output_tokens=None, cost_usd=Decimal(0)),
        )
    )
    by_model = {row["model"]: row for row in rows(report)}
    dark, half, embed = by_model["dark"], by_model["half"], by_model["embed"]
    assert (dark["spend_usd"], dark["input_tokens"], dark["cache_share"]) == (None, None, None)
    assert (dark["calls_without_usage"], dark["calls_without_cost"]) == (1, 1)
    assert (half["spend_usd"], half["input_tokens"], half["output_tokens"]) == (Decimal("0.5"), 42, 1)
    assert (half["calls_without_usage"], half["calls_without_cost"]) == (1, 1)
    assert (embed["spend_usd"], embed["calls_without_usage"]) == (Decimal(0), 0)
    assert any("2 of 4 calls have no known cost" in note and "1 no_tokens" in note for note in report.notes)
    assert any("2 of 4 calls did not report all their tokens" in note for note in report.notes)


def test_an_estimate_is_told_apart_and_is_in_no_sum():
    """An embedding without tokens has the two ends of an estimate alone: neither sum nor bracket know of it."""
    report = cost(
        calls_table(
            call(cost_usd=Decimal(5), cost_low_usd=Decimal(5), cost_high_usd=Decimal(5)),
            call(
                role="embeddings",
                input_tokens=None,
                output_tokens=None,
                cost_low_usd=Decimal("0.25"),
                cost_high_usd=Decimal("0.75"),
                cost_note="estimated",
            ),
        )
    )
    assert totals(report)["api"]["spend_usd"] == 5
    (note,) = (note for note in report.notes if "between" in note)
    assert note.startswith("spend: 1 calls sent no tokens")
    assert "between 0.250000 and 0.750000 USD" in note


def test_local_calls_miss_no_cost():
    """A local call has no cost by design; that is not a gap to report, also not beside one that is."""
    local = call(pricing_mode="local", plan_tier="local", cost_note="local")
    report = cost(calls_table(local))
    assert rows(report)[0]["calls_without_cost"] == 0
    assert not any("no known cost" in note for note in report.notes)
    (note,) = (note for note in cost(calls_table(local, call(cost_note="no_price"))).notes if "cost" in note)
    assert note.endswith(": 1 no_price")


def test_latency_is_of_successful_calls_and_errors_are_of_all():
    """Of 1, 2, 3, 4, 5 s: median 3 s; 95th percentile 0.8 of the way from 4 s to 5 s."""
    successes = [call(duration_ns=seconds * 1_000_000_000) for seconds in (4, 1, 5, 3, 2)]
    failures = [call(duration_ns=60_000_000_000, status_code="ERROR") for _ in range(3)]
    row = rows(cost(calls_table(*successes, *failures, call(duration_ns=None))))[0]
    assert row["latency_p50_ms"] == pytest.approx(3000)
    assert row["latency_p95_ms"] == pytest.approx(4800)
    assert row["error_rate"] == pytest.approx(3 / 9)


def test_a_group_of_failures_has_no_latency():
    failed = call(status_code="ERROR", input_tokens=None, output_tokens=None)
    report = cost(calls_table(failed))
    row = rows(report)[0]
    assert (row["latency_p50_ms"], row["error_rate"]) == (None, 1)
    assert any("1 failed without usage" in note for note in report.notes)


def test_percentiles_of_a_total_come_from_the_calls_not_from_the_groups():
    """Groups of 1 s and of nine of 3 s: the median of all ten is 3 s, that of the two groups would be 2 s."""
    quick = call(request_model="a", duration_ns=1_000_000_000)
    slow = [call(request_model="b", duration_ns=3_000_000_000) for _ in range(9)]
    assert totals(cost(calls_table(quick, *slow)))["api"]["latency_p50_ms"] == pytest.approx(3000)


def test_days_are_days_of_the_configured_zone():
    """23:30 UTC is already tomorrow in Berlin, in winter (+1) and, at 22:30, in summer (+2)."""
    connection = calls_table(
        call(start_time=dt.datetime(2026, 1, 31, 23, 30)),
        call(start_time=dt.datetime(2026, 1, 31, 22, 30)),
        call(start_time=dt.datetime(2026, 6, 30, 22, 30)),
    )
    year = (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2027, 1, 1, tzinfo=dt.UTC))
    berlin = rows(cost(connection, Window(*year, "Europe/Berlin"), by="day"))
    assert [(row["day"], row["calls"]) for row in berlin] == [
        (dt.date(2026, 1, 31), 1),
        (dt.date(2026, 2, 1), 1),
        (dt.date(2026, 7, 1), 1),
    ]
    utc = rows(cost(connection, Window(*year), by="day"))
    assert [(row["day"], row["calls"]) for row in utc] == [
        (dt.date(2026, 1, 31), 2),
        (dt.date(2026, 6, 30), 1),
    ]


def test_the_session_zone_of_the_connection_does_not_move_days():
    connection = calls_table(call(start_time=dt.datetime(2026, 3, 10, 23, 30)))
    connection.execute("SET TimeZone = 'America/Los_Angeles'")
    assert [row["day"] for row in rows(cost(connection, by="day"))] == [dt.date(2026, 3, 10)]


def test_the_window_takes_its_start_and_leaves_its_end():
    edges = [MARCH.start, MARCH.end, MARCH.start - dt.timedelta(microseconds=1)]
    connection = calls_table(*(call(start_time=edge.replace(tzinfo=None)) for edge in edges))
    assert [row["calls"] for row in rows(cost(connection))] == [1]
    inside = Window(MARCH.start - dt.timedelta(days=1), MARCH.end + dt.timedelta(days=1))
    assert [row["calls"] for row in rows(cost(connection, inside))] == [3]


@pytest.mark.parametrize(
    ("dimension", "column"),
    [
        ("provider", "provider"),
        ("service", "service_name"),
        ("environment", "deployment_environment"),
        ("agent", "agent_name"),
        ("session", "session_id"),
        ("user", "user_id"),
        ("billing_account", "billing_account"),
        ("plan_tier", "plan_tier"),
        ("lead", "lead"),
    ],
)
def test_every_dimension_groups_by_its_column(dimension: str, column: str):
    """Two calls of x and one of y, where `lead` is a configured dimension."""
    connection = calls_table(
        call(**{column: "x"}), call(**{column: "x"}), call(**{column: "y"}), dimensions=("lead",)
    )
    report = cost(connection, by=dimension)
    assert [(row[dimension], row["calls"]) for row in rows(report)] == [("x", 2), ("y", 1)]
    assert report.columns[0].name == dimension


@pytest.mark.parametrize("by", ["day,model", ["day", "model"], ["day, model", "day"], ("day", "model")])
def test_several_dimensions_can_be_written_in_every_way(by: Any):
    """Days run forward, within a day the dearest first; a group without a name is a group."""
    second = dt.datetime(2026, 3, 11, 12, 0)
    connection = calls_table(
        call(start_time=second, cost_usd=Decimal(9)),
        call(request_model="cheap", cost_usd=Decimal(1)),
        call(request_model="dear", cost_usd=Decimal(2)),
        call(request_model=None, cost_usd=None),
    )
    found = [(row["day"].day, row["model"], row["spend_usd"]) for row in rows(cost(connection, by=by))]
    assert found == [(10, "dear", 2), (10, "cheap", 1), (10, None, None), (11, "gpt-4o", 9)]


def test_an_unknown_dimension_is_refused_with_those_there_are():
    connection = calls_table(dimensions=("lead",))
    with pytest.raises(BadSetting, match=r"'colour'; allowed: agent, billing_account, day, .*lead, model"):
        cost(connection, by="colour")
    with pytest.raises(BadSetting, match="`by` is a list of texts"):
        cost(connection, by=7)


def test_a_column_that_is_no_dimension_cannot_be_grouped_by():
    """Neither other columns of calls nor SQL get through."""
    for name in ("call_id", "1; DROP TABLE calls", '"model"'):
        with pytest.raises(BadSetting):
            cost(calls_table(), by=name)


def test_an_empty_window_says_so():
    report = cost(calls_table(call(start_time=dt.datetime(2025, 1, 1))))
    assert (report.rows, report.totals) == ((), ())
    assert report.notes == ("no calls from 2026-03-01 00:00 to 2026-04-01 00:00 (UTC)",)


def test_undeclared_plans_show_the_line_that_declares_them():
    """Accounts that are known are named, most calls first; calls without one ask for a default."""
    undeclared = {"pricing_mode": "unknown", "plan_tier": "unknown"}
    named = [call(billing_account="acme: 1", **undeclared), call(billing_account="anthropic", **undeclared)]
    (note,) = cost(calls_table(call(), *named, call(billing_account="anthropic", **undeclared))).notes[:1]
    assert note.startswith("calls without a declared plan: 3; their list price is not counted as spend.")
    assert 'accounts: [{name: "anthropic", plan_tier: api}, {name: "acme: 1", plan_tier: api}]' in note
    (note,) = cost(calls_table(call(billing_account=None, **undeclared))).notes[:1]
    assert note.endswith("default_plan_tier: api")
    assert not any("a declared plan" in note for note in cost(calls_table(call())).notes)


def test_undeclared_plans_show_the_command_that_gives_them_to_stored_calls():
    """It begins with the window's start, which the command reads back as that very moment."""
    zone = "America/St_Johns"
    window = Window(dt.datetime(2026, 3, 1, 3, 30, tzinfo=dt.UTC), MARCH.end, zone)
    notes = cost(calls_table(call(pricing_mode="unknown", plan_tier="unknown")), window).notes
    (told,) = (
        note.partition("--since ")[2] for note in notes if "otlp-collector renormalize --since" in note
    )
    assert parse_moment(told, MARCH.end, zone) == window.start


def test_a_sum_that_can_be_read_in_two_ways_names_both_ends():
    """An ambiguous call of 2 to 3 USD beside a plain one of 1 USD: 3 to 4."""
    ambiguous = call(cost_usd=Decimal(2), cost_low_usd=Decimal(2), cost_high_usd=Decimal(3))
    notes = cost(calls_table(call(cost_usd=Decimal(1)), ambiguous)).notes
    assert any(note.startswith("spend: between 3.000000 and 4.000000 USD") for note in notes)
    assert not any("between" in note for note in cost(calls_table(call(cost_usd=Decimal(1)))).notes)


def test_calls_silent_about_their_cache_make_the_share_a_lower_bound():
    connection = calls_table(call(input_tokens=100, cache_read_tokens=60), call(input_tokens=100))
    report = cost(connection)
    assert rows(report)[0]["cache_share"] == pytest.approx(0.3)
    assert any("1 of 2 calls do not mention" in note and "lower bounds" in note for note in report.notes)


def test_cache_reads_of_a_call_without_input_do_not_raise_the_share():
    known, torn = call(input_tokens=100, cache_read_tokens=50), call(input_tokens=None, cache_read_tokens=900)
    row = rows(cost(calls_table(known, torn)))[0]
    assert (row["cache_share"], row["cache_read_tokens"]) == (pytest.approx(0.5), 950)


def test_possible_duplicates_are_counted_and_said():
    report = cost(calls_table(call(), call(possible_duplicate=True)))
    assert rows(report)[0]["calls"] == 2
    assert any("1 of 2 calls may be second reports" in note for note in report.notes)


def test_the_order_of_loading_does_not_matter():
    """Equal costs and calls: still one order."""
    some = [call(request_model=name, provider=name) for name in ("b", "a", "c")]
    assert cost(calls_table(*some)) == cost(calls_table(*reversed(some)))
