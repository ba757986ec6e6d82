"""A real server alerts by itself, across kill -9 and a restart."""

from __future__ import annotations

import datetime as dt
import json
import signal
from decimal import Decimal
from pathlib import Path

from tests.alert_support import hook, is_signed
from tests.calls_table import call, lake_with_calls
from tests.support import running, start_collector, wait_until

SECRET = "a-secret-of-some-length"
RAISED = "SELECT state, channel, alert_id FROM alerts ORDER BY recorded_at"


def test_killed_while_it_sends_a_server_sends_it_after_its_next_start_and_then_never_again(
    tmp_path: Path,
) -> None:
    """Scenario: today's spend is above a limit; the supervisor dies by kill -9 while the webhook has the alert and has
    not answered. Guarantee: its child dies with it; the next server sends the same message once more, and notes it.
    """
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    data_dir = lake_with_calls(tmp_path / "data", call(cost_usd=Decimal(6), start_time=now))
    with hook() as receiver:
        config = json.dumps(
            {
                "alerts": {
                    "every": "1m",
                    "channels": {
                        "stdout": True,
                        "webhooks": [{"name": "hook", "url": receiver.url, "secret": SECRET}],
                    },
                    "rules": {"daily_spend": [{"name": "spend", "above_usd": 5}]},
                }
            }
        )
        first = start_collector(data_dir, config=config)
        receiver.before_answer = first.kill
        try:
            assert wait_until(first.process.poll) == -signal.SIGKILL
        finally:
            first.kill()
        receiver.before_answer = lambda: None
        with running(data_dir, config=config) as second:
            wait_until(lambda: len(second.sql(RAISED)) == 3)
            rows = second.sql(RAISED)
        assert [(row["state"], row["channel"]) for row in rows] == [
            ("raised", None),
            ("sent", "stdout"),
            ("sent", "hook"),
        ]
        assert receiver.ids() == [rows[0]["alert_id"]] * 2
        assert len({body for _, body in receiver.requests}) == 1
        assert all(is_signed(headers, body, SECRET.encode()) for headers, body in receiver.requests)
    printed = [line for line in second.log.read_text().splitlines() if line.startswith('{"type"')]
    assert [json.loads(line)["id"] for line in printed] == [rows[0]["alert_id"]]
