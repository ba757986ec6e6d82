"""Sessions that use the same tools in the same order again and again, so that a script could do it, and what asking a
model for each step costs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from analyzers import honest, sql
from analyzers.fields import Field, money
from analyzers.finding import Candidate, Column, Dimension, Report
from analyzers.frame import MOST_CANDIDATES
from analyzers.registry import register
from analyzers.setting import BadSetting, Setting, count, number, share
from analyzers.window import Window
from semconv.planned import relation

# Who makes more tool calls than this in a session does not follow a recipe; and a finding can be read.
_MOST_STEPS: Final = 50
_STEPS_IN_TITLE: Final = 6
_METHOD: Final = (
    "what the calls cost that asked for the steps, as a script asks no model what to do next; at the low end those "
    "alone all of whose steps have the same arguments in nearly every session, so that no model needs to choose them"
)
_ACTION: Final = (
    "write the steps down as a script or a fixed pipeline, and keep the model for what needs judgement: arguments that "
    "depend on what was read, and the answer"
)
_CAVEATS: Final = (
    "the same steps are seen, not the same reasons: what looks fixed may have been a decision each time",
    "calls after the last step, which write the answer, are not claimed",
)
_BY_NAME: Final = (
    "arguments of {} of {} tool calls were not captured: these are compared by the tools' names alone; "
    "`capture: {{tool_inputs: true}}` tells more"
)


class _Workflow(NamedTuple):
    """A row of workflow_restructure.sql: one order of steps, and the calls of one pricing mode that asked for them."""

    number: int
    agent: str | None
    service: str | None
    steps: list[str]
    tools: list[str]
    sessions: int
    agent_sessions: int
    tool_calls: int
    known_arguments: int
    same_steps: int
    by_chance: float
    pricing_mode: str
    calls: int
    sure_calls: int
    calls_without_cost: int
    tokens: int | None
    cost_usd: Decimal | None

    @property
    def key(self) -> str:
        """As workflow_claims.sql has it."""
        return f"{self.number} {self.pricing_mode}"

    @property
    def workflow(self) -> str:
        """The same for the same steps in every run."""
        return hashlib.sha256(json.dumps(self.steps).encode()).hexdigest()[:12]

    @property
    def dimension(self) -> Dimension:
        whose = {"service": self.service} if self.agent is None else {"agent": self.agent}
        return {**whose, "workflow": self.workflow}

    @property
    def who(self) -> str:
        if self.agent is not None:
            return f"agent {honest.said(self.agent)}"
        return f"service {honest.said(self.service)}" if self.service else "no named agent"

    @property
    def length(self) -> int:
        return len(self.steps)

    @property
    def order(self) -> str:
        return _order(self.steps, len(self.steps))


@register(
    "workflow-restructure",
    help="sessions that use the same tools in the same order again and again: candidates for a script",
    settings=(
        Setting("least_steps", "a workflow has as many tool calls", count, 2),
        Setting("least_sessions", "as many sessions with the same steps make a workflow", count, 20),
        Setting("times_chance", "and as many times more than tools chosen at random would give", number, 3.0),
        Setting(
            "same_share",
            "part of the sessions in which a step's arguments are the same, for it to need no model",
            share,
            Decimal("0.9"),
        ),
    ),
)
def workflow_restructure(
    connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]
) -> Report:
    """One row per workflow and pricing mode, the dearest first. A step is a tool and the shape of its arguments, by the
    type of each; the tool's name alone where they were not captured. Raises BadSetting.
    """
    if settings["least_sessions"] < 2:
        raise BadSetting("`least_sessions` is a whole number from 2")
    workflows, claims, notes = _found(connection, window, settings)
    if any(one.pricing_mode == "unknown" for one in workflows):
        notes += honest.undeclared_plans(connection, window)
    shown = workflows[:MOST_CANDIDATES]
    if more := len(workflows) - len(shown):
        notes.append(f"{more} more workflows that cost less are not shown")
    fields = [*_fields()]
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(read(one) for _, read in fields) for one in shown),
        notes=tuple(notes),
        candidates=tuple(map(_candidate, shown)),
        claims=claims,
    )


def _found(
    connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]
) -> tuple[list[_Workflow], pa.Table | None, list[str]]:
    over = window.parameters()
    least = {name: settings[name] for name in ("least_sessions", "times_chance")}
    same = {"same_share": settings["same_share"]}
    tools = connection.execute(
        sql.read("workflow_tool_calls.sql"),
        over | least | {"least_steps": settings["least_steps"], "most_steps": _MOST_STEPS},
    ).to_arrow_table()
    notes = [*_notes(tools, window)]
    tools = tools.drop_columns(["sessions", "long_sessions"])
    if tools["thread"].null_count:
        return [], None, notes
    with relation(connection, "workflow_tool_calls", tools):
        steps = connection.execute(sql.read("workflow_steps.sql"), over | least).to_arrow_table()
    with relation(connection, "workflow_steps", steps):
        calls = connection.execute(sql.read("workflow_calls.sql"), over | same).to_arrow_table()
        with relation(connection, "workflow_calls", calls):
            rows = connection.execute(sql.read("workflow_restructure.sql"), same).fetchall()
            claims = connection.execute(sql.read("workflow_claims.sql")).to_arrow_table()
    return [_Workflow(*row) for row in rows], claims, notes


def _notes(tools: pa.Table, window: Window) -> Iterator[str]:
    sessions, long_sessions = (tools[name][0].as_py() for name in ("sessions", "long_sessions"))
    if not sessions:
        yield f"no tool calls of sessions with known calls from {window}"
        return
    yield f"{sessions} sessions (traces where there is none) with tool calls were compared"
    if long_sessions:
        yield f"{long_sessions} of them have more than {_MOST_STEPS} tool calls and are taken for no workflow"


def _fields() -> Iterator[Field]:
    for name in ("agent", "service", "workflow", "order"):
        yield Column(name, "steps" if name == "order" else name, "text"), attrgetter(name)
    yield honest.MODE, attrgetter("pricing_mode")
    for name, label in (
        ("sessions", "sessions"),
        ("length", "steps"),
        ("same_steps", "steps with the same arguments"),
        ("calls", "calls that asked for them"),
        ("calls_without_cost", "cost unknown"),
        ("tokens", "tokens of these calls"),
    ):
        yield Column(name, label, "count"), attrgetter(name)
    yield from money(honest.COLUMNS, attrgetter("cost_usd"))


def _candidate(found: _Workflow) -> Candidate:
    tools = _order(found.tools, _STEPS_IN_TITLE)
    unknown = found.tool_calls - found.known_arguments
    return Candidate(
        key=found.key,
        kind="workflow",
        dimension=found.dimension,
        pricing_mode=found.pricing_mode,
        title=(
            f"{found.who}: {found.sessions} of {found.agent_sessions} sessions with tools make the same "
            f"{found.length} tool calls, for which {found.calls} calls ask a model: {tools}"
        ),
        method=_METHOD,
        action=_ACTION,
        evidence=_evidence(found),
        caveats=(*_CAVEATS, *([_BY_NAME.format(unknown, found.tool_calls)] if unknown else [])),
    )


def _evidence(found: _Workflow) -> dict[str, object]:
    return {
        "steps": found.steps,
        "sessions": found.sessions,
        "sessions_by_chance": round(found.by_chance, 2),
        "sessions_with_tools": found.agent_sessions,
        "steps_with_same_arguments": found.same_steps,
        "sure_calls": found.sure_calls,
        "cost_of_asking": honest.Amount(found.pricing_mode, found.cost_usd),
    }


def _order(steps: Sequence[str], most: int) -> str:
    shown = [honest.said(step) for step in steps[:most]]
    more = len(steps) - len(shown)
    return " → ".join([*shown, *([f"{more} more"] if more else [])])
