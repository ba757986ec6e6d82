"""Who serves a call, where, and which names are no sessions."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from typing import Any

import duckdb
import pytest

from semconv import columns
from semconv.prices import PriceBook, installed
from semconv.resolve import Resolver
from semconv.settings import Settings
from tests.unit.semconv_records import Row, build, chat, resolve, span, table

NAMED_BY_THE_CONVENTIONS = (
    "openai anthropic aws.bedrock azure.ai.openai azure.ai.inference gcp.gemini gcp.vertex_ai gcp.gen_ai cohere"
    " mistral_ai groq deepseek perplexity x_ai ibm.watsonx.ai moonshot_ai"
)
CONVENTIONS = set(NAMED_BY_THE_CONVENTIONS.split())
SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"


def providers() -> dict[str, Any]:
    path = resources.files("semconv").joinpath("tables", "providers.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def served(*names: tuple[str | None, str | None]) -> list[str | None]:
    """The providers of calls that name (provider, request model)."""
    rows = (chat(str(n), provider=sent, request_model=model) for n, (sent, model) in enumerate(names))
    return [record["provider"] for record in resolve(*rows)]


# --- names


def test_canonical_names_are_the_conventions_or_ids_in_their_form() -> None:
    names = set(providers()["aliases"].values()) - {""}
    assert names >= CONVENTIONS
    assert all(re.fullmatch(r"(aws\.)?[a-z0-9]+(_[a-z0-9]+)*", name) for name in names - CONVENTIONS)
    # A canonical name is its own alias: what was resolved once resolves to the same again.
    assert served(*((name, None) for name in sorted(names))) == sorted(names)


def test_providers_that_the_conventions_do_not_name() -> None:
    spellings = {
        "openrouter": ("OpenRouter", "openrouter", "openrouter.chat"),
        "cerebras": ("Cerebras", "cerebras.chat"),
        "together": ("together_ai", "TogetherAI", "togetherai.chat", "together"),
        "fireworks": ("fireworks_ai", "Fireworks", "fireworks.chat"),
        "ollama": ("Ollama", "ollama_chat"),
        "lm_studio": ("LM_Studio", "lmstudio", "lm-studio.chat"),
        "vllm": ("hosted_vllm", "vLLM"),
        "huggingface": ("HuggingFace", "hugging_face"),
        "databricks": ("databricks",),
        "github": ("github", "github_models"),
        "github_copilot": ("github_copilot", "github.copilot"),
        "azure.ai.inference": ("azure_ai_foundry", "azure.ai.foundry", "azure_ai", "az.ai.inference"),
        "aws.bedrock": (
            "AWS",
            "Bedrock",
            "bedrock_converse",
            "amazon-bedrock",
            "amazon_bedrock",
            "aws_bedrock",
        ),
        "ibm.watsonx.ai": ("IBM", "watsonx", "watsonx_text"),
        "gcp.vertex_ai": ("VertexAI", "google-vertex", "vertex_ai_beta"),
    }
    for canonical, names in spellings.items():
        assert served(*((name, None) for name in names)) == [canonical] * len(names)


def test_a_name_with_its_api_behind_it_is_that_of_the_provider() -> None:
    """AI SDK: <provider>.<api>. What stands behind a dot but is no API belongs to the name."""
    names = {
        "openai.chat": "openai",
        "openai.responses": "openai",
        "anthropic.messages": "anthropic",
        "google.vertex.chat": "gcp.vertex_ai",
        "google.generative-ai": "gcp.gemini",
        "vertex.anthropic.messages": "gcp.vertex_ai",
        "bedrock.anthropic.messages": "aws.bedrock",
        "azure.responses": "azure.ai.openai",
        "mistral.embedding": "mistral_ai",
        "xai.chat": "x_ai",
        "house.chat": "house",
        "house.llm": "house.llm",
        "aws.sagemaker": "aws.sagemaker",
        " OpenAI ": "openai",
        "Some House": "some house",
    }
    assert served(*((name, None) for name in names)) == [*names.values()]


def test_a_framework_is_no_provider_and_the_model_decides() -> None:
    frameworks = (
        *("strands-agents", "microsoft.agent_framework", "Langchain", "langchain", "gcp.vertex.agent"),
        *("litellm", "", "  ", None, "langchain.chat", "unknown"),
    )
    assert served(*((name, "gpt-4.1-mini") for name in frameworks)) == ["openai"] * len(frameworks)
    assert served(*((name, "house-model") for name in frameworks)) == [None] * len(frameworks)


def test_the_provider_follows_from_the_model() -> None:
    models = {
        "gpt-4.1": "openai",
        "o3-mini": "openai",
        "text-embedding-3-small": "openai",
        "claude-sonnet-4-5": "anthropic",
        "claude-sonnet-4@20250514": "gcp.vertex_ai",
        SONNET: "aws.bedrock",
        f"us.{SONNET}": "aws.bedrock",
        f"global.{SONNET}": "aws.bedrock",
        f"arn:aws:bedrock:us-east-1:1:inference-profile/us.{SONNET}": "aws.bedrock",
        f"bedrock/us-west-2/{SONNET}": "aws.bedrock",
        "bedrock/converse/house": "aws.bedrock",
        "models/gemini-2.5-flash": "gcp.gemini",
        "projects/p/locations/europe-west1/publishers/google/models/gemini-2.5-flash": "gcp.vertex_ai",
        "azure/gpt-4o": "azure.ai.openai",
        "openrouter/anthropic/claude-sonnet-4": "openrouter",
        "accounts/fireworks/models/deepseek-v3": "fireworks",
        "together_ai/meta-llama/Llama-3.3-70B": "together",
        "ollama/llama3": "ollama",
        "groq/llama-3.3-70b": "groq",
        "mistral-large-latest": "mistral_ai",
        "grok-4": "x_ai",
        "deepseek-chat": "deepseek",
        "kimi-k2": "moonshot_ai",
        "qwen3-coder-plus": "alibaba",
        "qwen2.5-72b-instruct": None,
        "llama3": None,
        "my-gpt-4": None,
    }
    assert served(*((None, model) for model in models)) == [*models.values()]


def test_the_model_asked_for_goes_before_the_one_that_answered() -> None:
    """Bedrock answers with the maker's name for what was asked by Bedrock's id; an alias says nothing."""
    by_id, by_alias = resolve(
        chat("a", provider=None, request_model=f"us.{SONNET}", response_model="claude-sonnet-4-5-20250929"),
        chat("b", provider=None, request_model="fast", response_model="gpt-4.1-mini-2025-04-14"),
    )
    assert (by_id["provider"], by_alias["provider"]) == ("aws.bedrock", "openai")


def test_an_id_that_only_one_provider_serves_corrects_the_models_maker() -> None:
    """Anthropic's SDK speaks to Bedrock and Vertex AI as well, and its instrumentations call all of it anthropic."""
    names: dict[tuple[str, str], str] = {
        ("anthropic", f"eu.{SONNET}"): "aws.bedrock",
        ("anthropic", SONNET): "aws.bedrock",
        ("cohere", "cohere.command-r-v1:0"): "aws.bedrock",
        ("openai", "openai.gpt-oss-120b-1:0"): "aws.bedrock",
        ("anthropic", "claude-sonnet-4-5@20250929"): "gcp.vertex_ai",
        ("google", "projects/p/locations/global/publishers/google/models/gemini-2.5-pro"): "gcp.vertex_ai",
        ("openai", "azure/gpt-4o"): "azure.ai.openai",
        ("anthropic", "claude-sonnet-4-5"): "anthropic",
        ("openai", "gpt-4.1"): "openai",
        ("openai", "anthropic/claude-sonnet-4"): "openai",
        ("openrouter", "anthropic/claude-sonnet-4"): "openrouter",
    }
    assert served(*names) == [*names.values()]


def test_openinferences_bedrock_is_aws() -> None:
    """llm.provider=aws goes before llm.system=anthropic; either alone leads there by the model's id."""
    assert (
        served(("aws", SONNET), ("anthropic", SONNET), ("amazon", "amazon.nova-pro-v1:0"))
        == ["aws.bedrock"] * 3
    )


def test_the_host_tells_whose_api_a_client_spoke_to() -> None:
    """Many speak OpenAI's API, and its instrumentations call all of them openai. Some send a whole URL."""
    calls: dict[tuple[str | None, str | None], str | None] = {
        ("openai", "api.openai.com"): "openai",
        ("openai", "openrouter.ai"): "openrouter",
        ("openai", "https://openrouter.ai/api/v1"): "openrouter",
        ("openai", "API.Groq.com"): "groq",
        ("openai", "house.openai.azure.com"): "azure.ai.openai",
        ("openai", "https://eu.api.openai.com:443/v1"): "openai",
        ("openai", "bedrock-runtime.us-west-2.amazonaws.com"): "aws.bedrock",
        ("anthropic", "europe-west1-aiplatform.googleapis.com"): "gcp.vertex_ai",
        ("anthropic", "api.z.ai"): "zai",
        ("gcp.gen_ai", "generativelanguage.googleapis.com"): "gcp.gemini",
        ("langchain", "api.deepseek.com"): "deepseek",
        (None, "api.mistral.ai"): "mistral_ai",
        ("openai", "127.0.0.1"): "openai",
        ("openai", "llm.house.example"): "openai",
        ("openai", "notopenrouter.ai"): "openai",
        ("openai", "openrouter.ai.house.example"): "openai",
        ("groq", "api.openai.com"): "groq",
        ("litellm", "llm.house.example"): None,
    }
    rows = (
        chat(str(n), provider=provider, server_address=host, request_model="house-model")
        for n, (provider, host) in enumerate(calls)
    )
    assert [record["provider"] for record in resolve(*rows)] == [*calls.values()]


def test_points_of_metrics_have_the_same_providers() -> None:
    row: Row = dict.fromkeys(columns.METRIC_POINTS.names)
    row |= {
        "tenant": "",
        "metric_name": "gen_ai.client.token.usage",
        "dialect": "otel_genai",
        "attributes": "{}",
    }
    rows = [
        row | {"provider": "openai.chat", "session_id": "resp_0123456789abcdef01"},
        row | {"provider": "langchain", "request_model": SONNET, "session_id": "s-1"},
        row | {"provider": "openai", "dialect": None, "session_id": "s-2"},
    ]
    connection = duckdb.connect(config={"threads": 1})
    resolved = Resolver(connection, Settings()).resolve_metric_points(table(rows, columns.METRIC_POINTS))
    points = resolved.to_pylist()
    assert [(point["provider"], point["session_id"]) for point in points] == [
        ("openai", None),
        ("aws.bedrock", "s-1"),
        (None, "s-2"),
    ]


# --- regions


def test_the_region_is_read_off_the_model_which_stays_as_sent() -> None:
    """A Bedrock profile across the world and one of a region cost differently, so the price needs the whole id."""
    models = {
        SONNET: None,
        f"us.{SONNET}": "us",
        f"eu.{SONNET}": "eu",
        "apac.amazon.nova-pro-v1:0": "apac",
        f"global.{SONNET}": "global",
        f"us-gov.{SONNET}": "us-gov",
        f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.{SONNET}": "eu",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x1": "us-east-1",
        f"bedrock/us-west-2/{SONNET}": "us-west-2",
        f"bedrock/converse/{SONNET}": None,
        "projects/p/locations/europe-west1/publishers/google/models/gemini-2.5-flash": "europe-west1",
        "azure/eu/gpt-4o": "eu",
        "gpt-4.1": None,
    }
    records = resolve(*(chat(str(n), provider=None, request_model=model) for n, model in enumerate(models)))
    assert [record["model_region"] for record in records] == [*models.values()]
    assert [record["request_model"] for record in records] == [*models]


def test_a_region_that_was_sent_stays() -> None:
    [record] = resolve(chat("a", request_model=f"us.{SONNET}", provider=None, model_region="us-east-2"))
    assert record["model_region"] == "us-east-2"


@pytest.mark.parametrize(
    ("provider", "model", "priced"),
    [
        ("aws.bedrock", f"us.{SONNET}", f"regional.{SONNET}"),
        ("aws.bedrock", f"global.{SONNET}", f"global.{SONNET}"),
        ("aws.bedrock", f"arn:aws:bedrock:us-east-1:1:inference-profile/us.{SONNET}", f"regional.{SONNET}"),
        ("gcp.vertex_ai", "projects/p/locations/global/publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("azure.ai.openai", "azure/gpt-4o", "gpt-4o"),
        ("openrouter", "openrouter/anthropic/claude-sonnet-4", "anthropic/claude-sonnet-4"),
        ("openrouter", "anthropic/claude-sonnet-4", "anthropic/claude-sonnet-4"),
    ],
)  # fmt: skip
def test_prices_find_a_model_behind_its_region_or_deployment(provider: str, model: str, priced: str) -> None:
    found = PriceBook(installed()).find(provider, None, model)
    assert found is not None
    assert found[1] == priced


# --- sessions


def test_a_response_id_is_no_session() -> None:
    """Microsoft's framework sends the answer before this one as the conversation."""
    sent = {
        "resp_68f0c1a2b3c4d5e6f708192a": None,
        "chatcmpl-9f8e7d6c5b4a39281706": None,
        "msg_01AbCdEfGhIjKlMnOpQrStUv": None,
        "conv_68f0c1a2b3c4d5e6f708192a": "conv_68f0c1a2b3c4d5e6f708192a",
        "resp_team": "resp_team",
        "6f9619ff-8b86-d011-b42d-00c04fc964ff": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    }
    records = resolve(*(chat(str(n), session_id=session) for n, session in enumerate(sent)))
    assert [record["session_id"] for record in records] == [*sent.values()]
    notes = [["session_is_response_id"] if kept is None else None for kept in sent.values()]
    assert [record["notes"] for record in records] == notes


def test_a_conversation_named_as_its_own_answer_is_no_session() -> None:
    own, other = resolve(
        chat("a", session_id="x-1", response_id="x-1"), chat("b", session_id="x-1", response_id="x-2")
    )
    assert (own["session_id"], other["session_id"]) == (None, "x-1")


def test_a_response_id_does_not_hide_the_session_of_the_agent_above() -> None:
    calls = build(
        span("root", dialect="otel_genai", operation="invoke_agent", session_id="thread-1", took=9),
        chat("first", "root", session_id="thread-1", at=1),
        chat("second", "root", session_id="resp_68f0c1a2b3c4d5e6f708192a", at=3),
    )
    assert [call["session_id"] for call in calls] == ["thread-1", "thread-1"]


def test_a_session_of_a_record_that_is_not_genai_stays() -> None:
    [record] = resolve(span("a", session_id="resp_68f0c1a2b3c4d5e6f708192a"))
    assert record["session_id"] == "resp_68f0c1a2b3c4d5e6f708192a"
