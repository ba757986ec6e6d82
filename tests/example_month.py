"""March 2026 of a made-up small team, as its exporters would have sent it: what the analyzers' pages show findings in.

Four weeks, 2 to 29 March. All of it is arithmetic, nothing is drawn: the same file always.
- `planner` works in sessions on claude-opus-4-5 and sends its growing context again without a cache; on the 24th eight
  times as many sessions as on other days.
- `support` answers with gpt-4o in single small calls, for five users; every 40th is cut off by a time limit after it
  was billed, and tried again. Its library says what calls cost, by an old price.
- `reviewer` works on a plan (account `coding`, max_5x), with a cache; one session a week asks for the same file again
  and again.
- `sorter` calls a model whose price nobody knows.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

FIRST_DAY: Final = dt.date(2026, 3, 2)
DAYS: Final = 28
CONFIG: Final = """\
accounts:
  - {name: coding, match: {service: coding}, plan_tier: max_5x, fee_per_month: {amount: 100}}
  - {name: openai, match: {provider: openai}, plan_tier: api}
  - {name: anthropic, match: {provider: anthropic}, plan_tier: api}
budgets:
  - {name: company, usd: 150, action: warn}
  - {name: agents, usd: 10, each: agent, period: day, action: fail}
"""
_BUSY_DAY: Final = dt.date(2026, 3, 24)
_SECOND: Final = 1_000_000_000
_LINE_SPANS: Final = 200
# How OTLP's JSON names values.
_KINDS: Final = {int: "intValue", float: "doubleValue", str: "stringValue"}
Span = dict[str, Any]


def write(file: Path) -> Path:
    """The month as JSON lines of OTLP requests."""
    lines = []
    for service, spans in _by_service().items():
        lines += [_request(service, spans[at : at + _LINE_SPANS]) for at in range(0, len(spans), _LINE_SPANS)]
    file.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    return file


def _by_service() -> dict[str, list[Span]]:
    made: dict[str, list[Span]] = {"office": [], "helpdesk": [], "coding": []}
    for number in range(DAYS):
        day = FIRST_DAY + dt.timedelta(days=number)
        is_work = day.isoweekday() <= 5
        if is_work:
            sessions = 3 + number % 2
            for session in range(sessions * 8 if day == _BUSY_DAY else sessions):
                made["office"] += _planner(day, session)
            for session in range(3):
                made["coding"] += _reviewer(day, session)
        made["helpdesk"] += _support(day, 40 + number % 7 if is_work else 15)
        made["office"] += _sorter(day)
    return made


def _planner(day: dt.date, session: int) -> Iterator[Span]:
    key = f"planner-{day}-{session}"
    for turn in range(6):
        at = _at(day, 9 * 3600 + session * 900 + turn * 60)
        used = {
            "input": 20_000 + 4_000 * turn + 50 * session,
            "output": 280 + 30 * (turn % 3),
            "cache_read": 0,
        }
        yield _call(key, turn, at, "planner", "anthropic", "claude-opus-4-5", used, session=key, user="ada")


def _reviewer(day: dt.date, session: int) -> Iterator[Span]:
    key = f"reviewer-{day}-{session}"
    goes_in_circles = session == 2 and day.isoweekday() == 3
    for turn in range(8):
        at = _at(day, 13 * 3600 + session * 1200 + turn * 45)
        context = 12_000 + 1_500 * turn
        used = {
            "input": context + 1_500,
            "output": 400,
            "cache_read": context if turn else 0,
            "cache_write": 1_500 if turn else context + 1_500,
        }
        yield _call(key, turn, at, "reviewer", "anthropic", "claude-sonnet-4-5", used, session=key, user="bo")
        tool = "read_file" if goes_in_circles else ("read_file", "search", "run_tests")[turn % 3]
        yield _tool(key, turn, at + 10 * _SECOND, "reviewer", tool, key, '{"path": "src/main.py"}')


def _support(day: dt.date, calls: int) -> Iterator[Span]:
    for number in range(calls):
        key = f"support-{day}-{number}"
        at = _at(day, 8 * 3600 + number * 600)
        used: dict[str, Any] = {"input": 900 + 40 * (number % 9), "output": 110 + 15 * (number % 6)}
        used["cost"] = (used["input"] * 5 + used["output"] * 15) / 1e6
        user, failed = f"customer-{number % 5 + 1}", number % 40 == 7
        for turn, is_cut_off in enumerate((True, False) if failed else (False,)):
            begins = at + turn * 40 * _SECOND
            yield _call(
                key,
                turn,
                begins,
                "support",
                "openai",
                "gpt-4o",
                used,
                session=key,
                user=user,
                failed=is_cut_off,
            )


def _sorter(day: dt.date) -> Iterator[Span]:
    for number in range(4):
        at = _at(day, 6 * 3600 + number * 60)
        used = {"input": 700, "output": 12}
        yield _call(f"sorter-{day}-{number}", 0, at, "sorter", "acme", "acme-sort-2", used)


def _at(day: dt.date, second: int) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp() + second) * _SECOND


def _call(
    key: str,
    turn: int,
    at: int,
    agent: str,
    provider: str,
    model: str,
    used: dict[str, Any],
    *,
    session: str | None = None,
    user: str | None = None,
    failed: bool = False,
) -> Span:
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.agent.name": agent,
        "gen_ai.conversation.id": session,
        "user.id": user,
        "gen_ai.usage.input_tokens": used["input"],
        "gen_ai.usage.output_tokens": used["output"],
        "gen_ai.usage.cache_read.input_tokens": used.get("cache_read"),
        "gen_ai.usage.cache_creation.input_tokens": used.get("cache_write"),
        "gen_ai.usage.total_cost": used.get("cost"),
        "error.type": "timeout" if failed else None,
    }
    span = _span(f"{key}-{turn}", key, at, (30 if failed else 4) * _SECOND, f"chat {model}", attributes)
    return span | {"kind": 3, "status": {"code": 2 if failed else 0}}


def _tool(key: str, turn: int, at: int, agent: str, tool: str, session: str, arguments: str) -> Span:
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        "gen_ai.tool.call.id": f"{key}-{turn}",
        "gen_ai.tool.call.arguments": arguments,
        "gen_ai.agent.name": agent,
        "gen_ai.conversation.id": session,
    }
    return _span(f"{key}-{turn}-tool", key, at, _SECOND, f"execute_tool {tool}", attributes) | {"kind": 1}


def _span(key: str, trace: str, at: int, duration: int, name: str, attributes: dict[str, Any]) -> Span:
    return {
        "traceId": hashlib.md5(trace.encode(), usedforsecurity=False).hexdigest(),
        "spanId": hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()[:16],
        "name": name,
        "startTimeUnixNano": str(at),
        "endTimeUnixNano": str(at + duration),
        "attributes": [
            {
                "key": name,
                "value": {_KINDS[type(value)]: value},
            }
            for name, value in attributes.items()
            if value is not None
        ],
    }


def _request(service: str, spans: list[Span]) -> dict[str, Any]:
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                "scopeSpans": [{"scope": {"name": "example.agents"}, "spans": spans}],
            }
        ]
    }
