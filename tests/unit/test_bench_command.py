"""What the bench says that a command took."""

from __future__ import annotations

import sys

import pytest

from tests.bench.command import measured

_HOLDS_100_MB = "import sys; held = bytearray(b'x') * 100_000_000; sys.stdout.write('done')"


def test_memory_is_the_commands_own_and_not_that_of_the_bench():
    """A process begins with the peak memory of who started it."""
    held = bytearray(b"x") * 300_000_000
    small = measured("echo", "small")
    assert (small.answer, small.peak_memory_bytes < 50_000_000 < len(held)) == (b"small\n", True)
    large = measured(sys.executable, "-S", "-c", _HOLDS_100_MB)
    assert (large.answer, 100_000_000 < large.peak_memory_bytes < 200_000_000) == (b"done", True)


def test_a_command_that_fails_is_no_figure():
    with pytest.raises(RuntimeError, match="false ended with 1"):
        measured("false")
