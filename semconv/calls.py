"""From stored spans to `calls`: which columns the SQL needs, and which traces belong together.

How a store uses this, inside one transaction and after `Resolver.resolve_spans`:

1. ``TEMP touched_traces(tenant, trace_id)``: the distinct traces of the new spans.
2. ``TEMP call_records``: ``SELECT {call_record_select(dimensions)}`` over the new spans, ``UNION ALL`` the
   same over the stored spans of the touched traces. Every span of a touched trace, GenAI or not: parents and
   sessions stand anywhere.
3. Run ``partner_traces_sql("<stored spans>")``. While it names traces: add them to ``touched_traces`` and
   their stored spans to ``call_records``, and run it again. It names none that are touched, so this ends.
4. ``Resolver.build_calls()``, then replace in ``calls`` every row whose (tenant, trace_id) is touched with
   the rows of ``TEMP built_calls``.

The result depends on the set of records alone, never on the order or the batches in which they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from semconv.columns import CLAIMED
from semconv.sqltext import literal, quoted, sql_text

# Two records of different traces can only be one call when they start within this time of each other. It
# bounds the search for partners; a server that draws its ids from 999 numbers must not join all its traces.
PARTNER_HORIZON_SECONDS: Final = 3600
# Rule (c): how far the inner record may stand from the outer one at each end.
NESTING_SLACK_NS: Final = 50_000_000
# With how many of the next records by start a record is compared among those of one id or of equal counts. A
# call has been seen in four records; a server that sends one id for ever must not cost the square of its calls.
NEIGHBOURS: Final = 8
# The bounds as the SQL files name them.
BOUNDS: Final = {
    "horizon_ns": PARTNER_HORIZON_SECONDS * 1_000_000_000,
    "slack_ns": NESTING_SLACK_NS,
    "neighbours": NEIGHBOURS,
}

_IDENTITY: Final = (
    *("tenant", "trace_id", "span_id", "parent_span_id"),
    *("start_time", "start_unix_nano", "end_unix_nano", "duration_ns", "status_code"),
    *("service_name", "deployment_environment", "scope_name", "dialect", "role"),
)
_READ_FOR_RESOLUTION_ONLY: Final = {"total_tokens", "stream"}

# The process that sent the record: service.instance.id where sent, else all that the resource says.
_RESOURCE: Final = (
    "CASE WHEN role IN ('llm', 'embeddings')"
    " THEN coalesce(resource_attributes ->> 'service.instance.id', resource_attributes::VARCHAR) END"
)

# Column of `call_records` -> expression over a row of `spans`, stored or just resolved.
CALL_RECORD_COLUMNS: Final[Mapping[str, str]] = {
    **{name: name for name in _IDENTITY},
    **{name: name for name, _ in CLAIMED if name not in _READ_FOR_RESOLUTION_ONLY},
    **{name: name for name in ("token_semantics", "token_evidence", "notes")},
    "signal": "'span'",
    "resource": _RESOURCE,
}


def call_record_select(dimensions: Mapping[str, str]) -> str:
    """The select list that makes `call_records` of `spans`; `dimensions`: column name -> attribute key."""
    columns = {**CALL_RECORD_COLUMNS, **_dimension_columns(dimensions)}
    return ", ".join(name if name == value else f"{value} AS {name}" for name, value in columns.items())


def partner_traces_sql(stored_spans: str) -> str:
    """A SELECT of (tenant, trace_id): untouched traces in `stored_spans` with a record that may be one call
    with one in ``TEMP call_records``, by an equal response id or by rule (c); needs ``TEMP touched_traces``.

    `stored_spans` is a relation with the columns of `spans`: ``lake.spans``, or a subquery cut to
    ``start_time BETWEEN <first start of call_records> - 1 h AND <last> + 1 h`` (``PARTNER_HORIZON_SECONDS``,
    which the rule itself demands) so that files outside are never read.
    """
    return sql_text("partners.sql").format(stored_spans=stored_spans, resource=_RESOURCE, **BOUNDS)


def resource_dimension(name: str) -> str:
    """The column of `call_records` that holds a dimension's value on the resource."""
    return f"resource_{name}"


def _dimension_columns(dimensions: Mapping[str, str]) -> dict[str, str]:
    """Per dimension the record's own value and, of lower rank, its resource's."""
    columns: dict[str, str] = {}
    for name, key in dimensions.items():
        columns[quoted(name)] = f"attributes ->> {literal(key)}"
        columns[quoted(resource_dimension(name))] = f"resource_attributes ->> {literal(key)}"
    return columns
