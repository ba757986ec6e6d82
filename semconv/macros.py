"""The mapping tables and the deployment's settings as TEMP tables and macros, so that the SQL stays SQL."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from typing import Any, Final

import duckdb

from semconv.redaction import stored_account_rules
from semconv.settings import AccountPlan, AccountRule, Settings
from semconv.sqltext import literal, sql_text

_NEVER_BEFORE: Final = dt.date(1, 1, 1)


def install(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Create (or replace) every TEMP table and macro that the resolution's SQL refers to."""
    connection.execute(sql_text("macros.sql"))
    for macro in _macros(settings):
        connection.execute(f"CREATE OR REPLACE TEMP MACRO {macro}")


def _macros(settings: Settings) -> Iterator[str]:
    providers = _table("providers")
    yield f"known_provider(name) AS {_map('name', providers['aliases'])}"
    yield f"infer_provider(model) AS {_case(_model_branch(row) for row in providers['models'])}"
    yield f"known_role(operation) AS {_map('operation', _table('operations')['roles'])}"
    yield f"token_rule(scope, version, provider) AS {_token_rule(_table('token_rules')['rule'])}"
    yield (
        "account_by_rule(provider, service, user_id, attributes, resource_attributes) AS "
        + _case(_account_branch(rule) for rule in stored_account_rules(settings))
    )
    plans = settings.account_plans
    yield f"declared_plan(account, day) AS {_by_account(plans, lambda plan: literal(plan.plan_tier))}"
    yield f"usage_billed(account, day) AS {_by_account(plans, lambda plan: str(plan.usage_billed))}"
    yield f"default_plan_tier() AS {literal(settings.default_plan_tier or 'unknown')}"


def _table(name: str) -> dict[str, Any]:
    text = resources.files("semconv").joinpath("tables", f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _map(parameter: str, pairs: dict[str, str]) -> str:
    """What `pairs` says of the parameter, NULL where nothing. No join: an Arrow scan has no known size, so the
    planner would build the hash table on the side of the batch; no CASE: it takes long to plan."""
    entries = ", ".join(f"{literal(key)}: {literal(value)}" for key, value in pairs.items())
    return f"MAP {{{entries}}}[{parameter}]"


def _case(branches: Iterable[tuple[str, str]]) -> str:
    """The first branch (condition, value) that holds; NULL where none does."""
    whens = "".join(f" WHEN {condition} THEN {value}" for condition, value in branches)
    return f"CASE{whens} END" if whens else "NULL"


def _model_branch(row: dict[str, str]) -> tuple[str, str]:
    return f"regexp_matches(model, {literal('^(?:' + row['pattern'] + ')')})", literal(row["provider"])


def _token_rule(rules: list[dict[str, str]]) -> str:
    """Rules with conditions first, then those that hold for all that a library sends."""
    always = {rule["scope"]: rule["semantics"] for rule in rules if rule.keys() == {"scope", "semantics"}}
    conditional = (rule for rule in rules if rule.keys() > {"scope", "semantics"})
    return f"coalesce({_case(_token_branch(rule) for rule in conditional)}, {_map('scope', always)})"


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
