"""GET /api/v1/budgets of a real collector that a real exporter sends to.

Guarantee: what was stored is counted (within 5 s: the long form); who may ask; what is answered where a budget is used
up, nearly so or not, and where nobody can tell; the process that counts is started again when it dies; the client of
deploy/ warns, skips and fails. Not proved here: what many millions of calls cost (tests/unit/test_budgets_sums.py has
the counting).
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
import types
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.processes import family, is_alive, memory_bytes
from tests.support import Collector, running, wait_until

SENDER, BOUND, METRICS = "the-token-of-a-sender", "the-token-of-an-account", "the-token-of-the-metrics"
CONFIG = f"""
default_plan_tier: api
metrics_token: {{token: {METRICS}}}
tokens:
  - {{name: sender, token: {SENDER}}}
  - {{name: bound, token: {BOUND}, billing_account: acme}}
dimensions: {{job: {{attribute: app.job}}}}
budgets:
  - {{name: everything, tokens: 1_000_000_000}}
  - {{name: planner, tokens: 1000, scope: {{agent: planner}}, action: fail}}
  - {{name: jobs, tokens: 1000, each: job, action: skip, period: week}}
  - {{name: spend, usd: 0.01, scope: {{service: dear}}}}
  - {{name: blind, usd: 1, scope: {{service: unpriced}}}}
  - {{name: account, tokens: 100, scope: {{billing_account: acme}}, action: fail}}
"""


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with running(tmp_path_factory.mktemp("budgets") / "data", config=CONFIG) as started:
        yield started


def send(
    collector: Collector, tokens: int, service: str = "app", token: str = SENDER, **attributes: str
) -> None:
    """One call of gpt-4o with so many input tokens."""
    exporter = OTLPSpanExporter(f"{collector.http}/v1/traces", headers={"Authorization": f"Bearer {token}"})
    provider = TracerProvider(resource=Resource({"service.name": service}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("tests.budgets").start_as_current_span("chat") as span:
        span.set_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.usage.input_tokens": tokens,
                "gen_ai.usage.output_tokens": 0,
                **attributes,
            }
        )
    provider.shutdown()


def ask(collector: Collector, query: str, token: str | None = SENDER) -> tuple[int, Any, Any]:
    """Status, headers and body."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{collector.admin}/api/v1/budgets?{query}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.load(error)


def known(collector: Collector, query: str, token: str = SENDER) -> Any:
    """The answer once there is one."""
    return wait_until(lambda: (found := ask(collector, query, token))[0] == 200 and found[2])


def used(collector: Collector, query: str, budget: str, token: str = SENDER) -> Any:
    return next(one["used"] for one in known(collector, query, token)["budgets"] if one["budget"] == budget)


def test_what_is_stored_is_counted(collector: Collector) -> None:
    assert len(seconds_until_counted(collector, "fresh", 3)) == 3


@pytest.mark.soak
def test_what_is_stored_is_counted_within_five_seconds(collector: Collector) -> None:
    assert max(seconds_until_counted(collector, "soon", 10)) < 5


def seconds_until_counted(collector: Collector, job: str, calls: int) -> list[float]:
    """Of one call after the other, from when it is stored."""
    query, seconds = f"agent=quick&job={job}", list[float]()
    assert used(collector, query, "jobs") == 0
    for number in range(1, calls + 1):
        send(collector, 100, **{"app.job": job})
        rows = f"SELECT count(*) AS n FROM calls WHERE job = '{job}' HAVING n = {number}"
        wait_until(lambda rows=rows: collector.sql(rows))
        stored = time.monotonic()
        wait_until(lambda number=number: used(collector, query, "jobs") == 100 * number)
        seconds.append(time.monotonic() - stored)
    return seconds


def test_a_budget_that_is_used_up_is_answered_with_when_to_come_again(collector: Collector) -> None:
    send(collector, 1000, **{"gen_ai.agent.name": "planner"})
    wait_until(lambda: used(collector, "agent=planner", "planner") >= 1000)
    status, headers, answer = ask(collector, "agent=planner&provider=openai&model=gpt-4o")
    assert status == 200
    assert (answer["allowed"], answer["state"], answer["action"]) == (False, "exceeded", "fail")
    assert (answer["decided_by"], answer["asked"]["agent"]) == ("planner", "planner")
    assert headers["Retry-After"] == str(answer["retry_after_seconds"])
    assert 0 < answer["retry_after_seconds"] <= 31 * 86400 + 3600
    first = answer["budgets"][0]
    assert (first["unit"], first["limit"], first["used"], first["left"]) == ("tokens", 1000, 1000, 0)
    # Another agent is free to go on: only what is for all counts.
    other = known(collector, "agent=coder")
    assert (other["allowed"], [one["budget"] for one in other["budgets"]]) == (True, ["everything"])
    assert other["retry_after_seconds"] is None
    assert other["not_asked_about"] == ["billing_account", "job", "service"]


def test_a_warning_lets_the_call_pass(collector: Collector) -> None:
    """gpt-4o is 2.50 USD for a million tokens of input: 4,000 are what the budget has, 3,600 more than 80 %."""
    for tokens, state in ((3600, "warn"), (400, "exceeded")):
        send(collector, tokens, service="dear")
        wait_until(lambda state=state: known(collector, "service=dear")["state"] == state)
        answer = known(collector, "service=dear")
        assert (answer["allowed"], answer["action"], answer["decided_by"]) == (True, "warn", "spend")
    assert answer["budgets"][0]["used"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("token", "expected"), [(None, 401), ("somebody-elses-token-here", 401), (SENDER, 200), (METRICS, 200)]
)
def test_senders_and_who_reads_metrics_may_ask(
    collector: Collector, token: str | None, expected: int
) -> None:
    known(collector, "")
    assert ask(collector, "", token)[0] == expected


def test_a_token_of_an_account_asks_for_that_account(collector: Collector) -> None:
    send(collector, 100, token=BOUND)
    wait_until(lambda: not known(collector, "agent=any", BOUND)["allowed"])
    answer = known(collector, "agent=any", BOUND)
    assert (answer["asked"]["billing_account"], answer["decided_by"]) == ("acme", "account")
    assert ask(collector, "billing_account=another", BOUND)[0] == 400
    assert known(collector, "billing_account=another")["allowed"]


@pytest.mark.parametrize("query", ["team=x", "agent=", "agent=a&agent=b", "agent=" + "x" * 1025, "Agent=x"])
def test_what_describes_no_call_is_refused(collector: Collector, query: str) -> None:
    status, _, answer = ask(collector, query)
    assert (status, answer["code"]) == (400, 3)
    assert answer["message"]


def child(collector: Collector) -> int | None:
    for pid in family(collector.process.pid)[1:]:
        if b"collector.budgets.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return None


def test_the_process_that_counts_is_small_and_comes_again(collector: Collector) -> None:
    """While it is gone nothing is allowed by guess."""
    before = known(collector, "agent=planner")
    pid = child(collector)
    assert pid is not None
    assert memory_bytes(pid) < 150 << 20
    os.kill(pid, signal.SIGKILL)
    status, headers, answer = ask(collector, "agent=planner")
    if status != 200:  # it was quicker
        assert (status, answer["state"], answer["allowed"], answer["code"]) == (503, "unknown", None, 14)
        assert headers["Retry-After"] == "1"
    again = known(collector, "agent=planner")
    assert again["budgets"][0]["used"] >= before["budgets"][0]["used"] - 1
    assert child(collector) not in (None, pid)


def test_of_calls_without_a_price_nobody_knows_what_is_left(collector: Collector) -> None:
    """A model that the price list does not know: its spend is not 0, and nothing is allowed by guess."""
    assert known(collector, "service=unpriced")["allowed"]
    send(collector, 1000, service="unpriced", **{"gen_ai.request.model": "nobody-knows-me"})
    wait_until(lambda: ask(collector, "service=unpriced")[0] == 503)
    _, _, answer = ask(collector, "service=unpriced")
    assert (answer["state"], answer["allowed"]) == ("unknown", None)
    assert "no call of blind says what it used" in answer["message"]
    assert known(collector, "service=app")["allowed"]


def client(collector: Collector) -> Any:
    """deploy/budget_client.py, as a program that copied it has it."""
    path = Path(__file__).parents[2] / "deploy" / "budget_client.py"
    spec = importlib.util.spec_from_file_location("budget_client", path)
    assert spec is not None
    assert spec.loader is not None
    module: types.ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.URL = f"{collector.admin}/api/v1/budgets"  # type: ignore[attr-defined]
    module.TOKEN = SENDER  # type: ignore[attr-defined]
    return module


def test_the_client_goes_on_warns_skips_and_fails(collector: Collector) -> None:
    api = client(collector)
    assert api.may_call(model="gpt-4o", agent="free")
    send(collector, 1000, **{"app.job": "night"})
    send(collector, 3600, service="dear")
    send(collector, 1000, **{"gen_ai.agent.name": "planner"})
    wait_until(lambda: known(collector, "job=night")["state"] == "exceeded")
    wait_until(lambda: known(collector, "service=dear")["state"] != "ok")
    wait_until(lambda: not known(collector, "agent=planner")["allowed"])
    with pytest.warns(UserWarning, match="budget spend"):
        assert api.may_call(service="dear")
    with pytest.warns(UserWarning, match="budget jobs: exceeded"):
        assert not api.may_call(job="night")
    with pytest.warns(UserWarning, match="budget planner"), pytest.raises(api.BudgetExceeded) as caught:
        api.may_call(agent="planner")
    assert caught.value.retry_after > 0
    with pytest.raises(urllib.error.HTTPError):
        api.may_call(team="x")
    api.URL = "http://127.0.0.1:9/api/v1/budgets"
    for answer in (True, False):
        with pytest.warns(UserWarning, match="not known"):
            assert api.may_call(answer, agent="free") is answer


def test_it_ends_with_the_server_that_is_killed(collector: Collector) -> None:
    """The last test of this server: kill -9 leaves no process behind."""
    pid = child(collector)
    assert pid is not None
    collector.kill()
    wait_until(lambda: not is_alive(pid))
