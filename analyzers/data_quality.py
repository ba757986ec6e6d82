"""What is missing in the telemetry, by service and library, and what that does to the cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import duckdb

from analyzers import honest, sql
from analyzers.claims import EXAMPLES
from analyzers.cost_notes import cost_notes
from analyzers.finding import Column, Finding, Report, finding_id
from analyzers.registry import register
from analyzers.unknown_models import unknown_models
from analyzers.window import Window
from semconv import notes
from semconv.dialect_rules import claiming_keys
from semconv.dialects import tables
from semconv.sqltext import literal

_CLOCK_NOTES: Final = (notes.START_MISSING, notes.START_IN_FUTURE, notes.END_MISSING, notes.END_BEFORE_START)


class Problem(NamedTuple):
    """What calls may lack: the column that counts them, what that does, and what a reader can do about it."""

    name: str
    label: str
    title: str  # of so many calls; {service} and {library} are filled in
    effect: str
    action: str

    @property
    def sql(self) -> str:
        """How many calls have it, and the ids of some."""
        return (
            f"coalesce(sum(calls) FILTER ({self.name}), 0)::BIGINT AS {self.name},"
            f" list_sort(flatten(list(examples) FILTER ({self.name})))[:{EXAMPLES}] AS {self.name}_examples"
        )


PROBLEMS: Final = (
    Problem(
        "without_usage",
        "no usage",
        "report no tokens",
        "they have no cost and are in no sum of money",
        "update the library, or instrument the client that it calls",
    ),
    Problem(
        "streams_without_usage",
        "streams without usage",
        "stream without telling their tokens",
        "they have no cost and are in no sum of money",
        "ask the API for usage in streams (OpenAI: stream_options.include_usage)",
    ),
    Problem(
        "without_cache_split",
        "no cache split",
        "do not say how much input came from the cache",
        "those that have a cost are priced as if all input were new: where a cache was used, that is too high",
        "update the library to one that sends gen_ai.usage.cache_read.input_tokens",
    ),
    Problem(
        "unknown_semantics",
        "unknown semantics",
        "do not say whether their input includes what was cached",
        "their cost is known between two ends only",
        "update the library, or send gen_ai.usage.total_tokens, which decides it",
    ),
    Problem(
        "understated",
        "understated",
        "may leave out part of their tokens, reasoning or cached input",
        "their cost is too low by what is left out",
        "update the library, or instrument the client that it calls",
    ),
    Problem(
        "unknown_model",
        "no price",
        "are of a model without a known price",
        "they have no cost and are in no sum of money",
        "the findings of unknown models below have the nearest names of the price list",
    ),
    Problem(
        "possible_duplicates",
        "possible duplicates",
        "may be second reports of another call",
        "all are counted: the cost may be too high",
        "switch one of the instrumentations off",
    ),
    Problem(
        "clock_skew",
        "odd times",
        "have times that cannot be",
        "they may stand on the wrong day, and have no duration",
        "set the clock of the machine that sends them",
    ),
)
# What a service's metrics may be compared with: some leave out what was cached, as their library's input does.
_READINGS: Final = {
    "input": ("call_input_tokens", "call_uncached_input_tokens"),
    "output": ("call_output_tokens",),
}
# Metrics are exported once a minute or so: of a day, this is a quarter of an hour.
_TOLERANCE: Final = 0.01
_MISSED: Final = "calls may be missing: some are not traced, were sampled away or never arrived"
_TWICE: Final = "calls may be counted twice, or metrics did not arrive"
# What resolution notes where a sender leaves something out and says nowhere how much it was.
_LEFT_OUT: Final = ("output_may_lack_reasoning", "input_may_lack_cache")
_COLUMNS: Final = (
    Column("service", "service", "text"),
    Column("library", "library", "text"),
    Column("version", "version", "text"),
    Column("calls", "calls", "count"),
    Column("failed", "failed", "count"),
    *(Column(problem.name, problem.label, "count") for problem in PROBLEMS[:6]),
    Column("duplicates_merged", "merged", "count"),
    *(Column(problem.name, problem.label, "count") for problem in PROBLEMS[6:]),
    Column("uncertain_share", "uncertain", "ratio"),
)


@register(
    "data-quality", help="what the telemetry lacks, by service and library, and what that does to the cost"
)
def data_quality(connection: duckdb.DuckDBPyConnection, window: Window, _settings: dict[str, Any]) -> Report:
    """One row per service and library with its version; a finding for each thing that is missing there.

    A failed call without usage lacks nothing. `uncertain_share` is how far apart the two ends of the cost are, as a
    part of it. Calls that several records reported are merged, which is not a fault and stands there to be known.
    """
    records = _rows(connection, _calls_sql(), window)
    sampled = connection.execute(sql.read("sampling.sql").format(), window.parameters()).fetchall()
    return Report(
        columns=_COLUMNS,
        rows=tuple(tuple(record[column.name] for column in _COLUMNS) for record in records),
        notes=(
            *(_sampling(*row) for row in sampled),
            *([] if records else [f"no calls from {window}"]),
            *cost_notes(connection, window),
        ),
        findings=(
            *(finding for record in records for finding in _lacks(record)),
            *unknown_models(connection, window),
            *_metrics(connection, window),
        ),
    )


def _rows(connection: duckdb.DuckDBPyConnection, statement: str, window: Window) -> list[dict[str, Any]]:
    found = connection.execute(statement, window.parameters())
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, record, strict=True)) for record in found.fetchall()]


def _calls_sql() -> str:
    keys = (key for key in claiming_keys(tables().every_rule, "stream") if ".N" not in key)
    return sql.read("data_quality.sql").format(
        libraries=sql.read("call_libraries.sql"),
        streaming=" OR ".join(f"lower(attributes ->> {literal(key)}) = 'true'" for key in keys),
        names=", ".join(problem.name for problem in PROBLEMS),
        any_name=" OR ".join(problem.name for problem in PROBLEMS),
        most=EXAMPLES,
        problems=",\n    ".join(problem.sql for problem in PROBLEMS),
        clock_notes=_list(_CLOCK_NOTES),
        left_out=_list(_LEFT_OUT),
    )


def _list(names: Iterable[str]) -> str:
    return f"[{', '.join(map(literal, names))}]"


def _lacks(record: dict[str, Any]) -> Iterator[Finding]:
    service = honest.said(record["service"] or "(no name)")
    library = honest.said(record["library"] or "(no library)")
    for problem in PROBLEMS:
        count = record[problem.name]
        if count:
            who = f"{library} {honest.said(record['version'])}".strip()
            sent_by = {name: record[name] or None for name in ("service", "library", "version")}
            yield Finding(
                finding_id("data-quality", problem.name, sent_by),
                f"{count} of {record['calls']} calls of {honest.said(service)} via {honest.said(who)} {problem.title}",
                evidence={"calls": count, "of_calls": record["calls"]},
                caveats=(problem.effect,),
                dimension=sent_by,
                examples=tuple(record[f"{problem.name}_examples"]),
                action=problem.action,
                kind=problem.name,
            )


def _metrics(connection: duckdb.DuckDBPyConnection, window: Window) -> Iterator[Finding]:
    """Where token metrics and `calls` disagree. Metrics are never a source of figures."""
    if not _rows(connection, sql.read("metrics_told.sql"), window):
        return
    for check in _rows(connection, sql.read("metrics_check.sql"), window):
        service = honest.said(check["service_name"] or "(no name)")
        model = honest.said(check["model"] or "(no model)")
        for way, readings in _READINGS.items():
            said = check[f"metric_{way}_tokens"]
            counted = [check[reading] or 0 for reading in readings]
            if said is not None and all(_differ(said, one) for one in counted):
                effect = _MISSED if said > max(counted) else _TWICE
                about = {"tenant": check["tenant"], "service": check["service_name"], "model": check["model"]}
                yield Finding(
                    finding_id("data-quality", f"metrics_{way}", about),
                    f"metrics of {honest.said(service)} count {said} {way} tokens of {honest.said(model)}, its calls"
                    f" {counted[0]}",
                    evidence={"metric_tokens": said, "call_tokens": counted[0], "calls": check["calls"]},
                    caveats=(effect, "metrics at the window's ends count what is not finished or was before"),
                    dimension=about,
                    kind=f"metrics_{way}",
                )


def _differ(said: int, counted: int) -> bool:
    return abs(said - counted) > _TOLERANCE * max(said, counted)


def _sampling(service: str, spans: int, kept_share: float) -> str:
    return (
        f"sampled: this is not the bill. {spans} spans of {honest.said(service or '(no name)')} stand for more: at"
        f" least one kept only {kept_share:.1%} of its like"
    )
