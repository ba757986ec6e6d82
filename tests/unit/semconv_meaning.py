"""What one record of a sender means, taken the whole way from its request to the lake's columns."""

from __future__ import annotations

from functools import cache
from typing import Any

import duckdb

from semconv import columns
from semconv.resolve import Resolver
from semconv.settings import Settings, Signal
from tests.otlp_data import logs_message, metrics_message, read, span_json, traces_json

# Text that nobody may find again.
CANARY = "the canary sang"
SAID = f'[{{"role":"user","content":"{CANARY}"}}]'
# What resolution adds to all GenAI records alike is for its own tests.
_MEANINGS = {"dialect", "role", "token_type", *(name for name, _ in columns.CLAIMED)} - {
    *("batch", "billing_account", "plan_tier"),
}

Meaning = dict[str, Any]


@cache
def _resolver() -> Resolver:
    return Resolver(duckdb.connect(config={"threads": 1}), Settings())


def _meaning(body: Any, signal: Signal, table: str) -> Meaning:
    """The columns that the only record of a request fills; no cell of it may hold the canary."""
    [row] = getattr(_resolver(), f"resolve_{table}")(getattr(read(body, signal), table)).to_pylist()
    assert CANARY not in str(row)
    return {name: value for name, value in row.items() if name in _MEANINGS and value is not None}


def span(scope: str, name: str, attributes: dict[str, Any], *said: str) -> Meaning:
    """What a span means; the attributes `said` hold content."""
    sent = span_json({**dict.fromkeys(said, SAID), **attributes}, name=name)
    return _meaning(traces_json(sent, scope=scope), "traces", "spans")


def event(scope: str, name: str, attributes: dict[str, Any], *said: str, body: Any = None) -> Meaning:
    """What a log record means; the attributes `said` hold content."""
    record = {"event_name": name, "attributes": {**dict.fromkeys(said, SAID), **attributes}, "body": body}
    return _meaning(logs_message(record, scope=scope), "logs", "log_records")


def point(scope: str, metric: str, attributes: dict[str, Any]) -> Meaning:
    """What a data point means."""
    message = metrics_message(metric, attributes)
    message.resource_metrics[0].scope_metrics[0].scope.name = scope
    return _meaning(message, "metrics", "metric_points")
