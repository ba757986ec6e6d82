"""Receivers on free ports in front of a spool that only remembers."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.config import Config
from collector.receivers.grpc import start_grpc
from collector.receivers.http import start_http
from collector.receivers.intake import Intake

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
SERVICE = "opentelemetry.proto.collector.{}.v1.{}Service"
TRACES = "/" + SERVICE.format("trace", "Trace") + "/Export"


class FakeSpool:
    """Remembers what it got; ``failure`` is raised instead, ``gate`` holds every append until it is set."""

    def __init__(self):
        self.records = []
        self.failure = None
        self.gate = threading.Event()
        self.gate.set()

    async def append(self, record):
        while not self.gate.is_set():
            await asyncio.sleep(0.01)
        if self.failure is not None:
            raise self.failure
        self.records.append(record)


class FakeTelemetry:
    def __init__(self):
        self.counts = Counter()

    def received(self, signal, transport, items):
        self.counts["received", signal, transport] += items

    def refused(self, signal, transport, reason, items):
        self.counts["refused", signal, transport, reason] += items or 1


class Receivers:
    """Both servers in a thread with an event loop of its own."""

    def __init__(self, config):
        self.config = config
        self.spool = FakeSpool()
        self.telemetry = FakeTelemetry()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        self.intake, self.http, self.grpc = self.run(self._start())
        return self

    async def _start(self):
        intake = Intake(self.spool, self.config, self.telemetry)
        http = await start_http(intake, "127.0.0.1:0", self.config)
        return intake, http, await start_grpc(intake, "127.0.0.1:0", self.config)

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def __exit__(self, *_):
        self.run(self.http.close())
        self.run(self.grpc.stop(1))
        self.intake.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def channel(self):
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        return grpc.insecure_channel(f"127.0.0.1:{self.grpc.port}", options=options)


def config(tmp_path, limits=None, **values):
    """Free ports, and no limit on this process's memory: it holds what all tests before left in it, too."""
    limits = {"max_resident_bytes": 1 << 40} | (limits or {})
    return Config(
        data_dir=tmp_path, http_endpoint="127.0.0.1:0", grpc_endpoint="127.0.0.1:0", limits=limits, **values
    )


def request(spans=1, attributes=2):
    """A valid export request, as the message."""
    message = ExportTraceServiceRequest()
    scope_spans = message.resource_spans.add().scope_spans.add()
    for number in range(1, spans + 1):
        span = scope_spans.spans.add(
            trace_id=number.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            name="chat gpt-4o",
            start_time_unix_nano=1_763_770_000_000_000_000,
            end_time_unix_nano=1_763_770_001_000_000_000,
        )
        for index in range(attributes):
            attribute = span.attributes.add(key=f"gen_ai.attribute.number_{index}")
            if index % 3:
                attribute.value.string_value = f"value {number * index}"
            else:
                attribute.value.int_value = number * index * 1000
    return message


def nested_value(value, depth):
    """Make ``value``, an AnyValue, ``depth`` deep, by arrays and key-value lists in turn."""
    for level in range(depth - 1):
        inner = value.kvlist_value if level % 2 else value.array_value
        value = inner.values.add(key="k").value if level % 2 else inner.values.add()
    value.string_value = "bottom"


def nested_json(depth):
    value = {"stringValue": "bottom"}
    for level in range(depth - 1):
        value = (
            {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
            if level % 2
            else {"arrayValue": {"values": [value]}}
        )
    return value


def json_span(**fields):
    return {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "name": "chat",
        "startTimeUnixNano": "1763770000000000000",
        "endTimeUnixNano": "1763770001000000000",
        **fields,
    }


def json_request(*spans):
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}
