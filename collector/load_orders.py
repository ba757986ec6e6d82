"""The loader's end of the pipes to its supervisor: JSON lines both ways."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final

import orjson

from collector.spool_files import Position

# The supervisor is gone: nobody is left to tell.
_ORPHANED: Final = 3
_CHUNK: Final = 64 << 10


def lines_of(descriptor: int) -> Iterator[bytes]:
    """Lines as they come. Not through sys.stdin: a thread that waits in its buffer breaks the interpreter's exit."""
    rest = b""
    while chunk := os.read(descriptor, _CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


class Orders:
    """What the supervisor has said so far: up to where the spool is durable, and whether to stop."""

    def __init__(self) -> None:
        self.durable: Position | None = None
        self.stopping = False
        self._changed = threading.Condition()

    def listen(self, lines: Iterator[bytes]) -> None:
        """Follow `lines` for ever, in a thread of its own. Their end ends the process at once: the supervisor
        died, and whoever comes after it must find no loader at work."""
        for line in lines:
            self.heed(orjson.loads(line))
        os._exit(_ORPHANED)

    def heed(self, message: Mapping[str, Any]) -> None:
        """Take one message in; unknown ones are ignored."""
        with self._changed:
            if "durable" in message:
                segment, offset = message["durable"]
                self.durable = (segment, offset)
            self.stopping |= bool(message.get("stop"))
            self._changed.notify_all()

    def stop(self) -> None:
        """As if the supervisor had said so."""
        self.heed({"stop": True})

    def wait_for(self, enough: Callable[[Position], bool], seconds: float | None = None) -> None:
        """Return once the durable position is `enough`, the loader is told to stop, or `seconds` are over."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.stopping or (self.durable is not None and enough(self.durable)), seconds
            )

    def wait_for_stop(self, seconds: float) -> bool:
        """Sleep, but not past the order to stop; whether it was given."""
        with self._changed:
            return self._changed.wait_for(lambda: self.stopping, seconds)


class Reports:
    """Messages to the supervisor; from any thread."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, **message: Any) -> None:
        """One line. A supervisor that is gone ends the process."""
        line = orjson.dumps(message, default=str) + b"\n"
        try:
            with self._lock:
                self._pipe.write(line)
                self._pipe.flush()
        except BrokenPipeError:
            os._exit(_ORPHANED)
