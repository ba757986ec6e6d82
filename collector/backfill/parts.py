"""What the readers of the formats hand over, and how records become requests of a small size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from semconv.settings import Encoding, Signal

# No single record is larger; the bound only stops a broken file from filling the memory.
RECORD_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """Where the readers cut, in bytes."""

    # A request put together from parts is closed here: smaller ones cost more time a span, larger ones
    # memory.
    request: int = 2 << 20
    # A resource or message up to this size is taken whole; a larger one is split into its records.
    whole: int = 4 << 20
    # A line up to this size is a request as it stands: what a live request in JSON may have at most.
    line: int = 16 << 20
    # What is looked at to tell the format, if it has a line break; else as much as a line may have.
    head: int = 64 << 10


DEFAULT_SIZES: Final = Sizes()
# Every record by itself: to find the one that spoils a request.
ONE_BY_ONE: Final = Sizes(request=1, whole=0)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One small OTLP request cut out of the input; ``where`` is where it began: "line 3", "byte 1,024"."""

    signal: Signal
    encoding: Encoding
    body: bytes
    where: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A stretch of the input that could not be read as OTLP."""

    where: str
    reason: str


class Malformed(ValueError):  # noqa: N818 - reads as what it says, and never leaves this package
    """The bytes at hand are not what the format asks for; reading cannot go on from here."""


class TooLarge(Exception):  # noqa: N818 - an answer to "is it small enough to take whole?"
    """The value at hand is larger than the caller wants to hold in one piece; nothing was consumed."""


@dataclass(slots=True)
class Pack:
    """Parts of one kind, waiting to fill a request."""

    limit: int
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    where: str = ""

    def add(self, part: bytes, where: str) -> bool:
        """Returns whether the pack is full."""
        self.where = self.where or where
        self.parts.append(part)
        self.size += len(part)
        return self.size >= self.limit

    def take(self) -> tuple[list[bytes], str]:
        """The parts and where the first began; the pack is empty afterwards."""
        taken = self.parts, self.where
        self.parts, self.size, self.where = [], 0, ""
        return taken

    def drain(self) -> Iterator[tuple[list[bytes], str]]:
        """Yields what is left, if anything is."""
        if self.parts:
            yield self.take()
