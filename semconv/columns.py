"""Arrow schemas of what extraction hands to resolution: one table per signal.

Names are those of the lake's tables (``collector/store/schema.sql``) wherever the meaning is already final; the
GenAI columns hold what the sender wrote, first match by the dialect tables' precedence, converted in type only.
What a value *means* (aliases, whether input includes cache, whose account it is) is decided in SQL afterwards.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import pyarrow as pa

MONEY: Final = pa.decimal128(38, 12)
MICROSECONDS: Final = pa.timestamp("us")
STRINGS: Final = pa.list_(pa.string())

Columns = list[tuple[str, pa.DataType]]

# What every record carries about its sender. JSON columns are documents as text.
_SENDER: Columns = [
    ("service_name", pa.string()),
    ("service_namespace", pa.string()),
    ("service_version", pa.string()),
    ("deployment_environment", pa.string()),
    ("scope_name", pa.string()),
    ("scope_version", pa.string()),
    ("schema_url", pa.string()),
    ("resource_attributes", pa.string()),
    ("scope_attributes", pa.string()),
]

# What the dialect tables claim, in the order of the lake's columns. These names are the only legal targets of a row
# in dialects/*.toml. ``total_tokens``, ``server_address`` and ``stream`` are read for
# resolution and not stored.
CLAIMED: Columns = [
    ("operation", pa.string()),
    ("provider", pa.string()),
    ("request_model", pa.string()),
    ("response_model", pa.string()),
    ("model_region", pa.string()),
    ("response_id", pa.string()),
    ("finish_reasons", STRINGS),
    ("service_tier", pa.string()),
    ("speed", pa.string()),
    ("batch", pa.bool_()),
    ("error_type", pa.string()),
    ("time_to_first_token_ms", pa.float64()),
    ("session_id", pa.string()),
    ("user_id", pa.string()),
    ("agent_name", pa.string()),
    ("agent_id", pa.string()),
    ("tool_name", pa.string()),
    ("tool_call_id", pa.string()),
    ("input_tokens", pa.int64()),
    ("cache_read_tokens", pa.int64()),
    ("cache_write_tokens", pa.int64()),
    ("cache_write_5m_tokens", pa.int64()),
    ("cache_write_30m_tokens", pa.int64()),
    ("cache_write_1h_tokens", pa.int64()),
    ("cache_write_12h_tokens", pa.int64()),
    ("output_tokens", pa.int64()),
    ("reasoning_tokens", pa.int64()),
    ("audio_input_tokens", pa.int64()),
    ("audio_output_tokens", pa.int64()),
    ("image_input_tokens", pa.int64()),
    ("total_tokens", pa.int64()),
    ("server_address", pa.string()),
    ("stream", pa.bool_()),
    ("reported_cost_usd", MONEY),
    ("billing_account", pa.string()),
    ("plan_tier", pa.string()),
]

_GENAI: Columns = [("dialect", pa.string()), *CLAIMED]

# ``bound_billing_account`` is the account bound to the token that sent the request; it wins over anything sent.
# ``resource_billing_account`` and ``resource_plan_tier`` stand on the resource and yield to the record's own.
_ORIGIN: Columns = [
    ("resource_billing_account", pa.string()),
    ("resource_plan_tier", pa.string()),
    ("bound_billing_account", pa.string()),
    ("notes", STRINGS),
    ("source", pa.string()),
    ("received_at", MICROSECONDS),
]

SPANS: Final = pa.schema(
    [
        ("tenant", pa.string()),
        ("trace_id", pa.string()),
        ("span_id", pa.string()),
        ("parent_span_id", pa.string()),
        ("name", pa.string()),
        ("kind", pa.string()),
        ("start_time", MICROSECONDS),
        ("start_unix_nano", pa.int64()),
        ("end_unix_nano", pa.int64()),
        ("duration_ns", pa.int64()),
        ("status_code", pa.string()),
        ("status_message", pa.string()),
        ("trace_state", pa.string()),
        ("flags", pa.int64()),
        *_SENDER,
        ("attributes", pa.string()),
        ("events", pa.string()),
        ("links", pa.string()),
        ("evidence", pa.string()),
        ("dropped_attributes_count", pa.int64()),
        ("dropped_events_count", pa.int64()),
        ("dropped_links_count", pa.int64()),
        *_GENAI,
        *_ORIGIN,
    ]
)

LOG_RECORDS: Final = pa.schema(
    [
        ("tenant", pa.string()),
        ("record_hash", pa.string()),
        ("time", MICROSECONDS),
        ("time_unix_nano", pa.int64()),
        ("observed_time_unix_nano", pa.int64()),
        ("trace_id", pa.string()),
        ("span_id", pa.string()),
        ("flags", pa.int64()),
        ("severity_number", pa.int32()),
        ("severity_text", pa.string()),
        ("event_name", pa.string()),
        ("body", pa.string()),
        *_SENDER,
        ("attributes", pa.string()),
        ("evidence", pa.string()),
        ("dropped_attributes_count", pa.int64()),
        *_GENAI,
        *_ORIGIN,
    ]
)

METRIC_POINTS: Final = pa.schema(
    [
        ("tenant", pa.string()),
        ("record_hash", pa.string()),
        ("time", MICROSECONDS),
        ("time_unix_nano", pa.int64()),
        ("start_time_unix_nano", pa.int64()),
        ("metric_name", pa.string()),
        ("description", pa.string()),
        ("unit", pa.string()),
        ("metric_type", pa.string()),
        ("temporality", pa.string()),
        ("is_monotonic", pa.bool_()),
        ("flags", pa.int64()),
        ("value_int", pa.int64()),
        ("value_double", pa.float64()),
        ("count", pa.int64()),
        ("sum", pa.float64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("buckets", pa.string()),
        ("exemplars", pa.string()),
        *_SENDER,
        ("metric_metadata", pa.string()),
        ("attributes", pa.string()),
        ("dialect", pa.string()),
        ("operation", pa.string()),
        ("provider", pa.string()),
        ("request_model", pa.string()),
        ("response_model", pa.string()),
        ("token_type", pa.string()),
        ("session_id", pa.string()),
        ("user_id", pa.string()),
        ("agent_name", pa.string()),
        ("billing_account", pa.string()),
        ("plan_tier", pa.string()),
        *_ORIGIN,
    ]
)

CONTENTS: Final = pa.schema(
    [
        ("tenant", pa.string()),
        ("trace_id", pa.string()),
        ("span_id", pa.string()),
        ("kind", pa.string()),
        ("key", pa.string()),
        ("content", pa.string()),
        ("start_time", MICROSECONDS),
    ]
)


def as_documents(table: pa.Table, names: Collection[str]) -> pa.Table:
    """Mark JSON columns as such, which spares DuckDB parsing every document again."""
    for position, name in enumerate(table.column_names):
        if name in names:
            table = table.set_column(position, name, _as_document(table.column(position)))
    return table


def _as_document(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    document = pa.json_(pa.string())
    chunks = [pa.ExtensionArray.from_storage(document, chunk) for chunk in texts.chunks]
    return pa.chunked_array(chunks, type=document)
