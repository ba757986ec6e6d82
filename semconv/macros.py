"""The mapping tables and the deployment's settings as TEMP tables and macros, so that the SQL stays SQL."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from typing import Any, Final

import duckdb

from semconv.settings import AccountPlan, AccountRule, Settings
from semconv.sqltext import literal

_NEVER_BEFORE: Final = dt.date(1, 1, 1)


def install(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Create (or replace) every TEMP table and macro that the resolution's SQL refers to."""
    providers = _table("providers")
    _create_map(connection, "provider_aliases(alias, canonical)", providers["aliases"])
    _create_map(connection, "operation_roles(known_operation, known_role)", _table("operations")["roles"])
    for macro in (*_macros(settings, providers["models"]), *_ARITHMETIC, _MODEL_FAMILY, _MODELS_AGREE):
        connection.execute(f"CREATE OR REPLACE TEMP MACRO {macro}")


def _macros(settings: Settings, models: list[dict[str, str]]) -> Iterator[str]:
    rules = _table("token_rules")["rule"]
    yield f"infer_provider(model) AS {_case(_model_branch(row) for row in models)}"
    yield f"token_rule(scope, version, provider) AS {_case(_token_branch(rule) for rule in rules)}"
    yield (
        "account_by_rule(provider, service, user_id, attributes, resource_attributes) AS "
        + _case(_account_branch(rule) for rule in settings.account_rules)
    )
    yield f"declared_plan(account, day) AS {_by_account(settings.account_plans, lambda p: literal(p.plan_tier))}"
    yield f"usage_billed(account, day) AS {_by_account(settings.account_plans, lambda p: str(p.usage_billed))}"
    yield f"default_plan_tier() AS {literal(settings.default_plan_tier or 'unknown')}"


# A model id without the path and vendor before it and the date, version or "latest" behind it; NULL for names of
# no known family (an alias, a deployment), which conflict with nothing.
_MODEL_FAMILY: Final = r"""model_family(model) AS nullif(regexp_replace(regexp_extract(
    lower(model),
    '(?:^|[/.:~])((?:gpt|chatgpt|o[134]|codex|text-embedding|claude|gemini|gemma|llama|mistral|ministral|magistral'
    || '|codestral|devstral|mixtral|pixtral|command|embed|rerank|deepseek|grok|sonar|kimi|moonshot|qwen|nova|titan)'
    || '[^/]*)$', 1
), '(?:[-@:](?:20\d{6}|20\d{2}-\d{2}-\d{2}|\d{2}-\d{2}|\d{3,4}|latest|preview|exp|v\d+(?::\d+)?))+$', ''), '')"""
_MODELS_AGREE: Final = """models_agree(request_a, response_a, request_b, response_b) AS
    coalesce(model_family(request_a), model_family(response_a)) IS NULL
    OR coalesce(model_family(request_b), model_family(response_b)) IS NULL
    OR coalesce(model_family(request_a) IN (model_family(request_b), model_family(response_b)), FALSE)
    OR coalesce(model_family(response_a) IN (model_family(request_b), model_family(response_b)), FALSE)"""

# Money is counted in whole 1e-18 USD and rounded once to 1e-12, half to even.
_ARITHMETIC: Final = (
    "pico(price) AS (price * 1000000000000)::BIGINT",
    "half_even_million(n) AS (n + 499999 + (n // 1000000) % 2) // 1000000",
    # Up to 9 dollars it fits 64 bits, whose division is fifty times faster.
    "usd(n) AS (CASE WHEN n <= 9000000000000000000 THEN half_even_million(n::BIGINT) ELSE half_even_million(n) END)"
    "::DECIMAL(38, 0) * 0.000000000001::DECIMAL(12, 12)",
)


def _table(name: str) -> dict[str, Any]:
    text = resources.files("semconv").joinpath("tables", f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _create_map(connection: duckdb.DuckDBPyConnection, signature: str, pairs: dict[str, str]) -> None:
    rows = ", ".join(f"({literal(key)}, {literal(value)})" for key, value in pairs.items())
    name = signature.partition("(")[0]
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM (VALUES {rows}) AS {signature}")


def _case(branches: Iterable[tuple[str, str]]) -> str:
    """The first branch (condition, value) that holds; NULL where none does."""
    whens = "".join(f" WHEN {condition} THEN {value}" for condition, value in branches)
    return f"CASE{whens} END" if whens else "NULL"


def _model_branch(row: dict[str, str]) -> tuple[str, str]:
    return f"regexp_matches(model, {literal('^(?:' + row['pattern'] + ')')})", literal(row["provider"])


def _token_branch(rule: dict[str, str]) -> tuple[str, str]:
    conditions = [f"scope = {literal(rule['scope'])}"]
    if "provider" in rule:
        conditions.append(f"provider = {literal(rule['provider'])}")
    if "from" in rule:
        conditions.append(f"{_VERSION_NUMBERS} >= {_version_numbers(rule['from'])}")
    if "below" in rule:
        conditions.append(f"{_VERSION_NUMBERS} < {_version_numbers(rule['below'])}")
    return " AND ".join(conditions), literal(rule["semantics"])


# A version compares as the list of its numbers: 0.66b2 is [0, 66, 2].
_VERSION_NUMBERS: Final = r"list_transform(regexp_extract_all(version, '\d{1,9}'), lambda n: n::BIGINT)"


def _version_numbers(version: str) -> str:
    return str([int(number) for number in re.findall(r"\d{1,9}", version)])


def _account_branch(rule: AccountRule) -> tuple[str, str]:
    named = {"provider": rule.provider, "service": rule.service, "user_id": rule.user}
    conditions = [f"{column} = {literal(value)}" for column, value in named.items() if value is not None]
    for key, value in rule.attributes.items():
        own, resource = (f"{where} ->> {literal(key)}" for where in ("attributes", "resource_attributes"))
        conditions.append(f"coalesce({own}, {resource}) = {literal(value)}")
    return " AND ".join(conditions) or "TRUE", literal(rule.account)


def _by_account(plans: Iterable[AccountPlan], value: Callable[[AccountPlan], str]) -> str:
    """Of each account the newest entry that had begun on `day`."""
    newest_first = sorted(plans, key=lambda plan: plan.since or _NEVER_BEFORE, reverse=True)
    return _case(
        (f"account = {literal(plan.account)} AND day >= DATE '{plan.since or _NEVER_BEFORE}'", value(plan))
        for plan in newest_first
    )
