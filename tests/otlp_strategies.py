"""Hypothesis strategies for arbitrary valid OTLP requests.

A strategy draws a description in plain Python; :func:`message_of` makes the request of it, and the tests work out from
the same description what must be stored. Names and keys begin with ``app.``: none of them is known to the gate.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from semconv.settings import Signal
from tests.otlp_data import any_value, key_values
from tests.otlp_messages import REQUESTS

Description = dict[str, Any]

INT64 = (1 << 63) - 1


def _unsigned(bits: int) -> st.SearchStrategy[int]:
    """Of every length alike: left alone, integers are small or huge."""
    return st.integers(0, bits).flatmap(lambda length: st.integers((1 << length) >> 1, (1 << length) - 1))


UINT32 = _unsigned(32)
UINT64 = _unsigned(64) | st.sampled_from([INT64, INT64 + 1])
INT32 = st.builds(lambda size, negative: -size if negative else size, _unsigned(31), st.booleans())
INT64S = st.just(-INT64 - 1) | st.builds(
    lambda size, sign: size * sign, _unsigned(63), st.sampled_from([1, -1])
)
TIMES = _unsigned(63)  # as int64 holds them: what a record may have

texts = st.text(max_size=12)
names = texts.map("app.{}".format)
doubles = st.floats(allow_nan=True, allow_infinity=True)
leaves = st.none() | texts | st.booleans() | INT64S | doubles | st.binary(max_size=9)
# Keys end so that none of them looks like one of content.
keys = texts.map("app.{}_".format)


def _within(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=3) | st.dictionaries(texts, values, max_size=3)


def _nested(levels: list[bool]) -> Any:
    value: Any = "bottom"
    for is_map in levels:
        value = {"k": value} if is_map else [value]
    return value


# limits.max_depth is 32, the value at the bottom included. The protobuf parser gives up at 100 messages, of which a
# map takes three and a list two: maps alone reach its limit first where the record itself lies deep.
deep_values = st.lists(st.booleans(), min_size=20, max_size=31).map(_nested)
any_values = st.recursive(leaves, _within, max_leaves=8)
# A list, not a dictionary: a key may come twice, and the last one counts.
attributes = st.lists(st.tuples(keys, any_values), max_size=4)


def _id(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size).filter(any)


# An id that may be missing, all zero, or malformed: none of these rejects a record.
def _optional_id(size: int) -> st.SearchStrategy[bytes]:
    return st.just(b"") | st.just(bytes(size)) | _id(size) | st.binary(max_size=20)


def _fields(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Description]:
    return st.fixed_dictionaries(strategies)


events = _fields(time_unix_nano=UINT64, name=names, attributes=attributes, dropped_attributes_count=UINT32)
links = _fields(
    trace_id=_optional_id(16),
    span_id=_optional_id(8),
    trace_state=texts,
    attributes=attributes,
    dropped_attributes_count=UINT32,
    flags=UINT32,
)
spans = _fields(
    trace_id=_id(16),
    span_id=_id(8),
    parent_span_id=_optional_id(8),
    name=texts,
    kind=st.sampled_from([0, 1, 2, 3, 4, 5, 77]),
    start_time_unix_nano=TIMES,
    end_time_unix_nano=TIMES,
    trace_state=texts,
    flags=UINT32,
    status=_fields(code=st.sampled_from([0, 1, 2, 77]), message=texts),
    attributes=attributes | st.tuples(st.tuples(keys, deep_values)).map(list),
    events=st.lists(events, max_size=2),
    links=st.lists(links, max_size=2),
    dropped_attributes_count=UINT32,
    dropped_events_count=UINT32,
    dropped_links_count=UINT32,
)
log_records = _fields(
    time_unix_nano=TIMES,
    observed_time_unix_nano=TIMES,
    trace_id=_optional_id(16),
    span_id=_optional_id(8),
    flags=UINT32,
    severity_number=st.sampled_from([0, 1, 24, 99]),
    severity_text=texts,
    event_name=st.just("") | names,
    body=any_values | deep_values,
    attributes=attributes,
    dropped_attributes_count=UINT32,
)

exemplars = _fields(
    time_unix_nano=UINT64,
    value=st.one_of(
        st.none(),
        st.tuples(st.just("as_int"), INT64S),
        st.tuples(st.just("as_double"), doubles),
    ),
    trace_id=_optional_id(16),
    span_id=_optional_id(8),
    filtered_attributes=attributes,
)
_point = {"attributes": attributes, "start_time_unix_nano": TIMES, "time_unix_nano": TIMES, "flags": UINT32}
_exemplars = {"exemplars": st.lists(exemplars, max_size=2)}
_extremes = {name: st.none() | doubles for name in ("sum", "min", "max")}
_counts = st.lists(UINT64, max_size=4)
_buckets = _fields(offset=INT32, bucket_counts=_counts)
number_points = _fields(value=exemplars.map(lambda exemplar: exemplar["value"]), **_point, **_exemplars)
POINTS: dict[str, st.SearchStrategy[Description]] = {
    "gauge": number_points,
    "sum": number_points,
    "histogram": _fields(
        count=UINT64,
        bucket_counts=_counts,
        explicit_bounds=st.lists(doubles, max_size=3),
        **_point,
        **_extremes,
        **_exemplars,
    ),
    "exponential_histogram": _fields(
        count=UINT64,
        scale=INT32,
        zero_count=UINT64,
        zero_threshold=doubles,
        positive=_buckets,
        negative=_buckets,
        **_point,
        **_extremes,
        **_exemplars,
    ),
    "summary": _fields(
        count=UINT64,
        sum=doubles,
        quantile_values=st.lists(_fields(quantile=doubles, value=doubles), max_size=3),
        **_point,
    ),
}


def _metric(kind: str) -> st.SearchStrategy[Description]:
    return _fields(
        name=names,
        description=texts,
        unit=texts,
        metadata=attributes,
        kind=st.just(kind),
        aggregation_temporality=st.sampled_from([0, 1, 2]),
        is_monotonic=st.booleans(),
        data_points=st.lists(POINTS[kind], min_size=1, max_size=3),
    )


metrics = st.sampled_from(sorted(POINTS)).flatmap(_metric)
RECORDS: dict[Signal, st.SearchStrategy[Description]] = {
    "traces": spans,
    "logs": log_records,
    "metrics": metrics,
}
# The names that a signal gives to its groups and records.
GROUPS: dict[Signal, tuple[str, str, str]] = {
    "traces": ("resource_spans", "scope_spans", "spans"),
    "logs": ("resource_logs", "scope_logs", "log_records"),
    "metrics": ("resource_metrics", "scope_metrics", "metrics"),
}


def requests(signal: Signal) -> st.SearchStrategy[list[Description]]:
    """Resource groups with ``resource`` (attributes), ``schema_url`` and ``scopes``; those with ``records``."""
    scopes = _fields(
        name=st.just("") | names,
        version=texts,
        attributes=attributes,
        schema_url=texts,
        records=st.lists(RECORDS[signal], min_size=1, max_size=2),
    )
    groups = _fields(resource=attributes, schema_url=texts, scopes=st.lists(scopes, min_size=1, max_size=2))
    return st.lists(groups, min_size=1, max_size=2)


# --- descriptions as messages ---------------------------------------------------------------------


def message_of(signal: Signal, description: list[Description]) -> Any:
    request = REQUESTS[signal]()
    resource_groups, scope_groups, records = GROUPS[signal]
    for group in description:
        resource_group = getattr(request, resource_groups).add(schema_url=group["schema_url"])
        resource_group.resource.attributes.extend(_pairs(group["resource"]))
        for scope in group["scopes"]:
            scope_group = getattr(resource_group, scope_groups).add(schema_url=scope["schema_url"])
            scope_group.scope.name, scope_group.scope.version = scope["name"], scope["version"]
            scope_group.scope.attributes.extend(_pairs(scope["attributes"]))
            for record in scope["records"]:
                _fill(getattr(scope_group, records).add(), record)
    return request


def _pairs(attributes_drawn: list[tuple[str, Any]]) -> list[Any]:
    return [pair for key, value in attributes_drawn for pair in key_values({key: value})]


def _fill(message: Any, drawn: Description) -> None:
    """Set a message's fields to what was drawn under their names; None leaves one unset."""
    if "data_points" in drawn:
        drawn = _with_data(message, drawn)
    for name, value in drawn.items():
        if name in ("attributes", "filtered_attributes", "metadata"):
            getattr(message, name).extend(_pairs(value))
        elif name == "body":
            message.body.CopyFrom(any_value(value))
        elif name == "value" and not isinstance(value, float):
            if value is not None:
                setattr(message, *value)
        elif isinstance(value, dict):
            getattr(message, name).SetInParent()
            _fill(getattr(message, name), value)
        elif isinstance(value, list):
            _fill_list(getattr(message, name), value)
        elif value is not None:
            setattr(message, name, value)


def _fill_list(repeated: Any, drawn: list[Any]) -> None:
    for item in drawn:
        if isinstance(item, dict):
            _fill(repeated.add(), item)
        else:
            repeated.append(item)


def _with_data(metric: Any, drawn: Description) -> Description:
    """Fill the metric's data; what is left are the fields of the metric itself."""
    data = getattr(metric, drawn["kind"])
    data.SetInParent()
    for name in ("aggregation_temporality", "is_monotonic"):
        if name in data.DESCRIPTOR.fields_by_name:
            setattr(data, name, drawn[name])
    _fill_list(data.data_points, drawn["data_points"])
    own = ("name", "description", "unit", "metadata")
    return {name: drawn[name] for name in own}
