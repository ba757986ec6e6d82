"""What was alerted and holds no more: told once, to those who have the alert."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from analyzers import alerts
from collector.alerts import delivery
from collector.alerts.delivery import look
from collector.alerts.message import Message
from tests.alert_looks import HOUR, NOW, ROWS, add_calls, asked, close_opened, config_of, opened, run_look
from tests.alert_support import ERRORS, SPEND, Hook, hook
from tests.calls_table import call, copied_lake


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


def told(receiver: Hook) -> list[tuple[str, str]]:
    documents = [json.loads(body) for _, body in receiver.requests]
    return [(one["type"], one["data"]["title"].partition(" calls")[0]) for one in documents]


def fine(count: int, **columns: Any) -> list[dict[str, Any]]:
    return [call(cost_usd=Decimal("0.01"), **columns) for _ in range(count)]


def test_what_holds_no_more_is_told_once(data_dir: Path, receiver: Hook) -> None:
    """Scenario: one of two calls failed, then 30 did not; after the cool-down 60 fail. Guarantee: one message says
    that it is over, and of which alert; then it is a new alert."""
    config = config_of(data_dir, ERRORS, receiver, cool_down="6h")
    run_look(config)
    add_calls(data_dir, *fine(30))
    for hours in (1, 2, 7):
        run_look(config, NOW + hours * HOUR)
    assert told(receiver) == [("alert", "1 of 2"), ("resolved", "no longer: 1 of 2")]
    alert, over = (json.loads(body) for _, body in receiver.requests)
    assert over["data"]["alert_id"] == alert["id"] != over["id"]
    assert over["data"]["about"] == alert["data"]["about"]
    assert over["data"]["raised_at"] == alert["timestamp"]
    text = Message(over["id"], receiver.requests[1][1].decode()).text()
    assert text.startswith("no longer: 1 of 2 calls failed")
    assert text.endswith(f"alert {alert['id']} of rule errors\n")
    kept = asked(
        data_dir, "SELECT state, window_start FROM alerts WHERE channel IS NULL ORDER BY recorded_at"
    )
    assert [state for state, _ in kept] == ["raised", "resolved"]
    assert kept[0][1] == kept[1][1]
    add_calls(data_dir, *fine(60, status_code="ERROR"))
    run_look(config, NOW + 8 * HOUR)
    assert told(receiver)[2:] == [("alert", "61 of 92")]


def test_what_holds_again_within_the_cool_down_rests(data_dir: Path, receiver: Hook) -> None:
    """Guarantee: in each cool-down one alert and one end of it, however often a figure crosses its limit."""
    config = config_of(data_dir, ERRORS, receiver, cool_down="6h")
    run_look(config)
    add_calls(data_dir, *fine(30))
    run_look(config, NOW + HOUR)
    add_calls(data_dir, *fine(60, status_code="ERROR"))
    found, _ = run_look(config, NOW + 2 * HOUR)
    assert [one.standing for one in look(config, opened(data_dir), found, NOW + 2 * HOUR).judged] == [
        "resting"
    ]
    assert len(receiver.requests) == 2
    run_look(config, NOW + 6 * HOUR)
    assert [kind for kind, _ in told(receiver)] == ["alert", "resolved", "alert"]


def test_an_end_goes_to_the_channels_that_have_the_alert_until_they_take_it(
    data_dir: Path, receiver: Hook, tmp_path: Path
) -> None:
    """Scenario: the webhook gave the alert up; the file has it, and the end finds the file's directory missing once."""
    file = tmp_path / "there" / "alerts.jsonl"
    file.parent.mkdir()
    config = config_of(data_dir, ERRORS, receiver, channels={"file": file}, cool_down="3d")
    receiver.answers = [(401, {})] * 2
    run_look(config)
    run_look(config, NOW + 25 * HOUR)
    add_calls(data_dir, *fine(30))
    file.rename(tmp_path / "alerts.jsonl")
    file.parent.rmdir()
    assert [one.channel for one in run_look(config, NOW + 26 * HOUR)[1] if one.error] == ["file"]
    file.parent.mkdir()
    assert [one.error for one in run_look(config, NOW + 27 * HOUR)[1]] == [None]
    assert [json.loads(line)["type"] for line in file.read_text().splitlines()] == ["resolved"]
    assert len(receiver.requests) == 2


def test_no_end_is_told_of_what_nobody_can_know(
    data_dir: Path, receiver: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: a day's spend, which does not come again; a rule that fails; ends that are switched off; an alert of
    long ago, whose server did not look when it ended."""
    config = config_of(data_dir, SPEND | ERRORS, receiver)
    run_look(config)
    add_calls(data_dir, *fine(30))
    with monkeypatch.context() as broken:
        broken.setattr(alerts.ErrorRate, "events", lambda *_: 1 / 0)
        run_look(config, NOW + HOUR)
    run_look(config_of(data_dir, SPEND | ERRORS, receiver, resolved=False), NOW + HOUR)
    run_look(config, NOW + 48 * HOUR)
    assert [kind for kind, _ in told(receiver)] == ["alert", "alert"]
    run_look(config, NOW + 47 * HOUR)
    assert [kind for kind, _ in told(receiver)] == ["alert", "alert", "resolved"]
