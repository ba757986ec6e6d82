"""The mapping tables and the deployment's settings as TEMP tables and macros, so that the SQL stays SQL."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

import duckdb
import pyarrow as pa

from semconv import token_rules
from semconv.planned import relation
from semconv.redaction import stored_account_rules
from semconv.settings import AccountPlan, AccountRule, Settings
from semconv.sqltext import literal, sql_text
from semconv.token_rules import Signs

_NEVER_BEFORE: Final = dt.date(1, 1, 1)


def install(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Create (or replace) every TEMP table and macro that the resolution's SQL refers to."""
    connection.execute(sql_text("macros.sql"))
    providers = _table("providers")
    _create_names(connection, "provider_names", _provider_names(providers))
    _create_names(connection, "operation_roles", _table("operations")["roles"])
    for macro in _macros(providers, settings):
        connection.execute(f"CREATE OR REPLACE TEMP MACRO {macro}")


def install_plans(connection: duckdb.DuckDBPyConnection, plans: Iterable[AccountPlan]) -> None:
    """The one macro that prices alone need, in a hundredth of the time."""
    connection.execute(f"CREATE OR REPLACE TEMP MACRO {_usage_billed(plans)}")


def signs() -> Signs:
    """Which attributes the rules of senders ask for."""
    return token_rules.signs(_table("token_rules")["rule"])


def _macros(providers: dict[str, Any], settings: Settings) -> Iterator[str]:
    apis = "|".join(map(re.escape, providers["apis"]))
    yield f"without_api(provider) AS regexp_replace(provider, {literal(rf'[.]({apis})$')}, '')"
    yield f"infer_provider(model) AS {_case(_model_branch(row) for row in providers['models'])}"
    hosts = (_host_branch(pattern, name) for pattern, name in providers["hosts"].items())
    yield f"host_provider(host) AS {_case(hosts)}"
    spoken = ", ".join(map(literal, providers["spoken"]))
    yield f"may_be_another(provider) AS provider IS NULL OR provider IN ({spoken})"
    corrections = (row for row in providers["models"] if "instead_of" in row)
    yield f"real_provider(provider, model) AS {_case(map(_instead_branch, corrections))}"
    yield from token_rules.rule_macros(_table("token_rules")["rule"])
    yield (
        "account_by_rule(provider, service, user_id, attributes, resource_attributes) AS "
        + _case(_account_branch(rule) for rule in stored_account_rules(settings))
    )
    plans = settings.account_plans
    yield f"declared_plan(account, day) AS {_by_account(plans, lambda plan: literal(plan.plan_tier))}"
    yield _usage_billed(plans)
    yield f"default_plan_tier() AS {literal(settings.default_plan_tier or 'unknown')}"


def _usage_billed(plans: Iterable[AccountPlan]) -> str:
    return f"usage_billed(account, day) AS {_by_account(plans, lambda plan: str(plan.usage_billed))}"


@cache
def _table(name: str) -> dict[str, Any]:
    text = resources.files("semconv").joinpath("tables", f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _create_names(connection: duckdb.DuckDBPyConnection, name: str, pairs: Mapping[str, str]) -> None:
    """TEMP table (sent, meant)."""
    columns = {"sent": list(pairs.keys()), "meant": list(pairs.values())}
    with relation(connection, "name_pairs", pa.table(columns)):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM name_pairs")


def _provider_names(providers: dict[str, Any]) -> dict[str, str]:
    """Each alias, alone and with each of the APIs behind it."""
    aliases = providers["aliases"]
    with_api = {f"{alias}.{api}": name for alias, name in aliases.items() for api in providers["apis"]}
    return {**with_api, **aliases}


def _case(branches: Iterable[tuple[str, str]]) -> str:
    """The first branch (condition, value) that holds; NULL where none does."""
    whens = "".join(f" WHEN {condition} THEN {value}" for condition, value in branches)
    return f"CASE{whens} END" if whens else "NULL"


def _model_branch(row: dict[str, Any]) -> tuple[str, str]:
    return f"regexp_matches(model, {literal('^(?:' + row['pattern'] + ')')})", literal(row["provider"])


def _host_branch(pattern: str, provider: str) -> tuple[str, str]:
    return f"regexp_matches(host, {literal(f'(?:^|[.])(?:{pattern})$')})", literal(provider)


def _instead_branch(row: dict[str, Any]) -> tuple[str, str]:
    condition, provider = _model_branch(row)
    return f"provider IN ({', '.join(map(literal, row['instead_of']))}) AND {condition}", provider


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
