"""Looks at the rules of alerts in lakes of a test, as the server's child takes them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

from collector.alerts.channels import channels_of
from collector.alerts.delivery import Sent, look, send_new
from collector.alerts.evaluation import Found, evaluate
from collector.config import Config
from collector.store.lake import Lake, attach_sql
from collector.store.lock import writer_lock
from tests.alert_support import SECRET, Hook
from tests.calls_table import call, insert_calls

NOW = dt.datetime(2026, 3, 10, 18, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
ROWS = [
    call(cost_usd=Decimal(6), agent_name="a"),
    call(cost_usd=Decimal(7), agent_name="b", status_code="ERROR"),
]


def config_of(data_dir: Path, rules: dict[str, Any], received: Hook | None = None, **settings: Any) -> Config:
    channels = settings.pop("channels", {})
    if received is not None:
        channels |= {"webhooks": [{"name": "hook", "url": received.url, "secret": SECRET}]}
    if not channels:
        channels = {"file": data_dir.parent / "alerts.jsonl"}
    values = {"data_dir": data_dir, "alerts": {"rules": rules, "channels": channels, **settings}}
    return Config.model_validate(values)


_opened: dict[Path, Lake] = {}


def close_opened() -> None:
    while _opened:
        _opened.popitem()[1].close()


def opened(data_dir: Path, *, read_only: bool = True) -> Lake:
    """Attached anew. The connection is kept, as making one loads the extensions."""
    if data_dir not in _opened:
        _opened[data_dir] = Lake.open(data_dir, read_only=True, threads=1)
    lake = _opened[data_dir]
    lake.connection.execute("USE memory; DETACH lake")
    lake.connection.execute(attach_sql(data_dir, read_only=read_only) + "; USE lake")
    return lake


def run_look(config: Config, now: dt.datetime = NOW) -> tuple[Found, list[Sent]]:
    """One look, as the server's child takes it."""
    lake = opened(config.data_dir)
    found = evaluate(config, lake, now)
    looked = look(config, lake, found, now)
    channels = list(channels_of(config.alerts.channels))
    return found, send_new(lake, channels, looked, now)


def add_calls(data_dir: Path, *calls: dict[str, Any]) -> None:
    lake = opened(data_dir, read_only=False)
    with writer_lock(data_dir):
        lake.connection.begin()
        insert_calls(lake.connection, "lake.calls", calls)
        lake.connection.commit()


def asked(data_dir: Path, statement: str) -> list[tuple[Any, ...]]:
    return opened(data_dir).connection.execute(statement).fetchall()


def states(data_dir: Path) -> list[tuple[Any, ...]]:
    return asked(data_dir, "SELECT rule, state, channel FROM alerts ORDER BY recorded_at, state")
