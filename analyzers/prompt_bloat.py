"""Words that carry little in prompts that are sent again and again, as a small model judges, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from analyzers import bloat_model, bloat_page, honest, sql
from analyzers.bloat_model import DEFAULT_MODEL, CannotJudge, Word
from analyzers.bloat_page import Shown
from analyzers.bloat_sections import Judged, judged, plain
from analyzers.fields import Field, money
from analyzers.finding import Candidate, Column, Report
from analyzers.prompts import prompt_places
from analyzers.registry import register
from analyzers.setting import BadSetting, Setting, count, share, text
from analyzers.window import Window
from semconv.planned import relation

# Fewer characters are not worth an edit.
_LEAST_CHARS: Final = 200
# Of a longer section this much is judged; the rest counts as needed.
_MOST_CHARS: Final = 50_000
_METHOD: Final = (
    "each call's part of its own input cost that these words are, by characters; at the low end passages of ten words "
    "and more alone, at the price of cache reads where the call had any; at the high end all such words, at the "
    "dearest price of its input"
)
_ACTION: Final = (
    "read these sections with `analyzers: {prompt-bloat: {html: prompts.html}}`, cut what says nothing, and judge the "
    "answers on a sample by your own measure before you keep the shorter prompt"
)
_CAVEATS: Final = (
    "a small model judged words by themselves: it knows neither the task nor the answers, and what it takes for little "
    "may be what makes them right",
    "tokens of a section are estimated by its part of the prompt's characters",
    "a shorter prompt makes the cache cold once, and may fall below the least length that a provider caches",
)
_JUDGED: Final = pa.schema(
    [
        ("agent", pa.string()),
        ("service", pa.string()),
        ("section", pa.string()),
        ("role", pa.string()),
        ("words", pa.int64()),
        ("little", pa.float64()),
        ("passages", pa.float64()),
    ]
)


class _Repeated(NamedTuple):
    """A row of bloat_repeated.sql."""

    agent: str | None
    service: str | None
    section: str
    role: str
    text: str
    calls: int
    chars: int


class _Row(NamedTuple):
    """A row of bloat_rows.sql."""

    candidate: str
    agent: str | None
    service: str | None
    role: str
    section: str
    pricing_mode: str
    calls: int
    words: int
    little: float
    passages: float
    tokens: int | None
    little_tokens: int | None
    high_usd: Decimal | None

    @property
    def name(self) -> str:
        return _name(self.section)


@register(
    "prompt-bloat",
    help="words that carry little in captured prompts that are sent again and again (extra `bloat`)",
    settings=(
        Setting("model", "a classifier of tokens on this machine, by name or directory", text, DEFAULT_MODEL),
        Setting("least_keep", "a word that is needed less likely carries little", share, Decimal("0.1")),
        Setting(
            "least_share",
            "part of its repeated text that carries little, for a finding",
            share,
            Decimal("0.2"),
        ),
        Setting("least_calls", "as many calls repeat a section", count, 3),
        Setting("most_prompts", "so many prompts are looked at, drawn evenly", count, 2_000),
        Setting("most_sections", "so many sections are judged, the dearest first", count, 20),
        Setting("most_seconds", "for so long", count, 60),
        Setting("html", "file to write these sections to, with what carries little in them", text),
    ),
)
def prompt_bloat(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per agent, section of its prompts and pricing mode, those first of which most could go. Says what is
    missing where no prompts were captured or there is no model. Raises BadSetting for an HTML file that cannot be
    written.
    """
    calls = connection.execute(
        sql.read("bloat_calls.sql"), window.parameters() | {"most_prompts": settings["most_prompts"]}
    ).to_arrow_table()
    if not calls.num_rows:
        return _report(
            [], None, [f"no captured prompts of calls from {window}: `capture: {{prompts: true}}` keeps them"]
        )
    try:
        judge = bloat_model.load(settings["model"])
    except CannotJudge as error:
        return _report([], None, [str(error)])
    notes = [*_drawn(calls)]
    with relation(connection, "bloat_calls", calls.drop_columns(["all_calls"])):
        sections = _sections(connection, window)
        with relation(connection, "bloat_sections", sections):
            repeated = _repeated(connection, settings)
            found = _judge(judge, repeated, settings)
            rows, claims = _costs(connection, repeated, found)
    notes += _unjudged(repeated, found)
    if any(row.pricing_mode == "unknown" for row in rows):
        notes += honest.undeclared_plans(connection, window)
    if settings["html"] is not None:
        _write(settings, repeated, found, window)
    return _report(rows, claims, notes, [*_candidates(rows, float(settings["least_share"]))])


def _sections(connection: duckdb.DuckDBPyConnection, window: Window) -> pa.Table:
    statement = sql.read("bloat_sections.sql").format(sections=sql.read("prompt_sections.sql"))
    with relation(connection, "prompt_places", prompt_places(connection, window)):
        return connection.execute(statement, window.parameters()).to_arrow_table()


def _repeated(connection: duckdb.DuckDBPyConnection, settings: Mapping[str, Any]) -> list[_Repeated]:
    least = {name: settings[name] for name in ("least_calls", "most_sections")}
    found = connection.execute(
        sql.read("bloat_repeated.sql"), least | {"least_chars": _LEAST_CHARS}
    ).fetchall()
    return [_Repeated(*row) for row in found]


def _judge(
    judge: bloat_model.Judge, repeated: Sequence[_Repeated], settings: Mapping[str, Any]
) -> dict[str, Judged]:
    """By section; those that there was no time for are missing."""
    until = time.monotonic() + settings["most_seconds"]
    found: dict[str, Judged] = {}
    for one in repeated:
        if one.section in found:
            continue
        said = plain(one.text)
        try:
            words = judge(said[:_MOST_CHARS], until)
        except TimeoutError:
            break
        rest = [Word(_MOST_CHARS, len(said), 1.0)] if len(said) > _MOST_CHARS else []
        found[one.section] = judged(said, [*words, *rest], float(settings["least_keep"]))
    return found


def _costs(
    connection: duckdb.DuckDBPyConnection, repeated: Sequence[_Repeated], found: Mapping[str, Judged]
) -> tuple[list[_Row], pa.Table]:
    known = [
        (one.agent, one.service, one.section, one.role, of.words, of.little, of.passages)
        for one in repeated
        if (of := found.get(one.section)) is not None
    ]
    table = pa.table([[row[at] for row in known] for at in range(len(_JUDGED))], schema=_JUDGED)
    with relation(connection, "bloat_judged", table):
        shares = connection.execute(sql.read("bloat_shares.sql")).to_arrow_table()
        with relation(connection, "bloat_shares", shares):
            rows = [_Row(*row) for row in connection.execute(sql.read("bloat_rows.sql")).fetchall()]
            return rows, connection.execute(sql.read("bloat_claims.sql")).to_arrow_table()


def _drawn(calls: pa.Table) -> Iterator[str]:
    looked_at, there_are = calls.num_rows, calls["all_calls"][0].as_py()
    if looked_at < there_are:
        yield (
            f"{looked_at} of {there_are} captured prompts were looked at, drawn evenly: all figures are of these calls "
            "alone (`most_prompts`)"
        )


def _unjudged(repeated: Sequence[_Repeated], found: Mapping[str, Judged]) -> Iterator[str]:
    if not repeated:
        yield "no section of the captured prompts is sent again and again"
    if left := len({one.section for one in repeated} - found.keys()):
        yield f"for {left} of the sections there was no time; nothing is said of them (`most_seconds`)"


def _write(
    settings: Mapping[str, Any], repeated: Sequence[_Repeated], found: Mapping[str, Judged], window: Window
) -> None:
    shown = [
        Shown(_who(one.agent, one.service), one.role, _name(one.section), one.calls, of)
        for one in repeated
        if (of := found.get(one.section)) is not None
    ]
    path = Path(settings["html"]).expanduser()
    try:
        bloat_page.write(path, shown, window, settings["model"], float(settings["least_keep"]))
    except OSError as error:
        raise BadSetting(f"`html`: cannot write {path}: {error.strerror}") from error


def _report(
    rows: Sequence[_Row],
    claims: pa.Table | None,
    notes: Sequence[str],
    candidates: Sequence[Candidate] = (),
) -> Report:
    fields = [*_fields()]
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(read(row) for _, read in fields) for row in rows),
        notes=tuple(notes),
        candidates=tuple(candidates),
        claims=claims,
    )


def _fields() -> Iterator[Field]:
    for name, label in (("agent", "agent"), ("service", "service"), ("role", "role"), ("name", "section")):
        yield Column("section" if name == "name" else name, label, "text"), attrgetter(name)
    yield honest.MODE, attrgetter("pricing_mode")
    yield Column("calls", "calls", "count"), attrgetter("calls")
    yield Column("words", "words", "count"), attrgetter("words")
    yield Column("little", "carries little", "ratio"), attrgetter("little")
    yield Column("passages", "in whole passages", "ratio"), attrgetter("passages")
    yield Column("tokens", "tokens, estimated", "count"), attrgetter("tokens")
    yield Column("little_tokens", "that carry little", "count"), attrgetter("little_tokens")
    yield from money(honest.columns("{}_at_most", "{} of these at most"), attrgetter("high_usd"))


def _candidates(rows: Sequence[_Row], least_share: float) -> Iterator[Candidate]:
    """One per agent and pricing mode, of all its sections: a call goes to one candidate alone."""
    candidate = attrgetter("candidate")
    for key, found in groupby(sorted(rows, key=candidate), candidate):
        sections = [*found]
        one, part = sections[0], _share(sections)
        if part < least_share:
            continue
        yield Candidate(
            key=key,
            kind="bloat",
            dimension={"service": one.service} if one.agent is None else {"agent": one.agent},
            pricing_mode=one.pricing_mode,
            title=(
                f"{_who(one.agent, one.service)}: {part:.0%} of what its prompts repeat carries little, by the "
                f"judgement of a small model of {len(sections)} of their sections"
            ),
            method=_METHOD,
            action=_ACTION,
            evidence={"share": round(part, 4), "sections": [_said(row) for row in sections]},
            caveats=_CAVEATS,
        )


def _share(rows: Sequence[_Row]) -> float:
    """Of the words that calls were sent."""
    sent = sum(row.words * row.calls for row in rows)
    return sum(row.little * row.words * row.calls for row in rows) / sent if sent else 0.0


def _said(row: _Row) -> str:
    return (
        f"{row.role} {row.name}: {row.words} words in {row.calls} calls, {row.little:.0%} carry little, "
        f"{row.passages:.0%} in whole passages"
    )


def _who(agent: str | None, service: str | None) -> str:
    if agent is not None:
        return f"agent {honest.said(agent)}"
    return f"calls of {honest.said(service)} without an agent" if service else "calls without an agent"


def _name(section: str) -> str:
    """Enough of a hash to tell sections apart; the text stays where captured text is kept."""
    return section[:8]
