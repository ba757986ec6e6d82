"""Accounts in the configuration: fees to the last digit, plans as a history, mistakes with their line."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from collector.config import Config, ConfigError, load_config
from semconv.settings import AccountPlan, Fee


def loaded(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "collector.yaml"
    path.write_text(text)
    return load_config(path, {}, {})


HISTORY = """
accounts:
  - name: coding
    match: {provider: anthropic, service: coding-agent}
    plan_tier: pro
    fee_per_month: {amount: 19.90, currency: EUR, fx_to_usd: 1.0842}
    cycle_start_day: 31
    quota_tokens: 40000000
  - {name: coding, plan_tier: max_20x, since: 2026-03-16, fee_per_month: {amount: "200"}}
  - {name: coding-api, match: {provider: anthropic}, plan_tier: api}
  - name: company
    match: {provider: openai}
    plan_tier: enterprise
    usage_billed: true
    fee_per_month: {amount: 0}
"""


def test_fee_quota_and_cycle_belong_to_the_entry_and_change_with_it(tmp_path: Path) -> None:
    """Two accounts of one provider; a history of one of them; amounts are what is written, not a double near it."""
    settings = loaded(tmp_path, HISTORY).semconv_settings()
    assert settings.account_plans == (
        AccountPlan(
            "coding",
            "pro",
            fee_per_month=Fee(Decimal("19.9"), "EUR", Decimal("1.0842")),
            cycle_start_day=31,
            quota_tokens=40_000_000,
        ),
        AccountPlan("coding", "max_20x", dt.date(2026, 3, 16), fee_per_month=Fee(Decimal(200))),
        AccountPlan("coding-api", "api"),
        AccountPlan("company", "enterprise", usage_billed=True, fee_per_month=Fee(Decimal(0))),
    )
    assert [rule.account for rule in settings.account_rules] == ["coding", "coding-api", "company"]


def test_it_survives_json(tmp_path: Path) -> None:
    """The supervisor hands it to its children so."""
    config = loaded(tmp_path, HISTORY)
    assert Config.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        (
            "fee_per_month: {amount: -1}",
            ["yaml:4: accounts[0].fee_per_month.amount: -1", "greater than or equal to 0"],
        ),
        ("fee_per_month: {amount: some}", ["fee_per_month.amount: 'some'", "a number"]),
        ("fee_per_month: {amount: yes}", ["fee_per_month.amount: True", "a number"]),
        ("fee_per_month: {amount: .inf}", ["fee_per_month.amount: inf", "a number"]),
        ("fee_per_month: {amount: 0.1234567890123456}", ["fee_per_month.amount", "at most 15 digits"]),
        ("fee_per_month: 200", ["fee_per_month: 200", "a mapping"]),
        ("fee_per_month: {currency: EUR}", ["fee_per_month.amount: this key is required"]),
        ("fee_per_month: {amount: 1, currency: euro}", ["fee_per_month.currency: 'euro'", "ISO 4217"]),
        ("fee_per_month: {amount: 1, currency: EUR, fx_to_usd: 0}", ["fx_to_usd: 0", "greater than 0"]),
        ("fee_per_month: {amount: 1, fx_to_usd: 1.1}", ["fee_per_month", "another currency than USD"]),
        ("fee_per_month: {amount: 1, fx_to_us: 1.1}", ["fee_per_month.fx_to_us:", "did you mean fx_to_usd?"]),
        ("cycle_start_day: 0", ["cycle_start_day: 0"]),
        ("cycle_start_day: 32", ["cycle_start_day: 32", "less than or equal to 31"]),
        ("quota_tokens: 0", ["quota_tokens: 0", "greater than 0"]),
        ("quota_tokens: 1.5", ["quota_tokens: 1.5", "a whole number"]),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, entry: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"accounts:\n- name: a\n  plan_tier: pro\n  {entry}\n")
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["fee_per_month: {amount: 1}", "quota_tokens: 1"])
def test_a_fee_and_a_quota_need_a_plan(tmp_path: Path, key: str) -> None:
    with pytest.raises(
        ConfigError, match=r"yaml:2: accounts\[0\]: \w+ belongs to a plan and needs plan_tier"
    ):
        loaded(tmp_path, f"accounts:\n- {{name: a, {key}}}\n")
