"""Answers far longer than others of their kind: whose they are, and what is paid for what they have more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from analyzers import honest, sql
from analyzers.cost import DAY, dimensions
from analyzers.fields import Field, Reader, money
from analyzers.finding import Candidate, Column, Report
from analyzers.registry import register
from analyzers.setting import BadSetting, Setting, count, number, share, text
from analyzers.verbosity_figures import Cohort, Lengths, Part, Tail
from analyzers.window import Window
from semconv.planned import relation

_FOUND: Final = pa.schema(
    [
        ("candidate", pa.string()),
        ("cohort", pa.int64()),
        ("part", pa.string()),
        ("floor_tokens", pa.float64()),
        ("excess", pa.float64()),
    ]
)
_ACTION: Final = (
    "read some of the examples; then ask for brevity in the prompt, or for a shorter form (fields in the place of "
    "prose, a change in the place of the whole file), and limit the output to what is needed"
)
_CAVEATS: Final = (
    "lengths are compared, not worth: the longer answer may be the one that was needed",
    "the lengths are without reasoning, which no request for brevity shortens; models that do not report it have it in "
    "them",
)
_PART_METHOD: Final = (
    "what the output of its long answers costs at their own prices: at the high end all beyond the cohort's median, at "
    "the low end, and of tokens, what is beyond {factor:g} times the median"
)
_TAIL_METHOD: Final = (
    "what the output of answers of {far:,.0f} tokens and more costs at their own prices: at the high end all beyond "
    "the median; at the low end, and of tokens, what is beyond {far:,.0f} tokens, of the part of such answers that has "
    "none as far below the median"
)
_TAIL_CAVEAT: Final = (
    "an agent that does two kinds of work under one name looks the same: the examples tell; some long answers are "
    "usual, and as many as are as short are not counted at the low end"
)


class _Found(NamedTuple):
    """A candidate with its row in the relation `verbosity_found`."""

    candidate: Candidate
    cohort: int
    part: str | None
    floor_tokens: float
    excess: float


@register(
    "verbosity",
    help="answers of twice the usual length and more: whose they are, and what is paid for what they have more",
    settings=(
        Setting("least_calls", "cohorts with fewer answers are passed over", count, 5),
        Setting("factor", "an answer is long that has so many times its cohort's median", number, 2.0),
        Setting("by", "the dimension whose values are compared within cohorts", text, "user"),
        Setting(
            "least_share",
            "least part of a cohort's answers that a surplus is to be told of",
            share,
            share("least_share", "0.05"),
        ),
        Setting("top", "most rows shown, 0 = all", count, 20),
    ),
)
def verbosity(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per cohort (agent, model, operation, tool requests apart from other answers, pricing mode), the dearest
    surplus first. A finding for each value of ``by`` whose answers are long for their cohort, and for each cohort with
    more answers far above the median than far below it. Raises BadSetting.
    """
    by = _dimension(connection, window, settings["by"])
    if settings["factor"] <= 1:
        raise BadSetting("`factor` is a number above 1")

    def table(name: str, *thresholds: str) -> pa.Table:
        """Of the window's answers, or of relations that were made of them."""
        statement = sql.read(name).format(answers=sql.read("verbosity_answers.sql").format(by=by))
        over = window.parameters() if "$start" in statement else {}
        parameters = over | {one: settings[one] for one in thresholds}
        return connection.execute(statement, parameters).to_arrow_table()

    cohorts = table("verbosity_cohorts.sql", "factor", "least_calls")
    with relation(connection, "verbosity_cohorts", cohorts):
        with relation(connection, "verbosity_sessions", table("verbosity_sessions.sql", "factor")):
            parts = table("verbosity_parts.sql", "least_calls")
            lengths = Lengths(
                [Cohort(**row) for row in cohorts.to_pylist()],
                [Part(**row) for row in parts.to_pylist()],
                settings["least_share"],
            )
            found = [_long_part(*one, settings) for one in lengths.long_parts()]
            with relation(connection, "verbosity_found", _table(found)):
                tails = [Tail(**row) for row in table("verbosity_tails.sql").to_pylist()]
        found += [_tail(*one) for one in lengths.tails(tails)]
        with relation(connection, "verbosity_found", _table(found)):
            claims = table("verbosity_claims.sql") if found else None
    return _report(connection, window, lengths, found, claims, settings["top"])


def _dimension(connection: duckdb.DuckDBPyConnection, window: Window, name: str) -> str:
    allowed = dimensions(connection, window)
    if name not in allowed or name == DAY:
        raise BadSetting(f"`by` is one of {', '.join(sorted(set(allowed) - {DAY}))}, not {name!r}")
    return allowed[name]


def _table(found: Sequence[_Found]) -> pa.Table:
    rows = [(one.candidate.key, *one[1:]) for one in found]
    columns = zip(*rows, strict=True) if rows else [()] * len(_FOUND)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, _FOUND, strict=True)], schema=_FOUND
    )


def _long_part(cohort: Cohort, part: Part, settings: dict[str, Any]) -> _Found:
    name, value = settings["by"], part.part or ""
    return _Found(
        Candidate(
            key=f"part-{cohort.cohort}-{value}",
            kind="long-for-some",
            dimension={**cohort.dimension, name: value},
            pricing_mode=cohort.pricing_mode,
            title=(
                f"{cohort.who} answers {name} {honest.said(value)} at length: {part.long_calls} of {part.calls} "
                f"{cohort.kind}s have {settings['factor']:g} times "
                f"the median of {cohort.median_tokens:,.0f} tokens, or more"
            ),
            method=_PART_METHOD.format(factor=settings["factor"]),
            action=f"see what this {name} asks for that others do not; {_ACTION}",
            evidence={
                **_usual(cohort),
                "long_answers": part.long_calls,
                "answers": part.calls,
                "long_sessions": part.long_sessions,
                "sessions": part.sessions,
                "cut_off": part.cut_off_calls,
                "input_tokens_per_call": _rounded(part.input_per_call),
                "surplus": honest.Amount(cohort.pricing_mode, part.surplus_usd),
            },
            caveats=_CAVEATS,
        ),
        cohort.cohort,
        value,
        settings["factor"] * cohort.median_tokens,
        1.0,
    )


def _tail(cohort: Cohort, tail: Tail) -> _Found:
    times = cohort.far_tokens / cohort.median_tokens
    return _Found(
        Candidate(
            key=f"tail-{cohort.cohort}",
            kind="long-tail",
            dimension=cohort.dimension,
            pricing_mode=cohort.pricing_mode,
            title=(
                f"{tail.above} of {cohort.calls} {cohort.kind}s of {cohort.who} have {times:,.1f} times the median of "
                f"{cohort.median_tokens:,.0f} tokens, or more; {tail.below} are as far below it"
            ),
            method=_TAIL_METHOD.format(far=cohort.far_tokens),
            action=_ACTION,
            evidence={
                **_usual(cohort),
                "far_tokens": round(cohort.far_tokens),
                "far_above": tail.above,
                "as_far_below": tail.below,
                "sessions": tail.sessions,
                "cut_off": tail.cut_off_calls,
                "surplus_tokens": round(tail.surplus_tokens),
            },
            caveats=(_TAIL_CAVEAT, *_CAVEATS),
        ),
        cohort.cohort,
        None,
        cohort.far_tokens,
        tail.excess,
    )


def _usual(cohort: Cohort) -> dict[str, object]:
    return {
        "cohort_calls": cohort.calls,
        "median_tokens": _rounded(cohort.median_tokens),
        "p90_tokens": _rounded(cohort.p90_tokens),
    }


def _rounded(figure: float | None) -> int | None:
    return None if figure is None else round(figure)


def _report(
    connection: duckdb.DuckDBPyConnection,
    window: Window,
    lengths: Lengths,
    found: Sequence[_Found],
    claims: pa.Table | None,
    top: int,
) -> Report:
    rows = lengths.by_surplus()
    shown = rows[: top or None]
    return Report(
        columns=tuple(column for column, _ in _FIELDS),
        rows=tuple(tuple(read(_Row(*row)) for _, read in _FIELDS) for row in shown),
        notes=tuple(_notes(connection, window, rows, len(rows) - len(shown))),
        candidates=tuple(one.candidate for one in found),
        claims=claims,
    )


class _Row(NamedTuple):
    """A row of the report."""

    cohort: Cohort
    whole: Part

    @property
    def pricing_mode(self) -> str:
        return self.cohort.pricing_mode

    @property
    def long_share(self) -> float:
        return self.whole.long_calls / self.whole.calls


def _fields() -> Iterator[Field]:
    for name in ("agent", "service", "model", "operation", "kind"):
        yield Column(name, name, "text"), attrgetter(f"cohort.{name}")
    yield honest.MODE, attrgetter("pricing_mode")
    yield Column("calls", "calls", "count"), attrgetter("cohort.calls")
    for name, label in (("median_tokens", "median length"), ("p90_tokens", "90th percentile")):
        yield Column(name, label, "count"), _whole_tokens(name)
    yield Column("long_calls", "long", "count"), attrgetter("whole.long_calls")
    yield Column("long_share", "share of long ones", "ratio"), attrgetter("long_share")
    yield Column("surplus_tokens", "beyond the median", "count"), attrgetter("whole.surplus_tokens")
    yield Column("reasoning_tokens", "reasoning beside it", "count"), attrgetter("cohort.reasoning_tokens")
    yield from money(honest.columns("{}_of_output", "{} of output"), attrgetter("cohort.output_usd"))
    yield from money(
        honest.columns("{}_beyond_median", "{} beyond the median"), attrgetter("whole.surplus_usd")
    )


def _whole_tokens(name: str) -> Reader:
    return lambda row: round(getattr(row.cohort, name))


_FIELDS: Final = tuple(_fields())


def _notes(
    connection: duckdb.DuckDBPyConnection, window: Window, rows: Sequence[tuple[Cohort, Part]], left_out: int
) -> Iterator[str]:
    found = connection.execute(sql.read("verbosity_gaps.sql"), window.parameters()).fetchall()
    ((calls, untold, unpriced),) = found
    if not calls:
        yield f"no answered calls from {window}"
    if untold:
        yield f"{untold} of {calls} calls do not say how much they answered and are left out"
    if unpriced:
        yield f"{unpriced} of {calls} calls have no known cost of their output, which is in no sum of money"
    if left_out:
        yield f"{left_out} more cohorts with a smaller surplus are not shown"
    if any(cohort.pricing_mode == "unknown" for cohort, _ in rows):
        yield from honest.undeclared_plans(connection, window)
    if rows:
        yield (
            "long answers are usual: what is told as a finding is more than chance makes of lengths that differ by the "
            "same ratios above and below their median"
        )
