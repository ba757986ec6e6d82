"""The lake's `alerts`: what was raised, before it is sent, and where it has arrived. Rows are only added.

It is in the lake, not beside it, so that `sql` shows it, and backup, erasure and restore take it along. Whoever cannot
write the lake sends nothing: an alert that is sent and not noted would be sent again at every look.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import duckdb

from analyzers.window import naive_utc
from collector.alerts.message import Message
from collector.erasure_log import erased_since
from collector.store.lake import Lake, attach_sql
from collector.store.statements import sql
from collector.store.transaction import Writer

Told = Literal["raised", "resolved"]
State = Literal[Told, "sent", "given up"]

_COLUMNS: Final = (
    *("alert_id", "rule", "event_key", "state", "recorded_at"),
    *("channel", "channels", "window_start", "window_end", "alert"),
)


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert that was raised, or that tells of the end of one (``state``): ``ended`` has how that went, by channel.
    Times are aware: ``raised_at`` of the alert, ``recorded_at`` of this. ``message`` is None where every channel has
    it, or what it told of was erased since."""

    alert_id: str
    rule: str
    key: str
    raised_at: dt.datetime
    channels: tuple[str, ...]
    message: Message | None
    recorded_at: dt.datetime
    state: Told = "raised"
    ended: dict[str, State] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """No channel is waited for."""
        return set(self.channels) <= set(self.ended)


# Naive UTC, as the lake has times.
Window: TypeAlias = tuple[dt.datetime, dt.datetime]


class Text(NamedTuple):
    """Of an alert that was raised: what was sent, and the calls that it is about."""

    message: Message
    window: Window


def latest(connection: duckdb.DuckDBPyConnection) -> dict[str, Raised]:
    """By key of the event, what was told of it last."""
    rows = connection.execute(sql("sql/alerts_latest.sql")).fetchall()
    return {one.key: one for one in map(_raised, rows)}


def _raised(row: Sequence[Any]) -> Raised:
    alert_id, rule, key, raised_at, channels, document, ended, state, recorded_at = row
    message = None if document is None else Message(alert_id, document)
    begun, told = (moment.replace(tzinfo=dt.UTC) for moment in (raised_at, recorded_at))
    return Raised(alert_id, rule, key, begun, tuple(channels), message, told, state, dict(ended or {}))


def texts(connection: duckdb.DuckDBPyConnection, alert_ids: Sequence[str]) -> dict[str, Text]:
    """By id, of those that are not erased."""
    rows = connection.execute(sql("sql/alerts_told.sql"), {"alert_ids": list(alert_ids)}).fetchall()
    return {
        alert_id: Text(Message(alert_id, document), (start, end)) for alert_id, document, start, end in rows
    }


class Ledger:
    """For adding rows. The lake, opened for reading, is attached anew for writing: a second connection would load and
    check the extensions again (0.3 s)."""

    def __init__(self, lake: Lake) -> None:
        lake.connection.execute("USE memory; DETACH lake")
        lake.connection.execute(attach_sql(lake.data_dir, read_only=False))
        self._lake = lake
        self._writer = Writer(lake)

    def add_told(self, told: Sequence[tuple[Raised, Window]], looked_at: dt.datetime) -> list[Raised]:
        """With the calls that they are about, all in one transaction, durable on return; which were added: none if
        something was erased after ``looked_at``, as they may tell of it."""
        with self._writer.transaction():
            if erased_since(self._lake.data_dir, looked_at):
                return []
            for one, window in told:
                document = one.message.body if one.message else None
                self._add(one, one.state, one.recorded_at, None, list(one.channels), *window, document)
        return [one for one, _ in told]

    def add_ended(self, one: Raised, channel: str, state: State) -> None:
        """Durable on return."""
        with self._writer.transaction():
            self._add(one, state, dt.datetime.now(dt.UTC), channel, None, None, None, None)

    def _add(self, one: Raised, state: State, moment: dt.datetime, *rest: object) -> None:
        marks = ", ".join("?" for _ in _COLUMNS)
        self._lake.connection.execute(
            f"INSERT INTO lake.alerts ({', '.join(_COLUMNS)}) VALUES ({marks})",
            [one.alert_id, one.rule, one.key, state, naive_utc(moment), *rest],
        )
