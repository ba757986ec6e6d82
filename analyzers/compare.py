"""What a window cost beside another one: the change, what made it, and whether days differ as much anyway."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, NamedTuple

import duckdb

from analyzers import honest, sql
from analyzers.change import Cell, Cells, Change, Key, decompose
from analyzers.fields import Field, Reader, money
from analyzers.finding import Column, Report
from analyzers.registry import register
from analyzers.setting import BadSetting, Setting
from analyzers.statistics import difference
from analyzers.window import BadWindow, Window, naive_utc, parse_moment

SPECS: Final = ("previous", "last-week", "last-month", "last-7d", "last-30d", "A:B")
_LENGTHS: Final = {"last-7d": 7, "last-30d": 30}
_MOST_KINDS: Final = 20
# Whether something names a window at all does not depend on what it is compared with.
_ANY_WINDOW: Final = Window(dt.datetime(2026, 3, 1, tzinfo=dt.UTC), dt.datetime(2026, 3, 2, tzinfo=dt.UTC))
# What is told from noise where one window is compared with one other.
SURE: Final = 0.05


def baseline(spec: str, window: Window) -> Window:
    """The window that ``window`` is compared with. Raises BadWindow.

    previous: as long, just before it; last-week: the same, seven days earlier; last-month: the same, a calendar month
    earlier; last-7d, last-30d: the 7 or 30 days before it; A:B: from one ISO time to another.
    """
    start, end = (window.local(edge) for edge in (window.start, window.end))
    if spec == "previous":
        return window.at(start - (end - start), start)
    if spec == "last-week":
        return window.at(start - dt.timedelta(weeks=1), end - dt.timedelta(weeks=1))
    if spec == "last-month":
        return window.at(_month_before(start), _month_before(end))
    if spec in _LENGTHS:
        return window.at(start - dt.timedelta(days=_LENGTHS[spec]), start)
    return _between(spec, window)


def _month_before(moment: dt.datetime) -> dt.datetime:
    """On the same day of the month, or its last."""
    year, month = (moment.year, moment.month - 1) if moment.month > 1 else (moment.year - 1, 12)
    return moment.replace(year=year, month=month, day=min(moment.day, calendar.monthrange(year, month)[1]))


def _between(spec: str, window: Window) -> Window:
    """ISO times have colons themselves: wherever both sides are times, there they are apart."""
    for at in (place for place, character in enumerate(spec) if character == ":"):
        try:
            ends = [parse_moment(text, window.start, window.timezone) for text in (spec[:at], spec[at + 1 :])]
        except BadWindow:
            continue
        return Window(ends[0], ends[1], window.timezone)
    raise BadWindow(
        f"{spec!r} is nothing to compare with; allowed: {', '.join(SPECS)}, where A and B are ISO dates or times"
    )


class _Row(NamedTuple):
    """A kind of call, or (`is_total`) everything of a pricing mode; before and after."""

    key: Key
    pricing_mode: str
    old: Cell
    new: Cell
    change: Change
    is_total: bool = False
    p_value: float | None = None


_KEYS: Final = (
    Column("provider", "provider", "text"),
    Column("model", "model", "text"),
    Column("agent", "agent", "text"),
)
_NO_KEY: Final = (None,) * len(_KEYS)
# Of totals alone: what happened to all kinds of call together.
_EFFECTS: Final = (
    ("volume_effect_{}", "{}: by the number of calls", "volume"),
    ("mix_effect_{}", "{}: by other kinds of call", "mix"),
    ("price_effect_{}", "{}: by what a call costs", "price"),
    ("price_effect_of_size_{}", "{}: of that by tokens a call", "size"),
    ("price_effect_of_rate_{}", "{}: of that by cost a token", "rate"),
)


class _Side(NamedTuple):
    """One of the two windows; by pricing mode, its kinds of call and what its days cost."""

    window: Window
    cells: Mapping[str, Mapping[Key, Cell]]
    days: Mapping[str, Sequence[float]]
    calls_left_out: int

    def of_day(self, mode: str) -> Sequence[float]:
        return self.days.get(mode, [0.0] * self.window.days)


def compare(connection: duckdb.DuckDBPyConnection, before: Window, after: Window) -> Report:
    """One row per provider, model, agent and pricing mode, those whose cost changed most; one total per pricing mode
    with the three effects, which add up to the change, and `p_value`: the share of ways to shuffle the days between
    the windows in which these differ as much.
    """
    old, new = (_side(connection, window) for window in (before, after))
    modes = [mode for mode in honest.MODES if mode in old.cells or mode in new.cells]
    fields = [*_fields(modes)]
    rows = [row for mode in modes for row in _kinds(mode, old, new)]
    totals = [_total(mode, old, new) for mode in modes]
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(read(row) for _, read in fields) for row in rows),
        totals=tuple(tuple(read(row) for _, read in fields) for row in totals),
        notes=tuple(_notes(connection, old, new, totals)),
        baseline=before,
    )


def _spec(name: str, value: object) -> str:
    if isinstance(value, str):
        try:
            baseline(value, _ANY_WINDOW)
        except BadWindow as error:
            raise BadSetting(f"`{name}`: {error}") from None
        return value
    raise BadSetting(f"`{name}` is one of {', '.join(SPECS)}, not {value!r}")


@register(
    "compare",
    help="what changed since another window: by volume, mix and price, and whether days differ as much anyway",
    settings=(Setting("baseline", f"what to compare with: {', '.join(SPECS)}", _spec, SPECS[0]),),
)
def compare_windows(
    connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]
) -> Report:
    """``settings["baseline"]``: as the function of that name reads it. Days before the lake's first call are left out:
    nobody knows what they cost."""
    asked = baseline(settings["baseline"], window)
    ((first,),) = connection.execute("SELECT min(start_time) FROM calls").fetchall()
    if first is None or naive_utc(asked.end) <= first:
        return Report((), (), notes=(f"nothing is recorded from {asked}: there is nothing to compare with",))
    known = asked.observed(first, asked.end)
    report = compare(connection, known, window)
    if known == asked:
        return report
    return replace(report, notes=(f"nothing is recorded from before {known}", *report.notes))


def _side(connection: duckdb.DuckDBPyConnection, window: Window) -> _Side:
    cells: dict[str, dict[Key, Cell]] = {}
    left_out = 0
    for mode, *key, calls, tokens, cost, unknown in connection.execute(
        sql.read("compare_cells.sql"), window.parameters()
    ).fetchall():
        left_out += unknown
        if calls:
            cells.setdefault(mode, {})[tuple(key)] = Cell(calls, tokens, cost)
    days: dict[str, list[float]] = {}
    for mode, day, cost in connection.execute(
        sql.read("compare_days.sql").format(day=window.day_sql()), window.parameters()
    ).fetchall():
        days.setdefault(mode, [0.0] * window.days)[day] = float(cost)
    return _Side(window, cells, days, left_out)


def _kinds(mode: str, old: _Side, new: _Side) -> list[_Row]:
    before, after = old.cells.get(mode, {}), new.cells.get(mode, {})
    found = []
    for key in before.keys() | after.keys():
        cells = [{key: side[key]} if key in side else {} for side in (before, after)]
        found.append(_Row(key, mode, _whole(cells[0]), _whole(cells[1]), decompose(*cells)))
    found.sort(key=lambda row: (-abs(row.change.difference), repr(row.key)))
    return found[:_MOST_KINDS]


def _total(mode: str, old: _Side, new: _Side) -> _Row:
    before, after = old.cells.get(mode, {}), new.cells.get(mode, {})
    chance = difference(old.of_day(mode), new.of_day(mode))
    return _Row(_NO_KEY, mode, _whole(before), _whole(after), decompose(before, after), True, chance)


def _whole(cells: Cells) -> Cell:
    return Cell(
        sum(cell.calls for cell in cells.values()),
        sum(cell.tokens for cell in cells.values()),
        sum((cell.cost_usd for cell in cells.values()), Decimal(0)),
    )


def _fields(modes: Sequence[str]) -> Iterator[Field]:
    for at, column in enumerate(_KEYS):
        yield column, _key(at)
    yield honest.MODE, attrgetter("pricing_mode")
    yield Column("calls_before", "calls before", "count"), attrgetter("old.calls")
    yield Column("calls_after", "calls after", "count"), attrgetter("new.calls")
    for end in ("before", "after"):
        yield from money(honest.columns(f"{{}}_{end}", f"{{}} {end}"), attrgetter(f"change.{end}"), modes)
    yield from money(honest.columns("{}_change", "{}: change"), attrgetter("change.difference"), modes)
    for name, label, effect in _EFFECTS:
        yield from money(honest.columns(name, label), _of_total(effect), modes)
    yield Column("p_value", "chance", "ratio"), attrgetter("p_value")


def _key(at: int) -> Reader:
    return lambda row: row.key[at]


def _of_total(effect: str) -> Reader:
    return lambda row: getattr(row.change, effect) if row.is_total else None


def _notes(
    connection: duckdb.DuckDBPyConnection, old: _Side, new: _Side, totals: Sequence[_Row]
) -> Iterator[str]:
    if not totals:
        yield f"no calls with a known cost, neither from {old.window} nor from {new.window}"
        return
    yield f"compared with {old.window}"
    yield from honest.undeclared_plans(connection, new.window) or honest.undeclared_plans(
        connection, old.window
    )
    if old.window.days != new.window.days:
        yield (
            f"the windows have {old.window.days} and {new.window.days} days: the effect of the number of calls "
            "contains that; what is said of chance is of means per day"
        )
    if left_out := old.calls_left_out + new.calls_left_out:
        yield f"{left_out} calls without a known cost or usage are in neither window's sums"
    for total in totals:
        yield _explained(total)
        yield f"{honest.label(total.pricing_mode)}: {_verdict(total.p_value)}"


def _explained(total: _Row) -> str:
    change = total.change
    told = ", ".join(
        f"{amount:+,.6f} {reason}"
        for reason, amount in (
            ("by the number of calls", change.volume),
            ("by other kinds of call", change.mix),
            ("by what a call of the same kind costs", change.price),
        )
    )
    return (
        f"{honest.label(total.pricing_mode)}: {change.difference:+,.6f} USD, which is {told} (of that"
        f" {change.size:+,.6f} by its tokens, {change.rate:+,.6f} by what a token costs)"
    )


def _verdict(p_value: float | None) -> str:
    if p_value is None:
        return "too few days to tell a change from how days differ anyway"
    verdict = "can be told" if p_value < SURE else "cannot be told"
    return f"the change {verdict} from how days differ anyway (p = {p_value:.3f})"
