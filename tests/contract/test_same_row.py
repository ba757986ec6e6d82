"""One request, three ways to send it: protobuf and JSON over HTTP, and gRPC.

Guarantee: the rows are the same in every column but the tenant and what says when they arrived; what is rejected, and
why, is the same too. The JSON is written by the tests' own writer, from the specification.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.contract.conformance_messages import (
    GENAI,
    LOGS,
    METRICS,
    START,
    TRACES,
    VALUES,
    Signal,
    add_scope,
    full_request,
    marker,
)
from tests.contract.conformance_support import KEEP_ALL, OK, WIRES, Outcome, Server, each_signal, serving
from tests.otlp_data import any_value, key_values

TOKENS = {wire: f"the-token-for-{wire}-alone" for wire in WIRES}
CONFIG = f"""{KEEP_ALL}
capture: {{prompts: true, completions: true, tool_inputs: true, tool_outputs: true}}
tokens:
{"".join(f"- {{name: {wire}, token: {token}, tenant: {wire}}}" + chr(10) for wire, token in TOKENS.items())}
"""
# What differs between two tenants' rows of one request: hashes of the tenant too, and when it arrived.
OWN = {"tenant", "received_at", "load_id", "record_hash", "call_id"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("same"), CONFIG) as running:
        yield running


def export(server: Server, wire: str, tenant: str, signal: Signal, message: Message) -> Outcome:
    server.token = TOKENS[tenant]
    return server.export(wire, signal, message)


def send_to_each(server: Server, signal: Signal, message: Message) -> Outcome:
    """Send a request on every wire, to a tenant of its own; the one answer that all must give."""
    outcomes = [export(server, wire, wire, signal, message) for wire in WIRES]
    plain = [(outcome.code, outcome.rejected, outcome.message) for outcome in outcomes]
    assert plain == plain[:1] * len(WIRES)
    assert outcomes[0].code is OK
    return outcomes[0]


def same_rows(server: Server, table: str, condition: str) -> list[dict[str, Any]]:
    """The rows of one tenant under a condition, which every tenant must have."""
    found = {}
    for tenant in WIRES:
        rows = server.sql(f"SELECT * FROM {table} WHERE tenant = '{tenant}' AND {condition}")
        found[tenant] = sorted(map(comparable, rows), key=str)
    for tenant in WIRES[1:]:
        for one, other in zip(found[WIRES[0]], found[tenant], strict=True):
            different = {name: (one[name], other[name]) for name in one if one[name] != other[name]}
            assert not different, f"{WIRES[0]} and {tenant} differ"
    return found[WIRES[0]]


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what is its own, NaN as text: it equals nothing, not even itself."""
    without_time = "time_missing" in (row.get("notes") or ())  # its time is that of its arrival
    left_out = OWN | {"time"} if without_time else OWN
    return {
        name: str(value) if isinstance(value, float) and math.isnan(value) else value
        for name, value in row.items()
        if name not in left_out
    }


# Requests by hand: all that is usual, and what is odd.


def odd_spans(scope: Any) -> int:
    """Spans that are repaired, noted or strange; how many of them are rejected."""
    long_text = "é" * 40_000  # 80,000 bytes: cut in the middle of a character
    deep: Any = "bottom"
    for level in range(20):
        deep = {"k": deep} if level % 2 else [deep]
    odd: list[dict[str, Any]] = [
        {"name": "", "kind": 0},
        {"kind": 77},
        {"kind": -1},
        {"start_time_unix_nano": 0, "end_time_unix_nano": 0},
        {"end_time_unix_nano": START - 1},
        {"start_time_unix_nano": 2**63 - 1, "end_time_unix_nano": 2**63 - 1},
        {"parent_span_id": bytes(8)},
        {"parent_span_id": b"\x01" * 7},
        {"flags": 2**32 - 1, "dropped_attributes_count": 2**32 - 1},
        {"trace_state": "a=1,b=2", "name": "nul \x00 and \u2028 \ufeff \U0010ffff"},
        {"name": long_text, "attributes": key_values({"long": long_text, "list": [long_text]})},
        {"attributes": key_values({"deep": deep})},
        {"attributes": [*key_values({"twice": 1}), *key_values({"twice": "second"})]},
        {"attributes": key_values({**GENAI, "gen_ai.usage.input_tokens": "many"})},
        {"attributes": key_values({**GENAI, "gen_ai.usage.input_tokens": "12"})},
        {"attributes": key_values({**GENAI, "gen_ai.usage.input_tokens": 12.0})},
        {"attributes": key_values({**GENAI, "gen_ai.usage.input_tokens": math.nan})},
        {"attributes": key_values({**GENAI, "gen_ai.prompt": "hello " * 500, "input.value": [{"a": 1}]})},
        {
            "attributes": key_values(
                {"llm.token_count.prompt": 5, "llm.model_name": "m", "openinference.span.kind": "LLM"}
            )
        },
        {"trace_id": b"\x01" * 15},
        {"span_id": b""},
        {"end_time_unix_nano": 2**63},
    ]
    for number, fields in enumerate(odd, 1):
        ids = {"trace_id": number.to_bytes(16, "big"), "span_id": number.to_bytes(8, "big")}
        times = {"start_time_unix_nano": START + number, "end_time_unix_nano": START + number + 10**9}
        span = scope.spans.add(**{"name": f"odd {number}", "kind": 3, **ids, **times, **fields})
        span.links.add(trace_id=b"\x01" * number, span_id=b"\x02" * number)
        span.events.add(name="e", time_unix_nano=START).attributes.extend(
            key_values({"gen_ai.prompt": "text"})
        )
        exception = {"exception.type": "E", "exception.message": "m" * 3000, "exception.stacktrace": "at x"}
        span.events.add(name="exception", time_unix_nano=2**64 - 1).attributes.extend(key_values(exception))
    return 3


def odd_logs(scope: Any) -> int:
    """Log records with every kind of body; how many of them are rejected."""
    for number, (value, _) in enumerate(VALUES.values()):
        record = scope.log_records.add(time_unix_nano=START + number, severity_number=number)
        record.body.CopyFrom(any_value(value))
    scope.log_records.add(severity_number=-5, severity_text="?", observed_time_unix_nano=START)
    scope.log_records.add(time_unix_nano=START, trace_id=b"\x01" * 15, span_id=bytes(8), flags=2**32 - 1)
    scope.log_records.add(time_unix_nano=START, event_name="gen_ai.x").attributes.extend(key_values(GENAI))
    message = scope.log_records.add(time_unix_nano=START, event_name="gen_ai.user.message")
    message.body.CopyFrom(any_value({"role": "user", "content": "some text"}))
    scope.log_records.add(time_unix_nano=2**63)
    scope.log_records.add(observed_time_unix_nano=2**63)
    return 2


def odd_metrics(scope: Any) -> int:
    """Data points without this and that; how many of them are rejected."""
    scope.metrics.add(name="no data")
    for number, value in enumerate([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324]):
        points = scope.metrics.add(name=f"double {number}").gauge.data_points
        points.add(time_unix_nano=START, as_double=value).exemplars.add(as_double=value, trace_id=b"\x01")
    points = scope.metrics.add(name="").sum.data_points
    for temporality, value in enumerate([0, 1, -(2**63), 2**63 - 1]):
        data = scope.metrics.add(name="sums").sum
        data.aggregation_temporality = temporality  # 3 is not in the specification
        data.data_points.add(time_unix_nano=START + temporality, as_int=value)
    points.add(time_unix_nano=START, flags=1)  # no recorded value
    points.add(time_unix_nano=START, start_time_unix_nano=START + 5, as_int=1)
    histograms = scope.metrics.add(name="histograms").histogram.data_points
    histograms.add(time_unix_nano=START + 1, count=0)
    histograms.add(time_unix_nano=START + 2, count=2**63, sum=0.0, min=0.0, max=0.0)
    histograms.add(time_unix_nano=START + 3, bucket_counts=[2**64 - 1, 1], explicit_bounds=[math.nan])
    exponential = scope.metrics.add(name="exponential").exponential_histogram.data_points
    exponential.add(time_unix_nano=START, scale=-(2**31), zero_count=2**63, zero_threshold=math.inf, sum=-0.0)
    exponential.add(time_unix_nano=START, zero_threshold=-0.0)
    scope.metrics.add(name="minus").summary.data_points.add(
        time_unix_nano=START, sum=-0.0
    ).quantile_values.add(quantile=-0.0, value=-0.0)
    summaries = scope.metrics.add(name="summaries").summary.data_points
    summaries.add(time_unix_nano=START, sum=math.inf).quantile_values.add(quantile=1.0, value=math.nan)
    tokens = scope.metrics.add(name="gen_ai.client.token.usage").histogram.data_points
    usage = tokens.add(time_unix_nano=START, count=1, sum=7).attributes
    usage.extend(key_values({**GENAI, "gen_ai.token.type": "input"}))
    points.add(time_unix_nano=2**63)
    points.add(time_unix_nano=START, start_time_unix_nano=2**64 - 1)
    return 2


ODD = {TRACES.name: odd_spans, LOGS.name: odd_logs, METRICS.name: odd_metrics}


@each_signal
def test_a_request_with_every_field_gives_the_same_row_however_it_is_sent(
    server: Server, signal: Signal
) -> None:
    service = marker()
    assert send_to_each(server, signal, full_request(signal, service)).rejected == 0
    server.settle()
    rows = same_rows(server, signal.table, f"service_name = '{service}'")
    assert len(rows) == (5 if signal is METRICS else 1)
    if signal is TRACES:
        assert len(same_rows(server, "calls", f"service_name = '{service}'")) == 1


@each_signal
def test_odd_records_give_the_same_rows_and_the_same_refusals(server: Server, signal: Signal) -> None:
    service = marker()
    message = signal.request()
    scope = add_scope(message, signal, service)
    rejected = ODD[signal.name](scope)
    assert send_to_each(server, signal, message).rejected == rejected
    server.settle()
    rows = same_rows(server, signal.table, f"service_name = '{service}'")
    assert len(rows) >= 8
    if signal is TRACES:
        assert len(rows) == len(scope.spans) - rejected
        assert len(same_rows(server, "calls", f"service_name = '{service}'")) >= 3
        same_rows(server, "contents", f"trace_id <= '{len(scope.spans):032x}'")


@pytest.mark.parametrize("signal", [LOGS, METRICS], ids=str)
def test_a_record_is_one_record_on_whichever_wire_it_comes_again(server: Server, signal: Signal) -> None:
    """The identity of log records and data points is a hash of what they say, whatever they were written in."""
    service = marker()
    message = full_request(signal, service)
    ODD[signal.name](add_scope(message, signal, service))
    for wire in WIRES:
        assert export(server, wire, "grpc", signal, message).code is OK
    server.settle()
    (stored,) = server.sql(f"SELECT count(*) AS rows FROM {signal.table} WHERE service_name = '{service}'")
    other = marker()
    for descriptor in message.DESCRIPTOR.fields:
        for group in getattr(message, descriptor.name):
            group.resource.attributes[0].value.string_value = other
    assert export(server, "protobuf", "grpc", signal, message).code is OK
    server.settle()
    assert server.sql(f"SELECT count(*) AS rows FROM {signal.table} WHERE service_name = '{other}'") == [
        stored
    ]


# Requests by hypothesis: any fields, any values.

TEXTS = st.text(max_size=8) | st.sampled_from(["gen_ai.prompt", "input.value", "service.name", "a.content"])
DOUBLES = st.floats(width=64) | st.sampled_from([0.0, -0.0, 1.0, 1e300])
INT64 = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2)
UINT64 = st.integers(0, 2**64 - 1) | st.integers(0, 2)
UINT32 = st.integers(0, 2**32 - 1) | st.integers(0, 2)
INT32 = st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 2)
# Few: each month of times is a file of its own in the lake.
TIMES = st.sampled_from([0, 1, *range(START, START + 12), 2**63 - 1, 2**63, 2**64 - 1])
# By FieldDescriptor.type.
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    1: DOUBLES,
    3: INT64,
    4: UINT64,
    5: INT32,
    6: UINT64,
    7: UINT32,
    8: st.booleans(),
    9: TEXTS,
    12: st.binary(max_size=6),
    13: UINT32,
    14: st.integers(0, 6) | INT32,
    16: INT64,
    17: INT32,
}
IDS = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}
# Of profiles, where strings stand in a table of their own.
NOT_OURS = {"key_strindex", "string_value_strindex"}


# Scopes with records, and records alone. Most spans are acceptable, and take the longest to make up.
GENERATED = {TRACES.name: (6, 30), LOGS.name: (12, 48), METRICS.name: (12, 48)}
NUMBERS = itertools.count(1)


def scalars(field: Any) -> st.SearchStrategy[Any]:
    if field.name in IDS:
        size = IDS[field.name]
        wrong = [b"", bytes(size), b"\x01" * (size - 1), b"\x01" * (size + 1)]
        chosen = st.sampled_from([None] * 16 + wrong)
        return chosen.map(lambda raw: next(NUMBERS).to_bytes(size, "big") if raw is None else raw)
    return TIMES if field.name.endswith("time_unix_nano") else SCALARS[field.type]


@st.composite
def messages(draw: st.DrawFn, kind: type[Message], depth: int = 0) -> Message:
    """Any message of a kind: each field absent, or with any value of its type; ids are there."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        inner = field.message_type
        absent = field.name not in IDS and draw(st.integers(0, 1 + depth // 4))
        if absent or field.name in NOT_OURS or (inner and depth > 14):
            continue
        values = messages(inner._concrete_class, depth + 1) if inner else scalars(field)
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values, max_size=3)))
        elif inner:
            getattr(message, field.name).CopyFrom(draw(values))
        else:
            setattr(message, field.name, draw(values))
    return message


def generated(kind: type[Message], count: int) -> list[Any]:
    """So many messages, the same ones in every run."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(messages(kind))
    def collect(message: Message) -> None:
        found.append(message)

    collect()
    return found


@each_signal
def test_whatever_is_generated_gives_the_same_rows_on_every_wire(server: Server, signal: Signal) -> None:
    resource, scope, records = signal.fields
    message = signal.request()
    kind = signal.request.DESCRIPTOR.fields_by_name[resource].message_type.fields_by_name[scope].message_type
    record = kind.fields_by_name[records].message_type._concrete_class
    service = marker()
    groups, others = GENERATED[signal.name]
    for scopes in generated(kind._concrete_class, groups):
        group = getattr(message, resource).add()
        group.resource.attributes.extend(key_values({"service.name": service}))
        getattr(group, scope).append(scopes)
    getattr(add_scope(message, signal, service), records).extend(generated(record, others))
    send_to_each(server, signal, message)
    server.settle()
    rows = same_rows(server, signal.table, f"service_name = '{service}'")
    assert len(rows) >= 20, "few of them were acceptable: the test shows little"
