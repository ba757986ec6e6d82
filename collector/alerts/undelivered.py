"""Why a channel did not take a message."""

from __future__ import annotations


class Undelivered(Exception):  # noqa: N818 - the name says what is the case
    """The message says why, without any secret. ``again``: trying again within seconds may help; ``after_seconds``: not
    before these have passed, where the other side says so."""

    def __init__(self, reason: str, *, again: bool = False, after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.again = again
        self.after_seconds = after_seconds
