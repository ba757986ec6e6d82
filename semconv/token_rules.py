"""tables/token_rules.toml as SQL: for each thing that rows can say, an expression over one record's columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from semconv.sqltext import literal

Rule = Mapping[str, Any]

# What a row can say of the records that its conditions fit.
PROPERTIES: Final = ("input", "output", "cache", "rest_of_total", "usage", "zero_cost")
# The parameters of the macros; `signs` says which of the attributes that rules ask for a record has.
_PARAMETERS: Final = "scope, version, provider, dialect, event, stream, signs"
# Conditions on attributes: the only ones that differ between records of the same names.
_ASKS_ATTRIBUTES: Final = ("has", "lacks", "in_text")

# A version compares as the list of its numbers: 0.66b2 is [0, 66, 2]; one without numbers fits no range.
_VERSION_NUMBERS: Final = (
    r"nullif(list_transform(regexp_extract_all(version, '\d{1,9}'), lambda n: n::BIGINT), [])"
)


class Signs(NamedTuple):
    """A SELECT of `signs`, a bit for each attribute that rules ask for, over named_records in the order of `row`;
    NULL but for records of `scopes`, whose rules ask for any.
    """

    scopes: frozenset[str]
    statement: str


def signs(rules: Iterable[Rule]) -> Signs:
    """Which attributes the rules ask for, and of records of which scopes."""
    by_scope = _bits(rules)
    branches = "".join(f" WHEN {literal(scope)} THEN {_sum(bits)}" for scope, bits in by_scope.items())
    statement = f"SELECT CASE scope_name{branches} END::BIGINT AS signs FROM named_records ORDER BY row"
    return Signs(frozenset(by_scope), statement)


def _bits(rules: Iterable[Rule]) -> dict[str, dict[str, int]]:
    """By scope: what its rules ask of the attributes, and the bit that stands for it."""
    bits: dict[str, dict[str, int]] = {}
    for row in rules:
        if row.keys() & set(_ASKS_ATTRIBUTES):
            own = bits.setdefault(row["scope"], {})
            own.setdefault(_attribute(row), 1 << len(own))
    return bits


def _sum(bits: dict[str, int]) -> str:
    return " + ".join(f"CASE WHEN {condition} THEN {bit} ELSE 0 END" for condition, bit in bits.items())


def _attribute(row: Rule) -> str:
    """What a row asks of the attributes, which `lacks` then denies."""
    if "in_text" in row:
        key, text = row["in_text"]
        return f"contains(attributes ->> {literal(key)}, {literal(text)})"
    return f"(attributes ->> {literal(row.get('has') or row['lacks'])}) IS NOT NULL"


def rule_macros(rules: Iterable[Rule]) -> Iterator[str]:
    """`<property>_rule(…)` for each property: what the first row that fits says, NULL where none does."""
    listed = list(rules)
    bits = _bits(listed)
    rows = [_with_sign(row, bits) for row in listed]
    for name in PROPERTIES:
        yield f"{name}_rule({_PARAMETERS}) AS {_expression([row for row in rows if name in row], name)}"


def _with_sign(row: Rule, bits: dict[str, dict[str, int]]) -> Rule:
    """A condition on attributes as the bit that stands for it."""
    if unknown := row.keys() - _CONDITIONS.keys() - set(PROPERTIES) - set(_ASKS_ATTRIBUTES):
        raise ValueError(f"token rule {row}: no such condition or property: {sorted(unknown)}")
    if not row.keys() & set(_ASKS_ATTRIBUTES):
        return row
    sign = bits[row["scope"]][_attribute(row)]
    others = {name: value for name, value in row.items() if name not in _ASKS_ATTRIBUTES}
    return {**others, "without_sign" if "lacks" in row else "sign": sign}


def _expression(rows: list[Rule], name: str) -> str:
    """Rows for a scope with more conditions, then those that name a scope alone, then families of scopes."""
    exact = [row for row in rows if "scope" in row and not _is_prefix(row["scope"])]
    always = {row["scope"]: row[name] for row in exact if _conditions(row) == {"scope"}}
    conditional = [row for row in exact if _conditions(row) > {"scope"}]
    families = [row for row in rows if row not in exact]
    steps = [_by_scope(conditional, name), _map(always), _case(families, name)]
    return f"coalesce({', '.join(step for step in steps if step)}, NULL::VARCHAR)"


def _by_scope(rows: list[Rule], name: str) -> str:
    """Rows grouped by scope, so that a record passes the conditions of its own scope only."""
    scopes = dict.fromkeys(row["scope"] for row in rows)
    branches = (
        f" WHEN {literal(scope)} THEN {_case([row for row in rows if row['scope'] == scope], name)}"
        for scope in scopes
    )
    return f"CASE scope{''.join(branches)} END" if scopes else ""


def _map(by_scope: dict[str, str]) -> str:
    entries = ", ".join(f"{literal(scope)}: {literal(value)}" for scope, value in by_scope.items())
    return f"MAP {{{entries}}}[scope]" if entries else ""


def _case(rows: list[Rule], name: str) -> str:
    branches = (f" WHEN {_condition(row)} THEN {literal(row[name])}" for row in rows)
    return f"CASE{''.join(branches)} END" if rows else ""


def _conditions(row: Rule) -> set[str]:
    return row.keys() & _CONDITIONS.keys()


def _condition(row: Rule) -> str:
    return " AND ".join(_CONDITIONS[key](row[key]) for key in _CONDITIONS if key in row)


def _is_prefix(name: str) -> bool:
    return name.endswith((".", "/", "-"))


def _named(column: str) -> Callable[[str], str]:
    def condition(name: str) -> str:
        return (
            f"starts_with({column}, {literal(name)})" if _is_prefix(name) else f"{column} = {literal(name)}"
        )

    return condition


def _one_of(column: str) -> Callable[[str | list[str]], str]:
    def condition(names: str | list[str]) -> str:
        listed = [names] if isinstance(names, str) else names
        return f"{column} IN ({', '.join(map(literal, listed))})"

    return condition


def _version_numbers(version: str) -> str:
    return str([int(number) for number in re.findall(r"\d{1,9}", version)])


# In the order in which a record is asked: what costs least first.
_CONDITIONS: Final[Mapping[str, Callable[[Any], str]]] = {
    "scope": _named("scope"),
    "scope_holds": lambda text: f"contains(scope, {literal(text)})",
    "dialect": _one_of("dialect"),
    "event": _named("event"),
    "provider": _one_of("provider"),
    "stream": lambda is_so: f"stream IS {'TRUE' if is_so else 'FALSE'}",
    "from": lambda version: f"{_VERSION_NUMBERS} >= {_version_numbers(version)}",
    "below": lambda version: f"{_VERSION_NUMBERS} < {_version_numbers(version)}",
    "sign": lambda bit: f"signs & {bit} > 0",
    "without_sign": lambda bit: f"signs & {bit} = 0",
}
