"""The analyzers' pages: each analyzer has one, and its example is what comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzers import registry
from tests import example_month
from tests.pages import PAGES, assert_example
from tests.support import run_here

# Their examples are of the made-up month; those of the others are of lakes of their own tests.
OF_THE_MONTH = (
    "accounts",
    "anomaly",
    "budget",
    "cache-efficacy",
    "compare",
    "cost",
    "data-quality",
    "downsize",
    "reported-cost",
    "retry-waste",
    "unit-cost",
    "workflow-restructure",
)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A lake into which the month was loaded, and the configuration that it was loaded with."""
    directory = tmp_path_factory.mktemp("month")
    config = directory / "collector.yaml"
    config.write_text(example_month.CONFIG)
    file = example_month.write(directory / "march.jsonl")
    loaded = run_here("otlp-backfill", file, "--data-dir", directory / "data", "--config", config)
    assert loaded.returncode == 0, loaded.stderr
    return directory / "data", config


@pytest.mark.parametrize("name", OF_THE_MONTH)
def test_an_example_of_the_month_is_what_the_command_prints(month: tuple[Path, Path], name: str) -> None:
    data_dir, config = month
    assert_example(name, data_dir, "--config", str(config))


def test_every_analyzer_has_a_page_that_is_listed() -> None:
    """One page each and none that is left over; README.md leads to all of them."""
    assert {page.stem for page in PAGES.glob("*.md")} == {*registry.discover()}
    readme = (PAGES.parents[1] / "README.md").read_text()
    assert [name for name in registry.discover() if f"(analyzers/pages/{name}.md)" not in readme] == []
