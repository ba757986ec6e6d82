"""The built wheel, installed where no checkout is near, gives three working commands.

Guarantee: SQL, TOML and price data are in the package, and the extension wheels are among its requirements. What is
not proved here: that a registry serves those requirements; the dependencies come from the test's own environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("collector", "semconv", "analyzers")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no left-over of an earlier build can slip in and nothing is left in the checkout."""
    folder, source = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
    ]
    subprocess.run([*command, str(folder), str(source)], check=True, capture_output=True)
    (built,) = folder.glob("spanledger-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment that holds the wheel alone; dependencies by path, not the checkout."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)
    bin_dir = home / "bin"
    (site_packages,) = home.glob("lib/python*/site-packages")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(bin_dir / "python"),
        "install",
        "--quiet",
        "--no-deps",
    ]
    subprocess.run([*install, "--no-index", str(wheel)], check=True, capture_output=True)
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return bin_dir


def run_installed(bin_dir: Path, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{bin_dir}:{os.defpath}", "HOME": str(cwd), "LANG": "C.UTF-8"}
    return subprocess.run(
        [str(bin_dir / command[0]), *command[1:]],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_wheel_carries_its_data_and_names_the_extension_wheels(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata_name,) = (name for name in names if name.endswith("/METADATA"))
        metadata = archive.read(metadata_name).decode()
    data = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for pattern in ("*.sql", "*.toml", "*.j2", "*.css", "*.js", "*.txt")
        for path in (ROOT / package).rglob(pattern)
    }
    assert {"collector/store/schema.sql", "collector/cli/html/vendor/plot.umd.min.js"} <= data
    assert data <= names
    assert not [name for name in names if name.startswith("tests/")]
    for requirement in ("duckdb==", "duckdb-extension-ducklake==", "duckdb-extension-sqlite-scanner=="):
        assert f"Requires-Dist: {requirement}" in metadata


def test_the_three_commands_work_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    package = run_installed(
        installed, "python", "-c", "import collector; print(collector.__file__)", cwd=tmp_path
    )
    assert str(installed.parent) in package.stdout
    for command in ("otlp-collector", "otlp-backfill", "otlp-analyze"):
        helped = run_installed(installed, command, "--help", cwd=tmp_path)
        assert helped.returncode == 0, helped.stderr
        assert "Usage" in helped.stdout


def test_a_file_is_loaded_priced_and_analyzed_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    capture = ROOT / "tests" / "corpus" / "otel-genai-openai" / "chat.json"
    data_dir = str(tmp_path / "data")
    loaded = run_installed(installed, "otlp-backfill", str(capture), "--data-dir", data_dir, cwd=tmp_path)
    assert loaded.returncode == 0, loaded.stderr
    asked = run_installed(
        installed,
        "otlp-collector",
        "sql",
        "SELECT count(*) > 0 AND count(*) = count(cost_usd) AS priced FROM calls",
        "--data-dir",
        data_dir,
        "--json",
        cwd=tmp_path,
    )
    assert (asked.returncode, asked.stdout.strip()) == (0, '[{"priced":true}]'), asked.stderr
    analyzed = run_installed(
        installed, "otlp-analyze", "cost", "--since", "2026-01-01", "--data-dir", data_dir, cwd=tmp_path
    )
    assert analyzed.returncode == 0, analyzed.stderr
    assert "gpt-4.1-mini" in analyzed.stdout
