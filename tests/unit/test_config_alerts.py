"""Alerts in the configuration: mistakes with their key, and secrets that no message and no command shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from analyzers.cost import DIMENSIONS
from collector.cli.main import main
from collector.config import Config, ConfigError, load_config
from collector.config_alerts import GROUPINGS
from collector.config_check import check_files
from collector.server import NOT_FOR_CHILDREN

SECRET = "do-not-show-this-secret"
WEBHOOK: dict[str, Any] = {"name": "hook", "url": "https://example.com/T0/key", "secret": SECRET}
EMAIL: dict[str, Any] = {
    **{"name": "mail", "host": "smtp.example.com", "sender": "a@example.com", "to": ["b@example.com"]},
    **{"username": "me", "password": SECRET},
}
SPEND: dict[str, Any] = {"name": "spend", "above_usd": 5}


def loaded(
    tmp_path: Path, rules: dict[str, Any] | None = None, channels: dict[str, Any] | None = None, **more: Any
) -> Config:
    path = tmp_path / "collector.yaml"
    alerts = {"rules": rules or {}, "channels": {"stdout": True} if channels is None else channels, **more}
    path.write_text(json.dumps({"alerts": alerts}))
    return load_config(path, environ={})


def refused(tmp_path: Path, *arguments: Any, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, *arguments, **more)
    assert SECRET not in str(caught.value)
    return str(caught.value).partition(": ")[2]


def test_rules_can_ask_for_each_dimension_that_cost_knows() -> None:
    """The list is kept apart from the analyzer's, as reading a configuration imports no database."""
    assert DIMENSIONS.keys() - {"day"} == GROUPINGS


@pytest.mark.parametrize(
    ("rules", "channels", "message"),
    [
        ({"daily_spend": [SPEND]}, {}, "alerts.channels: alerts with rules need a channel"),
        (
            {"daily_spend": [SPEND, SPEND]},
            None,
            "alerts.rules.daily_spend[1].name: 'spend' is there already; give each rule its own name",
        ),
        (
            {"daily_spend": [SPEND], "error_rate": [{"name": "spend", "above": 0.1}]},
            None,
            "alerts.rules.error_rate[0].name: 'spend' is there already",
        ),
        (
            {"daily_spend": [{**SPEND, "channels": ["hook"]}]},
            None,
            "alerts.rules.daily_spend[0].channels: there is no channel 'hook'; there are: stdout",
        ),
        (
            {"daily_spend": [{**SPEND, "each": "lead"}]},
            None,
            "alerts.rules.daily_spend[0].each: 'lead' is no dimension; allowed: agent, billing_account",
        ),
        (
            {"error_rate": [{"name": "x", "above": 5}]},
            None,
            "alerts.rules.error_rate[0].above: 5 is not allowed",
        ),
        (
            {"error_rate": [{"name": "x", "above": 0.1, "window": "1y"}]},
            None,
            "alerts.rules.error_rate[0].window: '1y' is not allowed: '1y' is not a length of time such as",
        ),
        (
            {"daily_spend": [{**SPEND, "cool_down": "1h"}]},
            None,
            "alerts.rules.daily_spend[0].cool_down: there is no such key",
        ),
        ({"daily_spent": [SPEND]}, None, "alerts.rules.daily_spent: there is no such key; did you mean"),
        (
            {},
            {"webhooks": [WEBHOOK, WEBHOOK]},
            "alerts.channels.webhooks[0].name: 'hook' is there already",
        ),
        (
            {},
            {"webhooks": [{**WEBHOOK, "name": "file"}]},
            "alerts.channels.webhooks[0].name: 'file' is there",
        ),
        ({}, {"webhooks": [{**WEBHOOK, "secret": None}]}, "alerts.channels.webhooks[0]: a webhook's secret"),
        (
            {},
            {"webhooks": [{**WEBHOOK, "secret": "short"}]},
            "alerts.channels.webhooks[0].secret: the value is not allowed: a token is at least 16",
        ),
        (
            {},
            {"webhooks": [{**WEBHOOK, "url": "http://example.com/"}]},
            "alerts.channels.webhooks[0]: url begins with https://, or the webhook says allow_http: true",
        ),
        (
            {},
            {"webhooks": [{**WEBHOOK, "url": f"https://me:{SECRET}@example.com/"}]},
            "alerts.channels.webhooks[0].url: the value is not allowed",
        ),
        ({}, {"webhooks": SECRET}, "alerts.channels.webhooks: the value is not allowed; use a list"),
        (
            {},
            {"email": [{**EMAIL, "encryption": "none"}]},
            "alerts.channels.email[0]: encryption: none is for",
        ),
        (
            {},
            {"email": [{**EMAIL, "password": None}]},
            "alerts.channels.email[0]: username comes with exactly",
        ),
        (
            {},
            {"email": [{**EMAIL, "to": ["a@b.c, d@e.f"]}]},
            "alerts.channels.email[0].to[0]: the value is not allowed: one address",
        ),
        (
            {},
            {"email": [{**EMAIL, "to": ["a@b.c\nBcc: d@e.f"]}]},
            "alerts.channels.email[0].to[0]: ",
        ),
    ],
    ids=range(20),
)
def test_a_mistake_is_one_line_that_names_its_key(
    tmp_path: Path, rules: dict[str, Any], channels: dict[str, Any] | None, message: str
) -> None:
    assert refused(tmp_path, rules, channels).startswith(message)


def test_looking_without_a_pause_is_refused(tmp_path: Path) -> None:
    assert "it must be longer than nothing" in refused(tmp_path, every="0m")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_http_and_plain_smtp_are_for_this_machine(tmp_path: Path, host: str) -> None:
    email = {**EMAIL, "host": host.strip("[]"), "encryption": "none"}
    webhook = {**WEBHOOK, "url": f"http://{host}:8080/"}
    loaded(tmp_path, {}, {"webhooks": [webhook], "email": [email]})
    loaded(tmp_path, {}, {"webhooks": [{**WEBHOOK, "url": "http://example.com/", "allow_http": True}]})


def test_no_command_shows_a_secret_nor_the_path_of_a_webhook(tmp_path: Path) -> None:
    """Guarantee: the address of a chat's webhook is as good as a password, so only its host is shown."""
    loaded(tmp_path, {}, {"webhooks": [WEBHOOK], "email": [EMAIL]})
    for arguments in ((), ("--json",)):
        result = CliRunner().invoke(
            main, ["print-config", "--config", str(tmp_path / "collector.yaml"), *arguments]
        )
        assert result.exit_code == 0, result.output
        assert SECRET not in result.output
        assert "T0/key" not in result.output
        assert "https://example.com/****" in result.output


def test_other_children_do_not_get_the_secrets_and_no_repr_shows_them(tmp_path: Path) -> None:
    config = loaded(tmp_path, {}, {"webhooks": [WEBHOOK], "email": [EMAIL]})
    assert SECRET not in json.dumps(config.model_dump(mode="json", exclude=NOT_FOR_CHILDREN))
    assert SECRET not in repr(config)
    assert "T0/key" not in repr(config)


def test_it_survives_json(tmp_path: Path) -> None:
    """The server hands it to its child so."""
    rules = {
        "budget": [{"name": "b", "events": ["exceeded"], "budgets": ["team"]}],
        "daily_spend": [{**SPEND, "above_usd": 0.1, "each": "agent"}],
        "unit_cost": [{"name": "u", "above_usd": 1, "by": "app.job"}],
        "cache_share": [{"name": "c", "below": 0.3}],
        "error_rate": [{"name": "e", "above": 0.05, "cool_down": "2h"}],
        "anomaly": [{"name": "a"}],
    }
    config = loaded(tmp_path, rules, {"webhooks": [WEBHOOK], "email": [EMAIL]})
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_secrets_come_from_files_and_the_environment(tmp_path: Path) -> None:
    """`validate` and `serve` read the files: what cannot be used is said at the start, not with the first alert."""
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    files = {
        "webhooks": [{"name": "hook", "url": "https://example.com/", "secret_file": str(path)}],
        "email": [{**EMAIL, "password": None, "password_file": str(path)}],
    }
    config = loaded(tmp_path, {}, files)
    check_files(config)
    assert config.alerts.channels.webhooks[0].key() == SECRET
    assert config.alerts.channels.email[0].login() == ("me", SECRET)
    path.write_text("short")
    with pytest.raises(ConfigError, match="secret_file of webhook 'hook': a token is at least 16"):
        check_files(config)
    path.write_text("")
    with pytest.raises(ConfigError, match="password_file of e-mail 'mail': it is empty"):
        config.alerts.channels.email[0].login()


def test_flags_and_variables_reach_the_scalars(tmp_path: Path) -> None:
    config = load_config(None, {"alerts_every": "1m"}, {"SPANLEDGER_ALERTS_CHANNELS_STDOUT": "true"})
    assert (config.alerts.every, config.alerts.channels.names()) == ("1m", ["stdout"])
