"""What this process has in memory, and giving back what is free."""

from __future__ import annotations

import ctypes
import gc
import os
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
# glibc alone has it.
_malloc_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)


def resident_bytes() -> int | None:
    """What this process has in memory; None where the system does not say, which Linux does."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a hundred times a second
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return None


def give_back() -> None:
    """Free what nobody can reach any more, and return what is free to the system.

    Errors and the frames they came through refer to each other, and glibc keeps all that lies below something still
    in use. Takes some 20 ms for each 100 MiB, if ``gc.freeze`` has spared it looking at all that was there before.
    """
    gc.collect()
    if _malloc_trim is not None:
        _malloc_trim(0)
