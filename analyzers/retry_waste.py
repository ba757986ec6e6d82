"""What is paid for calls that failed, and for going in circles: the same tool call over and over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import duckdb

from analyzers import honest, sql
from analyzers.fields import Field, money
from analyzers.finding import Candidate, Column, Report
from analyzers.frame import MOST_CANDIDATES
from analyzers.registry import register
from analyzers.setting import BadSetting, Setting, count, length, share
from analyzers.window import Window, parse_length
from semconv.planned import relation

_SETTINGS: Final = (
    Setting("retry_within", "how soon the same call comes again", length, parse_length("5m")),
    Setting("similar_input", "by what part its input may differ", share, share("similar_input", "0.1")),
    Setting("loop_of", "how many tool calls are looked at", count, 6),
    Setting("loop_same", "how many of them are the same in a loop", count, 4),
    Setting("top", "most rows shown, 0 = all", count, 20),
)
_FAILED_METHOD: Final = (
    "what failed calls cost; at the low end those alone that were tried again, as then one of the two was paid for "
    "nothing"
)
_FAILED_CAVEATS: Final = (
    "failed calls without reported usage count nothing, though some providers bill them, such as those that time out",
    "what a client library tries again within one call is not seen",
    "a retry is told by order, model and size of the input: texts are not compared",
)
_LOOP_METHOD: Final = (
    "what the calls cost that asked for the same tool call again; at the low end those alone that came after the loop "
    "could be seen, where the arguments are known to be equal"
)
_LOOP_CAVEATS: Final = ("waiting for something that changes, by asking again, looks the same",)
# What is known of arguments that are called the same, and what of it is in doubt.
_DOUBTS: Final = {
    "length": "arguments and results are known to be as long each time, no more: `capture: {tool_inputs: true}` tells",
    "failed": "the arguments are not known, the tool failed each time: `capture: {tool_inputs: true}` tells",
}
_FAILED_MONEY: Final = honest.columns("{}_of_failed_calls", "{} of failed calls")
_LOOPING_MONEY: Final = honest.columns("{}_of_looping_calls", "{} of calls in loops")


class _Row(NamedTuple):
    """A row of retry_rows.sql."""

    agent: str | None
    model: str | None
    pricing_mode: str
    failed_calls: int
    retried_calls: int
    retries_succeeded: int
    failed_without_cost: int
    failed_tokens: int | None
    failed_usd: Any
    looping_calls: int
    suspected_calls: int
    looping_tokens: int | None
    looping_usd: Any
    is_total: bool


@register(
    "retry-waste",
    help="what failed calls and their retries cost, and agents that ask for the same tool call over and over",
    settings=_SETTINGS,
)
def retry_waste(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per agent, model and pricing mode with failed calls or calls in loops, the dearest first; one total per
    pricing mode. A call in a loop may be a failed one too: a finding claims it once, the rows' two columns of money
    overlap in it. Raises BadSetting.
    """
    if settings["loop_same"] < 2:
        raise BadSetting("`loop_same` is a whole number from 2")
    parameters = window.parameters()
    failing = {name: settings[name] for name in ("retry_within", "similar_input")}
    looping = {name: settings[name] for name in ("loop_of", "loop_same")}
    failed = connection.execute(sql.read("failed_calls.sql"), parameters | failing).to_arrow_table()
    loops = connection.execute(sql.read("looping_calls.sql"), parameters | looping).to_arrow_table()
    with relation(connection, "failed", failed), relation(connection, "looping", loops):
        found = [_Row(*row) for row in connection.execute(sql.read("retry_rows.sql")).fetchall()]
        claims = connection.execute(sql.read("retry_claims.sql")).to_arrow_table()
        candidates = (*_failed(connection), *_loops(connection))
    rows = [row for row in found if not row.is_total]
    shown = rows[: settings["top"] or None]
    totals = [row for row in found if row.is_total]
    fields = list(_fields([row.pricing_mode for row in totals]))
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(read(row) for _, read in fields) for row in shown),
        totals=tuple(tuple(read(row) for _, read in fields) for row in totals),
        notes=tuple(_notes(connection, window, totals, len(rows) - len(shown))),
        candidates=candidates,
        claims=claims,
    )


def _failed(connection: duckdb.DuckDBPyConnection) -> Iterator[Candidate]:
    found = connection.execute(sql.read("failed_candidates.sql"), {"most": MOST_CANDIDATES}).fetchall()
    for key, agent, model, mode, calls, retried, succeeded, errors in found:
        yield Candidate(
            key,
            "failed",
            {"agent": agent, "model": model},
            mode,
            f"{calls} calls of {_named(model, 'no named model')} by {_named(agent, 'no named agent')} failed and "
            f"were billed; {retried} of them were tried again",
            _FAILED_METHOD,
            "find out why they fail, and check what is sure to fail before it is sent; wait longer between retries",
            {"failed_calls": calls, "retried": retried, "retries_succeeded": succeeded, "errors": errors},
            _FAILED_CAVEATS,
        )


def _loops(connection: duckdb.DuckDBPyConnection) -> Iterator[Candidate]:
    found = connection.execute(sql.read("looping_candidates.sql"), {"most": MOST_CANDIDATES}).fetchall()
    for key, agent, tool, mode, calls, tool_calls, sessions, arguments in found:
        yield Candidate(
            key,
            "loop",
            {"agent": agent, "tool": tool},
            mode,
            f"{_named(agent, 'no named agent')} asked for the same call of tool {honest.said(tool)} again in {calls} "
            f"calls of {sessions} sessions",
            _LOOP_METHOD,
            "end a session, or tell the model, when the same tool call comes again and again",
            {
                "looping_calls": calls,
                "tool_calls": tool_calls,
                "sessions": sessions,
                "same_arguments": arguments,
            },
            (*_LOOP_CAVEATS, *(_DOUBTS[one] for one in arguments if one in _DOUBTS)),
        )


def _named(name: str | None, otherwise: str) -> str:
    return otherwise if name is None else honest.said(name)


def _fields(modes: Sequence[str]) -> Iterator[Field]:
    yield Column("agent", "agent", "text"), attrgetter("agent")
    yield Column("model", "model", "text"), attrgetter("model")
    yield honest.MODE, attrgetter("pricing_mode")
    for name, label in (
        ("failed_calls", "failed"),
        ("retried_calls", "tried again"),
        ("retries_succeeded", "then succeeded"),
        ("failed_without_cost", "failed, cost unknown"),
        ("failed_tokens", "tokens of failed calls"),
    ):
        yield Column(name, label, "count"), attrgetter(name)
    yield from money(_FAILED_MONEY, attrgetter("failed_usd"), modes)
    for name, label in (
        ("looping_calls", "calls in loops"),
        ("suspected_calls", "in loops by tool name alone"),
        ("looping_tokens", "tokens of calls in loops"),
    ):
        yield Column(name, label, "count"), attrgetter(name)
    yield from money(_LOOPING_MONEY, attrgetter("looping_usd"), modes)


def _notes(
    connection: duckdb.DuckDBPyConnection, window: Window, totals: Sequence[_Row], left_out: int
) -> Iterator[str]:
    if not totals:
        yield f"no failed calls and no loops from {window}"
        return
    if left_out:
        yield f"{left_out} more rows are not shown; the totals contain them"
    if any(row.pricing_mode == "unknown" for row in totals):
        yield from honest.undeclared_plans(connection, window)
    if unknown := sum(row.failed_without_cost for row in totals):
        yield (
            f"{unknown} failed calls report no usage, so that their cost is not known: they are in no sum, though some "
            "providers bill what they had begun"
        )
    if suspected := sum(row.suspected_calls for row in totals):
        yield (
            f"{suspected} calls asked for a tool again by name alone: their arguments were not recorded, so that "
            "nothing is claimed of them"
        )
