"""Questions about budgets, answered by a child process that reads the lake (collector/budgets/child.py)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from google.protobuf import message
from google.rpc import error_details_pb2

from analyzers.budget_terms import DIMENSIONS
from collector.budgets.decide import decision
from collector.budgets.told import told
from collector.config import Config
from collector.config_accounts import account_plans
from collector.config_budgets import budgets_of
from collector.log import Log
from collector.memory import GIVE_MEMORY_BACK
from collector.receivers.status import Malformed, Unavailable

COMMAND: Final = (sys.executable, "-m", "collector.budgets.child")
FIRST_DELAY: Final = 0.2
LAST_DELAY: Final = 10.0
# An answer takes some milliseconds; a caller that waits longer spends time instead of money.
_ANSWER_SECONDS: Final = 2.0
# Each question waits for the one before.
_MOST_WAITING: Final = 256
_LONGEST_VALUE: Final = 1024
_LONGEST_LINE: Final = 1 << 20

log = Log("budgets")


class BadQuestion(Malformed):
    """A call cannot be described so."""

    def details(self) -> list[message.Message]:
        violation = error_details_pb2.BadRequest.FieldViolation(field="query", description=str(self))
        return [error_details_pb2.BadRequest(field_violations=[violation])]


class BudgetsUnknown(Unavailable):
    """Whether a call is within its budgets cannot be told now: it is up to the caller what that means."""


class Desk:
    """Keeps the child running from ``start`` to ``stop``; without budgets there is none."""

    def __init__(self, config: Config, command: Sequence[str] = COMMAND) -> None:
        budgets = budgets_of(config.budgets)
        self._has_budgets = bool(budgets)
        self._allowed = (*DIMENSIONS, *config.dimensions)
        plans = account_plans(config.accounts)
        document = told(config.data_dir, config.timezone, config.log_level, budgets, plans)
        self._config = orjson.dumps({"config": document}) + b"\n"
        self._command = command
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}

    @property
    def pid(self) -> int | None:
        """Of the child that runs now."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def start(self) -> None:
        """Call when the lake is there. Safe twice."""
        if self._has_budgets and self._task is None:
            self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Safe twice."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def ask(self, pairs: Sequence[tuple[str, str]], account: str | None) -> dict[str, Any]:
        """Whether a call that is described so may be made. ``account``: the one that the asker's token is bound to.

        Raises BadQuestion for a description that cannot be one, BudgetsUnknown where nobody knows.
        """
        who = self._described(pairs, account)
        if not self._has_budgets:
            answer: Mapping[str, Any] = decision((), dt.datetime.now(dt.UTC))
        else:
            answer = await self._answer(who)
        return {**answer, "asked": who}

    def _described(self, pairs: Sequence[tuple[str, str]], account: str | None) -> dict[str, str]:
        who: dict[str, str] = {}
        for name, value in pairs:
            if name not in self._allowed:
                raise BadQuestion(
                    f"there is no parameter {name!r}; allowed: {', '.join(sorted(self._allowed))}"
                )
            if name in who:
                raise BadQuestion(f"{name} is there twice: ask about one call at a time")
            if not value or len(value) > _LONGEST_VALUE:
                raise BadQuestion(f"{name} needs a value of at most {_LONGEST_VALUE} characters")
            who[name] = value
        if account is not None and who.setdefault("billing_account", account) != account:
            raise BadQuestion(
                f"what this token sends is billed to {account!r}: ask about that billing_account"
            )
        return who

    async def _answer(self, who: Mapping[str, str]) -> Mapping[str, Any]:
        process = self._process
        if self.pid is None or process is None or process.stdin is None:
            raise BudgetsUnknown("the process that counts budgets is not running yet")
        if len(self._waiting) >= _MOST_WAITING:
            raise BudgetsUnknown("too many ask at a time")
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            process.stdin.write(orjson.dumps({"ask": number, "who": who}) + b"\n")
            heard = await asyncio.wait_for(future, _ANSWER_SECONDS)
        except TimeoutError:
            raise BudgetsUnknown("the process that counts budgets does not answer in time") from None
        # uvloop raises RuntimeError where its end of the pipe is closed already.
        except (ConnectionError, RuntimeError):
            raise BudgetsUnknown("the process that counts budgets has just ended") from None
        finally:
            del self._waiting[number]
        if "unknown" in heard:
            raise BudgetsUnknown(f"what is used of the budgets is not known: {heard['unknown']}")
        answer: Mapping[str, Any] = heard["answer"]
        return answer

    async def _keep(self) -> None:
        delay = FIRST_DELAY
        while True:
            started = asyncio.get_running_loop().time()
            code = await self._live()
            # One that lived for long died of something else than its start.
            lived = asyncio.get_running_loop().time() - started
            delay = FIRST_DELAY if lived > LAST_DELAY else min(delay * 2, LAST_DELAY)
            log.warning("the process that counts budgets ended", exit_code=code, restart_in_seconds=delay)
            await asyncio.sleep(delay)

    async def _live(self) -> int | None:
        """One child from start to end; its exit code, None where it could not be started."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=PIPE,
                stdout=PIPE,
                limit=_LONGEST_LINE,
                env=GIVE_MEMORY_BACK | os.environ,
            )
        except OSError as error:
            log.failed("the process that counts budgets cannot be started", error)
            return None
        self._process = process
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101 - as above
        try:
            process.stdin.write(self._config)
            async for line in process.stdout:
                self._hear(orjson.loads(line))
        except (ValueError, ConnectionError, RuntimeError) as error:
            log.failed("the process that counts budgets cannot be talked to", error)
        finally:
            process.stdin.close()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()
            self._give_up()
        return process.returncode

    def _hear(self, heard: Mapping[str, Any]) -> None:
        """An answer; whoever asked may have gone."""
        future = self._waiting.get(heard["to"])
        if future is not None and not future.done():
            future.set_result(heard)

    def _give_up(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError())
