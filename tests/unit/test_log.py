"""One line per event, whatever is logged and whoever logs it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from collector import log as log_module
from collector.log import Log, LogfmtFormatter

CODE = """
import logging, warnings
from collector import log
log.configure("info")
events = log.Log("spool")
events.debug("not shown")
events.info("segment closed", segment=7, name="two words", empty="", nothing=None, done=True)
try:
    raise ValueError('bad "quote"\\nand a second line')
except ValueError as error:
    events.failed("it broke", error, tries=2)
logging.getLogger("aiohttp").warning("from %s", "elsewhere")
warnings.warn("careful", stacklevel=1)
"""


def test_every_event_is_one_line_of_fields() -> None:
    """Own events, errors, other libraries and warnings alike; nothing below the level."""
    answer = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    info, failed, foreign, warning = answer.stderr.splitlines()
    assert info.partition(" ")[2] == (
        'level=info component=spool event="segment closed" segment=7 name="two words" empty="" '
        "nothing=null done=true"
    )
    assert r'error="ValueError: bad \"quote\"\nand a second line" at=' in failed
    assert "tries=2" in failed
    assert 'component=aiohttp event="from elsewhere"' in foreign
    assert "level=warning component=py.warnings" in warning
    assert answer.stdout == ""


def test_a_value_cannot_forge_a_line_or_a_field_or_fill_the_disk() -> None:
    """Control characters are written out, quotes escaped, long texts cut."""
    record = logging.LogRecord("x", logging.INFO, "", 0, "event", None, None)
    record.fields = {"name": 'a" level=error\n\x1b[31m', "long": "y" * 100_000}
    line = LogfmtFormatter().format(record)
    assert r'name="a\" level=error\n\x1b[31m"' in line
    assert len(line) < 1_500


def test_libraries_below_warning_are_not_heard() -> None:
    """gRPC logs a line for every call at debug; our own debug lines are still there."""
    code = CODE.replace('configure("info")', 'configure("debug")') + (
        'logging.getLogger("grpc._cython.cygrpc").debug("a call")\nlogging.getLogger("asyncio").info("a loop")\n'
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'level=debug component=spool event="not shown"' in answer.stderr
    assert "a call" not in answer.stderr
    assert "a loop" not in answer.stderr


def test_an_error_over_somebodys_data_is_not_quoted_nor_repeated(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kind and place once a minute, then with how many there were; another place has its own line."""
    clock = [1000.0]
    monkeypatch.setattr(log_module.time, "monotonic", lambda: clock[0])
    events = Log("intake")

    def fail(text: str) -> None:
        try:
            int(text)
        except ValueError as error:
            events.failed_on_data("a request could not be handled", error, bytes=len(text))

    for number in range(1000):
        fail(f"secret {number}")
    clock[0] += 61
    fail("secret")
    try:
        json.loads("secret")
    except ValueError as error:
        events.failed_on_data("a request could not be handled", error)
    lines = [LogfmtFormatter().format(record) for record in caplog.records]
    assert len(lines) == 3
    assert all("secret" not in line for line in lines)
    assert "bytes=8 error=ValueError at=test_log.py:" in lines[0]
    assert [line.rpartition("unlogged=")[2] for line in lines] == ["0", "999", "0"]
    assert "error=JSONDecodeError" in lines[2]
