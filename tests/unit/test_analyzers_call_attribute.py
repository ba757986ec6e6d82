"""Whose an attribute is: `unit-cost --by KEY` over records that were resolved and built into calls as any others."""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import Any

import pytest

from analyzers import registry
from analyzers.finding import Report
from analyzers.window import Window
from semconv.settings import Settings
from tests.unit.semconv_records import NOON, Row, Store, chat, log, seeded, span

DAY = Window(NOON.replace(tzinfo=dt.UTC, hour=0), NOON.replace(tzinfo=dt.UTC, hour=23))
KEY = "app.job"


def job(value: object, key: str = KEY) -> str:
    return json.dumps({key: value, "other": "app.job"})


def store_of(*rows: Row) -> Store:
    """With the attribute as a dimension `job` too, which is the rule that it must follow."""
    store = Store(Settings(dimensions={"job": KEY}))
    store.commit(*rows)
    return store


def unit_cost(store: Store, **settings: Any) -> Report:
    return registry.get("unit-cost").run(store.connection, DAY, {"top": 0, **settings})


def calls_by(store: Store, key: str = KEY) -> dict[str | None, int]:
    counted: dict[str | None, int] = {}
    for row in unit_cost(store, by=key).as_dict()["rows"]:
        counted[row[key]] = counted.get(row[key], 0) + row["calls"]
    return counted


def test_a_call_has_its_own_value() -> None:
    assert calls_by(store_of(chat("a", attributes=job("7")), chat("b", at=5))) == {"7": 2}
    own = store_of(chat("a", attributes=job("7")), chat("b", at=5, attributes=job("8")))
    assert calls_by(own) == {"7": 1, "8": 1}


def test_numbers_and_booleans_are_values_too() -> None:
    assert calls_by(
        store_of(chat("a", attributes=job(7)), chat("b", trace_id="t2", attributes=job(True)))
    ) == {
        "7": 1,
        "true": 1,
    }


def test_the_nearest_ancestor_tells() -> None:
    """Two levels up 8 stands, above it 7; a call beside has 7 as its nearest."""
    store = store_of(
        span("root", attributes=job("7")),
        span("step", "root", attributes=job("8")),
        span("tool", "step"),
        chat("below", "tool"),
        chat("beside", "root", at=5),
    )
    assert calls_by(store) == {"8": 1, "7": 1}


def test_else_the_only_value_of_the_trace_tells_wherever_it_stands() -> None:
    assert calls_by(store_of(chat("a"), span("elsewhere", attributes=job("7")))) == {"7": 1}


def test_values_that_contradict_each_other_are_none() -> None:
    store = store_of(chat("a"), span("x", attributes=job("7")), span("y", attributes=job("8")))
    report = unit_cost(store, by=KEY)
    assert [row[KEY] for row in report.as_dict()["rows"]] == [None]
    assert any(note.startswith("1 of 1 calls have no app.job, or several") for note in report.notes)


def test_the_resource_tells_last() -> None:
    resource = json.dumps({KEY: "pod"})
    store = store_of(
        chat("a", resource_attributes=resource),
        chat("b", trace_id="t2", resource_attributes=resource, attributes=job("7")),
    )
    assert calls_by(store) == {"pod": 1, "7": 1}


def test_a_call_that_two_records_report_has_what_either_says() -> None:
    """One provider call in two traces of different jobs: the record that has the value itself tells."""
    twice = store_of(
        span("root", attributes=job("7")),
        chat("a", "root", response_id="r"),
        chat("b", trace_id="t2", scope_name="other", response_id="r", attributes=job("8")),
    )
    assert calls_by(twice) == {"8": 1}


def test_calls_that_only_log_records_report_have_values() -> None:
    """One in no trace, one written inside a span below another job's."""
    store = store_of(
        log("h1", attributes=job("7"), session_id="s"),
        span("root", attributes=job("8"), at=100),
        span("turn", "root", at=100),
        span("else", attributes=job("9"), at=100),
        log("h2", inside="turn", at=101, session_id="s"),
    )
    assert calls_by(store) == {"7": 1, "8": 1}


def test_an_attribute_that_nobody_has_is_said() -> None:
    report = unit_cost(store_of(chat("a")), by="app.jbo")
    assert [row["calls"] for row in report.as_dict()["rows"]] == [1]
    assert any("no call has an attribute 'app.jbo'" in note for note in report.notes)


@pytest.mark.parametrize("key", ["naïve.key", "with space", "it's", "a{b}", "$x", "a.b[0]", "/x", "a*"])
def test_any_key_is_a_key_and_no_path(key: str) -> None:
    own = chat("a", attributes=json.dumps({key: "v", "x": 1, "a": {"b": ["no"]}}, ensure_ascii=False))
    assert calls_by(store_of(own), key) == {"v": 1}


@pytest.mark.parametrize("seed", range(3))
def test_an_attribute_tells_what_a_configured_dimension_of_it_tells(seed: int) -> None:
    """Forty random traces, with records that report one call twice: the calls' own column is the oracle."""
    dice = seeded(seed)
    store = store_of(*(row for number in range(40) for row in random_trace(dice, f"t{number}")))
    oracle = dict(store.connection.execute("SELECT job, count(*) FROM calls GROUP BY ALL").fetchall())
    assert calls_by(store) == oracle
    sums = dict(store.connection.execute("SELECT job, sum(cost_usd) FROM calls GROUP BY ALL").fetchall())
    told = unit_cost(store, by=KEY).as_dict()["rows"]
    assert {row[KEY]: row["list_price_usd"] for row in told} == sums
    assert len(oracle) > 2


def random_trace(dice: random.Random, trace: str) -> list[Row]:
    rows: list[Row] = []
    for number in range(dice.randint(1, 8)):
        make = dice.choice((span, chat, chat))
        parent = f"s{dice.randrange(number)}" if number and dice.random() < 0.8 else None
        # Four ids for all: some calls are reported twice, in one trace or in two.
        told = {"response_id": dice.choice((None, f"r{dice.randrange(9)}"))} if make is chat else {}
        rows.append(
            make(
                f"s{number}",
                parent,
                trace_id=trace,
                scope_name=dice.choice(("lib", "other")),
                attributes=dice.choice(("{}", "{}", job("7"), job("8"))),
                resource_attributes=json.dumps({"service.instance.id": "i", KEY: dice.choice((None, "pod"))}),
                **told,
            )
        )
    return rows


def test_success_is_what_an_attribute_says() -> None:
    """Session `a` has a call that says true, `b` one that says false, `c` says nothing; of one value `won` none."""
    store = store_of(
        chat("a", trace_id="t1", session_id="a", attributes=job("true")),
        chat("b", trace_id="t2", session_id="b", attributes=job("false"), at=100),
        chat("c", trace_id="t3", session_id="c", at=200),
        chat("d", trace_id="t4", session_id="b", at=300),
    )

    def succeeded(**settings: Any) -> dict[str, bool]:
        return {row["session"]: row["succeeded"] for row in unit_cost(store, **settings).as_dict()["rows"]}

    assert succeeded(success_attr=KEY) == {"a": True, "b": False, "c": False}
    assert succeeded(success_attr=f"{KEY}=false") == {"a": False, "b": True, "c": False}
    assert succeeded(success_attr=f"{KEY}=won") == {"a": False, "b": False, "c": False}
    assert succeeded() == {"a": True, "b": True, "c": True}
