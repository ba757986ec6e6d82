"""otlp-analyze --export-config: files that their targets can read, with every caveat, and nothing else changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from collector.cli.analyze import main
from tests.calls_table import lake_with_calls
from tests.priced_lakes import Row, every_day, gpt, opus

WINDOW = ("--since", "2026-03-01", "--until", "2026-03-15")
# Ends comments and strings where nobody takes care, adds keys, and is no name of anything.
EVIL = 'x"\nmodel_list: []\u2028evil: 1\u0085# {target} \U0001f600\x7f: *anchor'


def mixed(agent: str, **columns: Any) -> Iterator[Row]:
    """Simple calls and large ones: for a router."""
    for day in range(14):
        for at in range(3):
            yield gpt(day, at, 9_000 if at else 1_000, agent_name=agent, **columns)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """A tagger of small calls, a writer with a mix, a coder with long contexts, someone on Azure; and a coding tool
    that names its subagents."""
    tool = {"dialect": "claude_code", "service_name": "claude-code"}
    return [
        *every_day(gpt, 2),
        *mixed("writer"),
        *every_day(opus, 2),
        *every_day(gpt, 2, agent_name="clerk", provider="azure.ai.openai"),
        *every_day(opus, 2, agent_name=None, session_id="main", **tool),
        *every_day(
            opus, 2, agent_name="Explore", session_id="sub", request_model="claude-sonnet-4-5", **tool
        ),
    ]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> Path:
    return lake_with_calls(tmp_path_factory.mktemp("lake") / "data", *rows)


def analyze(data_dir: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments), "--data-dir", str(data_dir)])


def exported(data_dir: Path, target: str, file: Path, *more: str) -> tuple[str, list[dict[str, Any]]]:
    """The file, and the findings that were printed beside it."""
    result = analyze(data_dir, *(more or WINDOW), "--json", "--export-config", target, "--output", file)
    assert result.exit_code == 0, result.output
    assert f"wrote {file}" in result.stderr
    return file.read_text(), [one for report in json.loads(result.stdout) for one in report["findings"]]


@pytest.fixture(scope="module")
def litellm(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, Any]]]:
    return exported(data_dir, "litellm", tmp_path_factory.mktemp("litellm") / "config.yaml")


def served(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By name, what config.yaml makes of it; each once, with the keys that LiteLLM documents."""
    assert {*config} == {"model_list"}
    names = [entry["model_name"] for entry in config["model_list"]]
    assert len(names) == len({*names})
    assert all({*entry} == {"model_name", "litellm_params"} for entry in config["model_list"])
    return {entry["model_name"]: entry["litellm_params"] for entry in config["model_list"]}


# --- LiteLLM


def test_an_agent_gets_a_name_behind_which_the_cheaper_model_or_a_router_stands(
    litellm: tuple[str, list[dict[str, Any]]],
):
    text, _ = litellm
    models = served(yaml.safe_load(text))
    assert models["tagger:gpt-4o"] == {"model": "openai/gpt-4o-mini"}
    assert models["coder:claude-opus-4-5"] == {"model": "anthropic/claude-sonnet-4-5"}
    router = models["writer:gpt-4o:auto"]
    assert router["model"] == "auto_router/complexity_router"
    assert router["complexity_router_config"] == {
        "tiers": {"SIMPLE": "gpt-4o-mini", "MEDIUM": "gpt-4o", "COMPLEX": "gpt-4o", "REASONING": "gpt-4o"}
    }
    assert router["complexity_router_default_model"] == "gpt-4o"
    # Every tier is a name of the same file.
    assert models["gpt-4o"] == {"model": "openai/gpt-4o"}
    assert models["gpt-4o-mini"] == {"model": "openai/gpt-4o-mini"}


def test_every_caveat_of_what_is_suggested_stands_in_the_comments(litellm: tuple[str, list[dict[str, Any]]]):
    text, findings = litellm
    comments = "\n".join(line for line in text.splitlines() if line.lstrip().startswith("#"))
    suggested = [one for one in findings if one["dimension"]["provider"] != "azure.ai.openai"]
    assert suggested
    for finding in suggested:
        assert finding["title"] in comments
        assert [caveat for caveat in finding["caveats"] if caveat not in comments] == []
    assert "Prices were compared, not answers" in comments
    assert "spend:" in comments


def test_what_goes_by_names_of_its_own_is_left_out_and_that_is_said(
    litellm: tuple[str, list[dict[str, Any]]],
):
    """Azure's models go by the names of deployments."""
    text, _ = litellm
    assert not any(name.startswith("clerk") for name in served(yaml.safe_load(text)))
    assert "# left out, as its ids at azure.ai.openai are your own: agent clerk" in text


# --- Claude Code


@pytest.mark.usefixtures("litellm")
def test_settings_are_json_with_documented_keys_alone(data_dir: Path, tmp_path: Path):
    """Guarantee: no comment and no key of ours, as Claude Code refuses or reports those; values of env are texts."""
    text, findings = exported(data_dir, "claude-code", tmp_path / "settings.json", "--last")
    settings = json.loads(text)
    assert {*settings} == {"$schema", "model", "env"}
    assert settings["model"] == "claude-sonnet-4-5"
    assert settings["env"]["CLAUDE_CODE_SUBAGENT_MODEL"] == "claude-haiku-4-5"
    assert all(isinstance(value, str) for value in settings["env"].values())
    notes = "\n".join(settings["env"].values())
    for finding in findings:
        is_own = (
            finding["dimension"].get("service") == "claude-code"
            or finding["dimension"].get("agent") == "Explore"
        )
        assert (finding["title"] in notes) == is_own
        assert not is_own or all(caveat in notes for caveat in finding["caveats"])
    assert "{target}" not in text


def test_what_settings_cannot_say_is_told_in_their_notes_alone(tmp_path: Path):
    """The main thread on Bedrock, where models have other names; and a subagent whose name begins like the main
    thread's."""
    tool = {"dialect": "claude_code", "agent_name": None, "session_id": "bedrock"}
    bedrock = {"provider": "aws.bedrock", "request_model": "eu.anthropic.claude-opus-4-5-20251101-v1:0"}
    rows = [
        *every_day(opus, 2, **tool, **bedrock),
        *every_day(opus, 2, agent_name="maintainer", dialect="claude_code"),
    ]
    lake = lake_with_calls(tmp_path / "data", *rows)
    text, _ = exported(lake, "claude-code", tmp_path / "settings.json", "downsize", *WINDOW)
    settings = json.loads(text)
    assert "model" not in settings
    assert settings["env"]["CLAUDE_CODE_SUBAGENT_MODEL"] == "claude-sonnet-4-5"
    assert any("regional.anthropic.claude-opus-4-5" in note for note in settings["env"].values())


def test_without_calls_of_claude_code_there_is_no_file(tmp_path: Path):
    lake = lake_with_calls(tmp_path / "data", *every_day(gpt, 1))
    target = ("--export-config", "claude-code", "--output", tmp_path / "settings.json")
    result = analyze(lake, "downsize", *WINDOW, *target)
    assert result.exit_code == 0
    assert "no finding that claude-code can be configured by" in result.stderr
    assert not (tmp_path / "settings.json").exists()


# --- whatever they are called


def test_names_from_telemetry_are_values_and_never_syntax(tmp_path: Path):
    lake = lake_with_calls(
        tmp_path / "data",
        *every_day(gpt, 1, agent_name=EVIL),
        *every_day(opus, 2, agent_name=EVIL, dialect="claude_code"),
    )
    text, _ = exported(lake, "litellm", tmp_path / "config.yaml", "downsize", *WINDOW)
    assert {*served(yaml.safe_load(text))} == {f"{EVIL}:gpt-4o", f"{EVIL}:claude-opus-4-5"}
    text, _ = exported(lake, "claude-code", tmp_path / "settings.json", "--last", "downsize")
    settings = json.loads(text)
    assert {*settings} == {"$schema", "env"}
    assert settings["env"].pop("CLAUDE_CODE_SUBAGENT_MODEL") == "claude-sonnet-4-5"
    assert all(name.startswith("SPANLEDGER_NOTE_") for name in settings["env"])


# --- how it is asked for


def test_the_report_is_printed_as_ever_and_what_is_recorded_can_be_exported(
    litellm: tuple[str, list[dict[str, Any]]], data_dir: Path, tmp_path: Path
):
    first, _ = litellm
    again, _ = exported(data_dir, "litellm", tmp_path / "again.yaml", "--last")
    assert again == first
    plain = analyze(
        data_dir, "downsize", *WINDOW, "--export-config", "litellm", "--output", tmp_path / "one.yaml"
    )
    assert "downsize, 2026-03-01" in plain.stdout
    assert "routing, 2026-03-01" not in plain.stdout


def refused(data_dir: Path, *arguments: str | Path) -> str:
    result = analyze(data_dir, *arguments)
    assert result.exit_code == 2
    return result.stderr


def test_nothing_is_overwritten(data_dir: Path, tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_text("mine")
    told = refused(data_dir, *WINDOW, "--export-config", "litellm", "--output", file)
    assert told == f"Error: --output {file}: it exists, and nothing is overwritten\n"
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (lambda file: ("--export-config", "litellm"), "--export-config and --output FILE go together"),
        (lambda file: ("--output", file), "--export-config and --output FILE go together"),
        (
            lambda file: ("cost", "--export-config", "litellm", "--output", file),
            "downsize or routing is to run too",
        ),
        (lambda file: ("--list", "--export-config", "litellm", "--output", file), "not of --list or --runs"),
        (lambda file: ("--runs", "--export-config", "litellm", "--output", file), "not of --list or --runs"),
        (lambda file: ("--export-config", "nginx", "--output", file), "'nginx' is not one of"),
    ],
    ids=["no output", "no target", "another analyzer", "a list", "runs", "unknown target"],
)
def test_what_cannot_be_exported_is_refused(
    data_dir: Path, tmp_path: Path, arguments: Callable[[Path], tuple[str | Path, ...]], told: str
):
    assert told in refused(data_dir, *arguments(tmp_path / "file"))
    assert not (tmp_path / "file").exists()


@pytest.mark.usefixtures("litellm")
def test_where_nothing_can_be_written_is_one_line(data_dir: Path, tmp_path: Path):
    told = refused(data_dir, "--last", "--export-config", "litellm", "--output", tmp_path / "no" / "file")
    assert told == f"Error: --output {tmp_path / 'no' / 'file'}: No such file or directory\n"
