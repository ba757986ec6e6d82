"""Results as GitHub-flavoured Markdown, for a pull request or a chat."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, TextIO

from collector.cli import finding_text
from collector.cli.render import printable
from collector.cli.report import Result, Section, notes, sections, title

# What would format, link, nest or end a cell; an escaped character stands for itself (CommonMark 2.4).
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|~!])")
# Whoever is named in telemetry is not called: a name that follows the sign at once is.
_MENTION: Final = re.compile(r"(?<!\w)@(?=\w)")


def print_markdown(results: Sequence[Result], stream: TextIO) -> None:
    stream.write("\n".join(line for result in results for line in _lines(result)))
    stream.write("\n")


def _lines(result: Result) -> Iterator[str]:
    yield f"## {_escaped(title(result))}\n"
    for section in sections(result):
        if section.title:
            yield f"### {_escaped(section.title)}\n"
        yield from _table(section)
        yield ""
    yield from (f"- {_escaped(note)}" for note in notes(result))
    yield ""
    for heading, findings in finding_text.grouped(result["findings"]):
        yield f"### {_escaped(heading)}\n"
        for finding in findings:
            yield f"- **{_escaped(finding['title'])}**"
            yield from (f"  - {label}: {_escaped(text)}" for label, text in finding_text.details(finding))
        yield ""


def _table(section: Section) -> Iterator[str]:
    numeric = [
        any(isinstance(row[at], int | float | Decimal) for row in section.cells)
        for at in range(len(section.headings))
    ]
    yield _row(section.headings)
    yield "|" + "|".join("--:" if is_number else "---" for is_number in numeric) + "|"
    yield from (_row(row) for row in section.cells)


def _row(cells: list[Any]) -> str:
    return "| " + " | ".join(_escaped(str(cell)) for cell in cells) + " |"


def _escaped(text: str) -> str:
    """On one line, meaning nothing but itself."""
    return _MENTION.sub("@\u200b", _MARKUP.sub(r"\\\1", " ".join(printable(text).split())))
