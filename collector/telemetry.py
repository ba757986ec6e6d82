"""What the collector counts about itself: otelcol's names where it has one, ``spanledger_*`` beside them.

Every label has a closed list of values; none is ever chosen by a client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from semconv.settings import Signal

Transport = Literal["grpc", "http"]

# Name of a signal's items in otelcol's metrics, which is also their name in the `loads` table.
ITEMS: Final[dict[Signal, str]] = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}
TRANSPORTS: Final[tuple[Transport, ...]] = ("grpc", "http")
Outcome = Literal["ok", "failed", "timeout"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("ok", "failed", "timeout")
# An item that was rejected alone, by partial success.
INVALID: Final = "invalid"
OTHER: Final = "other"
# The other reasons are those of collector.receivers.status.
REASONS: Final = (
    INVALID,
    "malformed",
    "too_deep",
    "unauthenticated",
    "unknown_path",
    "method",
    "too_large",
    "unsupported",
    "unavailable",
    OTHER,
)
# A commit of 20,000 spans takes 0.3 s; under light load it takes some 50 ms.
_LOAD_SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Telemetry:
    """Counters and gauges of one server, in a registry of its own."""

    def __init__(self) -> None:
        # Otherwise every counter has a twin with the time of its creation, which otelcol's do not have.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        self._accepted = self._per_signal("otelcol_receiver_accepted_{}", "Accepted and durable: {}.")
        self._refused = self._per_signal("otelcol_receiver_refused_{}", "Not accepted: {}.")
        self._stored = {
            signal: self._counter(
                f"otelcol_exporter_sent_{items}", f"Stored in the lake: {items}.", "exporter"
            )
            for signal, items in ITEMS.items()
        }
        self._not_kept = self._counter("spanledger_not_kept_items", "Read, but not kept by `keep`.", "signal")
        self._duplicate = self._counter("spanledger_duplicate_items", "Read, but stored already.", "signal")
        self._rejected = self._counter(
            "spanledger_rejected_items", "Not accepted, as far as they were counted.", "signal", "reason"
        )
        self._refusals = self._counter(
            "spanledger_refused_requests", "Refused as a whole.", "reason", "transport"
        )
        self._quarantined = self._counter("spanledger_quarantined_requests", "Put aside by the loader.")
        self._runs = self._counter("spanledger_scheduled_runs", "Runs of the schedule.", "outcome")
        self._load_seconds = Histogram(
            "spanledger_load_duration_seconds",
            "One commit of the loader.",
            buckets=_LOAD_SECONDS,
            registry=self.registry,
        )
        self._show_zeros()

    def received(self, signal: Signal, transport: Transport, items: int) -> None:
        """So many spans, log records or points of one request are durable."""
        self._accepted[signal].labels("otlp", transport).inc(items)

    def refused(self, signal: Signal | None, transport: Transport, reason: str, items: int) -> None:
        """A request was refused, or ``items`` of one were rejected; 0 = refused before they were counted."""
        known = reason if reason in REASONS else OTHER
        if reason != INVALID:
            self._refusals.labels(known, transport).inc()
        if signal is not None:
            self._refused[signal].labels("otlp", transport).inc(items)
            self._rejected.labels(ITEMS[signal], known).inc(items)

    def loaded(self, row: Mapping[str, Any]) -> None:
        """One commit of the loader, as its row of `loads`."""
        self._load_seconds.observe(float(row.get("duration_ms") or 0) / 1000)
        for signal, items in ITEMS.items():
            self._stored[signal].labels("lake").inc(row.get(f"{items}_stored") or 0)
            self._not_kept.labels(items).inc(row.get(f"{items}_not_kept") or 0)
            self._duplicate.labels(items).inc(row.get(f"{items}_duplicate") or 0)

    def quarantined(self) -> None:
        self._quarantined.inc()

    def run_ended(self, outcome: Outcome) -> None:
        self._runs.labels(outcome).inc()

    def gauge(self, name: str, description: str, value: Callable[[], float]) -> None:
        """A gauge that is asked for its value whenever the metrics are read."""
        Gauge(name, description, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """Everything in the Prometheus text format."""
        return prometheus_client.generate_latest(self.registry)

    def _per_signal(self, name: str, description: str) -> dict[Signal, Counter]:
        return {
            signal: self._counter(name.format(items), description.format(items), "receiver", "transport")
            for signal, items in ITEMS.items()
        }

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(name, description, labels, registry=self.registry)

    def _show_zeros(self) -> None:
        """A series that appears only with its first event hides that event from rate()."""
        for signal, items in ITEMS.items():
            for transport in TRANSPORTS:
                self._accepted[signal].labels("otlp", transport)
                self._refused[signal].labels("otlp", transport)
            self._stored[signal].labels("lake")
            self._not_kept.labels(items)
            self._duplicate.labels(items)
            for reason in REASONS:
                self._rejected.labels(items, reason)
        for outcome in OUTCOMES:
            self._runs.labels(outcome)
