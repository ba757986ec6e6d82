"""Alerts through a real lake: raised once, sent once on each channel, whatever fails or dies in between."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from analyzers import alerts
from collector import erasure_log
from collector.alerts import delivery
from collector.alerts.keeper import COMMAND, AlertKeeper
from collector.config import Config
from collector.telemetry import Telemetry
from tests.alert_looks import HOUR, NOW, ROWS, add_calls, asked, close_opened, config_of, run_look, states
from tests.alert_support import ERRORS, SECRET, SPEND, Hook, hook, is_signed
from tests.calls_table import call, copied_lake, lake_with_calls
from tests.support import until, wait_until


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return copied_lake(tmp_path / "data", *ROWS)


@pytest.fixture
def receiver() -> Iterator[Hook]:
    with hook() as received:
        yield received


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_PAUSES", (0.0, 0.0))


@pytest.fixture(autouse=True)
def close_lakes() -> Iterator[None]:
    yield
    close_opened()


# --- once


def test_an_alert_is_recorded_sent_and_not_sent_again(data_dir: Path, receiver: Hook) -> None:
    """Scenario: the same look again and again. Guarantee: one message; `alerts` says when it was raised and sent."""
    config = config_of(data_dir, SPEND, receiver)
    _, sent = run_look(config)
    assert [one.error for one in sent] == [None]
    ((headers, body),) = receiver.requests
    assert is_signed(headers, body, SECRET.encode())
    assert states(data_dir) == [("spend", "raised", None), ("spend", "sent", "hook")]
    raised = asked(data_dir, "SELECT alert::VARCHAR, alert_id FROM alerts WHERE state = 'raised'")
    assert raised == [(body.decode(), headers["webhook-id"])]
    for hours in (0, 1, 5):
        assert run_look(config, NOW + hours * HOUR)[1] == []
    assert len(receiver.requests) == 1


def test_a_day_is_told_once_and_what_slides_again_after_the_cool_down(data_dir: Path, receiver: Hook) -> None:
    """Scenario: a day's spend and an error rate that both still hold a day later."""
    config = config_of(data_dir, SPEND | ERRORS, receiver, cool_down="6h")
    for hours in (0, 5, 6, 7, 12, 24):
        run_look(config, NOW + hours * HOUR)
    told = [json.loads(body)["data"]["rule"] for _, body in receiver.requests]
    assert told == ["spend", "errors", "errors", "errors", "errors"]
    assert len(set(receiver.ids())) == 5


def test_a_rule_has_a_cool_down_of_its_own(data_dir: Path, receiver: Hook) -> None:
    rule = ERRORS["error_rate"][0] | {"cool_down": "1h"}
    config = config_of(data_dir, {"error_rate": [rule]}, receiver)
    for minutes in (0, 59, 60, 61):
        run_look(config, NOW + dt.timedelta(minutes=minutes))
    assert len(receiver.requests) == 2


def test_each_value_rests_by_itself(data_dir: Path, receiver: Hook) -> None:
    """Scenario: agent c passes the limit an hour after a and b. Guarantee: c alone is told then."""
    rules = {"daily_spend": [{"name": "spend", "above_usd": 5, "each": "agent"}]}
    config = config_of(data_dir, rules, receiver)
    run_look(config)
    add_calls(data_dir, call(cost_usd=Decimal(8), agent_name="c"))
    run_look(config, NOW + HOUR)
    agents = [json.loads(body)["data"]["about"]["agent"] for _, body in receiver.requests]
    assert agents == ["b", "a", "c"]


def test_a_rule_sends_to_its_own_channels(data_dir: Path, receiver: Hook, tmp_path: Path) -> None:
    spend = SPEND["daily_spend"][0] | {"channels": ["file"]}
    file = tmp_path / "alerts.jsonl"
    config = config_of(data_dir, {"daily_spend": [spend]} | ERRORS, receiver, channels={"file": file})
    run_look(config)
    assert [json.loads(line)["data"]["rule"] for line in file.read_text().splitlines()] == [
        "spend",
        "errors",
    ]
    assert [json.loads(body)["data"]["rule"] for _, body in receiver.requests] == ["errors"]


def test_more_than_is_sent_at_once_comes_with_the_next_looks(
    data_dir: Path, receiver: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MOST_NEW", 1)
    rules = {"daily_spend": [{"name": "spend", "above_usd": 5, "each": "agent"}]}
    config = config_of(data_dir, rules, receiver)
    counts = []
    for _ in range(3):
        run_look(config)
        counts.append(len(receiver.requests))
    assert counts == [1, 2, 2]


# --- findings


def test_a_budget_is_told_once_in_each_of_its_periods(data_dir: Path, receiver: Hook) -> None:
    """Scenario: 13 USD on the day of two budgets of 5 and 15 USD, and again the day after. Guarantee: `events` and
    `budgets` choose, and a new day is a new alert.
    """
    rules = {
        "budget": [
            {"name": "gone", "events": ["exceeded"]},
            {"name": "near", "events": ["warning"], "budgets": ["large"]},
        ]
    }
    values = config_of(data_dir, rules, receiver).model_dump(mode="json")
    values["budgets"] = [
        {"name": "small", "usd": 5, "period": "day"},
        {"name": "large", "usd": 15, "period": "day"},
    ]
    config = Config.model_validate(values)
    for hours in (0, 1):
        assert run_look(config, NOW + hours * HOUR)[0].failed == {}
    told = [json.loads(body)["data"] for _, body in receiver.requests]
    assert [(one["rule"], one["kind"], one["about"]["budget"]) for one in told] == [
        ("gone", "budget exceeded", "small"),
        ("near", "budget warning", "large"),
    ]
    assert told[0]["window"]["start"] == "2026-03-10T00:00:00Z"
    add_calls(data_dir, call(cost_usd=Decimal(6), start_time=NOW.replace(day=11, hour=9, tzinfo=None)))
    run_look(config, NOW + 24 * HOUR)
    assert [json.loads(body)["data"]["about"]["period_start"] for _, body in receiver.requests[2:]] == [
        "2026-03-11"
    ]


def test_an_anomaly_is_told_once(tmp_path: Path, receiver: Hook) -> None:
    """Scenario: five weeks of about 10 USD a day, and a day of 500."""
    days = [dt.datetime(2026, 2, 1, 12) + dt.timedelta(days=day) for day in range(37)]
    quiet = [call(cost_usd=Decimal(10 + at % 3), start_time=day) for at, day in enumerate(days)]
    data_dir = lake_with_calls(tmp_path / "data", *quiet, call(cost_usd=Decimal(500)))
    config = config_of(data_dir, {"anomaly": [{"name": "unusual"}]}, receiver)
    for hours in (0, 5, 26):
        assert run_look(config, NOW + hours * HOUR)[0].failed == {}
    told = [json.loads(body)["data"] for _, body in receiver.requests]
    assert ("anomaly day", {"day": "2026-03-10"}) in [
        (one["kind"], {"day": one["about"]["day"]}) for one in told
    ]
    assert len({one["about"]["finding_id"] for one in told}) == len(told)


# --- what fails


def test_what_is_not_taken_is_sent_at_the_next_look_with_the_same_id_and_bytes(
    data_dir: Path, receiver: Hook, tmp_path: Path
) -> None:
    """Scenario: the webhook refuses, the file takes it. Guarantee: at the next look only the webhook gets it."""
    file = tmp_path / "alerts.jsonl"
    config = config_of(data_dir, SPEND, receiver, channels={"file": file})
    receiver.answers = [(401, {})]
    _, sent = run_look(config)
    assert [(one.channel, one.error) for one in sent] == [
        ("file", None),
        ("hook", "answered 401 Unauthorized"),
    ]
    _, sent = run_look(config, NOW + HOUR)
    assert [(one.channel, one.error) for one in sent] == [("hook", None)]
    assert len(file.read_text().splitlines()) == 1
    assert len(set(receiver.ids())) == 1
    assert len({body for _, body in receiver.requests}) == 1


def test_after_a_day_it_is_given_up(data_dir: Path) -> None:
    config = config_of(data_dir, SPEND, Hook(port=1))
    for hours in (0, 23, 25, 26):
        run_look(config, NOW + hours * HOUR)
    assert [state for _, state, _ in states(data_dir)] == ["raised", "given up"]


def test_a_channel_that_is_gone_from_the_configuration_is_waited_for_no_more(
    data_dir: Path, receiver: Hook
) -> None:
    run_look(config_of(data_dir, SPEND, Hook(port=1)))
    elsewhere = config_of(data_dir, SPEND)
    assert run_look(elsewhere, NOW + HOUR)[1] == []
    assert states(data_dir)[-1] == ("spend", "given up", "hook")


def test_a_rule_that_cannot_be_looked_at_leaves_the_others_alone(data_dir: Path, receiver: Hook) -> None:
    """Scenario: a dimension that is configured, but that the lake does not have yet."""
    rules = {"daily_spend": [{"name": "lead", "above_usd": 1, "each": "lead"}, *SPEND["daily_spend"]]}
    values = config_of(data_dir, SPEND, receiver).model_dump(mode="json")
    values["alerts"]["rules"] = rules
    values["dimensions"] = {"lead": {"attribute": "app.lead"}}
    found, sent = run_look(Config.model_validate(values))
    assert "no dimension 'lead'" in found.failed["lead"]
    assert len(sent) == 1


def test_a_bug_of_one_rule_is_that_rules_alone(
    data_dir: Path, receiver: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts.DailySpend, "events", lambda *_: 1 / 0)
    found, sent = run_look(config_of(data_dir, SPEND | ERRORS, receiver))
    assert found.failed == {"spend": "ZeroDivisionError: division by zero"}
    assert [json.loads(body)["data"]["rule"] for _, body in receiver.requests] == ["errors"]
    assert [one.error for one in sent] == [None]


def test_what_was_erased_meanwhile_is_not_told(data_dir: Path, receiver: Hook) -> None:
    """Scenario: a user is erased between the look and the sending. Guarantee: nothing of it is recorded or sent."""
    config = config_of(data_dir, SPEND, receiver)
    erasure_log.note(data_dir, "begun", "user", "hmac:0")
    run_look(config)
    assert (receiver.requests, states(data_dir)) == ([], [])


def child(config: Config) -> subprocess.Popen[bytes]:
    process = subprocess.Popen((*COMMAND, "1"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(orjson.dumps(config.model_dump(mode="json")) + b"\n")
    process.stdin.flush()
    return process


def test_killed_between_sending_and_recording_it_is_sent_again_with_the_same_id(
    tmp_path: Path, receiver: Hook
) -> None:
    """Scenario: kill -9 while the receiver has the message and has not answered yet, then a restart. Guarantee: it
    comes once more, the same to the byte, so that the receiver can drop it; after that never again.
    """
    today = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    data_dir = lake_with_calls(tmp_path / "data", call(cost_usd=Decimal(6), start_time=today))
    config = config_of(data_dir, SPEND, receiver)
    with child(config) as first:
        receiver.before_answer = first.kill
        assert first.wait(30) == -signal.SIGKILL
    assert states(data_dir) == [("spend", "raised", None)]
    receiver.before_answer = lambda: None
    with child(config) as again:
        wait_until(lambda: again.poll() is not None, 30)
        assert again.returncode == 0
    run_look(config, dt.datetime.now(dt.UTC))
    assert len(receiver.requests) == 2
    assert len(set(receiver.ids())) == 1
    assert len({body for _, body in receiver.requests}) == 1
    assert states(data_dir) == [("spend", "raised", None), ("spend", "sent", "hook")]


# --- the server's side


def test_the_keeper_looks_again_and_again_and_only_where_there_are_rules(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    code = f"import sys; sys.stdin.readline(); open({str(marks)!r}, 'a').write('x')"
    command = [sys.executable, "-c", code]

    async def scenario(config: Config, seconds: float) -> None:
        keeper = AlertKeeper(config, Telemetry(), command=command, first_look_seconds=0)
        keeper._every = 0.05
        keeper.start()
        async with asyncio.timeout(30):
            if seconds:
                await asyncio.sleep(seconds)
            else:
                await until(lambda: marks.exists() and len(marks.read_text()) >= 2)
        await keeper.stop()

    asyncio.run(scenario(Config(data_dir=tmp_path), 0.3))
    assert not marks.exists()
    asyncio.run(scenario(config_of(tmp_path, SPEND), 0.0))


def test_a_look_that_fails_is_logged_and_another_follows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        keeper = AlertKeeper(
            config_of(tmp_path, SPEND),
            Telemetry(),
            command=[sys.executable, "-c", "raise SystemExit(3)"],
            first_look_seconds=0,
        )
        keeper._every = 0.01
        keeper.start()
        async with asyncio.timeout(30):
            await until(lambda: caplog.text.count("a look for alerts failed") >= 2)
        await keeper.stop()

    asyncio.run(scenario())


def test_what_a_look_came_to_is_counted(tmp_path: Path, receiver: Hook) -> None:
    """Scenario: two alerts of which the webhook refuses one, and a rule of a dimension that the lake does not have yet.
    Guarantee: the server's metrics tell all of it, and when it was."""
    today = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    data_dir = lake_with_calls(tmp_path / "data", call(cost_usd=Decimal(6), start_time=today))
    lead = {"name": "lead", "above_usd": 1, "each": "lead"}
    values = config_of(data_dir, SPEND, receiver, channels={"file": tmp_path / "a.jsonl"}).model_dump(
        mode="json"
    )
    values["alerts"]["rules"] = {"daily_spend": [lead, *SPEND["daily_spend"]]}
    values["dimensions"] = {"lead": {"attribute": "app.lead"}}
    receiver.answers = [(401, {})]
    telemetry = Telemetry()
    keeper = AlertKeeper(Config.model_validate(values), telemetry)
    before = time.time()
    assert asyncio.run(keeper._look()) == "ok"
    assert keeper.rules_failed == 1
    assert keeper.looked_at is not None and before <= keeper.looked_at <= time.time()
    assert {
        'spanledger_alert_messages_total{channel="file",outcome="taken"} 1.0',
        'spanledger_alert_messages_total{channel="webhook",outcome="not_taken"} 1.0',
        'spanledger_alert_messages_total{channel="webhook",outcome="taken"} 0.0',
    } <= set(telemetry.text().decode().splitlines())
