"""No report can show money without saying what it is: every way round that is refused when the report is made."""

from __future__ import annotations

from decimal import Decimal

import pytest

from analyzers import honest
from analyzers.finding import Column, Finding, Report, Row
from analyzers.honest import Amount, UnnamedMoney

USER = Column("user", "user", "text")
ONE = Decimal("1.5")


def test_money_stands_under_the_name_of_its_mode_alone() -> None:
    """The names that programs read and those that people read, in the order of the modes."""
    assert [(column.name, column.label) for column in honest.COLUMNS] == [
        ("spend_usd", "spend, USD"),
        ("implied_api_value_usd", "implied API value (beside the fee), USD"),
        ("list_price_usd", "list price, plan not declared, USD"),
        ("local_cost_usd", "cost of local models as configured, USD"),
    ]
    assert [column.name for column in honest.per_unit("mean")][:2] == [
        "spend_per_unit_mean_usd",
        "implied_api_value_per_unit_mean_usd",
    ]
    assert honest.columns("llm_{}", "{} of LLM calls")[0].label == "spend of LLM calls, USD"
    assert honest.amounts("subscription", ONE) == (None, ONE, None, None)
    assert {column.kind for column in (*honest.COLUMNS, *honest.per_unit())} == {"usd"}


@pytest.mark.parametrize("kind", ["usd", "amount"])
def test_a_column_of_money_that_honest_did_not_make_is_refused(kind: str) -> None:
    """Also where it bears the name of one that it made, and where there is no row."""
    with pytest.raises(UnnamedMoney, match="spend_usd"):
        Report(columns=(Column("spend_usd", "spend, USD", kind),), rows=())  # type: ignore[arg-type]


def test_money_in_a_column_of_something_else_is_refused() -> None:
    with pytest.raises(UnnamedMoney, match="'user'"):
        Report(columns=(USER,), rows=(("a",), (ONE,)))
    with pytest.raises(UnnamedMoney, match="'user'"):
        Report(columns=(USER,), rows=(), totals=((ONE,),))


def row(mode: str, amounts_of: str) -> Row:
    return (mode, *honest.amounts(amounts_of, ONE))


def test_a_row_of_one_mode_cannot_show_the_money_of_another() -> None:
    columns = (honest.MODE, *honest.COLUMNS)
    Report(columns=columns, rows=(row("api", "api"), row("subscription", "subscription")))
    with pytest.raises(UnnamedMoney, match="'spend_usd' in a row of pricing mode 'subscription'"):
        Report(columns=columns, rows=(row("subscription", "api"),))


def test_list_prices_without_a_plan_come_with_the_line_that_declares_it() -> None:
    columns = (USER, *honest.per_unit())
    rows = (("a", *honest.amounts("unknown", ONE)),)
    with pytest.raises(UnnamedMoney, match="undeclared_plans"):
        Report(columns=columns, rows=rows)
    Report(columns=columns, rows=rows, notes=("Declare the plan in the configuration, as in: x",))


@pytest.mark.parametrize("text", ["it costs 12.5 USD", "it costs $12", "between 1 and 2 USD"])
def test_a_sentence_with_dollars_says_what_they_are(text: str) -> None:
    for make in (
        lambda said: Report(columns=(), rows=(), notes=(said,)),
        lambda said: Finding("id", said),
        lambda said: Finding("id", "title", caveats=(said,)),
    ):
        with pytest.raises(UnnamedMoney, match="without a name"):
            make(text)
        make(f"{honest.label('subscription')}: {text}")


def test_an_amount_in_a_sentence_and_in_evidence_carries_its_mode() -> None:
    assert str(Amount("api", Decimal("1234.5"))) == "spend: 1,234.500000 USD"
    assert str(Amount("unknown", None)) == "list price, plan not declared: unknown"
    finding = Finding(
        "id", f"{Amount('api', ONE)} more than before", evidence={"more": Amount("api", ONE), "n": 2}
    )
    assert finding.as_dict()["evidence"] == {"more": {"pricing_mode": "api", "spend_usd": ONE}, "n": 2}
    with pytest.raises(UnnamedMoney, match="'more'"):
        Finding("id", "title", evidence={"more": ONE})


def test_evidence_within_evidence_is_held_to_the_same() -> None:
    """A breakdown has amounts of its own, which carry their mode, and no bare ones."""
    finding = Finding("id", "title", evidence={"models": [{"model": "m", "cost": Amount("api", ONE)}]})
    assert finding.as_dict()["evidence"] == {
        "models": [{"model": "m", "cost": {"pricing_mode": "api", "spend_usd": ONE}}]
    }
    for bare in ([{"cost": ONE}], {"m": {"cost": ONE}}, [ONE]):
        with pytest.raises(UnnamedMoney, match=r"is an honest\.Amount"):
            Finding("id", "title", evidence={"models": bare})


def test_a_name_that_reads_like_an_amount_stands_in_quotes_and_is_none() -> None:
    """Agents, services and models are called what their senders like; a figure beside a name still needs its own."""
    assert [honest.said(name) for name in ("planner", "$5 bot", 'a "2 USD" one')] == [
        "planner",
        '"$5 bot"',
        r'"a \"2 USD\" one"',
    ]
    quoting = honest.said('a "2 USD" one')
    title = f"calls of {honest.said('$5 bot')} and {quoting}"
    Finding("id", title)
    with pytest.raises(UnnamedMoney, match="without a name"):
        Finding("id", f"{title}: 3 USD")
