"""One scheduled run: the scheduler's child. ``python -m collector.scheduled_run``

It gets what it is to do as one JSON line on standard input (scheduler.order) and ends with its parent. Its exit code
says what came of it; what there is to know stands in the lake's `runs`.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import Any, Final

import orjson

from analyzers import registry
from analyzers.window import BadWindow, Window, iso
from collector import runs, schedule_state
from collector.config import Config
from collector.config_schedule import ScheduledRun
from collector.config_values import parse_size
from collector.limited import be_limited
from collector.load_orders import lines_of
from collector.log import Log, configure
from collector.schedule_state import Done, InProgress, State
from collector.scheduler import EXIT_CODES, MEMORY_BESIDE_DATABASE
from collector.store.lake import Lake
from collector.store.lock import file_lock
from collector.store.statements import sql

# Another scheduled run ends within this, unless it is a long one: then this one fails, and its slot is over.
_LOCK_SECONDS: Final = 60.0
# Scheduled runs leave a core to the loader.
_THREADS: Final = 1
_ENDED: Final = "the run was ended before it was done: it was stopped, or its time or memory was used up"

log = Log("scheduled run")


@dataclass(frozen=True, slots=True)
class Order:
    """``config``: as the server has it, with this entry alone for a schedule."""

    config: Config
    occasion: runs.Occasion

    @property
    def entry(self) -> ScheduledRun:
        return self.config.schedule[0]

    @property
    def slot(self) -> dt.datetime:
        """Raises ValueError of a run that is not of the schedule."""
        if self.occasion.slot is None:
            raise ValueError("a scheduled run has a slot")
        return self.occasion.slot


def carry_out(order: Order) -> runs.Status:
    """Run and record, or find that nothing has changed. Raises what opening and recording can raise."""
    data_dir = order.config.data_dir
    with file_lock(data_dir / schedule_state.LOCK, _LOCK_SECONDS):
        state = schedule_state.read(data_dir)
        with Lake.open(
            data_dir, read_only=True, threads=_THREADS, memory_limit=order.config.sql.memory_limit
        ) as lake:
            return _Attempt(order, lake, state).carry_out()


class _Attempt:
    """The lock is held."""

    def __init__(self, order: Order, lake: Lake, state: State) -> None:
        self._order = order
        self._lake = lake
        ended = [*state.ended, *([state.running] if state.running else [])]
        self._state = State(state.done, ended=ended)
        self._key = schedule_state.entry_key(order.entry)
        self._names = order.entry.names(registry.discover())
        self._started = dt.datetime.now(dt.UTC)
        self._about = schedule_state.digest([order.config.model_dump(mode="json"), _version()])

    def carry_out(self) -> runs.Status:
        if self._was_made_up_for_already():
            return self._finish([], Done(self._order.slot), "failed")
        try:
            window = runs.scheduled_window(
                self._order.entry.options, self._order.slot, self._order.config.timezone
            )
        except BadWindow as problem:
            return self._finish(
                self._all(runs.Outcome("failed", str(problem)), None), Done(self._order.slot), "failed"
            )
        stored = _stored_rows(self._lake)
        before = self._state.done.get(self._key)
        if before and before.ran_at and self._nothing_has_changed(before, stored, window):
            return self._skip(before, before.ran_at, window)
        self._begin()
        done = self._run(window)
        problems = [run for run in done if run.outcome.error is not None]
        for run in problems:
            log.warning("an analyzer gave no result", analyzer=run.analyzer, error=run.outcome.error)
        if problems:
            return self._finish(done, Done(self._order.slot), problems[0].outcome.status)
        result = Done(self._order.slot, self._started, window.end, self._about, stored)
        return self._finish(done, result, "ok")

    def _skip(self, before: Done, ran_at: dt.datetime, window: Window) -> runs.Status:
        """Recorded once: of an idle lake nobody wants to read that every five minutes."""
        why = runs.Outcome("skipped", _why(ran_at))
        told = [] if before.skipped else self._all(why, window)
        return self._finish(told, replace(before, slot=self._order.slot, skipped=True), "skipped")

    def _was_made_up_for_already(self) -> bool:
        """What ends its process each time would else be tried at every start."""
        mine = (self._key, self._order.slot, "catch-up")
        return any((one.entry, one.slot, one.trigger) == mine for one in self._state.ended)

    def _nothing_has_changed(self, before: Done, stored: Mapping[str, int], window: Window) -> bool:
        if (before.about, before.stored) != (self._about, stored) or before.window_end is None:
            return False
        if window.end <= before.window_end:
            return True
        # Stored before, but too late for the last window.
        later = Window(before.window_end, window.end).parameters()
        found = self._lake.connection.execute(
            "SELECT count(*) FROM calls WHERE start_time >= $start AND start_time < $end", later
        ).fetchone()
        return found == (0,)

    def _begin(self) -> None:
        running = InProgress(
            self._key, self._names, self._order.slot, self._order.occasion.trigger, self._started
        )
        schedule_state.write(self._order.config.data_dir, replace(self._state, running=running))

    def _run(self, window: Window) -> list[runs.Run]:
        config, limit = self._order.config, self._order.config.sql.time_limit_seconds
        facts = {**config.analyzer_facts(), "now": self._started}
        wanted = [(registry.get(name).bind(facts), self._settings(name)) for name in self._names]
        done = runs.execute_all(self._lake, wanted, window, limit, self._order.occasion)
        settled = runs.settle(self._lake, done, self._started, limit)
        options = self._order.entry.window_options
        return [replace(run, settings={**options, **run.settings}) for run in settled]

    def _settings(self, name: str) -> dict[str, Any]:
        """What the configuration says of the analyzer, and what the entry says over it."""
        known = registry.get(name).setting_names
        own = {setting: value for setting, value in self._order.entry.settings.items() if setting in known}
        return {**self._order.config.analyzers.get(name, {}), **own}

    def _all(self, outcome: runs.Outcome, window: Window | None) -> list[runs.Run]:
        """A run of each analyzer that came to this without having begun."""
        options = self._order.entry.options
        return [
            runs.Run(name, self._order.occasion, options, window, self._started, outcome)
            for name in self._names
        ]

    def _finish(self, done: Sequence[runs.Run], what: Done, status: runs.Status) -> runs.Status:
        """In this order: what is recorded twice is better than what is recorded never."""
        if told := [*chain.from_iterable(map(_ended, self._state.ended)), *done]:
            runs.record(self._lake, told)
        state = State({**self._state.done, self._key: what})
        schedule_state.write(self._order.config.data_dir, state)
        return status


def _ended(found: InProgress) -> Iterator[runs.Run]:
    """What was in progress when its process was ended: it recorded nothing itself."""
    occasion = runs.Occasion("catch-up" if found.trigger == "catch-up" else "schedule", found.slot)
    outcome = runs.Outcome("failed", _ENDED)
    for name in found.analyzers:
        yield runs.Run(name, occasion, {}, None, found.started_at, outcome)


def _stored_rows(lake: Lake) -> dict[str, int]:
    return dict(lake.connection.execute(sql("sql/stored_rows.sql")).fetchall())


def _why(ran_at: dt.datetime) -> str:
    return (
        f"nothing was stored since the run of {iso(ran_at)}; until something is, further times are skipped without "
        "a record"
    )


def _version() -> str:
    with suppress(PackageNotFoundError):
        return version("spanledger")
    return ""


def main() -> int:
    """The child; its exit code."""
    told = orjson.loads(next(lines_of(sys.stdin.fileno())))
    config = Config.model_validate(told["config"])
    be_limited(parse_size(config.sql.memory_limit) + MEMORY_BESIDE_DATABASE)
    configure(config.log_level)
    occasion = runs.Occasion(told["trigger"], dt.datetime.fromisoformat(told["slot"]))
    try:
        return EXIT_CODES[carry_out(Order(config, occasion))]
    except runs.NOT_RECORDED as error:
        log.failed("a run could not be carried out", error)
        return EXIT_CODES["failed"]


if __name__ == "__main__":
    sys.exit(main())
