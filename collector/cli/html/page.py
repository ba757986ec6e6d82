"""The page: what stands where, and how it is kept from fetching or running anything that is not its own."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analyzers import registry
from analyzers.window import Window
from collector.cli import report
from collector.cli.html import figures, findings, panels, timeline
from collector.cli.html.chart import Bars, Chart
from collector.cli.render import printable
from collector.cli.report import Result

_FOLDER: Final = Path(__file__).parent
# In this order: Plot uses d3.
_SCRIPTS: Final = ("vendor/d3.min.js", "vendor/plot.umd.min.js", "charts.js")
_STYLE: Final = "page.css"
_LICENCES: Final = "vendor/LICENSES.txt"

# What comes before the findings; of the other analyzers, those that come first and last. What the last ones find is
# about the figures, not about the money, and stands with them.
_BEFORE: Final = ("compare", "budget")
_FIRST: Final = ("cost", "unit-cost", "cache-efficacy")
_LAST: Final = ("accounts", "reported-cost", "data-quality")
_TITLES: Final = {
    "accounts": "Accounts and plans",
    "anomaly": "Out of line with their own past",
    "application-cache": "The same calls again",
    "batch-eligible": "Work that runs by the clock",
    "budget": "Budgets",
    "cache-efficacy": "Prompt caches",
    "cache-recommend": "Prompts worth caching",
    "compare": "What changed",
    "cost": "Cost, tokens and speed",
    "data-quality": "Quality of the data",
    "downsize": "Cheaper models",
    "prompt-bloat": "Prompts that say little",
    "reported-cost": "What senders say calls cost",
    "retry-waste": "Failed and repeated calls",
    "reuse": "The same plans again",
    "routing": "Routing",
    "unit-cost": "What a unit costs",
    "verbosity": "Long answers",
    "workflow-restructure": "Work for a script",
}
# A longer table is folded; a browser takes its time over thousands of rows that nobody reads.
_OPEN_ROWS: Final = 12
_MOST_ROWS: Final = 300


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are texts; ``numeric`` says of each column whether its cells are figures."""

    title: str
    headings: Sequence[str]
    numeric: Sequence[bool]
    rows: Sequence[Sequence[str]]
    totals: Sequence[Sequence[str]] = ()
    left_out: int = 0

    @property
    def is_long(self) -> bool:
        return len(self.rows) > _OPEN_ROWS


@dataclass(frozen=True, slots=True)
class Part:
    """What one analyzer has to say."""

    anchor: str
    title: str
    about: str
    over: str | None
    result: Result
    tables: Sequence[Table]
    notes: Sequence[str]
    charts: Sequence[Chart] = ()
    bars: Sequence[Bars] = ()
    budgets: Sequence[panels.BudgetBar] = ()
    further_budgets: int = 0
    findings: Sequence[findings.Group] = ()

    @property
    def has_figures(self) -> bool:
        return bool(self.tables or self.findings)


def write_page(
    path: Path, results: Sequence[Result], daily: Mapping[str, Result], made_at: dt.datetime
) -> None:
    """The page of these results in the place of what is there; whoever reads meanwhile sees one of the two whole.

    ``daily``: `cost` by day and model, and by day and agent, under "model" and "agent"; empty where that is not to be
    had. Raises OSError.
    """
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        draft.write_text(page(results, daily, made_at), encoding="utf-8", newline="\n")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def page(results: Sequence[Result], daily: Mapping[str, Result], made_at: dt.datetime) -> str:
    by_name = {result["analyzer"]: result for result in results}
    today = _local(made_at, results).date() if results else made_at.date()
    timelines = [*timeline.timelines(daily, today)]
    common = _common_notes(by_name)
    parts = [_part(result, daily, made_at, today, common) for result in _ordered(results)]
    drawn = [chart for charts in timelines for chart in charts if isinstance(chart, Chart)]
    drawn += [chart for part in parts for chart in part.charts]
    scripts = [_own(name) for name in _SCRIPTS]
    style = _own(_STYLE)
    template = _environment().get_template("page.html.j2")
    return template.render(
        policy=_policy(scripts, style),
        scripts=scripts,
        style=style,
        licences=_own(_LICENCES),
        windows=list(dict.fromkeys(_window(result) for result in results)),
        made_at=f"{_local(made_at, results):%Y-%m-%d %H:%M}",
        glances=panels.glances(by_name["cost"], by_name.get("compare")) if "cost" in by_name else [],
        common=common,
        budgets=panels.budget_states(by_name["budget"]) if "budget" in by_name else "",
        timelines=timelines,
        of_parts=timeline.of_parts(daily, today),
        is_empty="cost" in by_name and not by_name["cost"]["totals"],
        findings=findings.groups([one for one in results if one["analyzer"] not in _LAST]),
        before=[part for part in parts if part.has_figures and part.anchor in _BEFORE],
        after=[part for part in parts if part.has_figures and part.anchor not in _BEFORE],
        without_figures=[part for part in parts if not part.has_figures],
        figures={chart.anchor: {"kind": chart.kind, **chart.data} for chart in drawn},
    )


def _ordered(results: Sequence[Result]) -> list[Result]:
    order = (*_BEFORE, *_FIRST, "", *_LAST)
    return sorted(results, key=lambda one: order.index(one["analyzer"] if one["analyzer"] in order else ""))


def _common_notes(results: Mapping[str, Result]) -> list[str]:
    """What is said of the cost and of other figures too stands at the top, once."""
    others = {note for name, result in results.items() if name != "cost" for note in report.notes(result)}
    return [note for note in report.notes(results["cost"]) if note in others] if "cost" in results else []


def _part(
    result: Result, daily: Mapping[str, Result], made_at: dt.datetime, today: dt.date, common: Sequence[str]
) -> Part:
    name = result["analyzer"]
    charts: list[Chart] = []
    bars: list[Bars] = []
    budgets: list[panels.BudgetBar] = []
    further = 0
    if name == "compare":
        charts = [*panels.bridges(result)]
    elif name == "unit-cost":
        bars = [*panels.unit_bars(result)]
    elif name == "cache-efficacy" and daily:
        charts = [chart] if (chart := timeline.cache_shares(daily["model"], today)) else []
    elif name == "budget":
        budgets, further = panels.budget_bars(result, made_at)
    return Part(
        anchor=name,
        title=_TITLES.get(name) or name.replace("-", " ").capitalize(),
        about=registry.get(name).help,
        over=report.title(result) if "recorded" in result else None,
        result=result,
        tables=[*map(_table, report.sections(result))],
        notes=[note for note in report.notes(result) if note not in common],
        charts=charts,
        bars=bars,
        budgets=budgets,
        further_budgets=further,
        findings=findings.groups([result]) if name in _LAST else (),
    )


def _table(section: report.Section) -> Table:
    rows = section.cells[: len(section.cells) - section.totals]
    numeric = [
        any(isinstance(row[at], int | float | Decimal) for row in section.cells)
        for at in range(len(section.headings))
    ]
    shown, totals = (
        [[figures.cell(value) for value in row] for row in part]
        for part in (rows[:_MOST_ROWS], section.cells[len(rows) :])
    )
    return Table(section.title, section.headings, numeric, shown, totals, max(0, len(rows) - _MOST_ROWS))


def _window(result: Result) -> str:
    window = result["window"]
    start, end = (dt.datetime.fromisoformat(window[edge]) for edge in ("start", "end"))
    return str(Window(start, end, window["timezone"]))


def _local(moment: dt.datetime, results: Sequence[Result]) -> dt.datetime:
    return moment.astimezone(ZoneInfo(results[0]["window"]["timezone"])) if results else moment


# --- what the page may do


def _policy(scripts: Sequence[Markup], style: Markup) -> str:
    """A Content-Security-Policy by which nothing is fetched, and nothing runs but these very texts."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _own(name: str) -> Markup:
    """A file of ours or a library's, which stands in the page as it is."""
    return Markup((_FOLDER / name).read_text(encoding="utf-8"))  # noqa: S704 - no word of it is telemetry's


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.globals.update(percent=_percent, unknown=figures.UNKNOWN, states=panels.STATES)
    return environment


def _shown(value: Any) -> Any:
    """Whatever a name holds, no character of it does more than to be seen; markup is escaped after this."""
    return value if isinstance(value, Markup) else printable(str(value))


def _percent(part: float) -> str:
    return f"{part * 100:.3g}%"
