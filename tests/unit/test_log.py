"""One line per event, whatever is logged and whoever logs it."""

from __future__ import annotations

import logging
import subprocess
import sys

from collector.log import LogfmtFormatter

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
