"""Structured logging: one logfmt line per event on stderr.

Log events, never items: nothing here runs per span or per request, and no field ever holds a payload. What
others log through ``logging`` comes out in the same form.
"""

from __future__ import annotations

import datetime as dt
import logging
import sys
import time
import traceback
from types import TracebackType
from typing import Any, Final

# Text of others in a field (an error's message) is cut here.
_LONGEST_VALUE: Final = 1_000
_FRAMES: Final = 5
_REPEAT_SECONDS: Final = 60.0
# What a component's name begins with in ``logging``, and not in the log.
_OURS: Final = "spanledger"


class Log:
    """Logger of one component: ``log.info("segment closed", segment=7)``."""

    def __init__(self, component: str) -> None:
        self._logger = logging.getLogger(f"{_OURS}.{component}")
        self._repeats: dict[tuple[str, str, str], _Repeats] = {}

    def debug(self, event: str, **fields: object) -> None:
        self._logger.debug(event, extra={"fields": fields})

    def info(self, event: str, **fields: object) -> None:
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: object) -> None:
        self._logger.warning(event, extra={"fields": fields})

    def failed(self, event: str, error: BaseException, **fields: object) -> None:
        """An error-level line with the kind, message and last frames of ``error``."""
        self._logger.error(event, extra={"fields": fields}, exc_info=error)

    def failed_on_data(self, event: str, error: BaseException, **fields: object) -> None:
        """An error-level line for what somebody's data led to: the kind and the last frames of ``error``, but
        not its message, which may quote the data. Once a minute per kind and place, as whoever found such data
        can send it a thousand times a second; ``unlogged`` is how many came since the line before."""
        kind, place = type(error).__name__, _places(error.__traceback__)
        repeats = self._repeats.setdefault((event, kind, place), _Repeats())
        if repeats.due(time.monotonic()):
            about = {**fields, "error": kind, "at": place, "unlogged": repeats.take()}
            self._logger.error(event, extra={"fields": about})


class _Repeats:
    """When one kind of line was written last, and how often it was not since."""

    def __init__(self) -> None:
        self._next = 0.0
        self._unlogged = 0

    def due(self, now: float) -> bool:
        if now < self._next:
            self._unlogged += 1
            return False
        self._next = now + _REPEAT_SECONDS
        return True

    def take(self) -> int:
        unlogged, self._unlogged = self._unlogged, 0
        return unlogged


class LogfmtFormatter(logging.Formatter):
    """``ts=… level=… component=… event=… key=value …``; values that need it in double quotes."""

    def format(self, record: logging.LogRecord) -> str:
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        fields: dict[str, object] = {
            "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "component": record.name.removeprefix(f"{_OURS}."),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
            **_error_fields(record.exc_info),
        }
        return " ".join(f"{key}={_value(value)}" for key, value in fields.items())


def configure(level: str) -> None:
    """Send everything from ``level`` (debug, info, warning, error) on to stderr. Once per process.

    Of libraries nothing below warning: gRPC has a debug line for every call.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogfmtFormatter())
    logging.basicConfig(level=max(logging.WARNING, _number(level)), handlers=[handler], force=True)
    logging.getLogger(_OURS).setLevel(_number(level))
    logging.captureWarnings(capture=True)


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _error_fields(exc_info: Any) -> dict[str, object]:
    if not exc_info or exc_info[1] is None:
        return {}
    kind, error, trace = exc_info
    return {"error": f"{kind.__name__}: {error}", "at": _places(trace)}


def _places(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return " > ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames)


def _value(value: object) -> str:
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if len(text) > _LONGEST_VALUE:
        text = text[:_LONGEST_VALUE] + "…"
    if text and all(c.isprintable() and c not in ' "=' for c in text):
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
