"""What a child is that works beside the server: limited in memory, yielding the processor, dying with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import threading
from typing import Final

# <linux/prctl.h>
_PR_SET_PDEATHSIG: Final = 1
# Receiving and loading come first.
NICENESS: Final = 10


def end_with_parent() -> None:
    """End this process as soon as the parent's end of our standard input closes, however the parent died."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_at_eof, name="lifeline", daemon=True).start()


def _end_at_eof() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def step_back(number: int) -> None:
    """Let others go first, as ``be_limited`` does: a process by its pid, or on Linux one thread by its native id."""
    with contextlib.suppress(OSError):  # a process that has ended; elsewhere threads cannot be told apart
        os.setpriority(os.PRIO_PROCESS, number, NICENESS)


def be_limited(memory_bytes: int) -> None:
    """Call it when what the parent told is read: standard input stays open for as long as the parent lives."""
    end_with_parent()
    os.umask(0o077)
    os.nice(NICENESS)
    # A Ctrl-C in the parent's terminal reaches us too; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
