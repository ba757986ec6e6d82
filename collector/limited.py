"""Runs one of our modules as a child that is limited in memory, yields the processor, dies with its parent.

``python -m collector.limited BYTES MODULE ARGUMENT…``; standard input is a pipe that the parent holds open.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import runpy
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
    """Let others go first, as ``main`` does: a process by its pid, or on Linux one thread by its native id."""
    with contextlib.suppress(OSError):  # a process that has ended; elsewhere threads cannot be told apart
        os.setpriority(os.PRIO_PROCESS, number, NICENESS)


def main() -> None:
    memory, module, *arguments = sys.argv[1:]
    end_with_parent()
    # A Ctrl-C in the parent's terminal reaches us too; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    os.nice(NICENESS)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
