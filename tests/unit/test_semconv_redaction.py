"""Redaction: no value that a rule names reaches any column, by whatever door; everything else stays as it was."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from semconv.dialect_rules import claiming_keys
from semconv.dialects import tables
from semconv.extract import Extracted, extract
from semconv.redaction import Redaction, redaction
from semconv.request import Request
from semconv.resolve import Resolver
from semconv.settings import CONTENT_CLASSES, AccountRule, RedactionRules, Settings, Signal, UserIds
from tests.otlp_data import (
    END,
    RECEIVED_AT,
    key_values,
    logs_message,
    metrics_message,
    read,
    span_json,
    span_of,
    traces_json,
    traces_message,
)

CANARY = "canary@example.com"
SECRET = b"0123456789abcdef"
TABLES = ("spans", "log_records", "metric_points", "contents")
USER_KEYS = claiming_keys(tables().every_rule, "user_id")
GENAI = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 12}


def hashed(text: str, secret: bytes = SECRET) -> str:
    return "hmac:" + hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()[:32]


def rules(
    *drop: str, hash: tuple[str, ...] = (), user_ids: UserIds = "keep", secret: bytes = SECRET
) -> RedactionRules:
    return RedactionRules(drop=drop, hash=hash, user_ids=user_ids, secret=secret)


def keeping_all(redaction_rules: RedactionRules | None, **others: Any) -> Settings:
    return Settings(
        keep_logs="all",
        keep_metrics="all",
        capture=frozenset(CONTENT_CLASSES),
        redaction=redaction_rules,
        **others,
    )


def redacted(attributes: dict[str, Any], redaction_rules: RedactionRules) -> dict[str, Any]:
    """The row of a span with these attributes, these decoded."""
    row = span_of(attributes, keeping_all(redaction_rules))
    return {**row, "attributes": json.loads(row["attributes"])}


def text_of(extracted: Extracted) -> str:
    """Every cell of every table."""
    return "\n".join(str(getattr(extracted, name).to_pylist()) for name in TABLES)


# --- every door -----------------------------------------------------------------------------------

ENTRY = json.dumps({"email": CANARY})
ESCAPED = ENTRY.replace("email", "\\u0065mail")
HIDDEN: dict[str, Any] = {
    "plain": {"email": CANARY},
    "in a map": {"user": {"name": "x", "email": CANARY}},
    "in a list of maps": {"users": ["x", [{"email": CANARY}]]},
    "a whole map": {"email": {"work": [CANARY]}},
    "bytes": {"email": CANARY.encode()},
    "JSON text": {"metadata": json.dumps({"n": 1, "email": CANARY})},
    "JSON text that is indented": {"metadata": "\n  " + json.dumps([{"email": CANARY}], indent=2)},
    "JSON text in JSON text": {"metadata": json.dumps({"inner": json.dumps({"email": CANARY})})},
    "JSON text as a JSON string": {"metadata": json.dumps(json.dumps({"email": CANARY}))},
    "an escaped key": {"metadata": ESCAPED},
    "an escaped key further down": {"metadata": json.dumps({"inner": ESCAPED})},
    "a key twice": {"metadata": f'{{"a": {ENTRY}, "a": 1}}'},
    "JSON that was cut off": {"metadata": ENTRY[:-1] + ', "text": "and so o'},
    "JSON lines": {"metadata": '{"n": 1}\n' + ENTRY},
    "a map as Python writes it": {"metadata": str({"n": None, "email": CANARY})},
    "JSON nested too deep to read": {"metadata": f"[{ENTRY}, {'[' * 9999}{']' * 9999}]"},
    "more JSON than is read": {"metadata": f"[{ENTRY}{',{}' * 600_000}]"},
    "gated content": {**GENAI, "gen_ai.input.messages": json.dumps([{"role": "user", "email": CANARY}])},
    "gated structure": {**GENAI, "gen_ai.output.messages": [{"email": CANARY, "content": "hello"}]},
}


def holds_canary(extracted: Extracted) -> bool:
    """Whether a cell of any table holds the canary, as text or as bytes do in JSON."""
    cells = text_of(extracted)
    return CANARY in cells or base64.b64encode(CANARY.encode()).decode() in cells


@pytest.mark.parametrize("chosen", [rules("email"), rules(hash=("email",))], ids=["drop", "hash"])
@pytest.mark.parametrize("place", HIDDEN)
def test_a_named_key_is_found_at_any_depth_and_in_json_text(place: str, chosen: RedactionRules) -> None:
    attributes = HIDDEN[place]
    for signal, body in (
        ("traces", traces_message(attributes)),
        ("logs", logs_message({"attributes": attributes})),
        ("logs", logs_message({"body": attributes})),
        ("metrics", metrics_message("m", attributes)),
    ):
        assert holds_canary(read(body, signal, settings=keeping_all(None)))  # type: ignore[arg-type]
        extracted = read(body, signal, settings=keeping_all(chosen))  # type: ignore[arg-type]
        assert not holds_canary(extracted)
        assert "redacted" in text_of(extracted)


@pytest.mark.parametrize(
    "place",
    [
        "JSON that was cut off",
        "JSON lines",
        "a map as Python writes it",
        "JSON nested too deep to read",
        "more JSON than is read",
        "a key twice",
    ],
)
def test_json_that_cannot_be_read_goes_as_a_whole(place: str) -> None:
    for chosen in (rules("email"), rules(hash=("email",))):
        assert redacted({"n": 1, **HIDDEN[place]}, chosen)["attributes"] == {"n": 1}


def traces_everywhere() -> Any:
    own = {"email": CANARY}
    message = traces_message(own, resource={"service.name": "shop", **own})
    scope_spans = message.resource_spans[0].scope_spans[0]
    scope_spans.scope.attributes.extend(key_values(own))
    span = scope_spans.spans[0]
    span.events.add(name="exception", attributes=key_values({"exception.type": CANARY, **own}))
    span.status.code = 2
    span.links.add(attributes=key_values(own))
    return message


def metrics_everywhere() -> ExportMetricsServiceRequest:
    own = key_values({"email": CANARY})
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="m", metadata=own)
    point = metric.gauge.data_points.add(time_unix_nano=END, as_int=5, attributes=own)
    point.exemplars.add(time_unix_nano=END, as_int=5, filtered_attributes=own)
    return request


def logs_everywhere() -> Any:
    own = {"email": CANARY, "event.name": CANARY}
    return logs_message({"attributes": own, "body": own}, {"body": json.dumps(own)}, {"body": str(own)})


EVERYWHERE: dict[Signal, Any] = {
    "traces": traces_everywhere,
    "logs": logs_everywhere,
    "metrics": metrics_everywhere,
}


@pytest.mark.parametrize("signal", EVERYWHERE)
def test_a_named_key_is_found_wherever_attributes_stand(signal: Signal) -> None:
    """Also under the keys from which columns are read: exception.type of an event, event.name of a record."""
    names = ("email", "exception.type", "event.name")
    for chosen in (rules(*names), rules(hash=names)):
        extracted = read(EVERYWHERE[signal](), signal, settings=keeping_all(chosen))
        assert not holds_canary(extracted)
        assert (hashed(CANARY) in text_of(extracted)) == bool(chosen.hash)


@pytest.mark.parametrize("key", USER_KEYS)
@pytest.mark.parametrize("how", ["hash", "drop"])
def test_user_ids_are_those_of_the_dialect_tables(key: str, how: UserIds) -> None:
    """Under every key that fills user_id for somebody, nested too; and in the column, where the key fills it here."""
    outer, _, inner = key.rpartition(".")
    nested = {} if outer in USER_KEYS else {outer or "map": {inner: CANARY}}
    attributes = {key: CANARY, "acme.json": json.dumps({key: CANARY}), **nested}
    message = traces_message(attributes, resource={key: CANARY})
    extracted = read(message, settings=keeping_all(rules(user_ids=how)))
    assert not holds_canary(extracted)
    [row] = extracted.spans.to_pylist()
    [plain] = read(message, settings=keeping_all(None)).spans.to_pylist()
    assert row["user_id"] == (hashed(CANARY) if how == "hash" and plain["user_id"] else None)


def test_the_user_keys_are_known() -> None:
    assert {"user.id", "enduser.id", "user.email"} <= set(USER_KEYS)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.just(CANARY),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text(max_size=5) | st.just("email"), inner, max_size=4)
            | inner.map(json.dumps)
            | inner.map(str)
        ),
        max_leaves=20,
    )
)
@settings(max_examples=150, deadline=None)
def test_whatever_stands_under_the_key_is_gone(value: Any) -> None:
    """Any value with a map in it, in any nesting of maps, lists and JSON text, leaves with its key."""
    marked = json.loads(json.dumps(value).replace(CANARY, "nobody"))
    around = [{"email": [CANARY, marked]}, json.dumps({"a": [{"email": CANARY, "b": marked}]})]
    row = redacted({"k": [marked, around], "t": json.dumps(around)}, rules("email"))
    assert CANARY not in str(row)


# --- what is stored instead -----------------------------------------------------------------------


def test_one_value_has_one_hash_in_every_signal_encoding_and_place() -> None:
    chosen = keeping_all(rules(hash=("customer",), user_ids="hash"))
    user = {"user.id": "ann", "customer": 5, "json": '{"customer": 5}', "map": {"customer": 5}}
    rows = [
        *read(traces_message(user), settings=chosen).spans.to_pylist(),
        *read(traces_json(span_json(user)), settings=chosen).spans.to_pylist(),
        *read(logs_message({"attributes": user}), "logs", settings=chosen).log_records.to_pylist(),
        *read(metrics_message("m", user), "metrics", settings=chosen).metric_points.to_pylist(),
    ]
    assert len(rows) == 4
    for row in rows:
        assert row["user_id"] == hashed("ann")
        assert json.loads(row["attributes"]) == {
            "user.id": hashed("ann"),
            "customer": hashed("5"),
            "json": json.dumps({"customer": hashed("5")}, separators=(",", ":")),
            "map": {"customer": hashed("5")},
        }


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        ("", ""),
        ("ann", hashed("ann")),
        ("größe 😀", hashed("größe 😀")),
        (-5, hashed("-5")),
        (True, hashed("true")),
        (0.5, hashed("0.5")),
        (["a", 1], hashed('["a",1]')),
        ({"b": 1, "a": "ä"}, hashed('{"a":"ä","b":1}')),
        ("x" * 100_000, hashed("x" * 100_000)),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_hashed(value: Any, stored: Any) -> None:
    assert redacted({"k": value}, rules(hash=("k",)))["attributes"] == {"k": stored}


def test_another_secret_gives_other_hashes() -> None:
    other = b"another secret.."
    row = redacted({"user.id": "ann"}, rules(user_ids="hash", secret=other))
    assert row["user_id"] == hashed("ann", other) != hashed("ann")


def test_what_is_dropped_is_counted_and_noted_and_nothing_else_is_left_of_it() -> None:
    message = traces_message({"email": CANARY, "phone": "1", "kept": 1})
    span = message.resource_spans[0].scope_spans[0].spans[0]
    span.dropped_attributes_count = 3
    span.events.add(name="e", attributes=key_values({"email": CANARY}))
    span.links.add(attributes=key_values({"email": CANARY, "kept": 1}))
    [row] = read(message, settings=keeping_all(rules("email", "phone"))).spans.to_pylist()
    assert (row["attributes"], row["dropped_attributes_count"]) == ('{"kept":1}', 5)
    assert row["notes"] == ["redacted"]
    assert row["evidence"] is None
    for column, kept in (("events", {}), ("links", {"kept": 1})):
        [item] = json.loads(row[column])
        assert (item["attributes"], item["dropped_attributes_count"]) == (kept, 1)


def test_gated_content_is_redacted_before_it_is_captured_or_kept_as_evidence() -> None:
    messages = json.dumps([{"finish_reason": "stop", "email": CANARY, "text": "hello"}])
    attributes = {**GENAI, "gen_ai.output.messages": messages}
    chosen = rules("email", hash=("finish_reason",))
    extracted = read(traces_message(attributes), settings=keeping_all(chosen))
    left = [{"finish_reason": hashed("stop"), "text": "hello"}]
    [content] = extracted.contents["content"].to_pylist()
    assert json.loads(content) == left
    evidence = json.loads(extracted.spans["evidence"].to_pylist()[0])
    assert evidence == {
        "gated": {"gen_ai.output.messages": len(content)},
        "kept": {"gen_ai.output.messages": {"0.finish_reason": hashed("stop")}},
    }


def test_columns_are_read_from_what_is_left() -> None:
    attributes = {"session.id": "s", "user.id": "u", "gen_ai.usage.input_tokens": 7, "gen_ai.agent.name": "a"}
    row = redacted(attributes, rules("session.id", hash=("gen_ai.usage.*", "gen_ai.agent.name")))
    assert (row["session_id"], row["user_id"], row["agent_name"]) == (None, "u", hashed("a"))
    assert row["input_tokens"] is None
    assert row["notes"] == ["redacted", "unusable_value"]


def test_a_hashed_service_name_is_hashed_in_its_column() -> None:
    [row] = read(traces_message({}), settings=keeping_all(rules(hash=("service.name",)))).spans.to_pylist()
    assert row["service_name"] == hashed("shop")


# --- which keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "attributes", "left"),
    [
        (
            "email",
            {"email": 1, "Email": 1, "email2": 1, "my.email": 1},
            {"Email": 1, "email2": 1, "my.email": 1},
        ),
        ("user.*", {"user.id": 1, "user.": 1, "user": 1, "users.id": 1}, {"user": 1, "users.id": 1}),
        ("use*", {"user.id": 1, "use": 1, "us": 1, "m": {"user": 1}}, {"us": 1, "m": {}}),
        ("*", {"a": 1, "": 2}, {}),
        ("user.email", {"user": {"email": 1, "id": 2}}, {"user": {"id": 2}}),
        ("user.email", {"a": {"user": {"email": 1}}}, {"a": {"user": {}}}),
        (
            "user.*",
            {"user": {"email": 1, "id": 2}, "a": [{"user": {"x": 1}}]},
            {"user": {}, "a": [{"user": {}}]},
        ),
        ("user.a.b", {"user": {"a.b": 1}, "user.a": {"b": 1}}, {"user": {}, "user.a": {}}),
        ("id", {"user.id": 1, "user": {"id": 1, "other.id": 2}}, {"user.id": 1, "user": {"other.id": 2}}),
        ("user.email", {"t": '{"user":{"email":1},"n":1.10}'}, {"t": '{"user":{},"n":1.1}'}),
        ("größe", {"größe": 1, "t": '{"gr\\u00f6\\u00dfe":1}'}, {"t": "{}"}),
        ('a"b', {'a"b': 1, "t": '{"a\\"b":1}'}, {"t": "{}"}),
        ("", {"": 1, "a": 1, "t": '{"":1}'}, {"a": 1, "t": "{}"}),
    ],
)
def test_which_keys_a_rule_names(rule: str, attributes: dict[str, Any], left: dict[str, Any]) -> None:
    assert redacted(attributes, rules(rule))["attributes"] == left


def test_to_drop_goes_before_to_hash() -> None:
    assert redacted({"email": "x"}, rules("email", hash=("email", "e*")))["attributes"] == {}
    assert redacted({"user.id": "x"}, rules(hash=("user.id",), user_ids="drop"))["attributes"] == {}


@pytest.mark.parametrize(
    "text",
    [
        "please mail me: email: x",
        '{"to": "email"}',
        '{"emails": 1, "n": 1.10, "a":   [ 1 ]}',
        "{not JSON at all}",
        '["email", {"role": "user"}]',
        '"email" is what they said',
        "[INFO] email",
        "",
        " ",
    ],
)
def test_other_texts_stay_as_they_are_to_the_byte(text: str) -> None:
    row = redacted({"text": text, "list": [text], "map": {"k": text}}, rules("email", user_ids="hash"))
    assert row["attributes"] == {"text": text, "list": [text], "map": {"k": text}}
    assert row["notes"] is None


def test_a_record_that_no_rule_concerns_is_the_same_object() -> None:
    """Nothing is copied for it, so it costs no more than looking at its keys."""
    own = redaction(rules("email"))
    attributes = {"a": 1, "b": ["x", {"c": '{"d": 1}'}]}
    assert own.attributes(attributes, []) is attributes


def test_values_that_records_share_are_not_changed_in_place() -> None:
    """The decoders remember short values, so two spans hold one and the same map."""
    message = traces_message({"m": {"email": "x"}}, {"m": {"email": "x"}, "k": 1})
    rows = read(message, settings=keeping_all(rules(hash=("email",)))).spans["attributes"].to_pylist()
    assert [json.loads(row)["m"] for row in rows] == [{"email": hashed("x")}] * 2


def test_made_up_keys_and_values_do_not_fill_the_memory() -> None:
    own = Redaction(rules(hash=("h*",)), tables())
    for number in range(20_100):
        own.attributes({f"key.{number}": 1, "h": f"value {number}", f"h{'x' * 999}{number}": "y"}, [])
    remembered = [table for table in vars(own).values() if isinstance(table, dict)]
    assert len(remembered) == 2
    for table in remembered:
        assert len(table) <= 20_000
        assert max(map(len, table)) <= 256


# --- what must not suffer -------------------------------------------------------------------------


def test_the_content_gate_does_not_open_for_a_record_that_lost_its_genai_keys() -> None:
    """Its keys are dropped, yet it was a GenAI record: its error message is content all the same."""
    message = traces_message({"gen_ai.operation.name": "chat", "note": CANARY * 200})
    message.resource_spans[0].scope_spans[0].spans[0].status.message = CANARY
    logs = logs_message({"attributes": {"gen_ai.system": "x", "event.name": "e"}, "body": CANARY})
    dropping = Settings(redaction=rules("gen_ai.*"))
    for body, signal in ((message, "traces"), (logs, "logs")):
        extracted = read(body, signal, settings=dropping)  # type: ignore[arg-type]
        assert not holds_canary(extracted)
        assert extracted.spans.num_rows + extracted.log_records.num_rows == 1


def test_records_that_differ_only_in_what_is_dropped_are_two() -> None:
    records = [{"attributes": {"user.id": user}, "body": "login"} for user in ("ann", "bob")]
    logs = read(logs_message(*records), "logs", settings=keeping_all(rules(user_ids="drop"))).log_records
    assert len(set(logs["record_hash"].to_pylist())) == 2
    points = ExportMetricsServiceRequest()
    gauge = points.resource_metrics.add().scope_metrics.add().metrics.add(name="m").gauge
    for user in ("ann", "bob"):
        gauge.data_points.add(time_unix_nano=END, as_int=1, attributes=key_values({"user.id": user}))
    rows = read(points, "metrics", settings=keeping_all(rules(user_ids="drop"))).metric_points
    assert len(set(rows["record_hash"].to_pylist())) == 2


def test_an_identity_says_nothing_about_what_was_dropped_to_who_has_no_secret() -> None:
    """It is keyed: trying users until the hash fits takes the secret. With it, a replay is recognised."""

    def identities(chosen: RedactionRules | None) -> list[str]:
        logs = logs_message({"attributes": {"user.id": "ann"}})
        metrics = metrics_message("m", {"user.id": "ann"})
        return [
            *read(logs, "logs", settings=keeping_all(chosen)).log_records["record_hash"].to_pylist(),
            *read(metrics, "metrics", settings=keeping_all(chosen)).metric_points["record_hash"].to_pylist(),
        ]

    own = rules(user_ids="drop")
    assert identities(own) == identities(own)
    assert identities(own) == identities(rules("email", user_ids="hash"))
    others = [None, rules(user_ids="drop", secret=b"another secret..")]
    assert all(not set(identities(own)) & set(identities(other)) for other in others)


def test_it_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be redacted is not extracted at all: the loader puts the request aside."""

    def broken(*_arguments: Any) -> bytes:
        raise RuntimeError("no digest today")

    chosen = rules(hash=("email",), secret=b"of this test alone")
    monkeypatch.setattr(hmac, "digest", broken)
    body = traces_message({"email": CANARY}).SerializeToString()
    with pytest.raises(RuntimeError, match="no digest today"):
        extract([Request("traces", "protobuf", body, RECEIVED_AT)], keeping_all(chosen))


@pytest.mark.parametrize("given", [{"drop": ("a",)}, {"hash": ("a",)}, {"user_ids": "hash"}])
def test_rules_need_a_secret(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="secret"):
        RedactionRules(**given)
    assert "hidden" not in repr(RedactionRules(**given, secret=b"hidden"))


# --- accounts and dimensions ----------------------------------------------------------------------


def account_of(
    attributes: dict[str, Any], rule: AccountRule, chosen: RedactionRules, service: str = "shop"
) -> str | None:
    """The account that a call with these attributes is on."""
    message = traces_message({**GENAI, **attributes}, resource={"service.name": service})
    deployment = keeping_all(chosen, account_rules=(rule,))
    connection = duckdb.connect(config={"threads": 1})
    resolved = Resolver(connection, deployment).resolve_spans(read(message, settings=deployment).spans)
    [account] = resolved.column("billing_account").to_pylist()
    return account  # type: ignore[no-any-return]


ANN = AccountRule("research", user="ann")


@pytest.mark.parametrize("chosen", [rules(user_ids="hash"), rules(hash=("user.id",)), rules("email")])
@pytest.mark.parametrize("key", ["user.id", "enduser.id"])
def test_account_rules_name_users_as_they_are_and_match_them_hashed(key: str, chosen: RedactionRules) -> None:
    assert account_of({key: "ann"}, ANN, chosen) == "research"
    assert account_of({key: "bob"}, ANN, chosen) is None


def test_account_rules_match_hashed_attributes_and_services() -> None:
    rule = AccountRule("research", service="shop", attributes={"team": "7", "kept": "x"})
    chosen = rules(hash=("team", "service.name"))
    assert account_of({"team": 7, "kept": "x"}, rule, chosen) == "research"
    assert account_of({"team": 8, "kept": "x"}, rule, chosen) is None
    assert account_of({"team": 7, "kept": "x"}, rule, chosen, service="other") is None


def test_a_rule_about_what_is_dropped_matches_nobody() -> None:
    """Above all not everybody."""
    for rule in (ANN, AccountRule("research", attributes={"email": "x"})):
        for attributes in ({}, {"user.id": "ann", "email": "x"}, {"user.id": "bob"}):
            assert account_of(attributes, rule, rules("email", user_ids="drop")) is None
