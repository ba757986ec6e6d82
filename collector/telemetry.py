"""What the collector counts about itself: otelcol's names where it has one, ``spanledger_*`` beside them.

The names are otelcol's as its Prometheus endpoint shows them (opentelemetry-collector: receiverhelper, exporterhelper
and service, documentation.md of each). Every label has a closed list of values; none is ever chosen by a client.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from semconv.faults import FAULT_KINDS
from semconv.settings import Signal

Transport = Literal["grpc", "http"]
Outcome = Literal["ok", "failed", "timeout", "skipped"]
ChannelKind = Literal["stdout", "file", "webhook", "email"]
# A number; numbers by the value of the only label; the state of now; or None where it is not known.
Reading = Callable[[], float | Mapping[str, float] | str | None]

# Name of a signal's items in otelcol's metrics, which is also their name in the `loads` table.
ITEMS: Final[dict[Signal, str]] = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}
TRANSPORTS: Final[tuple[Transport, ...]] = get_args(Transport)
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
LOOK_OUTCOMES: Final[tuple[Outcome, ...]] = ("ok", "failed", "timeout")
SENT_OUTCOMES: Final = ("taken", "not_taken")
# Why whole requests are refused: the reasons of collector.receivers.status. OTHER is for one that is missing here.
OTHER: Final = "other"
REASONS: Final = (
    "malformed",
    "too_deep",
    "unauthenticated",
    "unknown_path",
    "method",
    "too_large",
    "unsupported",
    "unavailable",
    "spool",
    "internal",
    OTHER,
)
# A commit of 20,000 spans takes 0.3 s; under light load it takes some 50 ms.
_LOAD_SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Labels = Mapping[str, tuple[str, ...]]
_RECEIVER: Final[Labels] = {"receiver": ("otlp",), "transport": TRANSPORTS}
_EXPORTER: Final[Labels] = {"exporter": ("lake",)}
_SIGNAL: Final[Labels] = {"signal": tuple(ITEMS.values())}


@dataclass(frozen=True, slots=True)
class Row:
    """One metric. The name of a counter is without the ``_total`` that Prometheus shows."""

    name: str
    help: str
    labels: Labels = field(default_factory=dict)


def _per_signal(name: str, description: str, labels: Labels) -> tuple[Row, ...]:
    return tuple(
        Row(name.format(items), description.format(items.replace("_", " ")), labels)
        for items in ITEMS.values()
    )


# What is counted as it happens.
COUNTERS: Final = (
    *_per_signal("otelcol_receiver_accepted_{}", "Accepted and durable: {}.", _RECEIVER),
    *_per_signal(
        "otelcol_receiver_refused_{}",
        "Not accepted: {}. Those of a request that was refused before it was decoded are not known: "
        "it counts in spanledger_refused_requests_total alone.",
        _RECEIVER,
    ),
    *_per_signal(
        "otelcol_exporter_enqueue_failed_{}", "Refused because the spool was full or failed: {}.", _EXPORTER
    ),
    *_per_signal("otelcol_exporter_sent_{}", "Stored in the lake: {}.", _EXPORTER),
    *_per_signal(
        "otelcol_exporter_send_failed_{}",
        "In requests that could not be stored and were put into the quarantine: {}.",
        _EXPORTER,
    ),
    Row(
        "spanledger_refused_requests",
        "Refused as a whole. What gRPC refuses by itself is not counted (unknown methods, deflate, headers over "
        "their limit), but for messages over theirs, which end as malformed.",
        {"transport": TRANSPORTS, "reason": REASONS},
    ),
    Row(
        "spanledger_rejected_items",
        "Not accepted, as far as they were counted: alone for a fault of their own, or with their whole request.",
        {**_SIGNAL, "reason": FAULT_KINDS + REASONS},
    ),
    Row("spanledger_not_kept_items", "Read, but not kept by `keep`.", _SIGNAL),
    Row("spanledger_duplicate_items", "Read, but stored already.", _SIGNAL),
    Row("spanledger_quarantined_requests", "Put into the quarantine by the loader."),
    Row("spanledger_scheduled_runs", "Runs of the schedule.", {"outcome": OUTCOMES}),
    Row("spanledger_alert_looks", "Looks at the alert rules.", {"outcome": LOOK_OUTCOMES}),
    Row(
        "spanledger_alert_messages",
        "Messages that a channel was given in a look, by whether it took them; one that is not taken comes again.",
        {"channel": get_args(ChannelKind), "outcome": SENT_OUTCOMES},
    ),
)

# What is read whenever somebody asks; a row with the label `state` is 1 for the state of now and 0 for the others.
GAUGES: Final = (
    Row("spanledger_ready", "What /readyz says: 1 ready, 0 not."),
    Row("spanledger_spool_state", "Does the spool accept and sync?", {"state": ("ok", "full", "failed", "stalled")}),
    Row("spanledger_spool_bytes", "Bytes that the spool holds."),
    Row("spanledger_spool_max_bytes", "Bytes that the spool may hold."),
    Row("otelcol_exporter_queue_size", "Bytes that the spool holds.", _EXPORTER),
    Row("otelcol_exporter_queue_capacity", "Bytes that the spool may hold.", _EXPORTER),
    Row("spanledger_lake_failed", "1 while the lake cannot be written; what is accepted waits in the spool."),
    Row("spanledger_loader_state", "The loader process.", {"state": ("starting", "running", "restarting", "stopped")}),
    Row("spanledger_loader_lag_seconds", "Age of the oldest request not loaded."),
    Row("spanledger_loader_memory_rss_bytes", "Resident memory of the loader and of the process that parses for it."),
    Row("spanledger_quarantine_entries", "What lies in the quarantine now: requests, and damaged spool bytes."),
    Row("spanledger_alerts_looked_at_seconds", "When the last look at the alert rules came to its end, Unix time."),
    Row("spanledger_alert_rules_failed", "Alert rules that could not be looked at, in the last look."),
    Row("spanledger_http_connections", "Open connections to the port.", {"port": ("http", "admin")}),
    Row("spanledger_requests_in_flight", "Requests being received or handled.", {"transport": TRANSPORTS}),
    Row("spanledger_inflight_cost_bytes", "Memory that requests being handled are reckoned to take."),
    Row("spanledger_inflight_cost_max_bytes", "Memory that they may take (limits.max_inflight_bytes)."),
    Row("otelcol_process_memory_rss_bytes", "Resident memory of the server process."),
)  # fmt: skip
READ_COUNTERS: Final = (
    Row("spanledger_loader_restarts", "Times the loader was started again."),
    Row("otelcol_process_uptime_seconds", "Time since the server process started."),
    Row("otelcol_process_cpu_seconds", "CPU time of the server process, user and system."),
)


class Telemetry:
    """Counters and gauges of one server, in a registry of its own."""

    def __init__(self) -> None:
        # Otherwise every counter has a twin with the time of its creation, which otelcol's do not have.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        self._counters = {row.name: _counter(row, self.registry) for row in COUNTERS}
        self._load_seconds = Histogram(
            "spanledger_load_duration_seconds",
            "One commit of the loader.",
            buckets=_LOAD_SECONDS,
            registry=self.registry,
        )
        self._refusals: Tally[str] = Tally()

    def received(self, signal: Signal, transport: Transport, items: int) -> None:
        """So many spans, log records or points of one request are durable."""
        self._count(f"otelcol_receiver_accepted_{ITEMS[signal]}", items, "otlp", transport)

    def refused(self, signal: Signal | None, transport: Transport, reason: str, items: int) -> None:
        """``items`` were rejected alone for a fault (semconv.faults), or a request was refused whole.

        0 items = refused before they were counted.
        """
        alone = reason in FAULT_KINDS
        known = reason if alone or reason in REASONS else OTHER
        self._refusals[known] += items if alone else 1
        if not alone:
            self._count("spanledger_refused_requests", 1, transport, known)
        if signal is not None:
            self._count(f"otelcol_receiver_refused_{ITEMS[signal]}", items, "otlp", transport)
            self._count("spanledger_rejected_items", items, ITEMS[signal], known)
            if reason == "spool":
                self._count(f"otelcol_exporter_enqueue_failed_{ITEMS[signal]}", items, "lake")

    def take_refusals(self) -> Mapping[str, int]:
        """By reason, since the last call: items rejected for a fault of theirs, requests refused otherwise."""
        taken, self._refusals = self._refusals, Tally()
        return taken

    def loaded(self, row: Mapping[str, Any]) -> None:
        """One commit of the loader, as its row of `loads`."""
        self._load_seconds.observe(float(row.get("duration_ms") or 0) / 1000)
        for items in ITEMS.values():
            self._count(f"otelcol_exporter_sent_{items}", row.get(f"{items}_stored") or 0, "lake")
            self._count("spanledger_not_kept_items", row.get(f"{items}_not_kept") or 0, items)
            self._count("spanledger_duplicate_items", row.get(f"{items}_duplicate") or 0, items)

    def quarantined(self, signal: Signal | None, items: int) -> None:
        """A request was put aside; ``signal`` is None for damaged spool bytes."""
        self._count("spanledger_quarantined_requests", 1)
        if signal is not None:
            self._count(f"otelcol_exporter_send_failed_{ITEMS[signal]}", items, "lake")

    def run_ended(self, outcome: Outcome) -> None:
        self._count("spanledger_scheduled_runs", 1, outcome)

    def alerts_looked_at(self, outcome: Outcome) -> None:
        self._count("spanledger_alert_looks", 1, outcome)

    def alerts_sent(self, channel: ChannelKind, taken: int, not_taken: int) -> None:
        for outcome, messages in zip(SENT_OUTCOMES, (taken, not_taken), strict=True):
            self._count("spanledger_alert_messages", messages, channel, outcome)

    def show(self, readings: Mapping[str, Reading]) -> None:
        """Read the metrics of GAUGES and READ_COUNTERS from these functions; None = not known, so not shown."""
        self.registry.register(_Readings(readings))

    def text(self) -> bytes:
        """Everything in the Prometheus text format."""
        return prometheus_client.generate_latest(self.registry)

    def _count(self, name: str, amount: float, *labels: str) -> None:
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc(amount)


def _counter(row: Row, registry: CollectorRegistry) -> Counter:
    """With all of its series: one that appears only with its first event hides that event from rate()."""
    counter = Counter(row.name, row.help, tuple(row.labels), registry=registry)
    for values in itertools.product(*row.labels.values()) if row.labels else ():
        counter.labels(*values)
    return counter


class _Readings(Collector):
    """Asks for each value when the metrics are read."""

    def __init__(self, readings: Mapping[str, Reading]) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        for rows, family in ((GAUGES, GaugeMetricFamily), (READ_COUNTERS, CounterMetricFamily)):
            for row in rows:
                read = self._readings.get(row.name)
                value = read() if read is not None else None
                if value is not None:
                    shown = family(row.name, row.help, labels=tuple(row.labels))
                    for labels, number in _samples(row, value):
                        shown.add_metric(labels, number)
                    yield shown


def _samples(row: Row, value: float | Mapping[str, float] | str) -> Iterator[tuple[tuple[str, ...], float]]:
    if isinstance(value, str):
        return (((state,), float(state == value)) for state in row.labels["state"])
    if isinstance(value, Mapping):
        return (((label,), float(number)) for label, number in value.items())
    return iter([(tuple(values[0] for values in row.labels.values()), float(value))])


def resident_bytes(pid: int | None) -> float | None:
    """Resident memory of a process; None where it does not run or the system does not say."""
    try:
        # proc(5): the second number of statm is resident pages.
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return None


def resident_with_children(pid: int | None) -> float | None:
    """The same of a process and the children of its first thread together."""
    own = resident_bytes(pid)
    if own is None:
        return None
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return own + sum(resident_bytes(int(child)) or 0.0 for child in children)
