"""What holds for every file of ours."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
# The captures' own scorer is kept as it came.
NOT_OURS = {ROOT / "tests/corpus/score.py"}
MOST_LINES = 500


def test_no_file_is_longer_than_500_lines() -> None:
    files = {
        path
        for folder in ("analyzers", "collector", "semconv", "deploy", "tests")
        for ending in ("py", "sql", "mjs")
        for path in (ROOT / folder).rglob(f"*.{ending}")
        if "node_modules" not in path.parts
    }
    lengths = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in files - NOT_OURS}
    assert len(lengths) > 300
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}
