"""otlp-collector policy: every rule in force, where it comes from, and no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from analyzers import registry
from collector.cli.policy import _NO_RULES, command
from collector.config import Config

TOKEN = "a-secret-token-that-nobody-may-read-0123456789"
CONFIG = f"""\
timezone: Europe/Berlin
retention: {{spans: 30}}
metrics_token: {{token: {TOKEN}-too}}
tokens:
  - {{name: laptop, token: {TOKEN}, billing_account: coding}}
accounts:
  - {{name: coding, plan_tier: max_5x, fee_per_month: {{amount: 100}}}}
dimensions: {{lead: {{attribute: app.lead_id}}}}
schedule:
  - {{analyzer: cost, cron: "0 6 * * *"}}
  - {{analyzer: cost, cron: "0 7 * * *"}}
analyzers: {{unit-cost: {{by: app.job_id}}}}
alerts:
  channels:
    webhooks: [{{name: chat, url: "https://example.com/{TOKEN}", secret: {TOKEN}-0}}]
    email: [{{name: mail, host: localhost, sender: a@b.c, to: [d@e.f], username: u, password: {TOKEN}-1}}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "collector.yaml"
    path.write_text(CONFIG)
    return path


def policy(*arguments: object, **environment: str) -> Result:
    result = CliRunner().invoke(command, [*map(str, arguments)], env=environment)
    assert result.exit_code == 0, result.output
    return result


def rules(*arguments: object, **environment: str) -> dict[str, dict[str, Any]]:
    """By key."""
    found = json.loads(policy(*arguments, "--json", **environment).stdout)
    assert len({rule["key"] for rule in found}) == len(found)
    return {rule["key"]: rule for rule in found}


def test_each_rule_says_where_it_was_set(config: Path) -> None:
    """In the file with its line, by a flag over the file, by the environment, or nowhere."""
    found = rules("--config", config, "--capture-prompts", SPANLEDGER_LIMITS_MAX_SPANS="1000")
    told = {
        key: (found[key]["value"], found[key]["source"])
        for key in ("retention.spans", "capture.prompts", "limits.max_spans", "limits.max_depth")
    }
    assert told == {
        "retention.spans": (30, f"{config}:2"),
        "capture.prompts": (True, "option --capture-prompts"),
        "limits.max_spans": (1000, "environment variable SPANLEDGER_LIMITS_MAX_SPANS"),
        "limits.max_depth": (32, "default"),
    }
    over_the_file = rules("--config", config, "--timezone", "Asia/Tokyo")["timezone"]
    assert (over_the_file["value"], over_the_file["source"]) == ("Asia/Tokyo", "option --timezone")
    assert found["retention.spans"]["meaning"] == "Days that spans are kept, with their calls."


def test_each_entry_of_a_list_is_a_rule_with_its_own_line(config: Path) -> None:
    found = rules("--config", config)
    assert [found[f"schedule[{at}]"]["source"] for at in (0, 1)] == [f"{config}:{line}" for line in (10, 11)]
    assert found["schedule[1]"]["value"] == {"analyzer": "cost", "cron": "0 7 * * *"}
    assert found["accounts[0]"]["value"]["fee_per_month"] == {"amount": "100", "currency": "USD"}
    assert found["dimensions.lead.attribute"]["value"] == "app.lead_id"
    assert found["prices"]["value"] == []


def test_tokens_stand_there_by_name_and_never_themselves(config: Path) -> None:
    found = rules("--config", config)
    assert found["tokens[0]"]["value"] == {"name": "laptop", "billing_account": "coding"}
    assert found["alerts.channels.webhooks[0]"]["value"]["url"] == "https://example.com/****"
    for output in (policy("--config", config), policy("--config", config, "--json")):
        assert "laptop" in output.stdout
        assert TOKEN not in output.stdout


def test_every_key_of_the_configuration_is_a_rule_or_known_to_be_none() -> None:
    """So that what is configured in a later version is not forgotten here."""
    sections = {key.split(".")[0].split("[")[0] for key in rules()}
    assert sections == set(Config.model_fields) - set(_NO_RULES)


def test_the_settings_of_all_analyzers_are_rules_with_their_defaults(config: Path) -> None:
    found = rules("--config", config)
    assert (found["analyzers.cost.by"]["value"], found["analyzers.cost.by"]["source"]) == (
        ["model"],
        "default",
    )
    by = found["analyzers.unit-cost.by"]
    assert (by["value"], by["source"]) == ("app.job_id", f"{config}:12")
    for analyzer in registry.discover().values():
        for setting in analyzer.settings:
            assert found[f"analyzers.{analyzer.name}.{setting.name}"]["meaning"] == setting.help


def test_what_is_not_set_says_what_holds_instead() -> None:
    lines = {line.split()[0]: line for line in policy().stdout.splitlines()[2:]}
    assert "for ever" in lines["retention.spans"]
    assert "min(4 GiB, 20 % of free space)" in lines["spool.max_bytes"]
    assert "none" in lines["redaction.drop"]


def test_a_configuration_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "collector.yaml"
    path.write_text("keep: {spans: some}\n")
    result = CliRunner().invoke(command, ["--config", str(path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
