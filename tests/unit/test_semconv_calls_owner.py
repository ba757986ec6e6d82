"""Whose a call is: its session, user, agent, tool, dimensions and plan."""

from __future__ import annotations

import pytest

from semconv.settings import AccountPlan, Settings
from tests.unit.semconv_records import Row, build, chat, span


def test_session_own_then_nearest_ancestor_then_the_traces_only_one() -> None:
    calls = build(
        span("root", took=9, session_id="s1"),
        span("mid", "root", took=9, session_id="s2"),
        chat("own", "mid", at=1, session_id="s3"),
        chat("near", "mid", at=2),
        chat("aside", trace_id="t2", at=3),
        span("elsewhere", trace_id="t2", at=9, session_id="s4"),
    )
    found = {call["span_id"]: (call["session_id"], call["session_inherited"]) for call in calls}
    assert found == {"own": ("s3", False), "near": ("s2", True), "aside": ("s4", True)}


def test_two_sessions_in_a_trace_and_none_above_are_a_conflict() -> None:
    [call] = build(chat("a"), span("x", session_id="s1", user_id="u"), span("y", session_id="s2"))
    assert (call["session_id"], call["user_id"], call["session_inherited"]) == (None, "u", False)
    assert call["notes"] == ["session_conflict"]


def test_members_of_one_call_share_their_session_across_traces() -> None:
    [call] = build(
        chat("a", response_id="r", scope_name="one", cache_read_tokens=1),
        span("root", trace_id="t2", took=5, session_id="s"),
        chat("b", "root", trace_id="t2", response_id="r", scope_name="two"),
    )
    assert (call["span_id"], call["session_id"], call["session_inherited"]) == ("a", "s", True)


def test_nothing_is_inherited_from_another_trace() -> None:
    [call] = build(chat("a"), span("x", trace_id="t2", session_id="s", user_id="u", agent_name="planner"))
    assert [call[key] for key in ("session_id", "user_id", "agent_name")] == [None] * 3


def test_agent_is_own_or_the_nearest_ancestors_never_from_aside() -> None:
    agent = {"dialect": "otel_genai", "operation": "invoke_agent"}
    calls = build(
        span("boss", took=9, agent_name="boss", agent_id="1", **agent),
        span("worker", "boss", took=9, agent_name="worker", agent_id="2", **agent),
        chat("a", "worker", at=1),
        chat("b", at=2),
        chat("c", "worker", at=3, agent_name="own"),
        chat("d", "worker", at=4, agent_id="1"),
    )
    found = {
        call["span_id"]: (call["agent_name"], call["agent_id"], call["agent_inherited"]) for call in calls
    }
    assert found["a"] == ("worker", "2", True)
    assert found["b"] == (None, None, False)
    assert found["c"] == ("own", None, False)
    assert found["d"][1:] == ("1", False)


def test_tool_is_own_or_an_ancestor_tool_spans() -> None:
    calls = build(
        span("agent", dialect="otel_genai", operation="invoke_agent", tool_name="not a tool span", took=9),
        span(
            "tool",
            "agent",
            dialect="otel_genai",
            operation="execute_tool",
            tool_name="search",
            tool_call_id="c",
        ),
        chat("inside", "tool", at=1),
        chat("beside", "agent", at=2),
    )
    found = {
        call["span_id"]: (call["tool_name"], call["tool_call_id"], call["tool_inherited"]) for call in calls
    }
    assert found == {"inside": ("search", "c", True), "beside": (None, None, False)}


def test_dimensions_are_own_then_ancestors_then_the_traces_then_the_resources() -> None:
    settings = Settings(dimensions={"team": "acme.team"})
    team = '{"acme.team":"%s"}'
    calls = build(
        span("root", took=9, attributes=team % "above"),
        chat("own", "root", at=1, attributes=team % "own", resource_attributes=team % "res"),
        chat("near", "root", at=2, resource_attributes=team % "res"),
        chat("aside", at=3, trace_id="t2", resource_attributes=team % "res"),
        span("x", trace_id="t2", attributes=team % "trace"),
        chat("res", at=4, trace_id="t3", resource_attributes=team % "res"),
        settings=settings,
    )
    assert [call["team"] for call in calls] == ["own", "above", "trace", "res"]


def test_a_loop_of_parents_ends() -> None:
    calls = build(chat("a", "b", agent_name=None), span("b", "c", session_id="s"), span("c", "a"))
    assert [call["session_id"] for call in calls] == ["s"]


PLANS = {
    ("api", False): "api",
    ("max_20x", False): "subscription",
    ("team", False): "subscription",
    ("enterprise", True): "api",
    ("local", False): "local",
    ("unknown", False): "unknown",
    ("house", False): "unknown",
}


@pytest.fixture(scope="module")
def call_of_plan() -> dict[str, Row]:
    """A call of an account of each plan, by the plan's name, which is the account's too."""
    plans = tuple(AccountPlan(plan, plan, usage_billed=billed) for plan, billed in PLANS)
    calls = build(
        *(chat(plan, trace_id=plan, billing_account=plan) for plan, _ in PLANS),
        settings=Settings(account_plans=plans),
    )
    return {call["span_id"]: call for call in calls}


@pytest.mark.parametrize(("plan", "mode"), [(plan, mode) for (plan, _), mode in PLANS.items()])
def test_pricing_mode_follows_the_plan(call_of_plan: dict[str, Row], plan: str, mode: str) -> None:
    call = call_of_plan[plan]
    assert (call["plan_tier"], call["pricing_mode"]) == (plan, mode)
    assert (call["cost_usd"] is None) == (mode == "local")
