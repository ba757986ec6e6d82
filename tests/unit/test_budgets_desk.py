"""What is decided of a call, and what is said where the process that counts does not answer."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from analyzers.budget_terms import Action, Budget, span
from collector.budgets import desk as module
from collector.budgets.decide import Applying, applying, decision, undescribed
from collector.budgets.desk import BadQuestion, BudgetsUnknown, Desk
from collector.config import Config

NOW = dt.datetime(2026, 3, 25, 12, tzinfo=dt.UTC)


def part(name: str, used: str, action: Action = "warn", period: Any = "month") -> Applying:
    budget = Budget(name, usd=Decimal(10), action=action, period=period)
    return Applying(budget, "", span(period, NOW, "UTC"), Decimal(used), 3, {"subscription": 2, "local": 0})


def test_the_worst_budget_decides() -> None:
    """State before action before share; a call is refused until the last budget that refuses it begins anew."""
    found = [part("ok", "1", "fail"), part("near", "9"), part("over", "11"), part("most", "7.9", "fail")]
    answer = decision(found, NOW)
    assert (answer["allowed"], answer["state"], answer["action"], answer["decided_by"]) == (
        True,
        "exceeded",
        "warn",
        "over",
    )
    assert [one["budget"] for one in answer["budgets"]] == ["over", "near", "most", "ok"]
    skip, fail = part("skip", "99", "skip"), part("fail", "10", "fail", "day")
    answer = decision([*found, skip, fail], NOW)
    assert (answer["allowed"], answer["action"], answer["decided_by"]) == (False, "fail", "fail")
    assert answer["retry_after_seconds"] == int(dt.timedelta(days=6, hours=12).total_seconds())
    assert decision([fail], NOW)["retry_after_seconds"] == 12 * 3600
    assert decision([fail], fail.span.end)["retry_after_seconds"] == 1
    assert answer["budgets"][0]["calls_not_counted"] == {"subscription": 2}


def test_without_a_budget_nothing_speaks_against_the_call() -> None:
    answer = decision([], NOW)
    assert (answer["allowed"], answer["state"], answer["decided_by"]) == (True, "ok", None)


def test_what_no_call_tells_is_not_known() -> None:
    """Some use that is not known makes it more; of a period in which none is known nobody can say what is left."""
    budget, of = Budget("b", usd=Decimal(10)), span("month", NOW, "UTC")
    assert not Applying(budget, "", of, Decimal(0), 0, {"cost_unknown": 1}).is_known
    assert Applying(budget, "", of, Decimal(1), 1, {"cost_unknown": 1}).is_known
    assert Applying(budget, "", of, Decimal(0), 0, {"cost_unknown": 0, "subscription": 4}).is_known


def test_a_budget_is_for_a_call_that_has_all_its_values() -> None:
    budgets = [
        Budget("all", tokens=1),
        Budget("one", tokens=1, scope={"agent": "a", "service": "s"}),
        Budget("each", tokens=1, scope={"service": "s"}, each="user"),
    ]
    assert applying(budgets, {}) == [(0, "")]
    assert undescribed(budgets, {}) == ["agent", "service", "user"]
    assert applying(budgets, {"agent": "a", "service": "s", "user": "u"}) == [(0, ""), (1, ""), (2, "u")]
    assert undescribed(budgets, {"agent": "b", "service": "s"}) == ["user"]
    assert undescribed(budgets, {"service": "other"}) == []


def config(tmp_path: Path, *budgets: dict[str, Any]) -> Config:
    return Config.model_validate({"data_dir": tmp_path, "budgets": budgets})


def asked(desk: Desk, *, seconds: float = 0.0) -> Any:
    """The answer, or what was raised, of a desk that has been started."""

    async def scenario() -> Any:
        desk.start()
        desk.start()
        try:
            await asyncio.sleep(seconds)
            return await desk.ask([("agent", "a")], None)
        except BudgetsUnknown as unknown:
            return unknown
        finally:
            await desk.stop()
            await desk.stop()

    return asyncio.run(scenario())


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_without_budgets_no_process_is_started(tmp_path: Path) -> None:
    desk = Desk(config(tmp_path), ["/nonexistent"])
    assert asked(desk)["allowed"] is True
    assert desk.pid is None


NONSENSE = "import sys; sys.stdin.readline(); print('no JSON', flush=True); sys.stdin.read()"
SILENT = "import sys; sys.stdin.read()"
AT_A_LOSS = """
import sys
sys.stdin.readline(), sys.stdin.readline()
print('{"to": 0, "unknown": "why"}', flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/nonexistent"], "not running"),
        (program("import sys; sys.exit(3)"), "not running|just ended"),
        (program(NONSENSE), "not running|just ended"),
        (program(SILENT), "does not answer in time"),
        (program(AT_A_LOSS), "not known: why"),
    ],
    ids=["no program", "ends", "nonsense", "silent", "at a loss"],
)
def test_nothing_is_allowed_by_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], reason: str
) -> None:
    """A child that cannot be started, ends, speaks nonsense, is silent or does not know."""
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 1.0)
    unknown = asked(Desk(config(tmp_path, {"name": "a", "tokens": 1}), command), seconds=0.5)
    assert isinstance(unknown, BudgetsUnknown)
    assert unknown.http_headers()["Retry-After"] == "1"
    assert re.search(reason, str(unknown)), str(unknown)


def test_a_question_names_what_it_may(tmp_path: Path) -> None:
    desk = Desk(config(tmp_path))
    with pytest.raises(BadQuestion, match="allowed: agent, billing_account"):
        asyncio.run(desk.ask([("team", "x")], None))
    with pytest.raises(BadQuestion, match="billed to 'acme'"):
        asyncio.run(desk.ask([("billing_account", "x")], "acme"))
    assert asyncio.run(desk.ask([], "acme"))["asked"] == {"billing_account": "acme"}
