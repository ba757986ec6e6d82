"""The page that `otlp-analyze --html` writes, in a browser: Debian's `chromium`, without which these tests are skipped.

Guarantee: every chart is drawn, at the width of a phone and of a desktop, light, dark and on paper; nothing is wider
than the window; nothing is asked of any network, and the page's policy would refuse it; names that came with the
telemetry are text and nothing else; the console stays empty. Not proved here: how it looks.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from collector.cli.analyze import main
from tests import browser
from tests.calls_table import call, lake_with_calls
from tests.html_pages import html_over, on

pytestmark = pytest.mark.skipif(
    browser.FOUND is None, reason="no Chromium: apt-get install --no-install-recommends chromium"
)

PHONE, DESKTOP = 360, 1440
HOSTILE = (
    "<img src=x onerror=window.hacked=1>",
    "</script><script>window.hacked=1</script>",
    "<!--<script>window.hacked=1",
    '"><svg onload="window.hacked=1">',
    "' onmouseover='window.hacked=1",
    "javascript:window.hacked=1",
    "{{ 7 * 7 }} ${window.hacked=1} `${window.hacked=1}`",
    "line\u2028and\u2029separators\u202e, turned",
    "__proto__",
    "constructor",
    "x" * 300,
    "",
)
CONFIG = f"""\
budgets:
  - {{name: all, usd: 1, action: fail}}
  - {{name: {json.dumps(HOSTILE[0])}, tokens: 10_000, each: agent}}
"""
DAYS = 40


def calls() -> Iterator[dict[str, Any]]:
    """Many models of all pricing modes up to today, a hostile name here and there, and costs that nobody knows."""
    today = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    modes = ("api", "subscription", "unknown", "local")
    for number in range(400):
        name = HOSTILE[number % len(HOSTILE)]
        is_hostile = number % 3 == 0
        yield call(
            start_time=today - dt.timedelta(days=number % DAYS, minutes=5),
            request_model=name if is_hostile else f"model-{number % 130}",
            agent_name=name if is_hostile else f"agent-{number % 7}",
            user_id=name,
            session_id=name if number % 2 else f"session-{number % 50}",
            service_name=name if is_hostile else "web",
            billing_account=name,
            pricing_mode=modes[number % 4],
            cost_usd=None if number % 9 == 0 or modes[number % 4] == "local" else Decimal(number) / 1000,
            cache_read_tokens=number % 100,
            status_code="ERROR" if number % 11 == 0 else "UNSET",
        )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("html")
    (directory / "collector.yaml").write_text(CONFIG)
    data_dir = lake_with_calls(directory / "data", *calls())
    page = directory / "page.html"
    names = ["cost", "budget", "unit-cost", "cache-efficacy", "retry-waste", "accounts", "data-quality"]
    words = [*names, "--since", "20d", "--compare", "previous", "--data-dir", data_dir, "--html", page]
    answer = CliRunner().invoke(main, [*map(str, words), "--config", str(directory / "collector.yaml")])
    assert answer.exit_code == 0, answer.output
    return page.as_uri()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


DRAWN = """[...document.querySelectorAll("[data-chart]")].map(
    (place) => place.querySelectorAll("svg.drawn path, svg.drawn rect").length)"""
BEYOND = """[...document.querySelectorAll("body *")].filter((node) => !node.closest(".scroll, .skip"))
    .filter((node) => node.getBoundingClientRect().right > innerWidth + 1)
    .map((node) => node.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_charts_are_drawn_and_nothing_overflows(page: browser.Page, url: str, width: int, dark: bool) -> None:
    page.open(url, width, dark=dark)
    drawn = page.value(DRAWN)
    assert len(drawn) >= 8
    assert min(drawn) >= 2, "every chart has marks"
    assert page.value("document.documentElement.scrollWidth") <= width
    assert page.value(BEYOND) == []
    assert page.value("matchMedia('(prefers-color-scheme: dark)').matches") is dark


@pytest.mark.parametrize("calls", [[], [on(2, "1")]], ids=["none", "one"])
def test_a_page_of_next_to_nothing_is_in_order(
    page: browser.Page, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    file = tmp_path / "page.html"
    file.write_text(html_over(*calls))
    page.open(file.as_uri(), PHONE)
    assert len(page.value(DRAWN)) == 2 * len(calls)
    assert page.value(BEYOND) == []
    assert page.told("Runtime.exceptionThrown") + page.told("Log.entryAdded") == []


def test_nothing_is_asked_of_a_network_and_the_console_stays_empty(page: browser.Page, url: str) -> None:
    page.open(url, DESKTOP)
    asked = [one["request"]["url"] for one in page.told("Network.requestWillBeSent")]
    assert [one for one in asked if not one.startswith("data:")] == [url]
    for trouble in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
        assert page.told(trouble) == []


def test_hostile_names_are_text_and_nothing_else(page: browser.Page, url: str) -> None:
    page.open(url, DESKTOP)
    # Whatever opens or shows on being touched is touched.
    page.value(
        """document.querySelectorAll("details").forEach((one) => { one.open = true; });
        document.querySelectorAll("body *").forEach((one) => ["mouseover", "pointermove", "click"].forEach(
            (kind) => one.tagName === "A" || one.dispatchEvent(new PointerEvent(kind, {bubbles: true}))))"""
    )
    assert page.value("window.hacked === undefined")
    text = page.value("document.body.textContent")
    for name in HOSTILE[:7]:
        assert name in text
    assert "line\\u2028and\\u2029separators\\u202e, turned" in text
    assert page.value("document.querySelectorAll('img, iframe, object, embed, base, form').length") == 0
    assert page.value("[...document.scripts].length") == 4


def test_the_policy_refuses_what_a_name_could_have_brought_in(page: browser.Page, url: str) -> None:
    """If escaping failed one day, what came in that way would neither run nor reach anything."""
    page.open(url, DESKTOP)
    page.value(
        """document.body.insertAdjacentHTML("beforeend", '<img src="x" onerror="window.hacked=1">');
        document.body.append(Object.assign(document.createElement("script"), {textContent: "window.hacked=1"}));
        new Promise((done) => setTimeout(done, 200))"""
    )
    assert page.value("window.hacked === undefined")
    assert page.value("fetch('data:text/plain,x').then(() => 'fetched', () => 'refused')") == "refused"


def test_on_paper_charts_are_drawn_for_its_width_and_then_for_the_screen_again(
    page: browser.Page, url: str
) -> None:
    page.open(url, DESKTOP)
    widths = "[...document.querySelectorAll('svg.drawn')].map((one) => one.getAttribute('width'))"
    on_screen = page.value(widths)
    printed = page.value(f"dispatchEvent(new Event('beforeprint')), {widths}")
    again = page.value(f"dispatchEvent(new Event('afterprint')), {widths}")
    assert set(printed) == {"330"}
    assert again == on_screen
    assert page.pdf().startswith(b"%PDF-")
