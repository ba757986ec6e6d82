"""The server's child that knows what is used of each budget. ``python -m collector.budgets.child``

Both pipes carry JSON lines. To the child: ``{"config": …}`` once, then questions ``{"ask": number, "who": {…}}``. From
it, to each question: ``{"to": number, "answer": {…}}``, or ``"unknown"`` with the reason in the
place of the answer. It ends when its standard input does.
"""

from __future__ import annotations

import datetime as dt
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson

from analyzers.budget_terms import Budget, Span
from collector.budgets.decide import Applying, applying, decision, undescribed
from collector.budgets.sums import NOTHING, Sums, Use
from collector.budgets.told import budget_of, plan_of
from collector.data_dir import CATALOG
from collector.load_orders import lines_of
from collector.log import Log, configure
from collector.store.lake import Lake, LakeError

# With the interpreter and DuckDB itself some 120 MB; what takes more goes to disk.
_DATABASE_MEMORY: Final = "40MB"
# Address space, most of it reserved and never used.
_ADDRESS_SPACE: Final = 4 << 30
# How often it is looked for something new: what was stored is counted in twice that time and what counting takes.
_EVERY_SECONDS: Final = 1.0
# Older sums are not answered from.
_STALE_SECONDS: Final = 10.0
_MOST_FAILURES: Final = 5
# Others see what SQLite commits some time after it was written: when the log is synced and its index says so. Until
# then a catalog is looked into again though it looks the same, which costs next to nothing.
_SEEN_BY_THEN_NS: Final = 10_000_000_000

log = Log("budgets")


class Counter:
    """Keeps the sums up to date in a thread, and answers from them."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._data_dir = Path(config["data_dir"])
        self._budgets = [budget_of(one) for one in config["budgets"]]
        self._plans = [plan_of(one) for one in config["plans"]]
        self._timezone = str(config["timezone"])
        self._sums: Sums | None = None
        self._failure = "the sums are not there yet"

    def keep(self) -> None:
        """Until the lake cannot be read several times running: a new process may do better."""
        seen: object = None
        failures = 0
        while failures < _MOST_FAILURES:
            try:
                looks = self._looks()
                self._refresh(is_new=looks is None or looks != seen)
                seen, failures = looks, 0
            except (duckdb.Error, LakeError, OSError) as error:
                # A file that was merged away while it was about to be read: its heir is there at the next look.
                self._failure = str(error).partition("\n")[0]
                seen, failures = None, failures + 1
                log.warning("the lake cannot be read", reason=self._failure)
            time.sleep(_EVERY_SECONDS)
        os._exit(1)

    def answer(self, who: Mapping[str, str]) -> dict[str, Any]:
        """``answer``, or ``unknown`` with the reason."""
        sums = self._sums
        if sums is None or time.time() - sums.as_of > _STALE_SECONDS or (periods := sums.periods) is None:
            return {"unknown": self._failure}
        now = dt.datetime.now(dt.UTC)
        wanted = applying(self._budgets, who)
        used = sums.used(wanted)
        found = [
            _applying(
                self._budgets[number],
                value,
                periods.of_value(number, value),
                used.get((number, value), NOTHING),
            )
            for number, value in wanted
        ]
        if (blind := next((one for one in found if not one.is_known), None)) and not any(
            one.blocks for one in found
        ):
            return {"unknown": f"no call of {blind.budget.name} says what it used"}
        as_of = dt.datetime.fromtimestamp(sums.as_of, dt.UTC)
        return {
            "answer": {
                **decision(found, now),
                "not_asked_about": undescribed(self._budgets, who),
                "as_of": as_of.replace(tzinfo=None).isoformat() + "Z",
            }
        }

    def _refresh(self, *, is_new: bool) -> None:
        if self._sums is None:
            lake = Lake.open(self._data_dir, read_only=True, threads=1, memory_limit=_DATABASE_MEMORY)
            sums = Sums(lake, self._budgets, self._plans, self._timezone)
            sums.refresh(dt.datetime.now(dt.UTC))
            self._sums = sums
        elif is_new or self._sums.is_waiting(dt.datetime.now(dt.UTC)):
            self._sums.refresh(dt.datetime.now(dt.UTC))
        else:
            self._sums.as_of = time.time()
        self._failure = "the lake cannot be read fast enough"

    def _looks(self) -> object:
        """Of the catalog's files; None where a commit may be in them that is not seen yet."""
        files = [self._data_dir / name for name in (CATALOG, f"{CATALOG}-wal")]
        stats = [file.stat() for file in files if file.exists()]
        if any(time.time_ns() - stat.st_mtime_ns < _SEEN_BY_THEN_NS for stat in stats):
            return None
        return [(stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats]


def _applying(budget: Budget, value: str, span: Span, use: Use) -> Applying:
    unknown = "cost_unknown" if budget.unit == "usd" else "tokens_unknown"
    others = {
        "subscription": use.subscription_calls,
        "local": use.local_calls,
        "plan_not_declared": use.undeclared_calls,
    }
    not_counted = {unknown: use.calls_unknown, **(others if budget.unit == "usd" else {})}
    return Applying(budget, value, span, use.amount, use.calls, not_counted)


def main() -> None:
    """The child."""
    lines = lines_of(sys.stdin.fileno())
    config = orjson.loads(next(lines))["config"]
    os.umask(0o077)
    # Whoever stops a server stops its process group; the server closes our input when it needs us no more.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    configure(config["log_level"])
    counter = Counter(config)
    threading.Thread(target=counter.keep, daemon=True).start()
    for line in lines:
        question = orjson.loads(line)
        answer = {"to": question["ask"], **counter.answer(question["who"])}
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
        sys.stdout.buffer.flush()
    # The thread may be in the middle of a query; the lake is only read.
    os._exit(0)


if __name__ == "__main__":
    main()
