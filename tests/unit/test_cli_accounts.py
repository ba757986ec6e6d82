"""otlp-analyze accounts over a real lake, with the accounts of a configuration."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from collector.cli.analyze import main
from tests.calls_table import call, lake_with_calls

MARCH = ("--since", "2026-03-01", "--until", "2026-04-01")
CONFIG = """
accounts:
  - name: coding
    match: {provider: anthropic}
    plan_tier: pro
    fee_per_month: {amount: 18.60, currency: EUR, fx_to_usd: 1.25}
    quota_tokens: 100
  - {name: coding, plan_tier: max_20x, since: 2026-03-16, fee_per_month: {amount: 310}}
  - {name: openai, plan_tier: api}
"""
SUBSCRIBED = {"billing_account": "coding", "provider": "anthropic", "pricing_mode": "subscription"}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lake_with_calls(
        tmp_path_factory.mktemp("lake") / "data",
        call(cost_usd=Decimal("7.25")),
        call(plan_tier="pro", cost_usd=Decimal(9), **SUBSCRIBED),
        call(
            start_time=dt.datetime(2026, 3, 16), plan_tier="max_20x", cost_usd=Decimal("159.5"), **SUBSCRIBED
        ),
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "collector.yaml"
    path.write_text(CONFIG)
    return path


def printed(lake: Path, *arguments: str | Path) -> str:
    answer = CliRunner().invoke(main, ["accounts", "--data-dir", str(lake), *map(str, arguments)])
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def test_fees_of_the_configuration_stand_beside_the_value_of_the_calls(lake: Path, config: Path) -> None:
    """18.60 EUR are 23.25 USD, 15 of 31 days of that 11.25; 16 of 31 days of 310 are 160."""
    answer = printed(lake, *MARCH, "--json", "--config", config)
    (report,) = json.loads(answer, parse_float=Decimal)
    openai, pro, largest = report["rows"]
    assert (openai["account"], openai["spend_usd"], openai["fee_usd"]) == ("openai", Decimal("7.25"), None)
    assert (pro["fee_amount"], pro["fee_currency"], pro["fee_usd"]) == (9, "EUR", Decimal("11.25"))
    assert (pro["implied_api_value_usd"], pro["cheaper"], pro["since"]) == (9, "API", None)
    assert (largest["fee_usd"], largest["implied_api_value_usd"], largest["since"]) == (
        160,
        Decimal("159.5"),
        "2026-03-16",
    )
    (total,) = (row for row in report["totals"] if row["pricing_mode"] == "subscription")
    assert (total["fee_usd"], total["implied_api_value_less_fee_usd"]) == (
        Decimal("171.25"),
        Decimal("-2.75"),
    )
    (finding,) = report["findings"]
    assert finding["evidence"] == {"tokens": 110, "quota_tokens": 100}


def test_the_table_lines_up_with_one_kind_of_money_per_part(lake: Path, config: Path) -> None:
    out = printed(lake, *MARCH, "--config", config)
    spend, subscription = out.split("pricing mode ")[1:]
    assert spend.startswith("api\n")
    assert "spend, USD" in spend
    assert "fee" not in spend
    assert "implied API value (beside the fee), USD" in subscription
    assert "spend" not in subscription
    heading, *rows = [line for line in subscription.splitlines() if line.startswith(("account", "coding"))]
    for text in ("pro", "EUR"):
        assert rows[0].index(text) == heading.index({"pro": "plan", "EUR": "currency"}[text])
    assert rows[1].index("max_20x") == heading.index("plan")
    for row, fee in zip(rows, ("11.250000", "160.000000"), strict=True):
        assert row.index(fee) + len(fee) == heading.index("fee, USD") + len("fee, USD")


def test_without_a_configuration_fees_are_unknown_and_the_line_to_write_is_told(lake: Path) -> None:
    (report,) = json.loads(printed(lake, *MARCH, "--json"))
    assert {row["fee_usd"] for row in report["rows"]} == {None}
    assert any("fee_per_month: {amount: AMOUNT" in note for note in report["notes"])


def test_an_empty_window_is_a_line(lake: Path) -> None:
    assert "note: no calls from 2020-01-01" in printed(lake, "--since", "2020-01-01", "--until", "2020-01-02")


def test_accounts_cannot_be_set_but_by_the_configuration(lake: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("analyzers: {accounts: {account_plans: []}}\n")
    answer = CliRunner().invoke(main, ["accounts", "--data-dir", str(lake), "--config", str(path)])
    assert answer.exit_code == 2
    assert "no setting 'account_plans'" in answer.output
