"""What `downsize` and `routing` have in common: calls, by whom they are made, that a model one step cheaper prices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from analyzers import honest, sql
from analyzers.cheaper_models import NoStep, Step, step
from analyzers.finding import Dimension
from analyzers.repricing import priced_by
from analyzers.window import Window
from semconv.planned import relation
from semconv.prices import PriceBook

_MODELS_SHOWN: Final = 5
_REASONS: Final[Mapping[NoStep, str]] = {
    "unknown": "for nobody says what family their model is of",
    "unpriced": "for the cheaper model has no price at their provider",
}
_STEPS: Final = pa.schema(
    [
        (name, pa.string())
        for name in ("provider", "response_model", "request_model", "model", "cheaper", "sent")
    ]
)
# But for the model's names, which are the cheaper one's.
_PRICED_BY: Final = priced_by("response_model", "request_model")
# Parts of statements. A run is what goes on in a session, or in a trace where there is none: hashes stand for them.
PARTS: Final = {
    "is_known": "calls.role = 'llm' AND calls.status_code <> 'ERROR' AND calls.cost_usd > 0"
    " AND calls.input_tokens IS NOT NULL AND calls.output_tokens IS NOT NULL",
    "run": "hash(calls.tenant, calls.session_id, CASE WHEN calls.session_id IS NULL THEN calls.trace_id END,"
    " CASE WHEN calls.session_id IS NULL AND calls.trace_id IS NULL THEN calls.call_id END)",
    "asks_for_tool": "coalesce(calls.finish_reasons[1] IN"
    " ('tool_calls', 'tool_use', 'tool-calls', 'tool_call', 'function_call'), FALSE)",
    # Whether a call is one of a group of cheaper_groups.sql.
    "of_group": "groups.agent IS NOT DISTINCT FROM calls.agent_name"
    " AND groups.service IS NOT DISTINCT FROM CASE WHEN calls.agent_name IS NULL THEN calls.service_name END"
    " AND groups.provider IS NOT DISTINCT FROM calls.provider"
    " AND groups.response_model IS NOT DISTINCT FROM calls.response_model"
    " AND groups.request_model IS NOT DISTINCT FROM calls.request_model"
    " AND groups.pricing_mode = calls.pricing_mode",
    "priced_by": _PRICED_BY,
    # Of a call of such a group: what it costs, and what the cheaper model's price depends on.
    "to_reprice": "groups.sent AS response_model, groups.sent AS request_model, calls.cost_usd,"
    " coalesce(calls.cost_low_usd, calls.cost_usd) AS cost_low_usd,"
    " coalesce(calls.cost_high_usd, calls.cost_usd) AS cost_high_usd,"
    f" {_PRICED_BY}",
}


def whose(agent: str | None, service: str | None) -> Dimension:
    """An agent's calls, or a service's that name no agent."""
    return {"service": service} if agent is None else {"agent": agent}


def who(agent: str | None, service: str | None) -> str:
    if agent is not None:
        return f"agent {honest.said(agent)}"
    return f"calls of {honest.said(service)} without an agent" if service else "calls without an agent"


class Looked(NamedTuple):
    """What an analyzer looks for in calls: parts of cheaper_named.sql and cheaper_groups.sql, and the settings that
    these name as parameters."""

    traits: str
    figures: str
    having: str
    of_calls: tuple[str, ...]
    of_groups: tuple[str, ...]


class Groups(NamedTuple):
    """``table``: of cheaper_groups.sql. ``notes``: of which calls nothing can be said, whatever they are like."""

    table: pa.Table | None
    notes: tuple[str, ...]


def groups(
    connection: duckdb.DuckDBPyConnection,
    book: PriceBook,
    window: Window,
    settings: Mapping[str, Any],
    looked: Looked,
) -> Groups:
    """Whose calls may be claimed, and which cheaper model stands for theirs; None where there are none."""
    named = connection.execute(
        sql.read("cheaper_named.sql").format(**PARTS, traits=looked.traits, figures=looked.figures),
        window.parameters() | {name: settings[name] for name in looked.of_calls},
    ).to_arrow_table()
    with relation(connection, "cheaper_named", named):
        models = connection.execute(sql.read("cheaper_steps.sql")).fetchall()
        found = [(model, step(book, *model[:3])) for model in models]
        notes = tuple(_left_out(found)) if models else (f"no calls from {window}",)
        known = [(*model[:3], *one) for model, one in found if isinstance(one, Step)]
        if not known:
            return Groups(None, notes)
        steps = pa.table(
            [pa.array(column, pa.string()) for column in zip(*known, strict=True)], schema=_STEPS
        )
        with relation(connection, "cheaper_steps", steps):
            table = connection.execute(
                sql.read("cheaper_groups.sql").format(having=looked.having),
                {name: settings[name] for name in looked.of_groups},
            ).to_arrow_table()
    return Groups(table if table.num_rows else None, notes)


def _left_out(found: Sequence[tuple[tuple[Any, ...], Step | NoStep]]) -> Iterator[str]:
    for reason, words in _REASONS.items():
        models: Counter[str] = Counter()
        for (_, response_model, request_model, calls, _), one in found:
            if one == reason and calls:
                models[response_model or request_model or "no model"] += calls
        if models:
            shown = ", ".join(honest.said(name) for name, _ in models.most_common(_MODELS_SHOWN))
            more = f" and {len(models) - _MODELS_SHOWN} more" if len(models) > _MODELS_SHOWN else ""
            yield f"{models.total()} calls are left out, {words}: {shown}{more}"
    if unknown := sum(model[-1] for model, _ in found):
        yield f"{unknown} calls are left out, of which cost or usage is not known"


def without_price(prices: pa.Table) -> Iterator[str]:
    """The note for calls that the cheaper model did not serve at their time."""
    if unpriced := prices["cost_usd"].null_count:
        yield f"{unpriced} calls have no price by the cheaper model at their time: nothing is claimed of them"
