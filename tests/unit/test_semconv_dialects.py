"""What rows of the dialect tables can say, on made-up dialects: places in documents, tables for some scopes or
events, and names.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from semconv import extract as extract_module
from semconv.claims import Claimed, claim_name, claim_record
from semconv.dialect_rules import NO_DIALECT, RECORD_COLUMNS, claiming_keys, inner_keys
from semconv.dialects import AllTables, Tables, compile_tables, tables
from semconv.documents import read_document
from tests.otlp_data import logs_message, metrics_message, only_span, read, traces_message


def row(
    key: str, column: str, convert: str = "string", precedence: int = 10, **further: Any
) -> dict[str, Any]:
    return {"key": key, "column": column, "convert": convert, "precedence": precedence, **further}


ACME = {
    "name": "acme",
    "rank": 20,
    "keys": ["acme."],
    "claims": [
        row("acme.usage", "input_tokens", "tokens", path="usage.in"),
        row("acme.usage", "output_tokens", "tokens", path="usage.out"),
        row("acme.usage", "input_tokens", "tokens", 20, path="in"),
        row("acme.usage", "finish_reasons", "strings", path="choices.N.finish"),
        row("acme.answer", "response_id", path="id"),
        row("acme.answer", "input_tokens", "tokens", 30, path="usage.in"),
        row("acme.input", "input_tokens", "tokens", 5),
        row("acme.metadata", "user_id", path="user.id"),
    ],
    "content": [{"key": "acme.answer", "class": "completions"}],
}


def columns(claimed: Claimed) -> dict[str, Any]:
    filled = zip(RECORD_COLUMNS, claimed.values, strict=True)
    return {column: value for column, value in filled if value is not None}


def claim(own: Tables, attributes: dict[str, Any]) -> dict[str, Any]:
    return columns(claim_record(attributes, own.records, []))


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> AllTables:
    """The acme dialect and a bound one in place of the package's tables."""
    compiled = compile_tables([ACME, BOUND])
    monkeypatch.setattr(extract_module, "tables", lambda: compiled)
    return compiled


# --- places in documents ------------------------------------------------------------------------------

USAGE = {"usage": {"in": 7, "out": "9"}, "choices": [{"finish": "stop"}, {"finish": "length"}]}
READ = {"input_tokens": 7, "output_tokens": 9, "finish_reasons": ["stop"]}


@pytest.mark.parametrize(
    "value",
    [
        USAGE,
        json.dumps(USAGE),
        json.dumps(USAGE, indent=1),
        f"\n {json.dumps(USAGE)}",
        json.dumps(json.dumps(USAGE)),
        repr(USAGE),
        repr(USAGE | {"none": None, "yes": True, "no": False}),
        repr(USAGE | {"none": None, "yes": True, "text": 'an "odd" one', "other": "it's\n"}),
    ],
    ids=["map", "JSON", "indented", "blanks", "quoted twice", "Python", "Python words", "Python with text"],
)
def test_a_claim_reads_a_place_of_a_document_however_it_is_written(value: Any) -> None:
    assert claim(compile_tables([ACME]), {"acme.usage": value}) == READ


@pytest.mark.parametrize(
    "value",
    [
        "",
        "plain text",
        "{broken",
        "{'broken",
        '"{\\"usage\\"',
        '"quoted text"',
        "5",
        5,
        True,
        None,
        [],
        {},
        "[]",
        '{"usage":5}',
        '{"usage":[{"in":5}]}',
        '{"usage":{"in":""}}',
        '{"usage":{"in":[]},"choices":[]}',
        '{"usage":{"in":-1,"out":1e300}}',
        '{"usage":{"in":"many"}}',
        '{"usage":{"in":NaN}}',
        '{"usage":{"in":"\ud800"}}',
        '{"a":' * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "{'a':" * 100_000,
        f"[{'{},' * 600_000}1]",
        "{'a': '" + "\\" * 60_000,
        f"{{'usage': {{'in': 7}}, 'text': \"it's\", 'more': '{'x' * 5000}'}}",
        f"{{'usage': {{'in': 7}}, 'more': '{'x' * 70_000}'}}",
        '{"$bytes":"AAAA"}',
        {"$double": "NaN"},
    ],
)
def test_what_is_no_document_or_has_no_such_place_counts_as_absent_without_a_note(value: Any) -> None:
    notes: list[str] = []
    claimed = claim_record({"acme.usage": value, "acme.answer": value}, compile_tables([ACME]).records, notes)
    assert (columns(claimed), notes) == ({}, [])


def test_a_document_is_read_once_however_many_claims_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    read_values: list[Any] = []

    def watched(value: Any) -> Any:
        read_values.append(value)
        return read_document(value)

    monkeypatch.setattr("semconv.claims.read_document", watched)
    own = compile_tables([ACME])
    assert claim(own, {"acme.usage": json.dumps(USAGE), "acme.other": "{}"}) == READ
    assert read_values == [json.dumps(USAGE)]


def test_claims_within_documents_take_their_turn_among_others() -> None:
    own = compile_tables([ACME])
    both = {"acme.usage": '{"in":1,"usage":{"in":2}}', "acme.answer": '{"usage":{"in":3}}'}
    assert claim(own, {**both, "acme.input": 4})["input_tokens"] == 4
    assert claim(own, both)["input_tokens"] == 2
    assert claim(own, {**both, "acme.usage": '{"in":1}'})["input_tokens"] == 1
    assert claim(own, {**both, "acme.usage": "{}"})["input_tokens"] == 3


def test_of_two_dialects_with_one_precedence_the_lower_rank_wins() -> None:
    other = {"name": "other", "rank": 5, "claims": [row("other.input", "input_tokens", "tokens", 5)]}
    own = compile_tables([ACME, other])
    for attributes in ({"acme.input": 1, "other.input": 2}, {"other.input": 2, "acme.input": 1}):
        assert claim(own, attributes)["input_tokens"] == 2


@pytest.mark.parametrize("as_map", [False, True])
def test_of_content_that_the_gate_takes_evidence_keeps_the_claimed_numbers_and_identifiers(
    acme: AllTables, as_map: bool
) -> None:
    answer = {"id": "resp_1", "usage": {"in": 7}, "text": "a canary", "secret": 5}
    span = only_span(traces_message({"acme.answer": answer if as_map else json.dumps(answer)}))
    assert (span["response_id"], span["input_tokens"]) == ("resp_1", 7)
    assert span["attributes"] == "{}"
    assert json.loads(span["evidence"])["kept"] == {"acme.answer": {"id": "resp_1", "usage.in": 7}}


def test_text_of_content_fills_no_column_by_a_claim(acme: AllTables) -> None:
    span = only_span(traces_message({"acme.answer": '{"id":"a canary sang here"}'}))
    assert (span["response_id"], span["notes"]) == (None, None)
    assert "kept" not in json.loads(span["evidence"])


def test_evidence_keeps_nothing_that_its_column_would_not_take() -> None:
    claims = [
        row("acme.answer", "response_id", "response_id", path="id"),
        row("acme.x", "response_id", precedence=5),
    ]
    own = compile_tables([{**ACME, "claims": claims}])
    for value, kept in (("resp_1", {"acme.answer": {"id": "resp_1"}}), ("canary", {})):
        attributes = {"acme.x": "x", "acme.answer": json.dumps({"id": value})}
        assert claim_record(attributes, own.records, []).kept == kept


def test_evidence_keeps_what_is_claimed_of_a_document_that_is_too_long_to_be_stored(acme: AllTables) -> None:
    metadata = json.dumps({"user": {"id": "u@example.com"}, "story": "canary " * 1000})
    span = only_span(traces_message({"acme.metadata": metadata}))
    assert (span["user_id"], span["attributes"]) == ("u@example.com", "{}")
    assert json.loads(span["evidence"])["kept"] == {"acme.metadata": {"user.id": "u@example.com"}}


def test_a_key_with_nothing_but_claimed_places_is_content_by_its_ending() -> None:
    suffixes = [{"suffix": "output", "class": "completions"}]
    claims = [
        row("acme.output", "response_id", path="id"),
        row("acme.x.output", "response_id", precedence=20),
    ]
    own = compile_tables([{"rank": 1, "claims": claims, "content_suffixes": suffixes}])
    assert own.keys["acme.output"].content is not None
    assert own.keys["acme.x.output"].content is None


@pytest.mark.parametrize(
    ("attributes", "agent"),
    [
        ({"acme.name": "a", "acme.kind": "agent"}, "a"),
        ({"acme.kind": "agent", "acme.name": "a"}, "a"),
        ({"acme.kind": "tool", "acme.name": "a"}, None),
        ({"acme.name": "a"}, None),
        ({"acme.kind": "agent"}, None),
        ({"acme.kind": "agent", "acme.name": ""}, None),
    ],
)
def test_a_claim_may_depend_on_another_attribute(attributes: dict[str, Any], agent: str | None) -> None:
    own = compile_tables([{**ACME, "claims": [row("acme.name", "agent_name", when={"acme.kind": "agent"})]}])
    assert claim(own, attributes).get("agent_name") == agent


def test_the_keys_of_a_column_name_the_places_in_documents_too() -> None:
    listed = row("acme.list", "user_id", precedence=20, path="users.N.id")
    own = compile_tables([{**ACME, "claims": [*ACME["claims"], listed]}])  # type: ignore[misc]
    assert claiming_keys(own.rules, "user_id") == ("acme.metadata.user.id", "acme.list.users.id")
    assert inner_keys(own.rules, "user_id") == ("user.id", "users.id")


# --- tables for some scopes or events -----------------------------------------------------------------

BOUND = {
    "name": "tool",
    "rank": 30,
    "only_scopes": ["tool.sdk", "tool.parts."],
    "only_events": ["tool.event."],
    "keys": ["tokens"],
    "claims": [row("tokens", "input_tokens", "tokens", 3), row("usage", "output_tokens", "tokens", path="o")],
    "content": [{"key": "said", "class": "completions"}],
    "names": [
        {"name": "tool.call", "column": "operation", "value": "call"},
        {"name": "run ", "column": "operation", "value": "run"},
    ],
}
OWN = {"tokens": 5, "usage": '{"o":6}', "said": "a canary"}


@pytest.mark.parametrize(
    ("scope", "event", "holds"),
    [
        ("tool.sdk", "", True),
        ("tool.parts.x", "", True),
        ("tool.sdk.x", "", False),
        ("tool.parts", "", False),
        ("", "", False),
        ("other", "tool.event.x", True),
        ("other", "tool.event", False),
        ("tool.sdk", "other", True),
    ],
)
def test_bound_tables_hold_for_their_scopes_and_events_alone(scope: str, event: str, holds: bool) -> None:
    own = compile_tables([ACME, BOUND]).of(scope, event)
    expected = {"input_tokens": 5, "output_tokens": 6} if holds else {}
    claimed = claim_record(OWN, own.records, [])
    assert columns(claimed) == expected
    assert claimed.rank == (30 if holds else NO_DIALECT)
    assert claim(own, {"acme.input": 8}) == {"input_tokens": 8}


def test_bound_tables_take_their_turn_among_the_common_ones() -> None:
    own = compile_tables([ACME, BOUND])
    assert claim(own.of("tool.sdk"), {"acme.input": 1, "tokens": 2})["input_tokens"] == 2
    assert claim(own, {"acme.input": 1, "tokens": 2})["input_tokens"] == 1


@pytest.mark.parametrize("scope", ["tool.sdk", "other"])
def test_bound_content_is_taken_from_spans_of_the_scope_alone(acme: AllTables, scope: str) -> None:
    span = only_span(traces_message(OWN, scope=scope))
    assert ("said" in json.loads(span["attributes"])) == (scope == "other")
    assert (span["dialect"], span["input_tokens"]) == (("tool", 5) if scope == "tool.sdk" else (None, None))


@pytest.mark.parametrize("field", [True, False])
def test_an_event_name_binds_log_records_one_by_one(acme: AllTables, field: bool) -> None:
    """The name is a field of the record, or an attribute as older senders have it."""
    names = ["tool.event.a", "other"]
    records = [
        {"event_name": name, "attributes": OWN} if field else {"attributes": {**OWN, "event.name": name}}
        for name in names
    ]
    found = read(logs_message(*records), "logs").log_records.to_pylist()
    assert [record["dialect"] for record in found] == ["tool", None]
    assert [record["input_tokens"] for record in found] == [5, None]
    assert ["said" in json.loads(record["attributes"]) for record in found] == [False, True]


def test_scopes_bind_data_points(acme: AllTables) -> None:
    message = metrics_message("m", OWN)
    message.resource_metrics[0].scope_metrics[0].scope.name = "tool.sdk"
    [point] = read(message, "metrics").metric_points.to_pylist()
    assert (point["dialect"], "said" in json.loads(point["attributes"])) == ("tool", False)


def test_made_up_scopes_and_events_neither_fill_the_memory_nor_compile_tables_anew() -> None:
    own = compile_tables([BOUND])
    found = {own.of(f"tool.parts.{n}", f"tool.event.{n}") for n in range(10_000)}
    assert len(found) == 1
    assert len(own._bound._found) <= 4_000
    bound = own.of("tool.sdk" + "x" * 10_000, "tool.event." + "x" * 10_000)
    assert {bound} == found
    for number in range(10_000):
        assert claim(bound, {f"key.{number}": 1, "tokens": 2}) == {"input_tokens": 2}
    assert len(bound.keys) <= 2_000
    assert len(bound.records) <= 400


# --- names --------------------------------------------------------------------------------------------


def named(own: Tables, name: str, attributes: dict[str, Any] | None = None) -> Claimed:
    attributes = attributes or {}
    return claim_name(claim_record(attributes, own.records, []), own.rules, name, attributes)


@pytest.mark.parametrize(
    ("name", "operation"),
    [("tool.call", "call"), ("run 5", "run"), ("run", None), ("tool.calls", None), ("", None)],
)
def test_a_name_fills_a_column_and_tells_the_dialect_of_a_bound_table(
    name: str, operation: str | None
) -> None:
    claimed = named(compile_tables([BOUND]).of("tool.sdk"), name)
    assert columns(claimed) == ({"operation": operation} if operation else {})
    assert claimed.rank == (30 if operation else NO_DIALECT)
    assert columns(named(compile_tables([BOUND]), name)) == {}


def test_what_an_attribute_says_goes_before_a_name() -> None:
    with_operation = {**BOUND, "claims": [row("op", "operation")]}
    own = compile_tables([with_operation]).of("tool.sdk")
    assert columns(named(own, "tool.call", {"op": "x"})) == {"operation": "x"}


def test_a_name_of_a_common_table_says_something_of_genai_records_alone() -> None:
    names = [{"name": "call", "column": "operation", "value": "chat"}]
    own = compile_tables([{**ACME, "names": names}])
    assert columns(named(own, "call", {"http.route": "/"})) == {}
    assert columns(named(own, "call", {"acme.x": 1})) == {"operation": "chat"}


@pytest.mark.parametrize(
    ("name", "attributes", "agent"),
    [
        ("planner", {"acme.kind": "agent"}, "planner"),
        ("planner", {"acme.kind": "agent", "acme.agent": "x"}, "x"),
        ("planner", {"acme.kind": "tool"}, None),
        ("planner", {"kind": "agent"}, None),
        ("x" * 3000, {"acme.kind": "agent"}, None),
        ("", {"acme.kind": "agent"}, None),
    ],
)
def test_a_name_itself_may_be_what_a_column_wants(
    name: str, attributes: dict[str, Any], agent: str | None
) -> None:
    names = [{"column": "agent_name", "when": {"acme.kind": "agent"}}]
    own = compile_tables([{**ACME, "claims": [row("acme.agent", "agent_name")], "names": names}])
    assert columns(named(own, name, attributes)).get("agent_name") == agent


def test_names_of_spans_and_log_events_are_read(acme: AllTables) -> None:
    message = traces_message({}, scope="tool.sdk")
    message.resource_spans[0].scope_spans[0].spans[0].name = "tool.call"
    span = only_span(message)
    assert (span["dialect"], span["operation"]) == ("tool", "call")
    logs = logs_message({"event_name": "tool.call"}, {"event_name": "x"}, scope="tool.sdk")
    found = read(logs, "logs").log_records.to_pylist()
    assert [record["operation"] for record in found] == ["call", None]


# --- wrong rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"claims": [row("k", "provider", path="a..b")]}, "path is empty"),
        ({"claims": [row("k", "provider", path="")]}, "path is empty"),
        ({"claims": [{**row("k", "provider"), "paths": "a"}]}, "its fields are"),
        ({"claims": [{"key": "k", "column": "provider", "convert": "string"}]}, "its fields are"),
        ({"claims": [row("k", "provider"), row("k", "provider", path="a")]}, "one precedence"),
        ({"only_scopes": ["s"], "claims": [row("k", "no_such")]}, "no such column"),
        ({"names": [{"name": "n", "column": "no_such", "value": "v"}]}, "its fields are"),
        ({"names": [{"name": "n", "column": "stream", "value": "v"}]}, "its fields are"),
        ({"names": [{"name": "n", "column": "operation"}]}, "its fields are"),
        ({"names": [{"name": "n", "column": "operation", "when": {"a": "b"}}]}, "its fields are"),
        ({"claims": [row("k", "provider", when={"a": "b", "c": "d"})]}, "when is"),
        ({"claims": [row("k", "provider", when="a")]}, "when is"),
        ({"claims": [row("k", "provider", path="p", when={"a": "b"})]}, "when is"),
    ],
)
def test_a_wrong_row_is_refused_when_the_tables_are_read(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_tables([{"rank": 1, **document}])


def test_two_dialects_may_not_have_one_rank() -> None:
    with pytest.raises(ValueError, match="the rank 1"):
        compile_tables([{"rank": 1}, {"rank": 1}])


@pytest.mark.parametrize(
    ("sent", "user"),
    [
        ({"user.id": "a", "enduser.id": "b"}, "a"),
        ({"enduser.id": "b", "user.id": "a"}, "a"),
        ({"user.id": "", "enduser.id": "b"}, "b"),
        ({"user.id": 7, "enduser.id": "b"}, "7"),
        ({"user.id": None, "enduser.id": "b"}, "b"),
        ({"user.id": "", "enduser.id": ""}, None),
    ],
)
def test_the_same_keys_fill_a_column_by_what_their_values_are(sent: dict[str, Any], user: str | None) -> None:
    """What the keys alone tell holds for usual values; an unusual one yields or is converted, time and again."""
    for _ in range(2):
        values = claim_record(sent, tables().records, []).values
        assert values[RECORD_COLUMNS.index("user_id")] == user


@pytest.mark.parametrize(("sent", "count"), [(0, 0), (5, 5), (-1, None), ("5", 5), (True, None)])
def test_a_count_of_zero_is_one_and_an_impossible_one_is_noted(sent: Any, count: int | None) -> None:
    notes: list[str] = []
    attributes = {"user.id": "a", "gen_ai.usage.input_tokens": sent}
    claimed = claim_record(attributes, tables().records, notes)
    assert claimed.values[RECORD_COLUMNS.index("input_tokens")] == count
    assert claimed.values[RECORD_COLUMNS.index("user_id")] == "a"
    assert notes == ([] if count is not None else ["unusable_value"])
