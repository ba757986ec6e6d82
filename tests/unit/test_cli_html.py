"""The page of --html as text: what stands in it, what cannot get into it, and how it gets to its place.

Guarantee: whatever the other outputs say of a finding the page says too; no name is ever markup; the page's policy
allows its own scripts alone; an older page is replaced by a whole one. What its charts are drawn from is the matter of
test_cli_html_charts.py, that a browser draws them of tests/contract/test_html_page.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from analyzers import registry
from analyzers.finding import Estimate, Finding, Report
from analyzers.honest import Amount
from collector.cli import html
from collector.cli.analyze import main
from collector.cli.html import findings
from collector.cli.html.page import _TITLES
from tests.calls_table import lake_with_calls
from tests.html_pages import END, FIRST, OVERVIEW, Page, on, page_over

FOLDER = Path(html.__file__).parent
WEEK = ("--since", FIRST, "--until", END)
Lake = Callable[..., Path]

HOSTILE = (
    "<b>bold</b>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "'\" onload='alert(1)' x=\"",
    "{{ 7 * 7 }}",
    "&lt;already&gt; &amp;",
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return lambda *calls: lake_with_calls(tmp_path / "data", *calls)


def write(data_dir: Path, *words: str) -> Result:
    page = data_dir.parent / "page.html"
    return CliRunner().invoke(main, [*words, "--data-dir", str(data_dir), "--html", str(page)])


def page_of(data_dir: Path, *words: str) -> Page:
    answer = write(data_dir, *words)
    assert answer.exit_code == 0, answer.output
    return Page((data_dir.parent / "page.html").read_text())


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, list[dict[str, Any]]]:
    """The page of analyzers of all sorts and a comparison, and the same results as programs get them."""
    calls = [
        on(
            2 + n % 7,
            "0.2" if n % 5 else None,
            request_model=name,
            agent_name=name,
            session_id=f"{name} {n}",
            user_id=name,
            service_name=name,
            pricing_mode="subscription" if n % 4 == 1 else "api",
            input_tokens=None if n % 7 == 3 else 40_000,
            cache_read_tokens=None if n % 3 else 100,
            status_code="ERROR" if n % 6 == 0 else "UNSET",
        )
        for n, name in enumerate(HOSTILE * 5)
    ]
    data_dir = lake_with_calls(tmp_path_factory.mktemp("everything") / "data", *calls)
    names = (*OVERVIEW, "budget", "retry-waste", "accounts", "data-quality")
    page = page_of(data_dir, *names, *WEEK, "--compare", "previous")
    recorded = CliRunner().invoke(main, ["--last", "--json", "--data-dir", str(data_dir)])
    return page, json.loads(recorded.stdout)


def test_whatever_another_output_says_stands_in_the_page(
    everything: tuple[Page, list[dict[str, Any]]],
) -> None:
    """Every note, and of every finding its title, caveats, calls and action."""
    page, results = everything
    findings = [finding for result in results for finding in result["findings"]]
    assert len(findings) > len(HOSTILE)
    for text in (text for result in results for text in result["notes"]):
        assert " ".join(text.split()) in page.words
    for finding in findings:
        for text in (finding["title"], *finding["caveats"], *finding["examples"], finding["action"] or ""):
            assert " ".join(text.split()) in page.words


def test_what_could_be_saved_comes_before_facts_and_the_most_of_it_first() -> None:
    def finding(number: int, usd: str | None) -> dict[str, Any]:
        ends = {
            name: None if usd is None else Amount("api", Decimal(usd))
            for name in ("low", "high", "low_per_month", "high_per_month")
        }
        estimate = Estimate(
            "spend",
            **ends,
            tokens_low_per_month=None,
            tokens_high_per_month=None,
            token_share=None,
            confidence=None,
            method="m",
        )
        return Finding(
            f"id-{number}", f"title {number}", kind=str(number), estimate=estimate if usd else None
        ).as_dict()

    found = [finding(1, None), finding(2, "1"), finding(3, "20"), finding(4, None)]
    told = findings.groups(
        [{"analyzer": "one", "findings": found[:2]}, {"analyzer": "two", "findings": found[2:]}]
    )
    assert [(group.heading, [one.title for one in group.shown]) for group in told] == [
        ("what could be saved: spend", ["title 3", "title 2"]),
        ("what is the case", ["title 1", "title 4"]),
    ]
    assert told[0].shown[0].saves == "20.00 USD a month"


def test_every_analyzer_has_a_title_of_its_own() -> None:
    assert set(registry.discover()) <= set(_TITLES)
    assert len(set(_TITLES.values())) == len(_TITLES)


def test_many_findings_of_a_kind_are_folded_none_is_dropped(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*_: Any) -> Report:
        evidence = {"cost": Amount("api", Decimal("1.5"))}
        findings = (Finding(f"id-{n}", f"title {n}", evidence, (f"caveat {n}",), kind="k") for n in range(9))
        return Report(columns=(), rows=(), findings=tuple(findings))

    fake = registry.Analyzer("fake", "what it is for", (), found)
    monkeypatch.setitem(registry._registered, "fake", fake)
    page = page_of(lake(), *WEEK, "fake")
    assert "6 more like these" in page.text
    for n in range(9):
        assert f"title {n}" in page.text
        assert f"caveat {n}" in page.text
    assert page.text.count("cost spend: 1.500000 USD") == 9


def test_names_are_text_wherever_they_stand(everything: tuple[Page, list[dict[str, Any]]]) -> None:
    page, _ = everything
    for name in HOSTILE:
        assert name in page.text
    assert set(page.drawn("agent-api")) == set(HOSTILE)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 4
    assert not {"img", "iframe", "object", "embed", "form"} & set(tags)
    names = {name for _, attrs in page.tags for name in attrs}
    assert not [name for name in names if name.startswith("on") or name == "style"]


def test_characters_that_steer_a_reader_are_written_out() -> None:
    found = page_over(on(2, "1", agent_name="a\x1b[31m\u202eb\u2028c"), on(3, "1"))
    assert r"a\x1b[31m\u202eb\u2028c" in found.text
    assert not set("\x1b\u202e\u2028") & set(found.text + found.raw["script"][0])


def test_the_policy_allows_the_pages_own_scripts_and_style_alone() -> None:
    found = page_over(on(2, "1"), on(3, "1"))
    (policy,) = [
        attrs["content"] or ""
        for _, attrs in found.tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules.pop("script-src").split() == [_hash(text) for text in found.raw["script"][1:]]
    assert rules.pop("style-src").split() == [_hash(text) for text in found.raw["style"]]
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # Nothing names another place: no address but those within the found.
    addresses = [
        attrs[name]
        for _, attrs in found.tags
        for name in ("href", "src", "srcset", "action")
        if name in attrs
    ]
    assert {str(address)[:1] for address in addresses} <= {"#", "d"}


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_there_is_a_heading_for_every_part_and_a_table_for_every_chart(
    everything: tuple[Page, list[dict[str, Any]]],
) -> None:
    page, _ = everything
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    charts = [attrs for _, attrs in page.tags if "data-chart" in attrs]
    assert {attrs["data-chart"] for attrs in charts} == set(page.figures)
    assert [attrs.get("class") for tag, attrs in page.tags if tag == "details"].count("figures") == len(
        charts
    )
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = {attrs["aria-labelledby"] for _, attrs in page.tags if "aria-labelledby" in attrs}
    links = {(attrs["href"] or "")[1:] for tag, attrs in page.tags if tag == "a"}
    assert named | links <= set(ids)


# --- colours


def colours(scheme: int) -> dict[str, tuple[float, float, float]]:
    """The variables of page.css: 0 light, 1 dark, 2 paper."""
    block = re.findall(r":root \{(.*?)\n *\}", (FOLDER / "page.css").read_text(), re.S)[scheme]
    found = re.findall(r"--([\w]+): #(\w\w)(\w\w)(\w\w);", block)
    return {name: tuple(int(part, 16) / 255 for part in parts) for name, *parts in found}


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """WCAG 2.2, contrast ratio."""

    def luminance(colour: tuple[float, float, float]) -> float:
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "paper"])
def test_text_and_series_stand_out_from_what_they_are_on(scheme: int) -> None:
    """WCAG 2.2 AA: 4.5 for text, 3 for what is drawn."""
    known = colours(scheme)
    for ground in ("bg", "panel"):
        for name in ("text", "soft", "link", "good", "warn", "bad"):
            assert contrast(known[name], known[ground]) >= 4.5, (name, ground)
        for name in (*(f"s{slot}" for slot in range(7)), "rest"):
            assert contrast(known[name], known[ground]) >= 3, (name, ground)


# --- the libraries


@pytest.mark.parametrize(
    ("name", "digest", "says"),
    [
        ("d3.min.js", "f2094bbf6141b359722c4fe454eb6c4b0f0e42cc10cc7af921fc158fceb86539", "D3 7.9.0"),
        (
            "plot.umd.min.js",
            "4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb",
            "Observable Plot 0.6.17",
        ),
    ],
)
def test_libraries_are_those_that_were_published_and_their_licences_go_with_them(
    name: str, digest: str, says: str, everything: tuple[Page, list[dict[str, Any]]]
) -> None:
    library = (FOLDER / "vendor" / name).read_bytes()
    assert hashlib.sha256(library).hexdigest() == digest
    licences = (FOLDER / "vendor" / "LICENSES.txt").read_text()
    assert f"{name}: {says}, from the npm package" in licences
    assert "--" not in licences, "it stands in a comment of the page"
    page, _ = everything
    assert licences in page.comments
    assert library.decode() in page.raw["script"]


# --- the file


def test_the_page_takes_the_place_of_an_older_one_and_leaves_nothing_beside_it(lake: Lake) -> None:
    data_dir = lake(on(2, "1"))
    place = data_dir.parent / "page.html"
    place.write_text("older")
    assert write(data_dir, *WEEK, "cost").stdout == f"wrote {place}\n"
    assert place.read_text().startswith("<!doctype html>")
    assert [path.name for path in data_dir.parent.iterdir() if path != data_dir] == ["page.html"]


def test_where_no_page_can_be_written_the_older_one_stays(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = lake(on(2, "1"))
    place = data_dir.parent / "page.html"
    place.write_text("older")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    answer = write(data_dir, *WEEK, "cost")
    assert (answer.exit_code, answer.stderr) == (2, f"Error: --html {place}: No space left on device\n")
    assert place.read_text() == "older"
    assert [path.name for path in data_dir.parent.iterdir() if path != data_dir] == ["page.html"]


def test_a_folder_that_is_not_there_is_one_line(lake: Lake) -> None:
    place = lake().parent / "nowhere" / "page.html"
    answer = CliRunner().invoke(
        main, ["cost", "--data-dir", str(place.parents[1] / "data"), "--html", str(place)]
    )
    assert (answer.exit_code, answer.stderr) == (2, f"Error: --html {place}: No such file or directory\n")


@pytest.mark.parametrize("other", ["--json", "--markdown", "--list", "--runs"])
def test_a_page_is_one_form_of_results(lake: Lake, other: str) -> None:
    answer = write(lake(), other)
    assert answer.exit_code == 2
    assert "--html" in answer.stderr or "html" in answer.stderr


def test_recorded_results_have_a_page_too(lake: Lake) -> None:
    """Without charts over time: nothing is computed for it."""
    data_dir = lake(on(2, "1"), on(3, "2"))
    assert CliRunner().invoke(main, ["cost", *WEEK, "--data-dir", str(data_dir)]).exit_code == 0
    page = page_of(data_dir, "--last")
    assert "3.00 USD" in page.text
    assert "recorded" in page.text
    assert page.figures == {}


def test_nothing_that_is_drawn_is_recorded(lake: Lake) -> None:
    data_dir = lake(on(2, "1"))
    page_of(data_dir, *WEEK, "cost")
    runs = CliRunner().invoke(main, ["--runs", "--json", "--data-dir", str(data_dir)])
    assert [run["analyzer"] for run in json.loads(runs.stdout)] == ["cost"]
