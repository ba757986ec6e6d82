"""What this process has in memory, and giving back what is free."""

from __future__ import annotations

import ctypes
import gc
import os
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
# glibc alone has both.
_malloc_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)
_mallopt: Final = getattr(ctypes.CDLL(None), "mallopt", None) if _malloc_trim else None
# <malloc.h>: what is larger than the first is returned as soon as it is free, and so is what lies above everything
# in use where it is more than the second. The third is taken at a time.
_KEPT_AT_HAND: Final = {-3: 4 << 20, -1: 16 << 20, -2: 1 << 20}

# What a process that writes the lake frees goes back to the system instead of resting in an arena per thread (glibc),
# in Arrow's own pool and in that of DuckDB (jemalloc, which returns pages only while it is used): under full load all
# processes together peaked at 578 MiB with the first two and at 802 MiB without, and 170 MiB less are left afterwards
# with the third. All are read when a process starts, or loads the library.
#
# A buffer of a batch's column is mapped by itself. By default glibc learns from the first that is freed to take the
# next ones, up to 32 MiB, from the heap, which they leave in holes: the loader and its extraction peaked at 363 MB
# instead of 263, a backfill's memory grew from batch to batch. New pages for each buffer cost 2 us a span.
_MAPPED_FROM: Final = 256 << 10
_KEPT_ON_TOP: Final = 8 << 20
GIVE_MEMORY_BACK: Final = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(_MAPPED_FROM),
    "MALLOC_TRIM_THRESHOLD_": str(_KEPT_ON_TOP),
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "DUCKDB_JE_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0",
}
# <malloc.h>: what those of glibc's are for mallopt.
_MALLOPT: Final = {"MALLOC_ARENA_MAX": -8, "MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_TRIM_THRESHOLD_": -1}


def resident_bytes() -> int | None:
    """What this process has in memory; None where the system does not say, which Linux does."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a hundred times a second
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return None


def keep_at_hand() -> None:
    """From now on keep what is freed, up to some 16 MiB, for a server that is going to need it again.

    Otherwise a request of 500 KB costs 500 page faults, which are a fifth of what receiving it takes.
    """
    for option, value in _KEPT_AT_HAND.items():
        if _mallopt is not None:
            _mallopt(option, value)


def give_back_always() -> None:
    """GIVE_MEMORY_BACK for this process, before it loads Arrow and DuckDB, and for its children."""
    for name, value in GIVE_MEMORY_BACK.items():
        is_ours = os.environ.setdefault(name, value) == value
        if is_ours and name in _MALLOPT and _mallopt is not None:
            _mallopt(_MALLOPT[name], int(value))


def look_for_garbage_rarely() -> None:
    """For a process that makes rows: what is there now lives as long as it does, and rows are many, short-lived and
    without cycles. A full collection over all of them would only cost time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def give_back() -> None:
    """Free what nobody can reach any more, and return what is free to the system.

    Errors and the frames they came through refer to each other, and glibc keeps all that lies below something still
    in use. Takes some 20 ms for each 100 MiB, if ``gc.freeze`` has spared it looking at all that was there before.
    """
    gc.collect()
    if _malloc_trim is not None:
        _malloc_trim(0)
