"""Costs of stored calls worked out again: by another price list, other prices in the configuration, or as an
experiment that writes nothing.

All of it is one transaction under the writer lock, so that no reader sees some calls at old prices and some at new
ones, and a kill in the middle leaves the lake as it was. What costs time is not the pricing but writing wide rows
again: an UPDATE, or a DELETE and an INSERT, of a million calls takes 12 to 18 s of CPU; the same rows taken out of
their Parquet files by pyarrow, with new costs, and registered as new files take 6. Loading waits meanwhile; what is
received rests in the spool.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from collector.store.lake import Lake
from collector.store.new_files import NewFiles
from collector.store.prices import add_rows
from collector.store.reprice_files import CallFiles
from collector.store.statements import sql
from collector.store.transaction import Writer
from collector.store.windows import Window
from semconv import macros
from semconv.planned import Planned, relation
from semconv.prices import PriceBook, PriceList, Pricer
from semconv.settings import Settings
from semconv.sqltext import literal

# Calls that are priced at once: some 150 MB in DuckDB and as much while they are written.
_STEP_CALLS: Final = 100_000
_PRICED_BY: Final = (
    *(
        "role",
        "provider",
        "request_model",
        "response_model",
        "model_region",
        "service_tier",
        "speed",
        "batch",
    ),
    *("status_code", "billing_account", "plan_tier", "start_time", "duration_ns", "token_semantics"),
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens"),
    *("cache_write_30m_tokens", "cache_write_1h_tokens", "cache_write_12h_tokens", "output_tokens"),
    *("reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "image_input_tokens"),
)
# What pricing decides about a call.
COSTS: Final = (
    *("pricing_mode", "cost_usd", "cost_low_usd", "cost_high_usd", "cost_input_usd", "cost_output_usd"),
    *("cost_cache_read_usd", "cost_cache_write_usd", "cost_reasoning_usd", "cost_audio_usd"),
    *("cost_request_usd", "price_id", "cost_note"),
)
# An estimate stays: what it was made of is known where calls are built, and not here.
_DIFFERS: Final = "call.stored_cost_note IS DISTINCT FROM 'estimated_from_text' AND ({})".format(
    " OR ".join(f"cost.{name} IS DISTINCT FROM call.stored_{name}" for name in COSTS)
)
_STAND_INS: Final = ["provider", "response_model", "request_model", "as_provider", "model"]
_STOOD_IN: Final = {"provider": "as_provider", "response_model": "model", "request_model": "model"}
Progress = Callable[[int], None]
# Model, what it was priced as in an experiment, pricing mode.
Relations = dict[str, pa.Table]
Key = tuple[str | None, str | None, str]


class UnknownModel(ValueError):  # noqa: N818 - the name says what is the case
    """A model that an experiment names and nothing has a price for."""


@dataclass(frozen=True, slots=True)
class Step:
    """Calls of one month in some of the files, about 100,000."""

    month: tuple[int, int]
    files: tuple[str, ...]
    window: Window
    calls: int


@dataclass(slots=True)
class ModelChange:
    """A model's calls of one pricing mode; the sums leave out calls without a cost."""

    calls: int = 0
    changed: int = 0
    unpriced_before: int = 0
    unpriced_after: int = 0
    before: Decimal | None = None
    after: Decimal | None = None


@dataclass(slots=True)
class Outcome:
    """What pricing again found: calls that it read and changed, and per model what that does."""

    calls: int = 0
    changed: int = 0
    models: dict[Key, ModelChange] = field(default_factory=dict)

    def add(self, row: tuple[str | None, str | None, str, str, int, int, int, int, Decimal, Decimal]) -> None:
        """One row of repriced_models.sql. Where the pricing mode changes, money leaves the one and joins the other."""
        model, priced_as, mode_before, mode_after, calls, changed, *unpriced, before, after = row
        self.calls += calls
        self.changed += changed
        was = self.models.setdefault((model, priced_as, mode_before), ModelChange())
        now = self.models.setdefault((model, priced_as, mode_after), ModelChange())
        was.before, was.unpriced_before = _sum(was.before, before), was.unpriced_before + unpriced[0]
        now.after, now.unpriced_after = _sum(now.after, after), now.unpriced_after + unpriced[1]
        now.calls, now.changed = now.calls + calls, now.changed + changed


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return other if one is None else one if other is None else one + other


class Repricer:
    """Not thread-safe: one thread, one connection, and the TEMP tables of a connection of its own."""

    def __init__(
        self,
        lake: Lake,
        settings: Settings,
        price_list: PriceList,
        models: Mapping[str, str] | None = None,
    ) -> None:
        """``models`` prices calls of one model as those of another, by ids (in lower case, a ``*`` at the end of the
        first as in the configuration); ``provider/model`` where the other is not the call's provider's. Raises
        UnknownModel where nothing has a price for it."""
        self._lake = lake
        self._connection = lake.connection
        macros.install(lake.connection, settings)
        self._book = PriceBook(price_list, settings.price_overrides)
        self._pricer = Pricer(lake.connection, self._book)
        self._stand_ins = {name.lower(): self._stand_in(other) for name, other in (models or {}).items()}
        self._plans = self._planned()

    def count(self, start: dt.datetime, end: dt.datetime) -> int:
        """Calls from `start` to before `end`, naive UTC."""
        found = self._connection.execute(
            f"SELECT count(*) FROM lake.calls WHERE {_within(start, end)}"
        ).fetchone()
        return int(found[0]) if found else 0

    def compare(self, start: dt.datetime, end: dt.datetime, progress: Progress) -> Outcome:
        """What the calls from `start` to before `end`, naive UTC, would cost; nothing is written."""
        outcome = Outcome()
        with CallFiles(self._lake, NewFiles(self._lake)) as files:
            self._connection.begin()  # one state of the lake, however long it takes
            try:
                for _, stored in self._read(start, end, files, (*_PRICED_BY, *COSTS)):
                    self._price(stored, outcome)
                    progress(outcome.calls)
            finally:
                self._connection.rollback()
        return outcome

    def reprice(self, start: dt.datetime, end: dt.datetime, progress: Progress) -> Outcome:
        """Put what they cost now in the place of what differs. After any exception nothing is changed."""
        writer = Writer(self._lake)
        with writer.transaction(), CallFiles(self._lake, writer.new_files) as files:
            outcome = self._replace(start, end, files, progress)
            if outcome.changed:
                add_rows(self._connection, self._book.rows)
                files.register()
        return outcome

    def _replace(self, start: dt.datetime, end: dt.datetime, files: CallFiles, progress: Progress) -> Outcome:
        outcome, replaced = Outcome(), []
        for step, stored in self._read(start, end, files, None):
            changed = outcome.changed
            relations = self._price(stored, outcome)
            if outcome.changed > changed:
                repriced = self._plans["changed"].table(**relations)
                files.write(step.month, stored, repriced)
                # A copy: a column of DuckDB's keeps the whole answer in memory.
                replaced.append(pa.table({"node": pc.add(repriced.column("node"), 0)}))
            progress(outcome.calls)
        if replaced:
            self._delete(pa.concat_tables(replaced), _within(start, end))
        return outcome

    def _read(
        self, start: dt.datetime, end: dt.datetime, files: CallFiles, columns: tuple[str, ...] | None
    ) -> Iterator[tuple[Step, pa.Table]]:
        """Each step with its calls; those of the next are read meanwhile."""
        waiting: deque[tuple[Step, Future[pa.Table]]] = deque()
        for step in self._steps(start, end):
            statement = sql("sql/live_calls.sql").format(
                within=step.window.condition("start_time"), files=", ".join(map(literal, step.files))
            )
            live = self._connection.execute(statement).to_arrow_table()
            waiting.append((step, files.read(live, columns)))
            if len(waiting) > 1:
                ready, stored = waiting.popleft()
                yield ready, stored.result()
        for ready, stored in waiting:
            yield ready, stored.result()

    def _delete(self, nodes: pa.Table, within: str) -> None:
        with relation(self._connection, "replaced_calls", nodes):
            self._connection.execute(
                f"DELETE FROM lake.calls WHERE {within} AND rowid IN (SELECT node FROM replaced_calls)"
            )

    def _steps(self, start: dt.datetime, end: dt.datetime) -> Iterator[Step]:
        statement = sql("sql/call_files.sql").format(within=_within(start, end))
        found = self._connection.execute(statement).fetchall()
        for month, rows in groupby(found, key=lambda row: (int(row[0]), int(row[1]))):
            parts: list[tuple[str, dt.datetime, dt.datetime, int]] = []
            for _, _, *part in rows:
                if parts and sum(each[3] for each in parts) + part[3] > _STEP_CALLS:
                    yield _step(month, parts)
                    parts = []
                parts.append((part[0], part[1], part[2], part[3]))
            yield _step(month, parts)

    def _price(self, stored: pa.Table, outcome: Outcome) -> Relations:
        """The relations of a step's calls and their costs; ``outcome`` counts how many of them differ."""
        rows = pa.array(range(stored.num_rows), pa.int64())
        relations = {"read_calls": stored.select(["node", *_PRICED_BY, *COSTS]).append_column("row", rows)}
        if self._stand_ins:
            relations["stand_ins"] = self._stand_in_models(relations["read_calls"])
        to_price = self._plans["to_price"].table(**relations) if self._stand_ins else stored
        unknown = pa.nulls(to_price.num_rows, pa.int64())
        relations["call_costs"] = self._pricer.price(to_price.append_column("input_text_bytes", unknown))
        for row in self._plans["models"].rows(**relations):
            outcome.add(row)
        return relations

    def _planned(self) -> dict[str, Planned]:
        priced_by, join = {name: f"call.{name}" for name in _PRICED_BY}, ""
        if self._stand_ins:
            join = sql("sql/stand_ins.sql")
            for name, other in _STOOD_IN.items():
                priced_by[name] = (
                    f"CASE WHEN stand_ins.model IS NULL THEN call.{name} ELSE stand_ins.{other} END AS {name}"
                )
        to_price = sql("sql/calls_to_price.sql").format(
            priced_by=", ".join(priced_by.values()),
            stored=", ".join(f"call.{name} AS stored_{name}" for name in COSTS),
            stand_ins=join,
        )
        parts = {
            "to_price": f"({to_price})",
            "priced_as": "coalesce(call.response_model, call.request_model)" if self._stand_ins else "NULL",
            "costs": ", ".join(f"cost.{name}" for name in COSTS),
            "differs": _DIFFERS,
        }
        statements = {
            "to_price": to_price,
            "names": "SELECT DISTINCT provider, response_model, request_model FROM read_calls",
            "models": sql("sql/repriced_models.sql").format(**parts),
            "changed": sql("sql/repriced_calls.sql").format(**parts),
        }
        return {name: Planned(self._connection, text) for name, text in statements.items()}

    # --- experiments ------------------------------------------------------------------------------

    def _stand_in(self, model: str) -> tuple[str | None, str]:
        """Provider and id of the model; None where the ids say whose it is, or the call's provider has it."""
        provider, _, rest = model.partition("/")
        if rest and self._book.find(provider, rest, None):
            return provider, rest
        if self._book.find(None, model, None):
            return None, model
        raise UnknownModel(
            f"nothing has a price for {model!r}; name it as provider/model, as in openai/gpt-4.1-mini"
        )

    def _stand_in_models(self, read_calls: pa.Table) -> pa.Table:
        """The ways in which calls name a model, with the model that stands in for it."""
        rows = []
        for provider, *models in self._plans["names"].rows(read_calls=read_calls):
            found = next(filter(None, (self._stand_in_for(model) for model in models if model)), None)
            if found is not None:
                other, model = found
                if other is None and self._book.find(provider, model, None):
                    other = provider
                rows.append((provider, *models, other, model))
        columns = zip(*rows, strict=True) if rows else [[]] * len(_STAND_INS)
        return pa.table([pa.array(column, pa.string()) for column in columns], names=_STAND_INS)

    def _stand_in_for(self, model: str) -> tuple[str | None, str] | None:
        """An id itself before the longest beginning."""
        model = model.lower()
        beginnings = [name for name in self._stand_ins if name.endswith("*") and model.startswith(name[:-1])]
        name = model if model in self._stand_ins else max(beginnings, key=len, default=None)
        return self._stand_ins[name] if name is not None else None


def _step(month: tuple[int, int], parts: list[tuple[str, dt.datetime, dt.datetime, int]]) -> Step:
    window = Window(min(part[1] for part in parts), max(part[2] for part in parts))
    return Step(month, tuple(part[0] for part in parts), window, sum(part[3] for part in parts))


def _within(start: dt.datetime, end: dt.datetime) -> str:
    """SQL with literals, which prune files."""
    return f"start_time >= TIMESTAMP '{start}' AND start_time < TIMESTAMP '{end}'"
