"""The README is true: its commands run as printed, its output is what comes, its configuration is valid.

The blocks marked `console` are run against a collector that has taken the demo session, `sh` and `yaml` blocks are
checked for what they name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from collector.config import LimitsConfig, load_config
from tests.support import BIN, Collector, run, run_here, running

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = ("otlp-collector", "otlp-backfill", "otlp-analyze")
# Commands that need a process of their own: it becomes a server, or opens the catalog by another copy of SQLite.
OF_ITS_OWN = ("serve", "erase", "backup", "restore")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def yaml_of(heading: str) -> str:
    """The YAML block of the section under a heading."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", section, re.M | re.S)
    return str(block)


def console() -> list[tuple[str, str]]:
    """Each command of the console blocks with the output printed under it."""
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


@pytest.fixture(scope="module")
def with_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with running(tmp_path_factory.mktemp("readme") / "data") as collector:
        sent = run_here(
            "otlp-collector", "demo", "--endpoint", collector.http, "--data-dir", collector.data_dir
        )
        assert sent.returncode == 0, sent.stderr
        yield collector


def environment(collector: Collector) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "SPANLEDGER_DATA_DIR": str(collector.data_dir),
        "SPANLEDGER_GRPC_ENDPOINT": collector.grpc,
        "SPANLEDGER_HTTP_ENDPOINT": collector.http.removeprefix("http://"),
        "SPANLEDGER_ADMIN_ENDPOINT": collector.admin.removeprefix("http://"),
        "NO_COLOR": "1",
    }


@pytest.mark.parametrize(("command", "output"), console(), ids=[line[:60] for line, _ in console()])
def test_every_command_of_the_readme_runs_as_printed(with_demo: Collector, command: str, output: str) -> None:
    words = shlex.split(command)
    assert words[0] in COMMANDS
    if words[1] in OF_ITS_OWN:
        answer = run(*words, cwd=ROOT, env=environment(with_demo))
    else:
        with contextlib.chdir(ROOT):
            answer = run_here(*words, env=environment(with_demo))
    if words == ["otlp-collector", "serve"]:
        # The collector that holds the data directory runs already: the second is refused, and says so.
        assert (answer.returncode, "another server is running" in answer.stderr) == (2, True)
        return
    assert answer.returncode == 0, answer.stderr
    if output:
        assert [line.rstrip() for line in answer.stdout.strip().splitlines()] == output.strip().splitlines()


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`make (\w+)`|^make (\w+)$", README, re.M))
    targets = {name for pair in named for name in pair if name}
    assert {"serve", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_every_command_is_in_the_readme_and_every_named_one_exists() -> None:
    listed = re.findall(r"^  ([a-z][a-z-]+)  ", run_here("otlp-collector", "--help").stdout, re.M)
    assert len(listed) > 5
    for name in listed:
        assert f"otlp-collector {name}`" in README or f"`{name}`" in README, name
    for name in set(re.findall(r"`otlp-collector ([a-z-]+)", README)):
        assert name in listed


def test_every_option_in_the_readme_exists() -> None:
    helps = " ".join(
        run_here(*words, "--help").stdout
        for words in [(name,) for name in COMMANDS[1:]]
        + [
            (COMMANDS[0], name)
            for name in (
                "serve",
                "demo",
                "status",
                "sql",
                "doctor",
                "reprice",
                "renormalize",
                "erase",
                "backup",
                "maintain",
                "generate-load",
                "validate",
                "policy",
            )
        ]
        + [(COMMANDS[0], "prices", name) for name in ("update", "show", "list")]
        + [(COMMANDS[2], "alerts")]
    )
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert options
    for option in options:
        assert option in helps, option


def test_the_budgets_in_the_readme_are_valid(tmp_path: Path) -> None:
    config = tmp_path / "spanledger.yaml"
    config.write_text(yaml_of("Budgets"))
    found = [entry.budget() for entry in load_config(config, environ={}).budgets]
    assert [(one.unit, one.period, one.action) for one in found] == [
        ("usd", "month", "warn"),
        ("usd", "day", "fail"),
        ("tokens", "week", "skip"),
        ("tokens", "cycle", "warn"),
    ]


def test_the_retention_in_the_readme_is_valid(tmp_path: Path) -> None:
    config = tmp_path / "spanledger.yaml"
    config.write_text(yaml_of("Maintenance and retention"))
    found = load_config(config, environ={})
    assert (found.retention.spans, found.retention.contents, found.maintenance.cron) == (
        90,
        14,
        "30 3 * * *",
    )


def test_the_schedule_in_the_readme_is_valid(tmp_path: Path) -> None:
    """Its entries are a single analyzer, several, and all."""
    path = tmp_path / "collector.yaml"
    path.write_text(yaml_of("Scheduled runs"))
    one, several, every = load_config(path, {}, {}).schedule
    assert (one.analyzer, several.analyzers, every.analyzers) == ("cost", ("cost", "accounts"), "all")


def test_the_configuration_in_the_readme_is_valid_and_its_environment_variable_works(tmp_path: Path) -> None:
    block = yaml_of("Configuration")
    config = tmp_path / "collector.yaml"
    config.write_text(block)
    answer = run_here("otlp-collector", "validate", "--config", config)
    assert answer.returncode == 0, answer.stderr
    shown = run_here(
        "otlp-collector",
        "print-config",
        "--config",
        config,
        env={**os.environ, "SPANLEDGER_DATA_DIR": "/srv/x"},
    )
    effective = yaml.safe_load(shown.stdout)
    assert effective["data_dir"] == "/srv/x"
    assert effective["dimensions"] == yaml.safe_load(block)["dimensions"]


def test_the_configuration_of_access_in_the_readme_is_valid(tmp_path: Path) -> None:
    """Its files are not there: what is wrong with the block itself would be said before they are looked for."""
    block = yaml_of("Access and redaction")
    config = tmp_path / "collector.yaml"
    config.write_text(block)
    effective = load_config(config, environ={"TEAM_B_TOKEN": "a token of team b".replace(" ", "-")})
    assert [token.tenant for token in effective.tokens] == ["a", "b"]
    assert effective.redaction.user_ids == "hash"


def test_the_alerts_of_the_readme_are_valid(tmp_path: Path) -> None:
    config = tmp_path / "collector.yaml"
    config.write_text(yaml_of("Alerts"))
    secrets = {"HOOK_SECRET": "a secret of a webhook".replace(" ", "-"), "SMTP_PASSWORD": "x"}
    found = load_config(config, environ=secrets).alerts
    assert found.channels.names() == ["stdout", "file", "bridge", "ops"]
    assert {kind for kind, _, _ in found.rules.by_kind()} == type(found.rules).model_fields.keys()


def test_the_prices_of_the_readme_are_valid_and_apply(tmp_path: Path) -> None:
    """The machine's hour is shared by four calls: 2.50 / 4 = 0.625 USD."""
    config = tmp_path / "collector.yaml"
    config.write_text(yaml_of("Prices"))
    told = run_here(
        "otlp-collector", "prices", "show", "llama3.2:3b", "--config", config, "--data-dir", tmp_path / "none"
    )
    assert (told.returncode, "0.625 USD for an hour of a call" in told.stdout) == (0, True)
    assert len(load_config(config, environ={}).prices) == 4


def test_the_accounts_of_the_readme_are_those_of_its_command(with_demo: Collector, tmp_path: Path) -> None:
    """Each declared plan that was in force has its row, with its fee, also where no call was made."""
    config = tmp_path / "collector.yaml"
    config.write_text(yaml_of("Accounts and plans"))
    arguments = ("--since", "30d", "--config", config, "--data-dir", with_demo.data_dir, "--json")
    answer = run_here("otlp-analyze", "accounts", *arguments)
    assert answer.returncode == 0, answer.stderr
    (report,) = json.loads(answer.stdout)
    plans = {(row["account"], row["plan_tier"], row["pricing_mode"]): row for row in report["rows"]}
    assert plans["coding", "max_20x", "subscription"]["quota_tokens"] == 500_000_000
    assert plans["seats", "enterprise", "subscription"]["fee_usd"] > 0
    assert plans["metered", "enterprise", "api"]["fee_usd"] is None
    assert plans["lab", "local", "local"]["local_cost_usd"] is None
    fee = load_config(config, environ={}).accounts[0].fee_per_month
    assert fee is not None
    assert (str(fee.amount), str(fee.fx_to_usd)) == ("18.0", "1.0842")


def test_every_limit_has_a_row_in_the_readme() -> None:
    rows = "\n".join(line.partition(" | ")[0] for line in README.splitlines() if line.startswith("| `"))
    for name in LimitsConfig.model_fields:
        assert f"`{name}`" in rows, name


def test_the_exporter_lines_of_the_readme_are_those_that_serve_prints(with_demo: Collector) -> None:
    printed = with_demo.log.read_text()
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        assert f"export {name}=" in README
        assert f"export {name}=" in printed


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
