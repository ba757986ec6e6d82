"""What the three signals' extraction shares: the request's origin, the sender's columns, rows to tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from semconv import notes as note
from semconv.claims import claim_resource
from semconv.dialects import NO_DIALECT, Tables
from semconv.gate import Gate, Taken
from semconv.otlp import INT64_MAX, Exemplar, Notes, ScopeGroup
from semconv.request import Request
from semconv.settings import Keep, Settings
from semconv.values import cut_text, json_text

Row = tuple[Any, ...]


@dataclass(slots=True)
class Rows:
    """Rows of the four tables, in the order of their schemas, and the counts, while requests are read."""

    spans: list[Row] = field(default_factory=list)
    log_records: list[Row] = field(default_factory=list)
    metric_points: list[Row] = field(default_factory=list)
    contents: list[Row] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    """The Arrow table of rows in the order of the schema's columns."""
    if not rows:
        return schema.empty_table()
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, item.type) for column, item in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


@dataclass(frozen=True, slots=True)
class Context:
    """One request's surroundings."""

    request: Request
    settings: Settings
    tables: Tables
    rows: Rows
    short: int  # no text of so few characters needs to be cut

    @property
    def received_us(self) -> int:
        """When the request was received, in Unix microseconds."""
        return self.request.received_at // 1000

    def text(self, text: str | None, notes: Notes) -> str | None:
        """A text column: NULL for empty, cut to the configured length."""
        if not text:
            return None
        if len(text) <= self.short:
            return text
        cut = cut_text(text, self.settings.max_value_bytes)
        if cut is not text:
            notes.append(note.VALUE_CUT)
        return cut

    def add_contents(self, taken: Taken, trace_id: str | None, span_id: str | None, time_us: int) -> None:
        """Store what the gate took of the classes that are switched on."""
        for content_class, place, text in taken.contents:
            row = (self.request.tenant, trace_id, span_id, content_class, place, text, time_us)
            self.rows.contents.append(row)


class Sender(NamedTuple):
    """Resource and scope of the records of one scope group, as the rows hold them."""

    columns: Row  # service_name … scope_attributes
    billing: Row  # resource_billing_account, resource_plan_tier, bound_billing_account
    origin: Row  # source, received_at
    notes: Notes
    names_genai: bool  # the scope's name or attributes are of a dialect


def read_sender(context: Context, group: ScopeGroup) -> Sender:
    """Read resource and scope, once for all records of a group."""
    resource, scope = group.resource, group.scope
    notes: Notes = [*resource.notes, *scope.notes]
    claimed = claim_resource(resource.attributes, context.tables.resources, notes).values
    names_genai = _names_genai(context.tables, group)
    columns = (
        *(context.text(value, notes) for value in claimed[:4]),
        context.text(scope.name, notes),
        context.text(scope.version, notes),
        context.text(scope.schema_url or resource.schema_url, notes),
        *_attribute_texts(context, group, notes, names_genai),
    )
    request = context.request
    billing = (*claimed[4:], request.billing_account)
    return Sender(columns, billing, (request.source, context.received_us), notes, names_genai)


def _names_genai(tables: Tables, group: ScopeGroup) -> bool:
    if tables.rules.is_genai_scope_name(group.scope.name):
        return True
    return any(tables.keys[key].rank < NO_DIALECT for key in group.scope.attributes)


def _attribute_texts(context: Context, group: ScopeGroup, notes: Notes, names_genai: bool) -> tuple[str, str]:
    """Texts of the resource's and the scope's attributes; copies are gated, for scopes share their
    resource.
    """
    gate = Gate(context.tables, context.settings, genai_scope=names_genai)
    taken = Taken(notes)
    resource = gate.clean(dict(group.resource.attributes), taken, "resource/")
    scope = gate.clean(dict(group.scope.attributes), taken, "scope/")
    context.add_contents(taken, None, None, context.received_us)
    return json_text(resource), json_text(scope)


def is_kept(keep: Keep, *, genai: bool) -> bool:
    """Whether the settings keep a record."""
    return keep == "all" or (keep == "genai" and genai)


def stored_time(time_unix_nano: int, notes: Notes) -> int:
    """The time of an event or exemplar; one beyond int64 nanoseconds is 0 with a note."""
    if time_unix_nano <= INT64_MAX:
        return time_unix_nano
    notes.append(note.INTEGER_OUT_OF_RANGE)
    return 0


def exemplar_json(exemplar: Exemplar, gate: Gate, taken: Taken) -> dict[str, Any]:
    """An exemplar as it stands in the ``exemplars`` column."""
    return {
        **exemplar._asdict(),
        "time_unix_nano": stored_time(exemplar.time_unix_nano, taken.notes),
        "filtered_attributes": gate.clean(exemplar.filtered_attributes, taken, "exemplar/"),
    }
