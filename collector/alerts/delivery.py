"""One look at the rules: what is new is raised, and everything raised is sent where it has not arrived yet.

An alert is in the lake before it is sent, and noted there once a channel has taken it. A crash between the two sends
it once more, with the same id and the same bytes. What a channel does not take is tried again at the next looks, for a
day.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from analyzers.alerts import MOST_EVENTS, Event
from analyzers.window import naive_utc, parse_length
from collector.alerts import ledger
from collector.alerts.channels import Channel
from collector.alerts.evaluation import Found
from collector.alerts.ledger import Ledger, Raised, Text, Window
from collector.alerts.message import Message, of_end, of_event
from collector.alerts.undelivered import Undelivered
from collector.config_alerts import AlertRule, AlertsConfig, StandingRule
from collector.log import Log
from collector.store.lake import Lake

if TYPE_CHECKING:
    from collector.config import Config

# One look at a time, whoever looks: in the data directory.
LOCK: Final = "alerts.lock"
# What is more waits for the next look.
MOST_NEW: Final = 20
# Waited before the second attempt and the third.
_PAUSES: Final = (1.0, 4.0)
_LONGEST_PAUSE: Final = 30.0
_KEEP_TRYING: Final = dt.timedelta(days=1)

log = Log("alerts")


class Sent(NamedTuple):
    """What came of one alert on one channel: ``error`` None where it was taken."""

    alert_id: str
    channel: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Judged:
    """An event beside what was told of it last. ``new``: it is to be raised; ``waiting``: it is raised, and a channel
    does not have it yet; ``sent``: every channel has it; ``resting``: its end was told, and it holds again within the
    cool-down."""

    rule: AlertRule
    event: Event
    before: Raised | None
    is_new: bool

    @property
    def standing(self) -> Literal["new", "waiting", "sent", "resting"]:
        if self.is_new or self.before is None:
            return "new"
        if self.before.state == "resolved":
            return "resting"
        return "sent" if self.before.is_done else "waiting"


class Over(NamedTuple):
    """What was raised and does not hold any more, and what was sent of it."""

    before: Raised
    text: Text


class Looked(NamedTuple):
    """What holds beside what was told of it, what of that is over, and what was told last of each key."""

    judged: list[Judged]
    over: list[Over]
    before: dict[str, Raised]


def judge(alerts: AlertsConfig, found: Found, before: Mapping[str, Raised], now: dt.datetime) -> list[Judged]:
    """Each event once, in order."""
    judged: dict[str, Judged] = {}
    for rule, event in found.events:
        last = before.get(event.key)
        is_new = last is None or not (event.once or now < last.raised_at + _cool_down(alerts, rule))
        judged.setdefault(event.key, Judged(rule, event, last, is_new))
    return list(judged.values())


def _ended(
    alerts: AlertsConfig, found: Found, before: Mapping[str, Raised], now: dt.datetime
) -> Iterator[Raised]:
    """Raised, and not found by its rule any more. Where the rule could not be looked at, or found so much that it did
    not tell all, nobody knows; what went on holding was raised again after each cool-down."""
    holding = {event.key for _, event in found.events}
    told = Counter(rule.name for rule, _ in found.events)
    cool_downs = {
        rule.name: _cool_down(alerts, rule)
        for _, _, rule in alerts.rules.by_kind()
        if isinstance(rule, StandingRule) and rule.name not in found.failed and told[rule.name] < MOST_EVENTS
    }
    for key, one in before.items():
        if (
            one.rule not in cool_downs
            or key in holding
            or now >= one.raised_at + _KEEP_TRYING + cool_downs[one.rule]
        ):
            continue
        if one.state == "raised" and one.is_done and "sent" in one.ended.values():
            yield one


def _cool_down(alerts: AlertsConfig, rule: AlertRule) -> dt.timedelta:
    return parse_length(getattr(rule, "cool_down", None) or alerts.cool_down)


def send_new(lake: Lake, channels: Sequence[Channel], looked: Looked, now: dt.datetime) -> list[Sent]:
    """Raise what is new, tell what is over and send all that waits. The caller holds LOCK. Raises what writing the lake
    can raise."""
    new = [one for one in looked.judged if one.is_new]
    if len(new) > MOST_NEW:
        log.warning("more alerts than are sent at once; the rest waits", new=len(new), sent=MOST_NEW)
    waiting = list(_waiting(looked.before.values()))
    told = [
        *(_raise(one, channels, now) for one in new[:MOST_NEW]),
        *(_resolve(one, now) for one in looked.over[:MOST_NEW]),
    ]
    if not told and not waiting:
        return []
    book = Ledger(lake)
    added = book.add_told(told, now) if told else []
    return list(_send_all(book, [*waiting, *added], channels, now))


def _raise(one: Judged, channels: Sequence[Channel], now: dt.datetime) -> tuple[Raised, Window]:
    window = one.event.window
    message = of_event(one.event, now)
    wanted = tuple(
        channel.name for channel in channels if one.rule.channels is None or channel.name in one.rule.channels
    )
    raised = Raised(message.id, one.rule.name, one.event.key, now, wanted, message, now)
    return raised, (naive_utc(window.start), naive_utc(window.end))


def _resolve(one: Over, now: dt.datetime) -> tuple[Raised, Window]:
    """To the channels that have the alert."""
    before, text = one
    message = of_end(text.message, before.raised_at, now)
    wanted = tuple(channel for channel in before.channels if before.ended[channel] == "sent")
    over = Raised(message.id, before.rule, before.key, before.raised_at, wanted, message, now, "resolved")
    return over, text.window


def _waiting(before: Iterable[Raised]) -> Iterator[Raised]:
    for one in before:
        if one.message is not None and not one.is_done:
            yield one


def _send_all(
    book: Ledger, waiting: Sequence[Raised], channels: Sequence[Channel], now: dt.datetime
) -> Iterator[Sent]:
    """Channel by channel, the oldest first; a channel that does not take one is left alone until the next look."""
    known = {channel.name for channel in channels}
    for one in waiting:
        for gone in set(one.channels) - known - set(one.ended):
            book.add_ended(one, gone, "given up")
    for channel in channels:
        mine = [one for one in waiting if channel.name in one.channels and channel.name not in one.ended]
        for one in mine:
            assert one.message is not None  # noqa: S101 - of those that wait
            error = send(channel, one.message)
            yield Sent(one.alert_id, channel.name, error)
            if error is None:
                book.add_ended(one, channel.name, "sent")
            elif now - one.recorded_at > _KEEP_TRYING:
                book.add_ended(one, channel.name, "given up")
            if error is not None:
                log.warning("alert was not taken", channel=channel.name, alert=one.alert_id, reason=error)
                break


def send(channel: Channel, message: Message, pause: Callable[[float], None] = time.sleep) -> str | None:
    """Within three attempts; why not, where it was not taken."""
    for seconds in (*_PAUSES, None):
        try:
            channel.send(message)
        except Undelivered as reason:
            wait = seconds and max(seconds, reason.after_seconds or 0.0)
            if wait is None or not reason.again or wait > _LONGEST_PAUSE:
                return str(reason)
            pause(wait)
        else:
            return None
    return None


def look(config: Config, lake: Lake, found: Found, now: dt.datetime) -> Looked:
    before = ledger.latest(lake.connection)
    ended = list(_ended(config.alerts, found, before, now)) if config.alerts.resolved else []
    texts = ledger.texts(lake.connection, [one.alert_id for one in ended]) if ended else {}
    over = [Over(one, texts[one.alert_id]) for one in ended if one.alert_id in texts]
    return Looked(judge(config.alerts, found, before, now), over, before)
