"""An alert as it is sent: one JSON document, whose id and bytes stay the same however often it is sent."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from analyzers.alerts import Event
from analyzers.window import iso
from collector.cli.render import json_text

_ID_DIGITS: Final = 32
_LONGEST_SUBJECT: Final = 200
_OVER: Final = "so it is also where too few calls came since to tell"


@dataclass(frozen=True, slots=True)
class Message:
    """``body``: the document as JSON, with ``type`` (alert, resolved, test), ``id``, ``timestamp`` and ``data``."""

    id: str
    body: str

    @property
    def subject(self) -> str:
        """One line of at most 200 characters, whatever names its title quotes."""
        title = " ".join(str(self.data()["title"]).split())
        printable = "".join(character for character in title if character.isprintable())
        return f"[spanledger] {printable}"[:_LONGEST_SUBJECT]

    def text(self) -> str:
        """For people: the title, what it rests on, and what qualifies it."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        data = self.data()
        yield data["title"]
        yield ""
        for name, value in (*data.get("about", {}).items(), *data.get("evidence", {}).items()):
            yield f"{name}: {json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value}"
        if window := data.get("window"):
            yield f"calls from {window['start']} to {window['end']}"
        for caveat in data.get("caveats", ()):
            yield f"note: {caveat}"
        if data.get("examples"):
            yield f"calls such as: {', '.join(data['examples'])}"
        if data.get("action"):
            yield f"what to do: {data['action']}"
        yield ""
        # Of what is over: the alert that told of it.
        yield f"alert {data.get('alert_id', self.id)}" + (f" of rule {data['rule']}" if data["rule"] else "")

    def data(self) -> dict[str, Any]:
        # Digits stay as they are.
        data: dict[str, Any] = json.loads(self.body, parse_float=str)["data"]
        return data


def of_event(event: Event, raised_at: dt.datetime) -> Message:
    """``raised_at``: aware, when it was first seen."""
    seen = json.dumps([event.rule, event.key, raised_at.isoformat()])
    return _message(
        "alert", hashlib.sha256(seen.encode()).hexdigest()[:_ID_DIGITS], event.as_dict(), raised_at
    )


def of_end(alert: Message, raised_at: dt.datetime, now: dt.datetime) -> Message:
    """That what an alert told of does not hold any more. Times are aware."""
    data = alert.data()
    ended = {
        **{name: data[name] for name in ("rule", "kind", "about")},
        "title": f"no longer: {data['title']}",
        "alert_id": alert.id,
        "raised_at": iso(raised_at),
        "caveats": [_OVER],
    }
    identifier = hashlib.sha256(json.dumps(["resolved", alert.id]).encode()).hexdigest()[:_ID_DIGITS]
    return _message("resolved", identifier, ended, now)


def test_message(now: dt.datetime) -> Message:
    """What `--test` sends."""
    data = {"title": "A test: alerts of this Spanledger arrive here", "rule": None}
    return _message("test", f"test-{int(now.timestamp())}", data, now)


def _message(kind: str, identifier: str, data: dict[str, Any], moment: dt.datetime) -> Message:
    document = {"type": kind, "id": identifier, "timestamp": iso(moment), "data": data}
    return Message(identifier, json_text(document))
