"""What the counts of each sender mean: the traps by which cached tokens and reasoning are lost or counted twice."""

from __future__ import annotations

import json
import tomllib
from importlib import resources

import duckdb
import pytest

from semconv import columns, token_rules
from semconv.resolve import Resolver
from semconv.settings import Settings
from tests.unit import semconv_meaning
from tests.unit.semconv_records import Row, build, chat, resolve, table

BEDROCK_MODEL = {"provider": "aws.bedrock", "request_model": "anthropic.claude-sonnet-4-5-20250929-v1:0"}
CLAUDE = {"provider": "anthropic", "request_model": "claude-sonnet-4-5"}
GEMINI = {"provider": "gemini", "request_model": "gemini-2.5-flash"}
GPT = {"provider": "openai", "request_model": "gpt-4.1"}


def cached(*given: Row) -> list[Row]:
    """Calls with 1,000 tokens of input as their senders count, and 300 read from the cache."""
    counts = {"input_tokens": 1000, "cache_read_tokens": 300}
    return resolve(*(chat(str(place), **(counts | claims)) for place, claims in enumerate(given)))


def semantics_of(*given: Row) -> list[str]:
    """How the input of such calls is read."""
    return [record["token_semantics"] for record in cached(*given)]


def whole(record: Row) -> str:
    """How the input was read: as sent, or with the cache added."""
    return {1000: "inclusive", 1300: "exclusive"}[record["input_tokens"]]


# --- what the library is known for


KNOWN_FOR = [
    # The conventions' own instrumentations.
    ("opentelemetry.instrumentation.genai.openai", "1.3b0", GPT, "inclusive"),
    ("opentelemetry.instrumentation.genai.anthropic", "1.3b0", CLAUDE, "inclusive"),
    ("opentelemetry.instrumentation.genai.langchain", "1.3b0", CLAUDE, "inclusive"),
    ("opentelemetry.instrumentation.genai.a_new_one", "1.3b0", CLAUDE, "inclusive"),
    ("opentelemetry.instrumentation.google_genai", "1.3b0", GEMINI, "inclusive"),
    ("opentelemetry.instrumentation.openai_v2", None, GPT, "inclusive"),
    ("@opentelemetry/instrumentation-openai", "0.22.0", GPT, "inclusive"),
    ("opentelemetry.instrumentation.genai.bedrock", "1.3b0", BEDROCK_MODEL, "exclusive"),
    ("opentelemetry.instrumentation.botocore.bedrock-runtime", "0.66b2", BEDROCK_MODEL, "exclusive"),
    # OpenInference: its conventions, and a framework whose counts it sends as they are.
    ("openinference.instrumentation.anthropic", "1.0.0", CLAUDE, "inclusive"),
    ("openinference.instrumentation.agno", "1.0.15", CLAUDE, "exclusive"),
    ("openinference.instrumentation.agno", "1.0.15", BEDROCK_MODEL, "exclusive"),
    ("openinference.instrumentation.agno", "1.0.15", GPT, "inclusive"),
    # OpenLLMetry.
    ("opentelemetry.instrumentation.openai.v1", "0.40.14", GPT, "inclusive"),
    ("opentelemetry.instrumentation.anthropic", "0.62.4", CLAUDE, "inclusive"),
    ("opentelemetry.instrumentation.langchain", "0.62.4", CLAUDE, "inclusive"),
    ("opentelemetry.instrumentation.bedrock", "0.62.4", BEDROCK_MODEL, "exclusive"),
    ("@traceloop/instrumentation-anthropic", "0.23.0", CLAUDE, "exclusive"),
    ("@traceloop/instrumentation-anthropic", "0.27.0", CLAUDE, "exclusive"),
    ("@traceloop/instrumentation-anthropic", "0.28.0", CLAUDE, "unknown"),
    ("@traceloop/instrumentation-bedrock", "0.27.0", BEDROCK_MODEL, "exclusive"),
    # OpenInference, whatever it instruments.
    ("openinference.instrumentation.bedrock", "0.1.30", BEDROCK_MODEL, "inclusive"),
    ("openinference.instrumentation.anthropic", "3.1.0", CLAUDE, "inclusive"),
    ("@arizeai/openinference-instrumentation-openai", "4.2.7", GPT, "inclusive"),
    ("@arizeai/openinference-instrumentation-bedrock", None, BEDROCK_MODEL, "exclusive"),
    # OpenLIT hands Anthropic's and Bedrock's counts on, and OpenAI's and Gemini's.
    ("openlit.instrumentation.anthropic", None, CLAUDE, "exclusive"),
    ("openlit.instrumentation.bedrock", None, BEDROCK_MODEL, "exclusive"),
    ("openlit.instrumentation.openai", None, GPT, "inclusive"),
    (
        "openlit.instrumentation.groq",
        None,
        {"provider": "groq", "request_model": "llama-3.3-70b"},
        "inclusive",
    ),
    ("openlit.instrumentation.langchain", None, CLAUDE, "inclusive"),
    ("openlit.instrumentation.google_ai_studio", None, GEMINI, "inclusive"),
    ("@openlit/instrumentation-anthropic", "1.0.0", CLAUDE, "exclusive"),
    ("@openlit/instrumentation-bedrock", "1.0.0", BEDROCK_MODEL, "exclusive"),
    ("@openlit/instrumentation-openai", "1.0.0", GPT, "inclusive"),
    ("openlit.otel.tracing", None, CLAUDE, "exclusive"),
    ("openlit.otel.tracing", None, GPT, "inclusive"),
    # Agents and their tools.
    ("com.anthropic.claude_code.tracing", "1.0.0", CLAUDE, "exclusive"),
    ("com.anthropic.claude_code.events", "2.1.197", CLAUDE, "exclusive"),
    ("com.anthropic.sdk.python", "2.12.0", CLAUDE, "inclusive"),
    ("pydantic-ai", "2.68.0", CLAUDE, "inclusive"),
    ("pydantic-ai", "1.39.1", CLAUDE, "inclusive"),
    ("pydantic-ai", "1.39.1", BEDROCK_MODEL, "exclusive"),
    ("pydantic-ai", "1.40.0", BEDROCK_MODEL, "inclusive"),
    ("logfire.openai", "5.2.0", GPT, "inclusive"),
    ("gcp.vertex.agent", None, GEMINI, "inclusive"),
    ("agent_framework", None, GPT, "inclusive"),
    ("agent_framework", None, CLAUDE, "unknown"),
    ("litellm", None, CLAUDE, "inclusive"),
    ("mlflow.tracing.provider", None, GPT, "inclusive"),
    ("gemini-cli", "v1", GEMINI, "inclusive"),
    ("genkit-tracer", "v1", CLAUDE, "exclusive"),
    ("genkit-tracer", "v1", GPT, "inclusive"),
    ("@mastra/otel-exporter", "1.4.0", CLAUDE, "inclusive"),
    ("@mastra/otel-exporter", "0.3.3", CLAUDE, "unknown"),
    ("strands-agents", None, BEDROCK_MODEL, "exclusive"),
    ("strands-agents", None, CLAUDE, "exclusive"),
    ("strands-agents", None, GPT, "inclusive"),
    ("@opentelemetry/instrumentation-aws-sdk", "0.79.0", BEDROCK_MODEL, "exclusive"),
    # Nobody knows these; what instruments Bedrock hands Converse's counts on.
    ("io.opentelemetry.aws-sdk-2.2", "2.20.0", BEDROCK_MODEL, "exclusive"),
    ("@traceloop/instrumentation-bedrock", "0.20.0", BEDROCK_MODEL, "exclusive"),
    ("a.library", "1.0", BEDROCK_MODEL, "unknown"),
    ("a.library", "1.0", CLAUDE, "unknown"),
]


def test_input_is_read_as_its_library_counts() -> None:
    records = cached(
        *({"scope_name": scope, "scope_version": version, **names} for scope, version, names, _ in KNOWN_FOR)
    )
    assert [record["token_semantics"] for record in records] == [semantics for *_, semantics in KNOWN_FOR]
    for record, (*_, semantics) in zip(records, KNOWN_FOR, strict=True):
        assert whole(record) == ("exclusive" if semantics == "exclusive" else "inclusive")
        assert record["token_evidence"] == ("convention" if semantics == "unknown" else "rule")


def test_logfire_adds_anthropics_cache_from_4_31() -> None:
    """4.31.0, of March 2026, was the first that did; before it the span had Anthropic's own input_tokens. A version
    without numbers is in no range.
    """
    versions = {
        "4.30.0": "exclusive",
        "4.9": "exclusive",
        "4.31.0": "inclusive",
        "5.2.0": "inclusive",
        "dev": "inclusive",
        "": "inclusive",
        None: "inclusive",
    }
    scopes = ({"scope_name": "logfire.anthropic", "scope_version": version, **CLAUDE} for version in versions)
    assert semantics_of(*scopes) == [*versions.values()]


def test_ai_sdk_4_and_5_leave_out_anthropics_cache() -> None:
    """Its scope has no version; only 6 and later tell the uncached part apart."""
    sent = [
        (CLAUDE, '"ai.usage.promptTokens":1', "exclusive"),  # AI SDK 4 and 5
        (BEDROCK_MODEL, '"ai.usage.inputTokens":1', "exclusive"),
        (CLAUDE, '"ai.usage.inputTokens":1,"ai.usage.inputTokenDetails.noCacheTokens":1', "inclusive"),  # 6
        (CLAUDE, '"ai.usage.inputTokenDetails.noCacheTokens":0', "inclusive"),  # all of it was cached
        (GPT, '"ai.usage.promptTokens":1', "inclusive"),
        ({"provider": "house"}, '"ai.usage.promptTokens":1', "unknown"),
    ]
    attributes = (f'{{"ai.operationId":"ai.generateText.doGenerate",{keys}}}' for _, keys, _ in sent)
    rows = (
        {"scope_name": "ai", "attributes": text, **names}
        for (names, _, _), text in zip(sent, attributes, strict=True)
    )
    assert semantics_of(*rows) == [semantics for *_, semantics in sent]


def test_strands_adds_the_cache_since_it_has_the_conventions_names() -> None:
    """It sends no version, and itself as the provider. Should a version have the names and not the sum, Bedrock's own
    total tells: it has the cache in it beside the input.
    """
    strands = {"scope_name": "strands.telemetry.tracer"}
    new = {**strands, "attributes": '{"gen_ai.usage.cache_read.input_tokens":300}'}
    old = {**strands, "attributes": '{"gen_ai.usage.cache_read_input_tokens":300}'}
    itself = {"provider": "strands-agents"}
    sent = [
        (new | CLAUDE | itself, "inclusive"),
        (old | CLAUDE | itself, "exclusive"),
        (old | BEDROCK_MODEL | itself, "exclusive"),
        (old | GPT | itself, "inclusive"),
        (new | BEDROCK_MODEL | {"total_tokens": 1310}, "exclusive"),
        (new | BEDROCK_MODEL | {"total_tokens": 1010}, "inclusive"),
    ]
    assert semantics_of(*(row for row, _ in sent)) == [semantics for _, semantics in sent]


def test_langfuse_counts_as_the_keys_that_the_application_wrote() -> None:
    usages = {
        '{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":1}}': "inclusive",  # OpenAI's
        '{"input_tokens":1,"input_tokens_details":{"cached_tokens":1}}': "inclusive",
        '{"input":1,"output":1,"cache_read_input_tokens":1}': "exclusive",  # Anthropic's, by hand
        '{"input_tokens":1,"cache_creation_input_tokens":1}': "exclusive",
        '{"input":1,"input_cache_read":1}': "exclusive",  # Langfuse's LangChain handler
        '{"input":1,"input_cached_tokens":1}': "exclusive",
        '{"input":1,"output":1}': "unknown",
    }
    documents = (json.dumps({"langfuse.observation.usage_details": usage}) for usage in usages)
    rows = ({"scope_name": "langfuse-sdk", "provider": None, "attributes": text} for text in documents)
    assert semantics_of(*rows) == [*usages.values()]


def test_langfuses_openai_wrapper_for_javascript_has_buckets_since_4_2() -> None:
    """Before that `input` was the whole, which its total does not tell apart from one that it computed."""
    usage = '{"input":1000,"input_cached_tokens":300,"output":50,"output_reasoning_tokens":20,"total":1050}'
    attributes = json.dumps({"langfuse.observation.usage_details": usage})
    sent = {"scope_name": "langfuse-sdk", "provider": None, "attributes": attributes, "reasoning_tokens": 20}
    records = cached(
        sent | {"scope_version": "4.0.0", "output_tokens": 50},
        sent | {"scope_version": "5.11.1", "output_tokens": 30},
    )
    assert [record["token_semantics"] for record in records] == ["inclusive", "exclusive"]
    assert [record["output_tokens"] for record in records] == [50, 50]


def test_claude_codes_events_count_like_its_spans() -> None:
    """Log records, told by their events' names where the scope says nothing."""
    row: Row = dict.fromkeys(columns.LOG_RECORDS.names)
    known = {
        "tenant": "",
        "dialect": "claude_code",
        "event_name": "claude_code.api_request",
        "attributes": "{}",
    }
    row |= known | CLAUDE | {"input_tokens": 1000, "cache_read_tokens": 300, "output_tokens": 5}
    connection = duckdb.connect(config={"threads": 1})
    resolver = Resolver(connection, Settings())
    [record] = resolver.resolve_log_records(table([row], columns.LOG_RECORDS)).to_pylist()
    assert (record["input_tokens"], record["token_semantics"], record["role"]) == (1300, "exclusive", "llm")


# --- what the numbers say


def test_numbers_decide_where_no_rule_does() -> None:
    """1,000 in and 10 out. A total that fits both the cache and the reasoning beside them decides nothing."""
    sent: list[tuple[Row, str, str]] = [
        ({"cache_read_tokens": 1001}, "exclusive", "cache_exceeds_input"),
        ({"cache_read_tokens": 600, "cache_write_tokens": 401}, "exclusive", "cache_exceeds_input"),
        ({"cache_read_tokens": 1000}, "unknown", "convention"),
        ({"total_tokens": 1310}, "exclusive", "total_tokens"),
        ({"total_tokens": 1010}, "inclusive", "total_tokens"),
        ({"total_tokens": 710}, "inclusive", "total_tokens"),  # the total lacks what the input has
        ({"total_tokens": 1314, "reasoning_tokens": 4}, "exclusive", "total_tokens"),
        ({"total_tokens": 1014, "reasoning_tokens": 4}, "inclusive", "total_tokens"),
        ({"total_tokens": 1700, "output_tokens": 400, "reasoning_tokens": 300}, "unknown", "convention"),
        ({"total_tokens": 1200}, "unknown", "convention"),
        ({}, "unknown", "convention"),
        ({"cache_read_tokens": None}, "unknown", "convention"),
    ]
    records = cached(*({"scope_name": "a.library", **counts} for counts, _, _ in sent))
    found = [(record["token_semantics"], record["token_evidence"]) for record in records]
    assert found == [(semantics, evidence) for _, semantics, evidence in sent]


def test_numbers_that_cannot_be_otherwise_go_before_rules() -> None:
    inclusive, exclusive = "openinference.instrumentation.x", "openlit.instrumentation.anthropic"
    sent = [
        (inclusive, {"cache_read_tokens": 1001}, "exclusive", "cache_exceeds_input"),
        (inclusive, {"total_tokens": 1310}, "exclusive", "total_tokens"),
        (exclusive, {"total_tokens": 710}, "inclusive", "total_tokens"),
        # Input and output alone is what many add up who know nothing of the cache.
        (exclusive, {"total_tokens": 1010}, "exclusive", "rule"),
        (inclusive, {"total_tokens": 1010}, "inclusive", "rule"),
    ]
    records = cached(*({"scope_name": scope, **CLAUDE, **counts} for scope, counts, _, _ in sent))
    found = [(record["token_semantics"], record["token_evidence"]) for record in records]
    assert found == [(semantics, evidence) for *_, semantics, evidence in sent]


def test_what_nothing_decides_is_read_by_the_conventions_and_its_cost_bracketed() -> None:
    """Claude Sonnet 4.5: 3 USD a million in, 0.30 from the cache, 15 out. 1,000 in with 300 cached are 700 at the
    full price, or 1,000 beside the 300.
    """
    [call] = build(
        chat(
            "a", input_tokens=1000, cache_read_tokens=300, output_tokens=10, scope_name="a.library", **CLAUDE
        )
    )
    assert (call["input_tokens"], call["token_semantics"], call["token_evidence"]) == (
        1000,
        "unknown",
        "convention",
    )
    low = (700 * 3 + 300 * 0.3 + 10 * 15) / 1e6
    high = (1000 * 3 + 300 * 0.3 + 10 * 15) / 1e6
    found = call["cost_usd"], call["cost_low_usd"], call["cost_high_usd"], call["cost_note"]
    assert tuple(map(float, found[:3])) == pytest.approx((low, low, high))
    assert found[3] == "token_semantics_unknown"


# --- output that leaves reasoning out


GOOGLE_GENAI = {"scope_name": "opentelemetry.instrumentation.google_genai"}
EXCLUDED = ["output_excluded_reasoning"]
MAY_LACK = ["output_may_lack_reasoning"]


def test_output_is_completed_where_reasoning_stands_beside_it() -> None:
    """1,000 in, 100 out, 50 of reasoning."""
    sent: list[tuple[Row, int | None, int, list[str] | None]] = [
        # by rule; google_genai has added the thoughts since 1.0
        ({"scope_name": "openlit.instrumentation.google_ai_studio"}, 150, 50, EXCLUDED),
        ({"scope_name": "gemini-cli"}, 150, 50, EXCLUDED),
        ({**GOOGLE_GENAI, "scope_version": "0.7b0"}, 150, 50, EXCLUDED),
        ({**GOOGLE_GENAI, "scope_version": "1.0b0"}, 100, 50, None),
        (GOOGLE_GENAI, 100, 50, None),
        # by proof: no part is larger than the whole
        ({"reasoning_tokens": 101}, 201, 101, EXCLUDED),
        # by the total
        ({"total_tokens": 1150}, 150, 50, EXCLUDED),
        ({"total_tokens": 1100}, 100, 50, None),
        ({"total_tokens": 1120}, 100, 50, None),
        ({"cache_read_tokens": 300, "total_tokens": 1450}, 150, 50, EXCLUDED),
        ({"cache_read_tokens": 300, "total_tokens": 1400}, 100, 50, None),
        # not at all
        ({}, 100, 50, None),
        ({"output_tokens": None}, None, 50, None),
    ]
    counts = {"input_tokens": 1000, "output_tokens": 100, "reasoning_tokens": 50}
    records = resolve(*(chat(str(place), **(counts | row[0])) for place, row in enumerate(sent)))
    found = [(record["output_tokens"], record["reasoning_tokens"], record["notes"]) for record in records]
    assert found == [row[1:] for row in sent]


def test_the_rest_of_googles_total_is_reasoning_only_where_a_rule_says_so() -> None:
    openllmetry = "opentelemetry.instrumentation.google_generativeai"
    sent = [
        (openllmetry, 1150, 150, 50, EXCLUDED),
        (openllmetry, 1100, 100, None, MAY_LACK),
        (openllmetry, None, 100, None, MAY_LACK),
        ("gemini-cli", None, 100, None, MAY_LACK),
        ("a.library", 1150, 100, None, None),
    ]
    counts = {"input_tokens": 1000, "output_tokens": 100, **GEMINI}
    records = resolve(
        *(chat(str(n), scope_name=row[0], total_tokens=row[1], **counts) for n, row in enumerate(sent))
    )
    found = [(record["output_tokens"], record["reasoning_tokens"], record["notes"]) for record in records]
    assert found == [row[2:] for row in sent]


def test_googles_own_total_tells_which_ai_sdk_leaves_the_thoughts_out() -> None:
    """100 in, 40 of answer, 25 of thoughts: version 5 sends 40 for the output, version 6 sends 65."""
    counts = {"thoughtsTokenCount": 25, "totalTokenCount": 165}
    google = {
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.model.provider": "google.generative-ai",
        "ai.usage.promptTokens": 100,
        "ai.response.providerMetadata": json.dumps({"google": {"usageMetadata": counts}}),
    }
    for sent in (40, 65):
        meaning = semconv_meaning.span(
            "ai", "ai.generateText.doGenerate", google | {"ai.usage.completionTokens": sent}
        )
        assert (meaning["output_tokens"], meaning["reasoning_tokens"]) == (65, 25)


@pytest.mark.parametrize(
    ("scope", "version"),
    [
        ("@traceloop/instrumentation-bedrock", "0.27.0"),
        ("@traceloop/instrumentation-langchain", "0.27.0"),
        ("@opentelemetry/instrumentation-aws-sdk", "0.79.0"),
    ],
)
def test_senders_for_javascript_that_tell_no_cache_of_bedrock(scope: str, version: str) -> None:
    sent = BEDROCK_MODEL | {"scope_name": scope, "scope_version": version, "input_tokens": 1000}
    [record] = resolve(chat("a", **sent))
    assert (record["input_tokens"], record["notes"]) == (1000, ["input_may_lack_cache"])


def test_bedrocks_total_completes_an_input_whose_sender_tells_no_cache() -> None:
    """Strands 1.4: 1,000 in and 10 out beside a cache that only the total has in it."""
    counts = {"scope_name": "strands.telemetry.tracer", "provider": "strands-agents", "input_tokens": 1000}
    told = {"attributes": '{"gen_ai.usage.cache_read_input_tokens":0}', "cache_read_tokens": 0}
    bedrock, claude = (
        counts | {"request_model": names["request_model"]} for names in (BEDROCK_MODEL, CLAUDE)
    )
    sent: list[tuple[Row, int, list[str] | None]] = [
        (bedrock | {"total_tokens": 1310}, 1300, ["input_completed_by_total"]),
        (bedrock | {"total_tokens": 1010}, 1000, ["input_may_lack_cache"]),
        (bedrock, 1000, ["input_may_lack_cache"]),
        (bedrock | told | {"total_tokens": 1310}, 1000, None),
        (claude | {"total_tokens": 1310}, 1000, ["input_may_lack_cache"]),
    ]
    records = resolve(*(chat(str(place), **row[0]) for place, row in enumerate(sent)))
    assert [(record["input_tokens"], record["notes"]) for record in records] == [row[1:] for row in sent]


# --- wrong at the source


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        ({"input_tokens": 0, "output_tokens": 0}, (None, None, None)),  # OpenLLMetry 0.40, streamed
        ({"input_tokens": 0, "output_tokens": None}, (None, None, None)),
        ({"input_tokens": None, "output_tokens": 0}, (None, None, None)),
        ({"input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0}, (None, None, None)),
        ({"input_tokens": 0, "output_tokens": 7}, (None, 7, None)),
    ],
)
def test_a_usage_of_nothing_is_unknown(counts: Row, kept: tuple[int | None, ...]) -> None:
    [record] = resolve(chat("a", **counts))
    assert (record["input_tokens"], record["output_tokens"], record["cache_read_tokens"]) == kept
    assert record["notes"] == ["zero_usage_ignored"]
    assert record["role"] == "llm"


@pytest.mark.parametrize(
    "counts",
    [
        {"input_tokens": 5, "output_tokens": 0},  # embeddings; an answer that was cut off
        {"input_tokens": 0, "output_tokens": 5, "cache_read_tokens": 900},  # all of it from the cache
    ],
)
def test_a_zero_that_can_be_is_kept(counts: Row) -> None:
    [record] = resolve(chat("a", **counts))
    assert record["output_tokens"] == counts["output_tokens"]
    assert record["input_tokens"] == counts["input_tokens"] + counts.get("cache_read_tokens", 0)
    assert record["notes"] is None


@pytest.mark.parametrize(
    ("given", "is_ignored"),
    [
        ({}, True),
        ({"stream": False}, False),
        ({"stream": None}, False),
        ({"provider": "anthropic"}, False),
        ({"scope_name": "openlit.instrumentation.openai"}, False),
    ],
)
def test_what_old_openlit_guesses_of_a_stream_is_unknown(given: Row, is_ignored: bool) -> None:
    """18 tokens where the provider counted 1743; later versions ask for the provider's count."""
    sent = {"scope_name": "openlit.otel.tracing", "stream": True, "input_tokens": 18, "output_tokens": 16}
    [record] = resolve(chat("a", **(sent | given)))
    assert (record["input_tokens"], record["output_tokens"]) == ((None, None) if is_ignored else (18, 16))
    assert ("estimated_usage_ignored" in (record["notes"] or [])) is is_ignored


@pytest.mark.parametrize(
    ("scope", "sent", "kept"),
    [
        ("openlit.instrumentation.openai", 0, None),
        ("openlit.otel.tracing", 0, None),
        ("openlit.otel.tracing", 2, 2),
        ("litellm", 0, 0),
        ("litellm", None, None),
    ],
)
def test_openlit_says_0_where_it_found_no_price(scope: str, sent: int | None, kept: int | None) -> None:
    [record] = resolve(chat("a", scope_name=scope, reported_cost_usd=sent))
    assert record["reported_cost_usd"] == kept
    assert (record["notes"] == ["zero_cost_ignored"]) is (sent == 0 and kept is None)


def test_a_call_that_is_no_stream_has_no_first_token() -> None:
    """OpenLIT sends one for every call."""
    no_stream, stream, unsaid = resolve(
        *(
            chat(name, stream=is_so, time_to_first_token_ms=40.0)
            for name, is_so in (("a", False), ("b", True), ("c", None))
        )
    )
    assert (no_stream["time_to_first_token_ms"], no_stream["notes"]) == (
        None,
        ["time_to_first_token_without_stream"],
    )
    assert (stream["time_to_first_token_ms"], unsaid["time_to_first_token_ms"]) == (40.0, 40.0)
    assert (stream["notes"], unsaid["notes"]) == (None, None)


# --- the table


def test_every_row_says_something_and_its_words_are_known() -> None:
    path = resources.files("semconv").joinpath("tables", "token_rules.toml")
    words = {
        "input": {"inclusive", "exclusive"},
        "output": {"inclusive", "exclusive"},
        "cache": {"untold"},
        "rest_of_total": {"reasoning", "cache"},
        "usage": {"estimated"},
        "zero_cost": {"unknown"},
    }
    assert set(words) == set(token_rules.PROPERTIES)
    for rule in tomllib.loads(path.read_text(encoding="utf-8"))["rule"]:
        said = rule.keys() & words.keys()
        assert said and rule.keys() - said, rule
        assert all(rule[name] in words[name] for name in said), rule


def test_a_condition_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="scopes"):
        list(token_rules.rule_macros([{"scopes": "x", "input": "inclusive"}]))
