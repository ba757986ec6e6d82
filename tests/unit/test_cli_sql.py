"""otlp-collector sql: what it prints, exactly, and its exit codes. What it may run is tested at the guard."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from collector.cli.main import main
from collector.store.migrate import open_current


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sql") / "data"
    open_current(path, {"lead": "app.lead_id"}).close()
    return path


def ask(lake: Path, *arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["sql", "--data-dir", str(lake), *arguments], input=stdin)


def test_json_has_exact_numbers_utc_times_and_nulls(lake: Path) -> None:
    answer = ask(
        lake,
        "--json",
        """
        SELECT
            9223372036854775807 AS big,
            sum(x) AS huge,
            0.000608000000::DECIMAL(38, 12) AS money,
            TIMESTAMP '2026-01-02 03:04:05.678901' AS t,
            TIMESTAMPTZ '2026-01-02 03:04:05+01' AS z,
            DATE '2026-01-02' AS d,
            NULL AS nothing,
            ['a', NULL] AS list,
            true AS flag
        FROM (VALUES (9223372036854775807), (1)) AS v(x)
        """,
    )
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert answer.stdout == (
        '[{"big":9223372036854775807,"huge":9223372036854775808,"money":0.000608000000,'
        '"t":"2026-01-02T03:04:05.678901Z","z":"2026-01-02T02:04:05Z","d":"2026-01-02",'
        '"nothing":null,"list":["a",null],"flag":true}]\n'
    )


def test_a_result_without_rows_is_an_empty_array_or_a_header(lake: Path) -> None:
    statement = "SELECT call_id, lead FROM calls"
    assert ask(lake, statement, "--json").stdout == "[]\n"
    assert ask(lake, statement, "--csv").stdout_bytes == b"call_id,lead\r\n"
    assert ask(lake, statement).stdout.split("\n")[0].split() == ["call_id", "lead"]


def test_many_rows_come_whole(lake: Path) -> None:
    statement = "SELECT range AS n, repeat('x', 100) AS t FROM range(30000)"
    rows = json.loads(ask(lake, statement, "--json").stdout)
    assert [row["n"] for row in rows] == list(range(30000))
    assert len(list(csv.reader(io.StringIO(ask(lake, statement, "--csv").stdout, newline="")))) == 30001


def test_a_table_has_every_value_and_null(lake: Path) -> None:
    lines = ask(lake, "SELECT 'a' AS name, 1.50 AS n UNION ALL SELECT NULL, 22.25").stdout.splitlines()
    assert [line.split() for line in (lines[0], *lines[2:])] == [
        ["name", "n"],
        ["a", "1.50"],
        ["NULL", "22.25"],
    ]
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_too_many_rows_are_an_error_and_print_nothing(lake: Path, form: str) -> None:
    answer = ask(lake, "SELECT * FROM range(5000)", form, "--max-rows", "4999")
    assert (answer.exit_code, answer.stdout, answer.stderr.count("\n")) == (1, "", 1)
    assert "4999" in answer.stderr
    assert ask(lake, "SELECT * FROM range(5000)", form, "--max-rows", "5000").exit_code == 0


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        ("DELETE FROM calls", "only reads"),
        ("SELECT nope FROM calls", "nope"),
        ("SELEC 1", "SELEC"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("", "one statement"),
        ("SELECT * FROM '/etc/passwd'", "/etc/passwd"),
    ],
)
def test_what_cannot_run_is_one_line_and_exit_1(lake: Path, statement: str, part: str) -> None:
    answer = ask(lake, statement)
    assert (answer.exit_code, answer.stdout, answer.stderr.count("\n")) == (1, "", 1)
    assert part in answer.stderr


def test_two_columns_of_one_name_are_refused_for_json_alone(lake: Path) -> None:
    answer = ask(lake, "SELECT 1 AS a, 2 AS a", "--json")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert 'two columns are called "a"' in answer.stderr
    assert ask(lake, "SELECT 1 AS a, 2 AS a", "--csv").stdout_bytes == b"a,a\r\n1,2\r\n"


def test_a_query_has_a_time_limit(lake: Path) -> None:
    statement = (
        "SELECT count(*) FROM range(1000000) AS a, range(1000000) AS b WHERE a.range * b.range % 7 = 3"
    )
    answer = ask(lake, statement, "--sql-time-limit-seconds", "0.3")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "0.3 s" in answer.stderr


def test_the_statement_can_come_from_standard_input(lake: Path) -> None:
    assert json.loads(ask(lake, "-", "--json", stdin="SELECT 1 AS one -- a comment\n").stdout) == [{"one": 1}]


def test_attach_prints_what_a_duckdb_shell_needs(lake: Path) -> None:
    printed = ask(lake, "--attach").stdout
    assert f"ATTACH 'ducklake:sqlite:{lake}/catalog.sqlite' AS lake" in printed
    assert "READ_ONLY" in printed


def test_a_data_directory_without_a_lake_is_exit_2_and_stays_empty(tmp_path: Path) -> None:
    answer = ask(tmp_path, "SELECT 1")
    assert (answer.exit_code, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)
    assert "there is no lake" in answer.stderr
    assert list(tmp_path.iterdir()) == []
