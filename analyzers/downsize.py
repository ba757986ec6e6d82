"""Calls that a cheaper model of the same family may serve: small ones, and long contexts read again by a dear model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

import duckdb
import pyarrow as pa

from analyzers import honest, sql
from analyzers.cheaper_models import NoStep, Step, step
from analyzers.fields import Field, money
from analyzers.finding import Candidate, Column, Dimension, Report
from analyzers.frame import MOST_CANDIDATES
from analyzers.registry import register
from analyzers.setting import Setting, count, share
from analyzers.window import Window
from semconv import macros
from semconv.planned import relation
from semconv.prices import PriceBook, Pricer
from semconv.prices.pricer import PRICED_BY
from semconv.prices.stored import active

# Calls that are priced at once: some 100 MB.
_STEP_CALLS: Final = 200_000
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
# What calls are priced by but for what they do not have, or what is the cheaper model's.
_PRICED_BY_COLUMNS: Final = ", ".join(
    f"calls.{name}"
    for name in PRICED_BY
    if name not in ("node", "response_model", "request_model", "input_text_bytes")
)
# Parts of several of the statements; parameters are settings.
_CONDITIONS: Final = {
    "is_known": "calls.role = 'llm' AND calls.status_code <> 'ERROR' AND calls.cost_usd > 0"
    " AND calls.input_tokens IS NOT NULL AND calls.output_tokens IS NOT NULL",
    "is_little": "calls.input_tokens < $max_input_tokens AND calls.output_tokens < $max_output_tokens",
    "is_long": "calls.input_tokens >= $long_context_tokens AND coalesce(calls.cost_input_usd, 0)"
    " + coalesce(calls.cost_cache_read_usd, 0) + coalesce(calls.cost_cache_write_usd, 0)"
    " >= calls.cost_usd * $context_share",
    "run": "hash(calls.tenant, calls.session_id, CASE WHEN calls.session_id IS NULL THEN calls.trace_id END,"
    " CASE WHEN calls.session_id IS NULL AND calls.trace_id IS NULL THEN calls.call_id END)",
}
_OF_CALLS: Final = ("max_input_tokens", "max_output_tokens", "long_context_tokens", "context_share")
_THRESHOLDS: Final = {
    "downsize_groups.sql": (*_OF_CALLS, "least_share", "least_calls"),
    "downsize.sql": (*_OF_CALLS, "max_tool_calls"),
}


class _Saving(NamedTuple):
    """A row of downsize_savings.sql."""

    number: int
    kind: Literal["small", "context"]
    agent: str | None
    service: str | None
    provider: str | None
    model: str
    cheaper: str
    pricing_mode: str
    share: float
    calls: int
    runs: int
    sure_calls: int
    input_tokens: int
    cache_read_tokens: int | None
    output_tokens: int
    most_input_tokens: int
    cost_usd: Decimal
    cheaper_usd: Decimal

    @property
    def key(self) -> str:
        """As downsize_claims.sql has it."""
        return f"{self.kind}-{self.number}"

    @property
    def whose(self) -> Dimension:
        return {"service": self.service} if self.agent is None else {"agent": self.agent}

    @property
    def who(self) -> str:
        if self.agent is not None:
            return f"agent {honest.said(self.agent)}"
        return (
            f"calls of {honest.said(self.service)} without an agent"
            if self.service
            else "calls without an agent"
        )


@register(
    "downsize",
    help="calls that a cheaper model of the same family may serve: small ones, and long contexts read again",
    settings=(
        Setting("max_input_tokens", "a small call has less input, cache included", count, 5_000),
        Setting("max_output_tokens", "a small call, or a brief answer, has less output", count, 500),
        Setting("max_tool_calls", "a run of small calls has at most so many tool calls", count, 5),
        Setting("long_context_tokens", "a long context has at least so much input", count, 20_000),
        Setting(
            "context_share", "least part of such a call's cost that is its context", share, Decimal("0.7")
        ),
        Setting(
            "least_share",
            "least part of an agent's calls that are small, or of its cost that is long context",
            share,
            Decimal("0.5"),
        ),
        Setting("least_calls", "fewer such calls of an agent are passed over", count, 10),
    ),
    needs=("price_overrides",),
)
def downsize(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per kind, agent (service where no agent is known), model and pricing mode: what such calls cost, and what
    they would have cost by the model one step cheaper in its family (cheaper_models.toml), each at its own time and
    with its own tokens. Savings are claimed call by call.
    """
    book = PriceBook(active(connection), settings.get("price_overrides", ()))
    models = connection.execute(_statement("downsize_models.sql"), window.parameters()).fetchall()
    steps = [(model, step(book, *model[:3])) for model in models]
    known = [(*model[:3], *found) for model, found in steps if isinstance(found, Step)]
    notes = [*_left_out(steps)] if models else [f"no calls from {window}"]
    if not known:
        return _report([], None, notes)
    with relation(connection, "downsize_steps", _table(known)):
        groups = _arrow(connection, "downsize_groups.sql", window, settings)
    if not groups.num_rows:
        return _report([], None, notes)
    with relation(connection, "downsize_groups", groups):
        calls = _arrow(connection, "downsize.sql", window, settings)
        prices = _prices(connection, book, calls)
        savings, claims = _savings(connection, calls, prices, settings)
    if any(saving.pricing_mode == "unknown" for saving in savings):
        notes += honest.undeclared_plans(connection, window)
    if unpriced := prices["cost_usd"].null_count:
        notes.append(
            f"{unpriced} calls have no price by the cheaper model at their time: nothing is claimed of them"
        )
    return _report(savings, claims, notes)


def _arrow(
    connection: duckdb.DuckDBPyConnection, name: str, window: Window, settings: Mapping[str, Any]
) -> pa.Table:
    parameters = window.parameters() | {threshold: settings[threshold] for threshold in _THRESHOLDS[name]}
    return connection.execute(_statement(name), parameters).to_arrow_table()


def _statement(name: str) -> str:
    return sql.read(name).format(**_CONDITIONS, priced_by=_PRICED_BY_COLUMNS)


def _table(steps: Sequence[tuple[str | None, ...]]) -> pa.Table:
    columns = zip(*steps, strict=True)
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=_STEPS)


def _savings(
    connection: duckdb.DuckDBPyConnection, calls: pa.Table, prices: pa.Table, settings: Mapping[str, Any]
) -> tuple[list[_Saving], pa.Table]:
    """What saves most first, and the claims of all of it."""
    thresholds = {name: settings[name] for name in ("least_share", "least_calls")}
    with (
        relation(connection, "downsize_calls", calls),
        relation(connection, "downsize_prices", prices),
    ):
        found = connection.execute(sql.read("downsize_savings.sql"), thresholds).fetchall()
        savings = [_Saving(*row) for row in found]
        keys = {"candidates": [saving.key for saving in savings]}
        return savings, connection.execute(sql.read("downsize_claims.sql"), keys).to_arrow_table()


def _prices(connection: duckdb.DuckDBPyConnection, book: PriceBook, calls: pa.Table) -> pa.Table:
    """`node`, `cost_usd`, `cost_low_usd` and `cost_high_usd` of each call by its cheaper model."""
    # How an account is billed does not change what a call costs.
    macros.install_plans(connection, ())
    pricer = Pricer(connection, book)
    calls = calls.append_column("input_text_bytes", pa.nulls(calls.num_rows, pa.int64()))
    steps = [calls.slice(at, _STEP_CALLS) for at in range(0, max(calls.num_rows, 1), _STEP_CALLS)]
    wanted = ("node", "cost_usd", "cost_low_usd", "cost_high_usd")
    return pa.concat_tables([pricer.price(part, wanted) for part in steps])


def _left_out(steps: Sequence[tuple[tuple[Any, ...], Step | NoStep]]) -> Iterator[str]:
    """What is said of calls of which nothing can be claimed, whatever they are like."""
    for reason, words in _REASONS.items():
        models: Counter[str] = Counter()
        for (_, response_model, request_model, calls, _), found in steps:
            if found == reason and calls:
                models[response_model or request_model or "no model"] += calls
        if models:
            shown = ", ".join(honest.said(name) for name, _ in models.most_common(_MODELS_SHOWN))
            more = f" and {len(models) - _MODELS_SHOWN} more" if len(models) > _MODELS_SHOWN else ""
            yield f"{models.total()} calls are left out, {words}: {shown}{more}"
    if unknown := sum(model[-1] for model, _ in steps):
        yield f"{unknown} calls are left out, of which cost or usage is not known"


def _report(savings: Sequence[_Saving], claims: pa.Table | None, notes: Sequence[str]) -> Report:
    shown = savings[:MOST_CANDIDATES]
    fields = [*_fields()]
    more = len(savings) - len(shown)
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(read(saving) for _, read in fields) for saving in shown),
        notes=(
            *notes,
            *([f"{more} more agents and models that would save less are not shown"] if more else []),
        ),
        candidates=tuple(map(_candidate, shown)),
        claims=claims,
    )


def _fields() -> Iterator[Field]:
    for name in ("kind", "agent", "service", "provider", "model", "cheaper"):
        yield Column(name, "cheaper model" if name == "cheaper" else name, "text"), attrgetter(name)
    yield honest.MODE, attrgetter("pricing_mode")
    yield Column("calls", "calls", "count"), attrgetter("calls")
    yield Column("share", "share", "ratio"), attrgetter("share")
    for name in ("input_tokens", "cache_read_tokens", "output_tokens"):
        yield Column(name, name.replace("_", " "), "count"), attrgetter(name)
    yield from money(honest.COLUMNS, attrgetter("cost_usd"))
    yield from money(honest.columns("{}_by_cheaper", "{} by the cheaper model"), attrgetter("cheaper_usd"))


def _candidate(saving: _Saving) -> Candidate:
    words = _SMALL if saving.kind == "small" else _CONTEXT
    return Candidate(
        key=saving.key,
        kind=saving.kind,
        dimension={**saving.whose, "provider": saving.provider, "model": saving.model},
        pricing_mode=saving.pricing_mode,
        title=f"{saving.who}: {words.title} {honest.said(saving.model)}; {saving.cheaper} costs less",
        method=words.method,
        action=(
            f"try {saving.cheaper} on a sample of these calls and judge its answers by your own measure; then switch "
            "what passes"
        ),
        evidence=_evidence(saving),
        caveats=(
            f"prices are compared, not answers: nothing here says that {saving.cheaper} answers as well",
            "the same tokens are assumed: another model may answer at greater length, think more or need another try",
            *words.caveats,
        ),
    )


def _evidence(saving: _Saving) -> dict[str, object]:
    return {
        "cheaper_model": saving.cheaper,
        "share": round(saving.share, 4),
        "runs": saving.runs,
        "sure_calls": saving.sure_calls,
        "input_tokens": saving.input_tokens,
        "cache_read_tokens": saving.cache_read_tokens,
        "output_tokens": saving.output_tokens,
        "most_input_tokens": saving.most_input_tokens,
        "cost": honest.Amount(saving.pricing_mode, saving.cost_usd),
        "cost_by_cheaper_model": honest.Amount(saving.pricing_mode, saving.cheaper_usd),
    }


class _Words(NamedTuple):
    title: str
    method: str
    caveats: tuple[str, ...]


_SMALL: Final = _Words(
    "small calls on",
    "each call priced again by the cheaper model's prices at its own time; low: calls of runs in which every call is "
    "small, high: all small calls",
    ("tool calls are those that were recorded; a run with more of them may be less simple than it looks",),
)
_CONTEXT: Final = _Words(
    "long contexts sent again and again to",
    "each call priced again by the cheaper model's prices at its own time; low: calls with a brief answer, high: all "
    "calls with a long context",
    (
        "cache reads are taken over as they were: models share no cache, so that this holds where the agent is "
        "switched as a whole",
        "the cheaper model may have a smaller context window than the longest input here",
    ),
)
