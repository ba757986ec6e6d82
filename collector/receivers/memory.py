"""Messages on their way, which are cut off before this process has too much in memory.

gRPC says how large a message is only once it is there: what is on its way is in no budget. So it is the
process's resident memory that is watched while messages arrive.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from collector.memory import give_back, resident_bytes
from collector.receivers.status import Unavailable

# While messages arrive, memory is looked at this often: a sender on the same machine fills some 10 MiB
# meanwhile.
_LOOK_SECONDS: Final = 0.01
# How often what is free is given back where memory is short. It also takes a moment until what was cut off is free.
_SHORT_SECONDS: Final = 0.05
# One in so many is cut off at a time: with 250 MiB on their way, senders of 1 GiB a second are held. Not the oldest
# alone: nobody knows which are large, and many small ones that come from far away are old.
_CUT_EVERY: Final = 4
# Where memory stays short for another reason, the newest still get through: so many, if they are no slower than this.
_KEPT: Final = 2
SLOW_SECONDS: Final = 1.0
# Where nobody says how much memory is used, this many messages at a time: at most 1 GiB.
_UNMEASURED: Final = 16
# How long after large requests memory is given back. Senders keep some of it until they close: again after twice
# the time, up to the last.
_GIVE_BACK_SECONDS: Final = 1.0
_LAST_GIVE_BACK_SECONDS: Final = 64.0


class Memory:
    """Keeps resident memory near ``limit`` (bytes) while messages arrive. For one event loop."""

    def __init__(self, limit: int, resident: Callable[[], int | None] = resident_bytes) -> None:
        self.limit = limit
        self._resident = resident
        self._arriving: dict[asyncio.Timeout, float] = {}  # and since when; oldest first
        self._looking = False
        self._gave_back = self._cut = -math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._wait = 0.0

    @property
    def arriving(self) -> int:
        """How many messages are on their way."""
        return len(self._arriving)

    def is_short(self) -> bool:
        """Whether more than the limit is resident, after what is free was given back."""
        if not self._is_over():
            return False
        if time.monotonic() >= self._gave_back + _SHORT_SECONDS:
            give_back()
            self._gave_back = time.monotonic()
            self.give_back_soon()
        return self._is_over()

    @asynccontextmanager
    async def arrival(self, seconds: float) -> AsyncIterator[None]:
        """One message arrives while this is open. Raises Unavailable where it is cut off, or takes longer."""
        if len(self._arriving) >= _UNMEASURED and self._resident() is None:
            raise Unavailable("too many messages are on their way at this moment")
        deadline = asyncio.timeout(seconds)
        self._arriving[deadline] = time.monotonic()
        self._look_soon()
        try:
            async with deadline:
                yield
        except TimeoutError:
            if deadline in self._arriving:
                raise Unavailable(f"the message did not arrive within {seconds:g} s") from None
            raise Unavailable("memory is short at this moment") from None
        finally:
            self._arriving.pop(deadline, None)

    def give_back_soon(self) -> None:
        """To be called after a large request: memory is given back when the burst is likely over."""
        if self._timer is not None and self._wait > _GIVE_BACK_SECONDS:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._give_back_in(_GIVE_BACK_SECONDS)

    def _give_back_in(self, seconds: float) -> None:
        self._wait = seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._give_back)

    def _give_back(self) -> None:
        self._timer = None
        give_back()
        if self._wait < _LAST_GIVE_BACK_SECONDS:
            self._give_back_in(2 * self._wait)

    def _is_over(self) -> bool:
        return (self._resident() or 0) > self.limit

    def _look_soon(self) -> None:
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._looking = False
        if not self._arriving:
            return
        self._look_soon()
        now = time.monotonic()
        if now >= self._cut + _SHORT_SECONDS and self.is_short():
            self._cut = now
            self._cut_off(now)

    def _cut_off(self, now: float) -> None:
        """One in some, the oldest among them: what is small and quick is likely whole before it is its turn."""
        *older, _ = self._arriving.items()
        for number, (deadline, since) in list(enumerate(older))[::_CUT_EVERY]:
            if number <= len(older) - _KEPT or since < now - SLOW_SECONDS:
                del self._arriving[deadline]
                deadline.reschedule(asyncio.get_running_loop().time())
