"""`otlp-analyze alerts`: what is raised, listed, sent and tested by hand."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from analyzers import alerts
from collector.alerts import delivery
from collector.cli.analyze import main
from collector.store.lake import Lake
from tests.alert_support import ERRORS, SECRET, SPEND, Hook, hook, mail_server
from tests.calls_table import call, lake_with_calls


@pytest.fixture
def receiver() -> Iterator[Hook]:
    with hook() as received:
        yield received


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_PAUSES", (0.0, 0.0))


def nothing_recorded(data_dir: Path) -> bool:
    with Lake.open(data_dir, read_only=True, threads=1) as lake:
        return not lake.connection.execute("FROM alerts LIMIT 1").fetchall()


def by_hand(tmp_path: Path, rules: dict[str, Any], channels: dict[str, Any], *arguments: str) -> Result:
    path = tmp_path / "collector.yaml"
    path.write_text(json.dumps({"alerts": {"rules": rules, "channels": channels}}, default=str))
    arguments = ("alerts", *arguments, "--config", str(path), "--data-dir", str(tmp_path / "data"))
    return CliRunner().invoke(main, arguments, prog_name="otlp-analyze")


@pytest.fixture
def today(tmp_path: Path) -> Path:
    moment = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    lake_with_calls(
        tmp_path / "data",
        call(cost_usd=Decimal(6), start_time=moment),
        call(cost_usd=Decimal(6), start_time=moment, pricing_mode="unknown", plan_tier="unknown"),
    )
    return tmp_path


def test_a_listing_sends_and_records_nothing_and_says_what_is_left_out(today: Path) -> None:
    channels = {"file": today / "alerts.jsonl"}
    result = by_hand(today, SPEND | ERRORS, channels)
    assert result.exit_code == 0, result.output
    assert "spend: 6.000000 USD on" in result.output
    assert "note: spend: calls that are no spend, and not counted: 1" in result.output
    assert "note: calls without a declared plan: 1" in result.output
    assert "quiet" in result.output
    assert not (today / "alerts.jsonl").exists()
    assert nothing_recorded(today / "data")


def test_send_does_what_the_server_does_and_the_listing_knows_it(today: Path) -> None:
    channels = {"file": today / "alerts.jsonl"}
    for expected in (["file: taken"], []):
        result = by_hand(today, SPEND, channels, "--send")
        assert (result.exit_code, [line for line in result.output.splitlines() if "taken" in line]) == (
            0,
            expected,
        )
    (listed,) = json.loads(by_hand(today, SPEND, channels, "--json").output)["alerts"]
    assert (listed["state"], listed["channels"]) == ("sent", {"file": "sent"})
    assert listed["evidence"]["spend"]["spend_usd"] == 6
    assert len((today / "alerts.jsonl").read_text().splitlines()) == 1


def test_a_test_message_goes_over_every_channel_and_failures_are_told(today: Path, receiver: Hook) -> None:
    """Guarantee: exit code 1 and the reason where one does not take it; the others get theirs; nothing is recorded."""
    with mail_server() as box:
        channels = {
            "stdout": True,
            "file": today / "missing" / "alerts.jsonl",
            "webhooks": [{"name": "hook", "url": receiver.url, "secret": SECRET}],
            "email": [
                {
                    **{"name": "mail", "host": "127.0.0.1", "port": box.port, "encryption": "none"},
                    **{"sender": "a@example.com", "to": ["b@example.com"]},
                }
            ],
        }
        result = by_hand(today, SPEND, channels, "--test", "--json")
    assert result.exit_code == 1
    told = {one["channel"]: one["error"] for one in json.loads(result.stdout)}
    assert told["file"].endswith("No such file or directory")
    assert {name: told[name] for name in ("stdout", "hook", "mail")} == dict.fromkeys(
        ("stdout", "hook", "mail")
    )
    assert json.loads(receiver.requests[0][1])["type"] == "test"
    assert box.mails[0][1]["Subject"] == "[spanledger] A test: alerts of this Spanledger arrive here"
    assert nothing_recorded(today / "data")


def test_an_empty_configuration_and_a_missing_lake_are_said(tmp_path: Path) -> None:
    result = by_hand(tmp_path, {}, {}, "--test")
    assert (result.exit_code, "no channel to test" in result.output) == (2, True)
    result = by_hand(tmp_path, SPEND, {"stdout": True})
    assert (result.exit_code, "no lake in" in result.output) == (2, True)
    lake_with_calls(tmp_path / "data")
    result = by_hand(tmp_path, {}, {})
    assert (result.exit_code, "no alert rules are configured" in result.output) == (0, True)


def test_a_rule_that_cannot_be_looked_at_is_exit_code_2_after_the_others_are_listed(
    today: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts.ErrorRate, "events", lambda *_: 1 / 0)
    result = by_hand(today, SPEND | ERRORS, {"stdout": True})
    assert result.exit_code == 2
    assert "spend: 6.000000 USD on" in result.output
    assert "Error: rule errors: ZeroDivisionError" in result.output


def test_the_help_is_there_and_the_analyzers_are_as_before() -> None:
    shown = CliRunner().invoke(main, ["alerts", "--help"], prog_name="otlp-analyze")
    assert "otlp-analyze alerts --config collector.yaml --test" in shown.output
    assert "cost" in CliRunner().invoke(main, ["--list"]).output
