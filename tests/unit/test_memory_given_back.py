"""Memory of a process that writes the lake, once a batch is gone.

Guarantee: buffers of columns, freed, are the system's again, though small things that stay were taken between them.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from collector.memory import GIVE_MEMORY_BACK

# One large buffer comes and goes: from it glibc would learn to take all that are smaller from its heap.
PROGRAM = """
import ctypes
from collector.memory import resident_bytes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def taken(size):
    buffer = libc.malloc(size)
    ctypes.memset(buffer, 1, size)
    return buffer

libc.free(taken(30 << 20))
before = resident_bytes()
buffers = []
for _ in range(60):
    buffers.append(taken(1 << 20))
    taken(20_000)
for buffer in buffers:
    libc.free(buffer)
print(resident_bytes() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="a matter of glibc")
def test_what_a_batch_took_is_given_back() -> None:
    left = subprocess.check_output([sys.executable, "-c", PROGRAM], env=os.environ | GIVE_MEMORY_BACK)
    assert int(left) < 10 << 20
