"""Cost, or tokens where nothing is known to cost anything, over time: one chart for each pricing mode and dimension.

The figures are those of the `cost` analyzer by day: what it knows is drawn, what it does not is said below.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from analyzers import honest
from collector.cli.html import figures
from collector.cli.html.chart import COLOURS, REST, Bar, Bars, Chart, Slot
from collector.cli.render import printable
from collector.cli.report import Result

Row = Mapping[str, Any]
Step = Literal["day", "week", "month"]

# More bars than these cannot be told apart on a page.
_MOST_DAYS: Final = 92
_MOST_WEEKS: Final = 104
_NO_NAME: Final = "(none)"
_UNITS: Final[Mapping[str, Callable[[Decimal], str]]] = {
    "usd": figures.usd,
    "tokens": lambda value: figures.tokens(int(value)),
}
_UNIT_WORDS: Final = {"usd": "USD", "tokens": "tokens"}


class _Steps(NamedTuple):
    """The days, weeks (by their Mondays) or months (by their first days) that are drawn, without a gap."""

    step: Step
    starts: list[dt.date]

    def of(self, day: dt.date) -> dt.date:
        return _start(day, self.step)


class _Series(NamedTuple):
    """``names`` are those that are drawn together, None for what has no name."""

    label: str
    names: frozenset[str | None]
    slot: Slot


def timelines(daily: Mapping[str, Result], today: dt.date) -> Iterator[list[Chart | Bars]]:
    """Per pricing mode its charts, out of `cost` by day and model, by day and agent. Of one day
    alone there are bars."""
    rows = [row for result in daily.values() for row in result["rows"]]
    if not rows:
        return
    steps = _steps(daily, rows, today)
    slots: dict[str, dict[str | None, int]] = defaultdict(dict)
    for mode in honest.MODES:
        of_mode = {
            name: [r for r in result["rows"] if r["pricing_mode"] == mode] for name, result in daily.items()
        }
        charts = [
            _drawn(name, mode, of_name, steps, slots[name]) for name, of_name in of_mode.items() if of_name
        ]
        if charts:
            yield charts


def of_parts(daily: Mapping[str, Result], today: dt.date) -> str | None:
    """What to say of the first and the last bar, where the window has not all of their days."""
    rows = [row for result in daily.values() for row in result["rows"]]
    if not rows:
        return None
    steps = _steps(daily, rows, today)
    window = next(iter(daily.values()))["window"]
    zone = ZoneInfo(window["timezone"])
    start, end = (
        dt.datetime.fromisoformat(window[edge]).astimezone(zone).replace(tzinfo=None)
        for edge in ("start", "end")
    )
    after = _start(steps.starts[-1] + _AT_MOST[steps.step], steps.step)
    cut = [
        name
        for name, is_cut in (
            ("first", _midnight(steps.starts[0]) < start),
            ("last", _midnight(after) > end),
        )
        if is_cut
    ]
    if not cut:
        return None
    return f"The window has only a part of the {' and the '.join(cut)} {steps.step}."


def cache_shares(by_model: Result, today: dt.date) -> Chart | None:
    """Which part of the input came from the cache, per pricing mode over time; None where no call mentions a cache, or
    there is one day alone."""
    rows = [row for row in by_model["rows"] if row["input_tokens"]]
    modes = [
        mode
        for mode in honest.MODES
        if any(r["cache_share"] is not None for r in rows if r["pricing_mode"] == mode)
    ]
    if not modes:
        return None
    steps = _steps({"model": by_model}, rows, today)
    if len(steps.starts) == 1:
        return None
    shares = _shares(rows, steps)
    labels = [f"{honest.MODE.label} {mode}" for mode in modes]
    lines = [[shares.get((mode, start)) for start in steps.starts] for mode in modes]
    return Chart(
        anchor="cache-share",
        kind="lines",
        title=f"Input read from the cache, by {steps.step}",
        data={
            "step": steps.step,
            "starts": _iso(steps.starts),
            "series": [{"slot": slot, "values": values} for slot, values in enumerate(lines)],
        },
        headings=[steps.step, *labels],
        rows=[
            [str(start), *map(figures.share, values)]
            for start, *values in zip(steps.starts, *lines, strict=True)
        ],
        legend=[(label, slot) for slot, label in enumerate(labels)],
        notes=["input of calls that do not mention a cache counts as not cached"],
    )


def _shares(rows: Iterable[Row], steps: _Steps) -> dict[tuple[str, dt.date], float]:
    """By pricing mode and start; nothing where there was no input, so that the line has a gap."""
    inputs: dict[tuple[str, dt.date], int] = defaultdict(int)
    cached: dict[tuple[str, dt.date], float] = defaultdict(float)
    for row in rows:
        key = (row["pricing_mode"], steps.of(_day(row)))
        inputs[key] += row["input_tokens"]
        cached[key] += float(row["cache_share"] or 0) * row["input_tokens"]
    return {key: cached[key] / total for key, total in inputs.items()}


# --- what is drawn of one pricing mode


def _drawn(
    dimension: str, mode: str, rows: Sequence[Row], steps: _Steps, slots: dict[str | None, int]
) -> Chart | Bars:
    unit, values = _values(mode, rows)
    sums = _sums(dimension, rows, values, steps)
    series = _series(sums, slots)
    noun = honest.label(mode) if unit == "usd" else "Tokens"
    notes = list(_notes(mode, unit, rows))
    of_each = [
        [
            sum((sums.get(name, {}).get(start, Decimal(0)) for name in one.names), Decimal(0))
            for start in steps.starts
        ]
        for one in series
    ]
    title = f"{noun[:1].upper()}{noun[1:]} by {dimension}"
    if len(steps.starts) == 1:
        return _bars(title, unit, series, of_each, notes)
    return Chart(
        anchor=f"{dimension}-{mode}",
        kind="stack",
        title=f"{title} and {steps.step}",
        data={
            "unit": _UNIT_WORDS[unit],
            "step": steps.step,
            "starts": _iso(steps.starts),
            "series": [
                {"name": one.label, "slot": one.slot, "values": [float(value) for value in amounts]}
                for one, amounts in zip(series, of_each, strict=True)
            ],
        },
        headings=[steps.step, *(f"{one.label}, {_UNIT_WORDS[unit]}" for one in series)],
        rows=[
            [str(start), *map(_UNITS[unit], amounts)]
            for start, *amounts in zip(steps.starts, *of_each, strict=True)
        ],
        legend=[(one.label, one.slot) for one in series],
        notes=notes,
    )


def _bars(
    title: str,
    unit: str,
    series: Sequence[_Series],
    of_each: Sequence[Sequence[Decimal]],
    notes: Sequence[str],
) -> Bars:
    sums = [amounts[0] for amounts in of_each]
    longest = max(sums, default=Decimal(0))
    bars = [
        Bar(
            one.label,
            f"{_UNITS[unit](amount)} {_UNIT_WORDS[unit]}",
            float(amount / longest) if longest else 0.0,
        )
        for one, amount in zip(series, sums, strict=True)
    ]
    return Bars(title, bars, notes)


def _values(mode: str, rows: Sequence[Row]) -> tuple[str, list[Decimal | None]]:
    """In which unit, and of each row how much: dollars where any are known, else tokens."""
    column = honest.COLUMNS[honest.MODES.index(mode)].name
    if any(row[column] is not None for row in rows):
        return "usd", [None if row[column] is None else Decimal(row[column]) for row in rows]
    return "tokens", [_tokens(row) for row in rows]


def _tokens(row: Row) -> Decimal | None:
    known = [count for count in (row["input_tokens"], row["output_tokens"]) if count is not None]
    return Decimal(sum(known)) if known else None


def _sums(
    dimension: str, rows: Iterable[Row], values: Iterable[Decimal | None], steps: _Steps
) -> dict[str | None, dict[dt.date, Decimal]]:
    sums: dict[str | None, dict[dt.date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row, value in zip(rows, values, strict=True):
        if value is not None:
            sums[row[dimension]][steps.of(_day(row))] += value
    return sums


def _series(
    sums: Mapping[str | None, Mapping[dt.date, Decimal]], slots: dict[str | None, int]
) -> list[_Series]:
    """The largest, each by itself, and all others together. A name keeps its colour in the charts of a dimension."""
    ranked = sorted(sums, key=lambda name: (-sum(sums[name].values()), name or ""))
    own = ranked if len(ranked) <= COLOURS else ranked[: COLOURS - 1]
    series = [
        _Series(printable(name) if name else _NO_NAME, frozenset([name]), slot)
        for name, slot in zip(own, _slots(own, slots), strict=True)
    ]
    if others := ranked[len(own) :]:
        series.append(_Series(f"{len(others)} others", frozenset(others), REST))
    return series


def _slots(names: Sequence[str | None], known: dict[str | None, int]) -> list[int]:
    """A name's colour is the one it has, unless another of these has it too; else one that no name has, if any is
    left."""
    taken: set[int] = set()
    for name in names:
        if known.get(name) in taken:
            del known[name]
        elif name in known:
            taken.add(known[name])
    for name in names:
        if name not in known:
            used = [*known.values()]
            free = (slot for slot in range(COLOURS) if slot not in taken)
            known[name] = min(free, key=used.count)
            taken.add(known[name])
    return [known[name] for name in names]


def _notes(mode: str, unit: str, rows: Sequence[Row]) -> Iterator[str]:
    calls, unknown = (sum(row[name] for row in rows) for name in ("calls", f"calls_without_{_MISSING[unit]}"))
    if unknown:
        yield f"{unknown:,} of {calls:,} calls {_SAID[unit]}"
    if unit == "tokens":
        yield f"{honest.label(mode)}: unknown for all of them, so their tokens are drawn"
    elif mode == "local":
        yield "calls of models without a configured cost are not drawn"


_MISSING: Final = {"usd": "cost", "tokens": "usage"}
_SAID: Final = {
    "usd": "have no known cost and are not drawn",
    "tokens": "did not report all their tokens: there were more",
}


# --- days, weeks, months

# So much after it began, a step is over and the next one is not.
_AT_MOST: Final[Mapping[Step, dt.timedelta]] = {
    "day": dt.timedelta(days=1),
    "week": dt.timedelta(days=7),
    "month": dt.timedelta(days=31),
}


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time())


def _steps(daily: Mapping[str, Result], rows: Sequence[Row], today: dt.date) -> _Steps:
    """From the first day with a call to the end of the window, or today."""
    window = next(iter(daily.values()))["window"]
    days = [_day(row) for row in rows]
    # The window's end is exclusive; a day that begins there is not in it.
    last = dt.datetime.fromisoformat(window["end"]) - dt.timedelta(microseconds=1)
    first, last_day = min(days), max(*days, min(last.astimezone(_zone(window)).date(), today))
    count = (last_day - first).days + 1
    step: Step = "day" if count <= _MOST_DAYS else "week" if count <= 7 * _MOST_WEEKS else "month"
    starts = dict.fromkeys(_start(first + dt.timedelta(days=n), step) for n in range(count))
    return _Steps(step, list(starts))


def _zone(window: Mapping[str, str]) -> ZoneInfo:
    return ZoneInfo(window["timezone"])


def _start(day: dt.date, step: Step) -> dt.date:
    if step == "week":
        return day - dt.timedelta(days=day.weekday())
    return day.replace(day=1) if step == "month" else day


def _day(row: Row) -> dt.date:
    return dt.date.fromisoformat(str(row["day"]))


def _iso(days: Iterable[dt.date]) -> list[str]:
    return [day.isoformat() for day in days]
