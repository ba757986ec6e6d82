"""Pages of --html out of calls, and what a browser would find in one."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from functools import cache
from html.parser import HTMLParser
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from analyzers import registry
from analyzers.window import Window
from collector.cli.html.page import page
from tests.calls_table import call, calls_table, replace_calls

# Those analyzers of which the page shows more than their tables, but for budgets.
OVERVIEW = ("cost", "unit-cost", "cache-efficacy")
NOW = dt.datetime(2028, 1, 1, tzinfo=dt.UTC)
FIRST, END = "2026-03-02", "2026-03-09"


def on(day: int, usd: str | None, **columns: Any) -> dict[str, Any]:
    cost = None if usd is None else Decimal(usd)
    return call(start_time=dt.datetime(2026, 3, day, 12), cost_usd=cost, **columns)


def html_over(*calls: dict[str, Any], since: str = FIRST, until: str = END, timezone: str = "UTC") -> str:
    """The page of those analyzers of which it shows more than tables, without a lake's files and the command."""
    zone = ZoneInfo(timezone)
    edges = [dt.datetime.fromisoformat(day).replace(tzinfo=zone).astimezone(dt.UTC) for day in (since, until)]
    window = Window(edges[0], edges[1], timezone)
    connection = table()
    replace_calls(connection, calls)

    def result(name: str, **settings: Any) -> dict[str, Any]:
        report = registry.get(name).run(connection, window, settings)
        return {"analyzer": name, "window": window.as_dict(), **report.as_dict()}

    daily = {name: result("cost", by=["day", name]) for name in ("model", "agent")}
    return page([result(name) for name in OVERVIEW], daily, NOW)


def page_over(*calls: dict[str, Any], **window: str) -> Page:
    """``html_over``, read."""
    return Page(html_over(*calls, **window))


@cache
def table() -> duckdb.DuckDBPyConnection:
    return calls_table()


class Page(HTMLParser):
    """What a browser would find: tags with their attributes, and text, scripts apart."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = self.comments = ""
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.raw:
            self._inside = tag
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self.text += " " if tag in ("td", "th", "li", "dd") else ""
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside][-1] += data
        else:
            self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    @property
    def figures(self) -> dict[str, Any]:
        """What the charts are drawn from."""
        return json.loads(self.raw["script"][0])

    def drawn(self, chart: str) -> dict[str, float]:
        """By series, what all its bars come to."""
        return {one["name"]: round(sum(one["values"]), 6) for one in self.figures[chart]["series"]}

    def bars(self) -> list[str]:
        return [
            attrs["width"] or "" for tag, attrs in self.tags if tag == "rect" and attrs.get("class") == "fill"
        ]
