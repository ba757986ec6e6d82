"""The pages of the analyzers: each has an example, and it is what the command prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from collector.cli.analyze import main

PAGES = Path(__file__).parents[1] / "analyzers" / "pages"
_EXAMPLE = re.compile(
    r"^## Example\n.*?^```console\n\$ otlp-analyze (?P<words>[^\n]*)\n(?P<output>.*?)^```$", re.M | re.S
)

# Said from the day on which the installed prices are old: no part of an example.
_AGE = re.compile(r"^note: the prices are .*\n", re.M)


def assert_example(page: str, data_dir: Path, *options: str) -> None:
    """The first `console` block under `## Example` of analyzers/pages/<page>.md is one command and what it prints over
    the lake in ``data_dir``. ``options`` are left out of the page, such as --config with a file of the test.

    Calls of that lake need ids of their own (`call(call_id="...")`), and the command a window with both ends, or the
    output changes from run to run.
    """
    block = _EXAMPLE.search((PAGES / f"{page}.md").read_text())
    assert block, (
        f"{page}.md has no example: one block ```console under ## Example, beginning with $ otlp-analyze"
    )
    words = shlex.split(block["words"])
    assert page in words
    answer = CliRunner().invoke(main, [*words, "--data-dir", str(data_dir), *options])
    assert answer.exit_code == 0, answer.output
    output = _AGE.sub("", answer.output)
    assert block["output"] == output, f"the page says otherwise; it is now:\n{output}"
