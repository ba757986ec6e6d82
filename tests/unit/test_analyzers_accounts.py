"""The figures of the analyzer `accounts`: fees, values and quotas computed by hand from the rows beside them."""

from __future__ import annotations

import datetime as dt
import random
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analyzers import registry
from analyzers.finding import Report
from analyzers.window import Window
from collector.config import load_config
from semconv.settings import AccountPlan, Fee
from tests.calls_table import call, calls_table

MARCH = Window(dt.datetime(2026, 3, 1, tzinfo=dt.UTC), dt.datetime(2026, 4, 1, tzinfo=dt.UTC))
TWENTY = Fee(Decimal(20))


def accounts(connection: duckdb.DuckDBPyConnection, *plans: AccountPlan, window: Window = MARCH) -> Report:
    return registry.get("accounts").bind({"account_plans": plans}).run(connection, window, {})


def rows(report: Report) -> list[dict[str, Any]]:
    return report.as_dict()["rows"]  # type: ignore[return-value]


def totals(report: Report) -> dict[str, dict[str, Any]]:
    return {row["pricing_mode"]: row for row in report.as_dict()["totals"]}  # type: ignore[attr-defined]


def on(
    tier: str, day: int = 10, *, account: str = "coding", month: int = 3, **columns: Any
) -> dict[str, Any]:
    """A call of a subscription at noon of a day of March."""
    start = dt.datetime(2026, month, day, 12)
    own = {"billing_account": account, "plan_tier": tier, "pricing_mode": "subscription", "start_time": start}
    return call(**own | columns)


def between(start: str, end: str, timezone: str = "UTC") -> Window:
    first, last = (dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC) for day in (start, end))
    return Window(first, last, timezone)


def test_a_plan_change_in_the_middle_of_a_month_keeps_history_right() -> None:
    """15 of March's 31 days at 20, 16 at 200; each plan has its own calls, to the last second of the day before."""
    report = accounts(
        calls_table(
            on("pro", 2, cost_usd=Decimal("12.5"), input_tokens=1000, output_tokens=7),
            on("pro", start_time=dt.datetime(2026, 3, 15, 23, 59, 59), cost_usd=Decimal("0.5")),
            on("max_20x", start_time=dt.datetime(2026, 3, 16), cost_usd=Decimal(300)),
        ),
        AccountPlan("coding", "pro", fee_per_month=TWENTY),
        AccountPlan("coding", "max_20x", dt.date(2026, 3, 16), fee_per_month=Fee(Decimal(200))),
    )
    before, after = rows(report)
    assert (before["plan_tier"], before["since"], before["calls"]) == ("pro", None, 2)
    assert (before["input_tokens"], before["output_tokens"]) == (1100, 17)
    assert before["implied_api_value_usd"] == 13
    assert before["fee_usd"] == Decimal("9.677419354839")  # 300 / 31
    assert before["implied_api_value_less_fee_usd"] == Decimal("3.322580645161")
    assert before["utilisation"] == pytest.approx(13 * 31 / 300)
    assert (after["plan_tier"], after["since"], after["calls"]) == ("max_20x", dt.date(2026, 3, 16), 1)
    assert after["fee_usd"] == Decimal("103.225806451613")  # 3200 / 31
    assert (before["cheaper"], after["cheaper"]) == ("plan", "plan")
    total = totals(report)["subscription"]
    assert (total["fee_usd"], total["implied_api_value_usd"]) == (Decimal("112.903225806452"), 313)
    assert any("fees count by time" in note for note in report.notes)


@pytest.mark.parametrize(
    ("start", "end", "timezone", "cycle_day", "fee"),
    [
        ("2026-02-01", "2026-03-01", "UTC", 1, "20"),
        ("2028-02-01", "2028-03-01", "UTC", 1, "20"),
        ("2026-02-01", "2026-02-15", "UTC", 1, "10"),  # 14 of 28 days
        ("2028-02-01", "2028-02-15", "UTC", 1, "9.655172413793"),  # 14 of 29 days
        ("2026-01-01", "2027-01-01", "UTC", 1, "240"),
        ("2026-03-10T00:00", "2026-03-10T06:00", "UTC", 1, "0.161290322581"),  # a quarter of a day of 31
        # The cycles begin on 28 February, 31 March and 30 April: 30 of 31 days, and 1 of 30.
        ("2026-03-01", "2026-04-01", "UTC", 31, "20.021505376344"),
        ("2026-02-28", "2026-03-31", "UTC", 31, "20"),
        ("2028-02-29", "2028-03-31", "UTC", 31, "20"),
        ("2026-03-31", "2026-04-30", "UTC", 31, "20"),
        ("2026-01-15", "2026-02-15", "UTC", 15, "20"),
        ("2025-12-20", "2026-01-20", "UTC", 20, "20"),
        # A month with a change of clocks, from local midnight to local midnight.
        ("2026-02-28T23:00", "2026-03-31T22:00", "Europe/Berlin", 1, "20"),
        ("2026-02-28T23:00", "2026-03-31T22:00", "UTC", 1, "19.975998463902"),
    ],
)
def test_of_a_fee_counts_the_part_of_its_cycle_that_is_in_the_window(
    start: str, end: str, timezone: str, cycle_day: int, fee: str
) -> None:
    """The last: 1 of the 672 hours of February, 742 of the 744 of March."""
    plan = AccountPlan("coding", "pro", fee_per_month=TWENTY, cycle_start_day=cycle_day)
    report = accounts(calls_table(), plan, window=between(start, end, timezone))
    assert rows(report)[0]["fee_usd"] == Decimal(fee)
    whole = Decimal(fee) % 20 == 0
    assert any("fees count by time" in note for note in report.notes) is not whole


def test_a_plan_without_calls_is_worth_nothing_and_says_so() -> None:
    """0 is known here: there was no call. The line that the window is empty is there as well."""
    report = accounts(calls_table(), AccountPlan("idle", "plus", fee_per_month=TWENTY))
    (row,) = rows(report)
    assert (row["calls"], row["input_tokens"], row["implied_api_value_usd"]) == (0, 0, 0)
    assert (row["utilisation"], row["cheaper"], row["implied_api_value_less_fee_usd"]) == (0, "API", -20)
    assert report.notes == ("no calls from 2026-03-01 00:00 to 2026-04-01 00:00 (UTC)",)


def test_without_calls_and_plans_there_is_a_line() -> None:
    report = accounts(calls_table())
    assert (report.rows, report.totals) == ((), ())
    assert report.notes == ("no calls from 2026-03-01 00:00 to 2026-04-01 00:00 (UTC)",)


def test_a_plan_of_another_time_has_no_row() -> None:
    """It ended with the next entry, or has not begun."""
    report = accounts(
        calls_table(),
        AccountPlan("coding", "pro", fee_per_month=TWENTY),
        AccountPlan("coding", "max_5x", dt.date(2026, 3, 1), fee_per_month=TWENTY),
        AccountPlan("coding", "max_20x", dt.date(2026, 4, 1), fee_per_month=TWENTY),
    )
    assert [row["plan_tier"] for row in rows(report)] == ["max_5x"]


def test_a_fee_in_another_currency_needs_a_rate_to_be_compared() -> None:
    """Without one the amount stands in its own currency, and nothing is said about which is cheaper."""
    calls = calls_table(on("pro", cost_usd=Decimal(30)), on("plus", account="chat", cost_usd=Decimal(30)))
    report = accounts(
        calls,
        AccountPlan("coding", "pro", fee_per_month=Fee(Decimal("19.90"), "EUR", Decimal("1.0842"))),
        AccountPlan("chat", "plus", fee_per_month=Fee(Decimal("3000"), "JPY")),
    )
    chat, coding = rows(report)
    assert (coding["fee_amount"], coding["fee_currency"]) == (Decimal("19.9"), "EUR")
    assert coding["fee_usd"] == Decimal("21.57558")
    assert coding["cheaper"] == "plan"
    assert (chat["fee_amount"], chat["fee_currency"], chat["fee_usd"]) == (3000, "JPY", None)
    assert (chat["utilisation"], chat["cheaper"], chat["implied_api_value_less_fee_usd"]) == (
        None,
        None,
        None,
    )
    assert any("fee of chat is in JPY" in note and "fx_to_usd" in note for note in report.notes)
    assert totals(report)["subscription"]["fee_usd"] is None


def test_an_unknown_fee_is_null_and_the_line_that_declares_it_is_valid(tmp_path: Path) -> None:
    """The line is taken out of the note, the amount filled in, and loaded as a configuration."""
    report = accounts(calls_table(on("pro", account='odd "name"', cost_usd=Decimal(30))))
    (row,) = rows(report)
    for unknown in ("fee_usd", "fee_amount", "utilisation", "cheaper", "implied_api_value_less_fee_usd"):
        assert row[unknown] is None
    (line,) = (found[0] for note in report.notes if (found := re.search(r"accounts: \[.*\]", note)))
    (tmp_path / "c.yaml").write_text(line.replace("AMOUNT", "20"))
    (plan,) = load_config(tmp_path / "c.yaml", {}, {}).semconv_settings().account_plans
    assert plan == AccountPlan('odd "name"', "pro", fee_per_month=TWENTY)


def test_two_accounts_of_one_provider_and_a_usage_billed_contract_beside_a_seat_plan() -> None:
    """Both are enterprise: what is billed per use is spend beside its fee, and no value is held against that fee."""
    spend = {"pricing_mode": "api", "plan_tier": "enterprise"}
    report = accounts(
        calls_table(
            on("enterprise", account="seats", provider="anthropic", cost_usd=Decimal(700)),
            call(billing_account="metered", provider="anthropic", cost_usd=Decimal(90), **spend),
            call(billing_account="metered", provider="anthropic", cost_usd=Decimal(9), **spend),
        ),
        AccountPlan("seats", "enterprise", fee_per_month=Fee(Decimal(600))),
        AccountPlan("metered", "enterprise", usage_billed=True, fee_per_month=Fee(Decimal(50))),
    )
    metered, seats = rows(report)
    assert (metered["account"], metered["spend_usd"], metered["fee_usd"]) == ("metered", 99, 50)
    assert (metered["implied_api_value_usd"], metered["utilisation"], metered["cheaper"]) == (
        None,
        None,
        None,
    )
    assert (seats["account"], seats["implied_api_value_usd"], seats["spend_usd"]) == ("seats", 700, None)
    assert (seats["cheaper"], seats["implied_api_value_less_fee_usd"]) == ("plan", 100)
    assert (totals(report)["api"]["spend_usd"], totals(report)["api"]["fee_usd"]) == (99, 50)
    assert (totals(report)["subscription"]["fee_usd"]) == 600


DARK: dict[str, Any] = {"input_tokens": None, "output_tokens": None}
BRACKET: dict[str, Any] = {"cost_usd": Decimal(18), "cost_low_usd": Decimal(15)}


@pytest.mark.parametrize(
    ("calls", "cheaper"),
    [
        ([on("pro", cost_usd=Decimal("20.000000000001"))], "plan"),
        ([on("pro", cost_usd=Decimal(20))], None),
        ([on("pro", cost_usd=Decimal("19.999999999999"))], "API"),
        # The API may have cost more than what is known, never less.
        ([on("pro", cost_usd=Decimal(21)), on("pro", **DARK)], "plan"),
        ([on("pro", cost_usd=Decimal(19)), on("pro", **DARK)], None),
        ([on("pro", **DARK)], None),
        # Nobody bills a call that failed before anything was counted.
        ([on("pro", cost_usd=Decimal(19)), on("pro", status_code="ERROR", **DARK)], "API"),
        # Both ends of a cost that is not certain have to say the same.
        ([on("pro", cost_high_usd=Decimal(21), **BRACKET)], None),
        ([on("pro", cost_high_usd=Decimal(19), **BRACKET)], "API"),
        # An estimate has the ends alone and is in no sum.
        (
            [on("pro", cost_usd=Decimal(19)), on("pro", cost_low_usd=Decimal(5), cost_high_usd=Decimal(6))],
            None,
        ),
        # Calls from before the plan was declared may belong to it.
        (
            [on("pro", cost_usd=Decimal(19)), on("unknown", pricing_mode="unknown", cost_usd=Decimal(9))],
            None,
        ),
    ],
)
def test_which_is_cheaper_is_said_where_the_figures_decide_it(
    calls: list[dict[str, Any]], cheaper: str | None
) -> None:
    """The fee is 20 for the whole of March."""
    report = accounts(calls_table(*calls), AccountPlan("coding", "pro", fee_per_month=TWENTY))
    (row,) = (row for row in rows(report) if row["pricing_mode"] == "subscription")
    assert row["cheaper"] == cheaper


def test_a_value_with_gaps_is_at_least_what_stands_there() -> None:
    report = accounts(
        calls_table(
            on("pro", cost_usd=Decimal(19)),
            on("pro", **DARK),
            on("pro", status_code="ERROR", **DARK),
            on("pro", cost_low_usd=Decimal(1), cost_usd=Decimal(2), cost_high_usd=Decimal(3)),
        ),
        AccountPlan("coding", "pro", fee_per_month=TWENTY),
    )
    (row,) = rows(report)
    assert (row["implied_api_value_usd"], row["calls_without_cost"], row["calls_without_usage"]) == (21, 2, 2)
    at_least, bracket = report.notes
    assert "coding (pro): 2 of 4 calls have no known cost" in at_least
    assert "at least what stands here (1 failed without usage" in at_least
    assert "implied API value (beside the fee): between 20.000000 and 22.000000 USD" in bracket


def test_calls_stored_before_their_plan_was_declared_are_told_with_the_command_that_reads_them_again() -> (
    None
):
    report = accounts(
        calls_table(on("unknown", pricing_mode="unknown", cost_usd=Decimal(9))),
        AccountPlan("coding", "pro", fee_per_month=TWENTY),
    )
    assert [(row["pricing_mode"], row["plan_tier"], row["calls"]) for row in rows(report)] == [
        ("subscription", "pro", 0),
        ("unknown", "unknown", 1),
    ]
    (note,) = (note for note in report.notes if "stored with plan unknown" in note)
    assert "the configuration says pro (subscription)" in note
    assert "otlp-collector renormalize --since 2026-03-01T00:00Z" in note


def test_calls_stored_before_a_contract_was_declared_usage_billed_are_told_with_the_command_that_prices_them() -> (
    None
):
    """Their plan is what it was; spend it becomes only with pricing them again."""
    report = accounts(
        calls_table(on("enterprise", cost_usd=Decimal(9))),
        AccountPlan("coding", "enterprise", usage_billed=True),
    )
    assert [(row["pricing_mode"], row["calls"]) for row in rows(report)] == [("api", 0), ("subscription", 1)]
    (note,) = (note for note in report.notes if "stored with plan enterprise (subscription)" in note)
    assert "the configuration says enterprise (api)" in note
    assert "otlp-collector reprice --since 2026-03-01T00:00Z" in note


QUOTA = AccountPlan("coding", "max_5x", cycle_start_day=10, quota_tokens=1000)


def test_quotas_are_counted_by_cycle_and_not_by_window() -> None:
    """The window crosses from the cycle of 10 February to that of 10 March. 600 tokens were used before the window
    began and 500 in it: the first cycle is at 110 %, the second at 90 %, and 1,400 tokens of the window cross nothing.
    """
    report = accounts(
        calls_table(
            on("max_5x", 9, month=2, input_tokens=5000, output_tokens=0),  # the cycle before
            on("max_5x", 20, month=2, input_tokens=550, output_tokens=50),
            on("max_5x", 5, input_tokens=400, output_tokens=100),
            on("max_5x", 10, start_time=dt.datetime(2026, 3, 10), input_tokens=800, output_tokens=100),
        ),
        QUOTA,
    )
    (row,) = rows(report)
    assert (row["calls"], row["input_tokens"], row["output_tokens"]) == (2, 1200, 200)
    assert (row["quota_tokens"], row["fullest_cycle"]) == (1000, dt.date(2026, 2, 10))
    assert (row["fullest_cycle_tokens"], row["quota_used"]) == (1100, pytest.approx(1.1))
    (finding,) = report.findings
    assert "used 110% of the quota" in finding.title
    assert "cycle from 2026-02-10" in finding.title


def test_a_new_plan_has_a_quota_of_its_own_from_its_first_day() -> None:
    """900 of 1,000 on the old plan, 900 of 1,000 on the new one within the same cycle: neither is crossed."""
    report = accounts(
        calls_table(
            on("max_5x", 12, input_tokens=900, output_tokens=0),
            on("max_20x", 22, input_tokens=900, output_tokens=0),
        ),
        QUOTA,
        AccountPlan("coding", "max_20x", dt.date(2026, 3, 20), cycle_start_day=10, quota_tokens=1000),
    )
    assert [row["quota_used"] for row in rows(report)] == [pytest.approx(0.9), pytest.approx(0.9)]
    assert report.findings == ()


def test_a_quota_with_calls_of_unknown_tokens_is_used_at_least_so_far() -> None:
    report = accounts(
        calls_table(on("max_5x", 12, input_tokens=10, output_tokens=0), on("max_5x", 13, **DARK)), QUOTA
    )
    assert rows(report)[0]["quota_used"] == pytest.approx(0.01)
    assert any("1 calls of the cycle from 2026-03-10" in note for note in report.notes)


def test_calls_from_before_the_first_plan_have_none() -> None:
    """Nobody said what held before: no fee, and the calls stand under what they were stored with."""
    report = accounts(
        calls_table(on("pro", 2, cost_usd=Decimal(3)), on("pro", 20, cost_usd=Decimal(5))),
        AccountPlan("coding", "pro", dt.date(2026, 3, 16), fee_per_month=TWENTY),
    )
    before, after = rows(report)
    assert (before["since"], before["fee_usd"], before["implied_api_value_usd"]) == (None, None, 3)
    assert (after["since"], after["fee_usd"], after["implied_api_value_usd"]) == (
        dt.date(2026, 3, 16),
        Decimal("10.322580645161"),  # 16 of 31 days
        5,
    )


def test_every_call_of_the_window_is_in_one_row_and_the_totals_are_their_sums() -> None:
    """300 calls over ten weeks, of accounts with and without plans: nothing is lost at the borders of cycles."""
    draw = random.Random(4)
    tiers = {
        "api": "api",
        "pro": "subscription",
        "max_20x": "subscription",
        "unknown": "unknown",
        "local": "local",
    }
    made = []
    for _ in range(300):
        tier = draw.choice(list(tiers))
        made.append(
            call(
                billing_account=draw.choice(["a", "b", "c", None]),
                plan_tier=tier,
                pricing_mode=tiers[tier],
                start_time=dt.datetime(2026, 2, 1) + dt.timedelta(minutes=draw.randrange(70 * 24 * 60)),
                cost_usd=draw.choice([None, Decimal(draw.randrange(10**15)).scaleb(-12)]),
                input_tokens=draw.choice([None, draw.randrange(1000)]),
            )
        )
    connection = calls_table(*made)
    report = accounts(
        connection,
        AccountPlan("a", "pro", cycle_start_day=31, quota_tokens=5),
        AccountPlan("a", "max_20x", dt.date(2026, 3, 7), cycle_start_day=7),
        AccountPlan("b", "api", dt.date(2026, 3, 20)),
    )
    wanted = connection.execute(
        "SELECT pricing_mode, count(*), sum(input_tokens), sum(cost_usd) FROM calls"
        " WHERE start_time >= '2026-03-01' AND start_time < '2026-04-01' GROUP BY ALL"
    ).fetchall()
    names = {"api": "spend_usd", "subscription": "implied_api_value_usd", "unknown": "list_price_usd"}
    names["local"] = "local_cost_usd"
    for mode, calls, tokens, cost in wanted:
        total = totals(report)[mode]
        assert (total["calls"], total["input_tokens"], total[names[mode]]) == (calls, tokens, cost)
        of_mode = [row for row in rows(report) if row["pricing_mode"] == mode]
        assert sum(row["calls"] for row in of_mode) == calls
        assert sum(row[names[mode]] or 0 for row in of_mode) == cost
