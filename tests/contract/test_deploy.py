"""The files in deploy/ agree with the program they start.

Guarantee: units pass systemd's own check where it is installed, every command and option in them exists, the
container publishes on loopback only and copies only what is there. Not proved here: that an image builds.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support import BIN, run_here

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/spanledger/bin", str(BIN)))
    checked = subprocess.run(
        ["systemd-analyze", "verify", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in checked.stderr.splitlines() if "spanledger" in line]
    assert (checked.returncode, ours) == (0, [])


def commands_in_deploy() -> list[str]:
    found = [line for unit in UNITS for line in re.findall(r"^ExecStart=\S+/(.*)$", unit.read_text(), re.M)]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    entry = re.findall(r"^(?:ENTRYPOINT|CMD) \[(.*)\]$", dockerfile, re.M)
    return [*found, " ".join(re.findall(r'"([^"]+)"', " ".join(entry)))]


@pytest.mark.parametrize("command", commands_in_deploy())
def test_every_command_in_deploy_exists_with_its_options(command: str) -> None:
    words = command.split()
    names = [word for word in words if not word.startswith("-")][: 2 if words[0] == "otlp-collector" else 1]
    helped = run_here(*names, "--help")
    assert helped.returncode == 0, helped.stderr
    for option in (word for word in words if word.startswith("--")):
        assert option in helped.stdout


def test_environment_variables_in_deploy_are_options_of_serve() -> None:
    texts = [path.read_text() for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    names = set(re.findall(r"SPANLEDGER_([A-Z_]+)", " ".join(texts)))
    helped = run_here("otlp-collector", "serve", "--help").stdout
    assert names
    for name in names:
        assert f"--{name.lower().replace('_', '-')}" in helped


def test_compose_publishes_on_loopback_only() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    ports = compose["services"]["spanledger"]["ports"]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_dockerfile_copies_only_what_is_in_the_build_context() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.M)
        for source in line.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert source in allowed
        assert (ROOT / source).exists()
