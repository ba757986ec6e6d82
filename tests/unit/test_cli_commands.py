"""otlp-collector's commands: exit codes, one-line errors, help, and the configuration as it is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from collector.cli.main import COMMANDS, main
from collector.config import Config
from collector.config_load import scalar_options
from tests.support import run_here

TOKEN = "secret-secret-secret"


def run(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return run_here("otlp-collector", *arguments, env=environ)


def test_help_names_every_command_with_examples_and_starts_fast() -> None:
    """Guarantee: listing the commands imports neither pydantic nor DuckDB."""
    script = (
        "import sys\nfrom collector.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'pydantic', 'duckdb', 'rich', 'opentelemetry'} & set(sys.modules), sys.modules.keys()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in answer.stdout
    assert "Examples:" in answer.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_examples_and_the_common_options(name: str) -> None:
    """Those of a group stand in the help of its commands."""
    found = main.get_command(click.Context(main), name)
    subcommands = list(found.commands) if isinstance(found, click.Group) else []
    for words in [[name, subcommand] for subcommand in subcommands] or [[name]]:
        answer = CliRunner().invoke(main, [*words, "--help"])
        assert answer.exit_code == 0
        for part in ("Examples:", f"otlp-collector {' '.join(words)}", "--config", "--data-dir"):
            assert part in answer.output


def test_serve_has_every_scalar_option_as_a_flag() -> None:
    shown = CliRunner().invoke(main, ["serve", "--help"], terminal_width=200).output
    for option in scalar_options().values():
        assert option.flag in shown


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["srve"], ["'srve'", "did you mean serve?"]),
        (["serve", "--grpc-endpiont", "x"], ["--grpc-endpiont", "--grpc-endpoint"]),
        (["sql"], ["statement"]),
        (["sql", "SELECT 1", "--json", "--csv"], ["--json", "--csv"]),
        (["demo", "--protocol", "http/json"], ["http/protobuf", "grpc"]),
    ],
)
def test_an_unknown_name_or_option_is_exit_2_and_says_what_there_is(
    arguments: list[str], parts: list[str]
) -> None:
    answer = run(*arguments)
    assert answer.returncode == 2
    for part in parts:
        assert part in answer.stderr


@pytest.mark.parametrize("command", ["serve", "validate", "print-config", "status", "doctor", "demo", "sql"])
def test_a_bad_configuration_stops_every_command_with_one_line(command: str, tmp_path: Path) -> None:
    path = tmp_path / "collector.yaml"
    path.write_text("keep:\n  spans: some\n")
    answer = run(command, "--config", path, *(["SELECT 1"] if command == "sql" else []))
    assert (answer.returncode, answer.stdout) == (2, "")
    assert (
        answer.stderr == f"Error: {path}:2: keep.spans: 'some' is not allowed; use 'all', 'genai' or 'none'\n"
    )


def test_serve_wants_its_token_files_before_it_opens_anything(tmp_path: Path) -> None:
    path = tmp_path / "collector.yaml"
    path.write_text(f"tokens: [{{name: edge, token_file: {tmp_path / 'none'}}}]\n")
    for command in ("serve", "validate"):
        answer = run(command, "--config", path, "--data-dir", tmp_path / "data")
        assert answer.returncode == 2
        assert answer.stderr.count("\n") == 1
        assert str(tmp_path / "none") in answer.stderr
    assert not (tmp_path / "data").exists()


def test_validate_says_which_file_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "collector.yaml"
    path.write_text("timezone: Europe/Berlin\n")
    answer = run("validate", SPANLEDGER_CONFIG=str(path))
    assert (answer.returncode, answer.stdout) == (0, f"The configuration is valid ({path}).\n")
    assert json.loads(run("validate", "--json").stdout) == {"valid": True, "config": None}
    answer = run("validate", "--json", "--timezone", "x")
    assert answer.returncode == 2
    assert json.loads(answer.stdout) == {
        "valid": False,
        "error": answer.stderr.removeprefix("Error: ").strip(),
    }


def test_print_config_shows_what_holds_and_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "collector.yaml"
    path.write_text(f"tokens: [{{name: edge, token: {TOKEN}}}]\nlimits: {{max_spans: 5}}\n")
    flags = ("--config", path, "--timezone", "Asia/Tokyo")
    shown = run("print-config", *flags, SPANLEDGER_LIMITS_MAX_DEPTH="9")
    values = yaml.safe_load(shown.stdout)
    assert TOKEN not in shown.stdout
    assert values["tokens"][0]["token"] == "****"
    assert (values["limits"]["max_spans"], values["limits"]["max_depth"]) == (5, 9)
    assert (values["timezone"], set(values)) == ("Asia/Tokyo", set(Config.model_fields))
    as_json = run("print-config", *flags, "--json", SPANLEDGER_LIMITS_MAX_DEPTH="9")
    assert json.loads(as_json.stdout) == values


def test_what_print_config_shows_can_be_used_as_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "collector.yaml"
    path.write_text(run("print-config", "--keep-logs", "all").stdout)
    assert yaml.safe_load(run("print-config", "--config", path).stdout)["keep"]["logs"] == "all"


@pytest.mark.parametrize("command", [["status"], ["sql", "SELECT 1"]])
def test_without_a_lake_a_command_says_so_in_one_line(command: list[str], tmp_path: Path) -> None:
    answer = run(*command, "--data-dir", tmp_path / "none")
    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)
    assert str(tmp_path / "none") in answer.stderr
    assert not (tmp_path / "none").exists()
