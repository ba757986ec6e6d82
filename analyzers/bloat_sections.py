"""Which words of a section of a prompt carry little, by a model's judgement of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from analyzers.bloat_model import Word

# So many words in a row that carry little can be cut by hand as a whole.
_PASSAGE_WORDS: Final = 10
# Of a message as APIs have it, what says something; LangChain's own form has it in `kwargs` or `data`.
_TEXTS: Final = ("content", "text", "parts", "kwargs", "data")


@dataclass(frozen=True, slots=True)
class Judged:
    """A section's text in stretches, each with whether it carries little; the parts of its characters that do, and
    that do in whole passages."""

    stretches: tuple[tuple[str, bool], ...]
    words: int
    little: float
    passages: float


def judged(text: str, words: Sequence[Word], least_keep: float) -> Judged:
    """Numbers always count as needed."""
    runs = [
        (is_little, [*run])
        for is_little, run in groupby(
            words, lambda word: word.keep < least_keep and not _has_digit(text, word)
        )
    ]
    total = _length(words) or 1
    little = [run for is_little, run in runs if is_little]
    return Judged(
        tuple(_stretches(text, runs)),
        len(words),
        sum(map(_length, little)) / total,
        sum(_length(run) for run in little if len(run) >= _PASSAGE_WORDS) / total,
    )


def plain(section: str) -> str:
    """What a section says: the texts of a message that is a JSON document, else as it is."""
    try:
        message = json.loads(section)
    except ValueError:
        return section
    return "\n".join(_said(message)) or section


def _said(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _said(item)
    elif isinstance(value, dict):
        for name in _TEXTS:
            yield from _said(value.get(name))


def _stretches(text: str, runs: Iterable[tuple[bool, list[Word]]]) -> Iterator[tuple[str, bool]]:
    at = 0
    for is_little, run in runs:
        if run[0].start > at:
            yield text[at : run[0].start], False
        at = run[-1].end
        yield text[run[0].start : at], is_little
    if at < len(text):
        yield text[at:], False


def _has_digit(text: str, word: Word) -> bool:
    return any(map(str.isdigit, text[word.start : word.end]))


def _length(words: Iterable[Word]) -> int:
    return sum(word.end - word.start for word in words)
