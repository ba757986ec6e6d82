"""Words that carry little in prompts: which sections, whose, what they cost, how sure that is; and what is said where
nothing can be judged. The model is a stand-in here, which knows one word; tests/bloat asks a real one."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import random
import re
import stat
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analyzers import bloat_model, frame, prompt_bloat, registry
from analyzers.bloat_model import CannotJudge, Word
from analyzers.bloat_sections import judged, plain
from analyzers.finding import Finding, Report
from analyzers.setting import BadSetting
from analyzers.window import Window
from collector.store.lake import Lake
from collector.store.lock import writer_lock
from tests.bloat_lake import FILLER, NEEDED, START, BloatLake, prompt
from tests.calls_table import insert_calls, lake_with_calls
from tests.pages import assert_example

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
DAYS = 14


def judge(text: str, until: float) -> list[Word]:
    """As the model would: of "fluff" nothing is needed, of everything else all is."""
    return [
        Word(*word.span(), 0.01 if word[0] == "fluff" else 0.99) for word in re.finditer(r"[\w{}\"]+", text)
    ]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bloat_model, "load", lambda model: judge)


def window(days: int = DAYS) -> Window:
    start = START.replace(tzinfo=dt.UTC)
    return Window(start, start + days * DAY)


def reported(connection: duckdb.DuckDBPyConnection, over: Window | None = None, **settings: Any) -> Report:
    return registry.get("prompt-bloat").run(connection, over or window(), settings)


def found(
    connection: duckdb.DuckDBPyConnection, over: Window | None = None, **settings: Any
) -> tuple[Finding, ...]:
    over = over or window()
    reports = {"prompt-bloat": reported(connection, over, **settings)}
    return frame.settle(connection, over, NOW, reports)["prompt-bloat"].findings


def claims(report: Report) -> dict[str, tuple[Decimal, Decimal, int]]:
    return {
        row["call_id"]: (row["low_usd"], row["high_usd"], row["tokens"]) for row in report.claims.to_pylist()
    }


def a_day(lake: BloatLake, *messages: tuple[str, str], **columns: Any) -> BloatLake:
    """A call on each of 14 days, each with a question of its own after these messages."""
    for day in range(DAYS):
        number = len(lake.calls)
        lake.call(number, START + day * DAY, [*messages, ("user", f"what about order {number}?")], **columns)
    return lake


def whole(day: int, messages: list[tuple[str, str]]) -> int:
    """Characters of the prompt, as it is stored."""
    return sum(len(json.dumps({"role": role, "content": text})) for role, text in messages)


# --- what is found


def test_what_nobody_needs_is_found_with_what_it_costs():
    """The system text of 14 calls is half filler, in passages. Its part of each prompt's characters is that part of the
    call's 0.10 USD for input; of that, half."""
    system = prompt(10, 10)
    lake = a_day(BloatLake(), system)
    little = len("fluff") * 12 / (len("fluff") * 12 + len("refund") * 10)
    (finding,) = found(lake.stored())
    assert finding.dimension == {"agent": "helper"}
    assert finding.evidence["share"] == pytest.approx(little, abs=1e-4)
    parts = []
    for number in range(DAYS):
        prompted = [system, ("user", f"what about order {number}?")]
        parts.append(whole(number, [system]) / whole(number, prompted))
    expected = sum(parts) * 0.1 * little
    assert float(finding.estimate.high.usd) == pytest.approx(expected, rel=0.01)
    # All of it stands in passages.
    assert float(finding.estimate.low.usd) == pytest.approx(float(finding.estimate.high.usd), rel=0.001)
    assert finding.estimate.basis == "spend"
    (section,) = finding.evidence["sections"]
    assert re.fullmatch(
        r"system [0-9a-f]{8}: 220 words in 14 calls, 50% carry little, 50% in whole passages", section
    )
    assert not any(FILLER in text or NEEDED in text for text in (finding.title, finding.action, section))


def test_words_here_and_there_are_claimed_at_the_high_end_alone():
    """Every other word is filler: none of it can be cut as a passage."""
    lake = a_day(BloatLake(), ("system", " ".join(["fluff", "refund"] * 60)))
    assert {low for low, _, _ in claims(reported(lake.stored())).values()} == {0}
    (finding,) = found(lake.stored())
    assert finding.estimate.high.usd > finding.estimate.low.usd == 0


def test_what_was_read_from_the_cache_is_cheaper_to_leave_in():
    """900 of 1,000 tokens were read for a tenth of the price: which ones nobody knows, so that the low end has that
    price, and the high end the other one, but no more than the input cost."""
    rates = {
        "cache_read_tokens": 900,
        "cost_input_usd": Decimal("0.01"),
        "cost_cache_read_usd": Decimal("0.009"),
    }
    low, high, tokens = claims(reported(a_day(BloatLake(), prompt(20, 0), **rates).stored()))["call-0"]
    assert float(low) == pytest.approx(tokens * 0.00001, rel=0.01)
    assert float(high) == pytest.approx(0.019, rel=0.01)


def test_a_section_that_is_not_sent_again_is_no_matter():
    """Text of one session, though that repeats it in each turn, is what the work is about."""
    lake = BloatLake()
    for number in range(DAYS):
        lake.call(number, START + number * DAY, [prompt(20, 0, "user")], session_id="the one")
    assert reported(lake.stored()).rows == ()
    assert "no section of the captured prompts is sent again and again" in reported(lake.stored()).notes


def test_prompts_with_little_to_leave_out_are_no_finding():
    """One word in ten is less than the fifth that makes a finding; the row is there."""
    report = reported(a_day(BloatLake(), ("system", " ".join([*["refund"] * 9, "fluff"] * 12))).stored())
    assert (len(report.rows), report.candidates) == (1, ())


def test_tools_are_not_judged_and_numbers_are_kept():
    lake = a_day(BloatLake(), prompt(20, 20))
    for number in range(DAYS):
        lake.capture(
            number,
            START + number * DAY,
            "gen_ai.tool.definitions",
            json.dumps([{"name": FILLER, "description": FILLER}] * 9),
        )
    assert {row[2] for row in reported(lake.stored()).rows} == {"system"}
    text = "fluff fluff 12345"
    assert judged(text, [Word(0, 5, 0), Word(6, 11, 0), Word(12, 17, 0)], 0.1).little == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("be brief", "be brief"),
        ('{"role": "system", "content": "be brief"}', "be brief"),
        ('{"role": "user", "parts": [{"type": "text", "content": "a"}, {"text": "b"}]}', "a\nb"),
        ('{"lc": 1, "type": "constructor", "kwargs": {"content": "be brief", "type": "human"}}', "be brief"),
        ('{"role": "user"}', '{"role": "user"}'),
        ("[1, 2]", "[1, 2]"),
        ("12", "12"),
    ],
)
def test_what_a_section_says(section: str, text: str):
    assert plain(section) == text


def test_each_agent_has_a_finding_of_all_its_sections():
    lake = a_day(BloatLake(), prompt(10, 1), prompt(12, 1, "assistant"))
    a_day(lake, prompt(11, 1), agent_name=None, service_name="shop")
    by_who = {one.title.split(":")[0]: one for one in found(lake.stored())}
    assert set(by_who) == {"agent helper", "calls of shop without an agent"}
    assert len(by_who["agent helper"].evidence["sections"]) == 2


def test_pricing_modes_are_told_apart_and_undeclared_plans_said():
    lake = a_day(BloatLake(), prompt(10, 1))
    a_day(lake, prompt(10, 1), pricing_mode="unknown", plan_tier="unknown")
    assert {one.estimate.basis for one in found(lake.stored())} == {"spend", "list price, plan not declared"}
    assert any("Declare the plan" in note for note in reported(lake.stored()).notes)


def test_what_is_unknown_is_not_claimed():
    lake = a_day(BloatLake(), prompt(10, 1), input_tokens=None, cost_input_usd=None, cost_usd=None)
    report = reported(lake.stored())
    assert claims(report) == {}
    at = [column.name for column in report.columns]
    (row,) = report.rows
    assert [row[at.index(name)] for name in ("tokens", "little_tokens", "spend_at_most_usd")] == [None] * 3


def test_tokens_alone_make_a_finding_in_tokens():
    lake = a_day(BloatLake(), prompt(10, 1), cost_input_usd=None, cost_usd=None)
    (finding,) = found(lake.stored())
    assert finding.estimate.basis == "tokens"


# --- what bounds it


def test_so_many_prompts_are_looked_at_and_it_is_said():
    report = reported(a_day(BloatLake(), prompt(10, 1)).stored(), most_prompts=5)
    assert len(claims(report)) == 5
    assert any(note.startswith("5 of 14 captured prompts were looked at") for note in report.notes)


def test_the_dearest_sections_come_first_and_time_runs_out(monkeypatch: pytest.MonkeyPatch):
    """Of two sections the longer one is judged, and then there is no more time."""

    def slow(text: str, until: float) -> list[Word]:
        if len(text) < 1000:
            raise TimeoutError
        return judge(text, until)

    monkeypatch.setattr(bloat_model, "load", lambda model: slow)
    lake = a_day(BloatLake(), prompt(5, 0), prompt(30, 0, "assistant"))
    report = reported(lake.stored())
    assert [row[2] for row in report.rows] == ["assistant"]
    assert any(note.startswith("for 1 of the sections there was no time") for note in report.notes)
    assert len(reported(lake.stored(), most_sections=1).rows) == 1


def test_of_very_long_sections_the_rest_counts_as_needed(monkeypatch: pytest.MonkeyPatch):
    """Filler alone, of which the first tenth is judged."""
    text = prompt(100, 0)[1]
    monkeypatch.setattr(prompt_bloat, "_MOST_CHARS", len(text) // 10)
    report = reported(a_day(BloatLake(), ("system", text)).stored())
    at = [column.name for column in report.columns].index("little")
    assert report.rows[0][at] == pytest.approx(0.1, abs=0.03)


def test_the_order_of_rows_does_not_matter():
    lake = a_day(a_day(BloatLake(), prompt(10, 3)), prompt(9, 4, "assistant"), agent_name="other")
    seen = []
    for turn in range(2):
        random.Random(turn).shuffle(lake.calls)
        random.Random(turn).shuffle(lake.contents)
        connection = lake.stored()
        seen.append((reported(connection).as_dict(), found(connection)))
    assert seen[0] == seen[1]


# --- what is missing


def test_without_captured_prompts_it_says_how_to_have_them():
    lake = a_day(BloatLake(), prompt(10, 1))
    lake.contents.clear()
    report = reported(lake.stored())
    assert "`capture: {prompts: true}`" in report.notes[0]


def test_without_the_extra_or_the_model_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    monkeypatch.setattr(bloat_model, "find_spec", lambda name: None)
    lake = a_day(BloatLake(), prompt(10, 1))
    report = reported(lake.stored())
    assert "pip install 'spanledger[bloat]'" in report.notes[0]
    assert report.rows == ()
    with pytest.raises(CannotJudge):
        bloat_model.load("any")


def test_in_little_memory_no_model_is_loaded(monkeypatch: pytest.MonkeyPatch):
    """A scheduled run's memory is limited: to import the libraries there would end it, the other analyzers with it."""
    monkeypatch.undo()
    monkeypatch.setattr(bloat_model, "find_spec", lambda name: name)
    monkeypatch.setattr(bloat_model.resource, "getrlimit", lambda which: (1 << 30, 1 << 30))
    report = reported(a_day(BloatLake(), prompt(10, 1)).stored())
    assert "sql: {memory_limit: 3GB}" in report.notes[0]


# --- the page


class _Page(HTMLParser):
    """Which tags there are, and what is struck out."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.struck: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onerror", "onload", "style"}

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tags[-1:] == ["del"]:
            self.struck.append(data)

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")


def test_the_page_shows_what_carries_little_and_runs_nothing(tmp_path: Path):
    """Prompts and names are the network's: nothing of them becomes markup. The file is its owner's alone."""
    hostile = '</del></p><script>alert(1)</script><img src=x onerror="alert(2)">'
    lake = a_day(
        BloatLake(), ("system", f"{FILLER} {hostile} {NEEDED} {FILLER} {FILLER}"), agent_name=f"bot{hostile}"
    )
    file = tmp_path / "prompts.html"
    reported(lake.stored(), html=str(file))
    page = _Page()
    page.feed(file.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert hostile in page.text
    assert page.struck == ["like this", FILLER, f"{FILLER} {FILLER}"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (style,) = re.findall("<style>(.*?)</style>", file.read_text(encoding="utf-8"), re.S)
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"content=\"default-src 'none'; style-src 'sha256-{allowed}'\"" in file.read_text(encoding="utf-8")
    assert [one.name for one in tmp_path.iterdir()] == ["prompts.html"]


def test_a_page_that_cannot_be_written_is_the_settings_fault(tmp_path: Path):
    with pytest.raises(BadSetting, match="`html`: cannot write"):
        reported(a_day(BloatLake(), prompt(10, 1)).stored(), html=str(tmp_path / "none" / "page.html"))


# --- an example

RULES = ("Refunds: only with an order number, never above 100 EUR.", "Answer in the customer's language.")
POLITE = (
    "Please make sure that you are always being as helpful and as friendly as you possibly can be to whoever it is "
    f"that happens to be talking to you at the time. {RULES[0]} Do also keep in mind at all times that it really is "
    f"very important to us that everybody is happy with what you say to them. {RULES[1]}"
)


def test_the_example_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Four weeks of an agent with a wordy system text, judged by who needs its rules alone."""
    needed = {*" ".join(RULES).split()}
    monkeypatch.setattr(
        bloat_model,
        "load",
        lambda model: (
            lambda text, until: [
                Word(*word.span(), 0.9 if word[0] in needed else 0.02) for word in re.finditer(r"\S+", text)
            ]
        ),
    )
    lake = BloatLake()
    for number in range(28 * 5):
        at = START + number // 5 * DAY + dt.timedelta(hours=9 + number % 5)
        asked = f"Where is my order {4000 + number}? I have waited for {number % 9} days now."
        usd = {"input_tokens": 120, "cost_input_usd": Decimal("0.0003"), "cost_usd": Decimal("0.0004")}
        lake.call(number, at, [("system", POLITE), ("user", asked)], agent_name="support", **usd)
    data_dir = lake_with_calls(tmp_path / "data", *lake.calls)
    with Lake.open(data_dir) as stored, writer_lock(data_dir):
        insert_calls(stored.connection, "lake.contents", lake.contents)
    assert_example("prompt-bloat", data_dir)


# --- how sure it is


@pytest.mark.parametrize("lakes", [1, pytest.param(4, marks=pytest.mark.soak)])
def test_intervals_hold_what_was_planted(lakes: int):
    """Of agents that send the same filler in 1 to 5 calls a day, 50 in each lake, with input of 0.05 to 0.15 USD, at
    least nine in ten have the mean cost of it in a month between the two ends."""
    held = []
    for seed in range(lakes):
        choose, lake = random.Random(seed), BloatLake()
        for agent in range(50):
            for day in range(8):
                for number in range(choose.randint(1, 5)):
                    usd = Decimal(f"{choose.uniform(0.05, 0.15):.6f}")
                    lake.call(
                        f"{agent}-{day}-{number}",
                        START + day * DAY,
                        [("system", f"agent {agent}: {prompt(5, 5)[1]}")],
                        agent_name=f"agent-{agent}",
                        cost_input_usd=usd,
                        cost_usd=usd,
                    )
        little = 12 * 5 / (12 * 5 + 10 * 6)
        month = 3 * 0.1 * little * 30.436875
        held += [
            float(one.estimate.low_per_month.usd) <= month * 1.01
            and month * 0.99 <= float(one.estimate.high_per_month.usd)
            for one in found(lake.stored(), window(8), most_prompts=10_000, most_sections=100)
        ]
    assert len(held) == 50 * lakes
    assert sum(held) >= 45 * lakes
