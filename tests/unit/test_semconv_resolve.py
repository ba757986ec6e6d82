from __future__ import annotations

import datetime as dt

import duckdb
import pyarrow as pa
import pytest

from semconv import columns, kinds
from semconv.resolve import Resolver
from semconv.settings import AccountPlan, AccountRule, Settings
from tests.unit.semconv_records import SCHEMA, Row, chat, resolve, seeded, span, table

BEDROCK = "opentelemetry.instrumentation.botocore.bedrock-runtime"
ANTHROPIC = "opentelemetry.instrumentation.genai.anthropic"


@pytest.mark.parametrize(
    ("relation", "schema"),
    [
        ("spans", columns.SPANS),
        ("log_records", columns.LOG_RECORDS),
        ("metric_points", columns.METRIC_POINTS),
    ],
)
def test_resolved_tables_have_the_lakes_columns(relation: str, schema: pa.Schema) -> None:
    """Names, order and types of the contract but for load_id, for every signal, also from an empty table."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(SCHEMA)
    resolver = Resolver(connection, Settings())
    resolved = getattr(resolver, f"resolve_{relation}")(schema.empty_table())
    connection.register(f"resolved_{relation}", resolved)
    described = connection.execute(f"DESCRIBE resolved_{relation}").fetchall()
    contract = connection.execute(f"DESCRIBE {relation}").fetchall()
    assert [row[:2] for row in described] == [row[:2] for row in contract if row[0] != "load_id"]


def test_every_row_comes_out_once_and_passes_what_has_no_meaning() -> None:
    connection = duckdb.connect(config={"threads": 1})
    rows = [chat("a", attributes='{"k": [1, 2.0]}'), span("b", name="GET /", events='[{"name":"e"}]')]
    resolved = Resolver(connection, Settings()).resolve_spans(table(rows))
    found = resolved.select(["span_id", "name", "attributes", "events", "role"]).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("a", "span", '{"k": [1, 2.0]}', None, "llm"),
        ("b", "GET /", "{}", '[{"name":"e"}]', None),
    ]


@pytest.mark.parametrize(
    ("sent", "model", "canonical"),
    [
        ("openai", None, "openai"),
        ("OpenAI", None, "openai"),
        (" anthropic.messages ", None, "anthropic"),
        ("gemini", None, "gcp.gemini"),
        ("az.ai.openai", None, "azure.ai.openai"),
        ("aws", "anthropic.claude-3-5-sonnet-20241022-v2:0", "aws.bedrock"),
        ("My-Gateway", "gpt-4o", "my-gateway"),
        ("Langchain", "claude-sonnet-4-5", "anthropic"),
        ("strands-agents", "us.amazon.nova-pro-v1:0", "aws.bedrock"),
        ("langchain", "house-model", None),
        ("", "gpt-4.1-mini", "openai"),
        (None, "models/gemini-2.5-flash", "gcp.gemini"),
        (None, "us.anthropic.claude-sonnet-4-20250514-v1:0", "aws.bedrock"),
        (None, "claude-sonnet-4@20250514", "gcp.vertex_ai"),
        (None, "mistral-large-latest", "mistral_ai"),
        (None, "grok-4", "x_ai"),
        (None, "house-model", None),
        (None, None, None),
    ],
)
def test_provider_is_canonical_or_as_sent_or_follows_from_the_model(
    sent: str | None, model: str | None, canonical: str | None
) -> None:
    [resolved] = resolve(chat("a", provider=sent, request_model=model))
    assert resolved["provider"] == canonical


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"operation": "chat"}, "llm"),
        ({"operation": "Generate_Content"}, "llm"),
        ({"operation": "text_completion"}, "llm"),
        ({"operation": "embeddings"}, "embeddings"),
        ({"operation": "execute_tool"}, "tool"),
        ({"operation": "invoke_agent", "request_model": "gpt-4o", "input_tokens": 5}, "agent"),
        ({"operation": "create_agent"}, "agent"),
        ({"operation": "invoke_workflow"}, "workflow"),
        ({"operation": "retrieval"}, "retrieval"),
        ({"operation": "fetch_response", "response_id": "r"}, "other"),
        ({"operation": "house_step"}, "other"),
        (
            {"operation": "house_step", "request_model": "gpt-4o", "input_tokens": 5, "output_tokens": 1},
            "llm",
        ),
        ({"request_model": "gpt-4o"}, "llm"),
        ({"input_tokens": 5, "output_tokens": 1}, "llm"),
        ({"request_model": "text-embedding-3-small", "input_tokens": 5}, "embeddings"),
        ({"tool_name": "search"}, "tool"),
        ({"agent_name": "planner"}, "agent"),
        ({}, "other"),
    ],
)
def test_role_follows_from_the_operation_or_else_from_what_is_claimed(claims: Row, role: str) -> None:
    [resolved] = resolve(span("a", dialect="otel_genai", **claims))
    assert resolved["role"] == role


def test_a_record_without_a_dialect_has_no_role_and_no_plan() -> None:
    [resolved] = resolve(span("a"))
    assert (resolved["role"], resolved["provider"], resolved["plan_tier"]) == (None, None, None)


@pytest.mark.parametrize(
    ("claims", "input_tokens", "semantics", "evidence"),
    [
        ({"scope_name": BEDROCK, "cache_read_tokens": 30}, 130, "exclusive", "rule"),
        ({"scope_name": BEDROCK, "cache_write_tokens": 30}, 130, "exclusive", "rule"),
        ({"scope_name": ANTHROPIC, "cache_read_tokens": 30}, 100, "inclusive", "rule"),
        ({"scope_name": ANTHROPIC, "cache_read_tokens": 101}, 201, "exclusive", "cache_exceeds_input"),
        ({"cache_read_tokens": 60, "cache_write_tokens": 60}, 220, "exclusive", "cache_exceeds_input"),
        ({"cache_read_tokens": 30, "total_tokens": 110}, 100, "inclusive", "total_tokens"),
        ({"cache_read_tokens": 30, "total_tokens": 140}, 130, "exclusive", "total_tokens"),
        ({"cache_read_tokens": 30, "total_tokens": 999}, 100, "unknown", "convention"),
        ({"cache_read_tokens": 30}, 100, "unknown", "convention"),
        ({"total_tokens": 110}, 100, "unknown", "convention"),
        ({"input_tokens": None}, None, None, None),
    ],
)
def test_input_includes_cache_by_proof_then_rule_then_total_then_convention(
    claims: Row, input_tokens: int | None, semantics: str | None, evidence: str | None
) -> None:
    [resolved] = resolve(chat("a", **claims))
    found = resolved["input_tokens"], resolved["token_semantics"], resolved["token_evidence"]
    assert found == (input_tokens, semantics, evidence)


def test_cache_write_is_the_sum_of_its_parts_where_only_they_came() -> None:
    parts = {"cache_write_5m_tokens": 10, "cache_write_1h_tokens": 5}
    only_parts, both, only_total = resolve(
        chat("a", **parts), chat("b", cache_write_tokens=40, **parts), chat("c", cache_write_tokens=40)
    )
    assert only_parts["cache_write_tokens"] == 15
    assert both["cache_write_tokens"] == 40
    assert [only_total[f"cache_write_{ttl}_tokens"] for ttl in ("5m", "30m", "1h", "12h")] == [None] * 4


@pytest.mark.parametrize("count", [-1, 2**63 - 1, -(2**63)])
def test_an_impossible_count_is_unknown_and_noted(count: int) -> None:
    """Also near the ends of 64 bits, where a sum would overflow and take the whole batch with it."""
    [resolved] = resolve(chat("a", input_tokens=count, cache_read_tokens=count, notes=["value_cut"]))
    assert (resolved["input_tokens"], resolved["cache_read_tokens"]) == (None, None)
    assert resolved["notes"] == ["value_cut", "implausible_token_count"]


def test_output_below_its_reasoning_left_it_out() -> None:
    [resolved] = resolve(chat("a", output_tokens=10, reasoning_tokens=90))
    assert (resolved["output_tokens"], resolved["notes"]) == (100, ["output_excluded_reasoning"])


def test_a_batch_tier_is_a_batch() -> None:
    batch, standard, unsaid = resolve(
        chat("a", service_tier="Batch"), chat("b", service_tier="standard", batch=False), chat("c")
    )
    assert (batch["service_tier"], batch["batch"]) == ("batch", True)
    assert (standard["batch"], unsaid["batch"]) == (False, None)


RULES = (
    AccountRule("by-user", user="ann"),
    AccountRule("by-all", provider="openai", service="shop", attributes={"team": "it's"}),
)


@pytest.mark.parametrize(
    ("claims", "account"),
    [
        ({"bound_billing_account": "bound", "billing_account": "own"}, "bound"),
        ({"billing_account": "own", "resource_billing_account": "res"}, "own"),
        ({"resource_billing_account": "res", "user_id": "ann"}, "res"),
        ({"user_id": "ann"}, "by-user"),
        ({"service_name": "shop", "attributes": '{"team":"it\'s"}'}, "by-all"),
        ({"service_name": "shop", "resource_attributes": '{"team":"it\'s"}'}, "by-all"),
        ({"service_name": "shop"}, "openai"),
        ({"provider": None, "request_model": None}, None),
    ],
)
def test_billing_account_by_precedence(claims: Row, account: str | None) -> None:
    [resolved] = resolve(chat("a", **claims), settings=Settings(account_rules=RULES))
    assert resolved["billing_account"] == account


PLANS = (
    AccountPlan("openai", "plus"),
    AccountPlan("openai", "team", since=dt.date(2026, 11, 2)),
    AccountPlan("openai", "enterprise", since=dt.date(2026, 11, 3)),
)


@pytest.mark.parametrize(
    ("claims", "plans", "default", "plan"),
    [
        ({"plan_tier": "Pro", "resource_plan_tier": "api"}, PLANS, "api", "pro"),
        ({"resource_plan_tier": "max_5x"}, PLANS, "api", "max_5x"),
        ({}, PLANS, "api", "team"),
        ({"provider": "anthropic"}, PLANS, "api", "api"),
        ({"provider": "anthropic"}, PLANS, None, "unknown"),
    ],
)
def test_plan_by_precedence_and_date(
    claims: Row, plans: tuple[AccountPlan, ...], default: str | None, plan: str
) -> None:
    """The account's plan is the newest that had begun on the day of the call (2026-11-02)."""
    [resolved] = resolve(
        chat("a", **claims), settings=Settings(account_plans=plans, default_plan_tier=default)
    )
    assert resolved["plan_tier"] == plan


def test_names_are_told_apart_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """More combinations of names than are remembered or fit one number, old ones among the new: each record still
    has the provider, the role and the semantics of its own names.
    """
    monkeypatch.setattr(kinds, "_MOST_REMEMBERED", 10)
    monkeypatch.setattr(kinds, "_LARGEST_NUMBER", 50)
    choose = seeded(7)
    providers = {"groq.chat": "groq", "langchain": "aws.bedrock", "House": "house", None: "aws.bedrock"}
    operations = {"chat": "llm", "embeddings": "embeddings", "execute_tool": "tool"}
    scopes = {BEDROCK: "exclusive", ANTHROPIC: "inclusive", "a.library": "unknown", None: "unknown"}
    connection = duckdb.connect(config={"threads": 1})
    resolver = Resolver(connection, Settings())
    for _ in range(3):
        names = [
            (choose.choice([*providers]), choose.choice([*operations]), choose.choice([*scopes]))
            for _ in range(60)
        ]
        rows = [
            chat(
                str(place),
                provider=provider,
                operation=operation,
                scope_name=scope,
                scope_version=str(place),
                request_model="us.amazon.nova-pro-v1:0",
            )
            for place, (provider, operation, scope) in enumerate(names)
        ]
        resolved = resolver.resolve_spans(table([*rows, span("plain", provider="openai", operation="chat")]))
        meanings = resolved.select(["provider", "role", "token_semantics"]).to_pylist()
        found = {
            span_id.as_py(): tuple(row.values())
            for span_id, row in zip(resolved.column("span_id"), meanings, strict=True)
        }
        assert found.pop("plain") == (None, None, None)
        assert found == {
            str(place): (providers[provider], operations[operation], scopes[scope])
            for place, (provider, operation, scope) in enumerate(names)
        }
