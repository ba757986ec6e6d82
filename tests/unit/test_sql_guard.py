"""`sql` reads the lake and can do nothing else: each way out is refused, and afterwards every byte is as before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.store import guard
from collector.store.query import QueryError, QueryRefused, run_query
from semconv.sqltext import literal
from tests.store_support import Store, call, fingerprint, store, traces

OUTSIDE = "/etc/passwd"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with store(tmp_path_factory.mktemp("lake") / "data") as opened:
        opened.load(traces(call(1, 1), call(2, 1)))
        yield opened


ATTACKS = {
    "attach the catalog and delete": "ATTACH 'ducklake:sqlite:{catalog}' AS w; DELETE FROM w.calls",
    "attach alone": "ATTACH 'ducklake:sqlite:{catalog}' AS w",
    "attach creates a file": "ATTACH '{data}/new.sqlite' (TYPE sqlite)",
    "two statements": "SELECT 1; DELETE FROM calls",
    "a statement behind a comment": "SELECT 1 /* */; DROP TABLE calls --",
    "no statement": " -- nothing",
    "delete": "DELETE FROM calls",
    "insert": "INSERT INTO calls SELECT * FROM calls",
    "update": "UPDATE calls SET cost_usd = 0",
    "drop": "DROP TABLE calls",
    "create": "CREATE TABLE t AS SELECT 1",
    "copy out": "COPY (SELECT 1) TO '{data}/x.csv'",
    "copy out elsewhere": "COPY calls TO '{outside}'",
    "export": "EXPORT DATABASE '{data}/x'",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "set": "SET enable_external_access = true",
    "reset": "RESET lock_configuration",
    "pragma": "PRAGMA database_list",
    "call": "CALL ducklake_cleanup_old_files('lake', cleanup_all => true)",
    "use": "USE memory",
    "transaction": "BEGIN",
    "prepare": "PREPARE p AS DELETE FROM calls",
    "execute": "EXECUTE p",
    "explain analyze delete": "EXPLAIN ANALYZE DELETE FROM calls",
    "explain delete": "explain delete from calls",
    "explain copy": "EXPLAIN (FORMAT json) COPY calls TO '{outside}'",
    "clean-up in a select": "SELECT * FROM ducklake_cleanup_old_files('lake', cleanup_all => true)",
    "orphans in a select": "SELECT * FROM ducklake_delete_orphaned_files('lake', cleanup_all => true)",
    "expire in a select": "SELECT * FROM ducklake_expire_snapshots('lake', older_than => now())",
    "merge in a select": "SELECT * FROM ducklake_merge_adjacent_files('lake')",
    "options of the lake": "SELECT * FROM lake.options()",
    "qualified function": "SELECT * FROM lake.snapshots()",
    "set_option": "SELECT * FROM ducklake_set_option('lake', 'parquet_compression', 'snappy')",
    "sqlite_scan": "SELECT * FROM sqlite_scan('{catalog}', 'ducklake_snapshot')",
    "sqlite_query": "SELECT * FROM sqlite_query('lake', 'DELETE FROM ducklake_snapshot')",
    "sqlite_attach": "SELECT * FROM sqlite_attach('{catalog}')",
    "catalog tables": "SELECT * FROM __ducklake_metadata_lake.ducklake_snapshot",
    "catalog tables, quoted": 'SELECT * FROM "__DuckLake_Metadata_lake"."ducklake_data_file"',
    "catalog tables, three parts": "SELECT * FROM __ducklake_metadata_lake.main.ducklake_snapshot",
    "read_text": "SELECT * FROM read_text('{outside}')",
    "read_text in capitals": "SELECT * FROM READ_TEXT('{outside}')",
    "read_text as method": "SELECT ('{outside}').read_text()",
    "read_blob": "SELECT * FROM read_blob('{outside}')",
    "read_csv": "SELECT * FROM read_csv('{outside}')",
    "read_parquet of the lake": "SELECT * FROM read_parquet('{data}/main/calls/**/*.parquet')",
    "parquet metadata": "SELECT * FROM parquet_metadata('{data}/main/calls/**/*.parquet')",
    "glob": "SELECT * FROM glob('/etc/*')",
    "a file as a table": "SELECT * FROM '{outside}'",
    "a file as a table, double quotes": 'SELECT * FROM "{outside}"',
    "a file of the lake as a table": "SELECT * FROM '{data}/x.parquet'",
    "a pattern as a table": "SELECT * FROM '*.csv'",
    "a file by its suffix": "SELECT * FROM 'secrets.json'",
    "a file in a join": "SELECT * FROM calls JOIN 'x.csv' ON true",
    "a file in a subquery": "SELECT (SELECT max(column0) FROM '{outside}') FROM calls",
    "a file in a CTE": "WITH x AS (FROM '{outside}') SELECT * FROM x",
    "a file in a lateral join": "SELECT * FROM calls, LATERAL (SELECT * FROM read_text('{outside}'))",
    "a file described": "DESCRIBE SELECT * FROM '{outside}'",
    "a file summarized": "SUMMARIZE '{outside}'",
    "a file in a union": "SELECT 'a' UNION ALL SELECT content FROM read_text('{outside}')",
    "a file in a window": "SELECT row_number() OVER (ORDER BY (SELECT size FROM read_blob('{outside}'))) FROM calls",
    "a file in a filter": "SELECT count(*) FILTER (WHERE EXISTS (FROM read_text('{outside}'))) FROM calls",
    "a file in values": "VALUES ((SELECT content FROM read_text('{outside}')))",
    "a file in an explain": "EXPLAIN SELECT * FROM read_text('{outside}')",
    "a file after a comment": "/* x */ EXPLAIN -- y\n ANALYZE SELECT * FROM read_text('{outside}')",
    "query by string": "SELECT * FROM query('DELETE FROM calls')",
    "table by string": "SELECT * FROM query_table('{outside}')",
    "serialized statement": "SELECT * FROM json_execute_serialized_sql('{{}}')",
    "environment": "SELECT getenv('HOME')",
    "configuration": "SELECT current_setting('temp_directory')",
    "secrets": "SELECT * FROM duckdb_secrets()",
    "settings": "SELECT * FROM duckdb_settings()",
    "logs": "SELECT write_log('x')",
    "show databases": "SHOW DATABASES",
    "show all tables": "SHOW ALL TABLES",
    "another catalog": "SELECT * FROM system.information_schema.tables",
    "the database in memory": "SELECT * FROM memory.main.x",
    "python variable": "SELECT * FROM secret_frame.x",
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_and_nothing_changes(lake: Store, attack: str) -> None:
    statement = ATTACKS[attack].format(
        catalog=lake.data_dir / "catalog.sqlite", data=lake.data_dir / "data", outside=OUTSIDE
    )
    before = fingerprint(lake.data_dir)
    with pytest.raises(QueryRefused) as refused:
        run_query(lake.data_dir, statement)
    assert str(refused.value)
    assert "\n" not in str(refused.value)
    assert fingerprint(lake.data_dir) == before
    assert lake.one("SELECT count(*) FROM calls") == 2


def test_behind_the_guard_the_connection_is_closed_as_well(
    lake: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a statement that the guard let through reaches no file but the lake's and changes no setting."""
    monkeypatch.setattr(guard, "check", lambda statement: None)
    target = literal(str(tmp_path / "x"))
    for statement in (
        f"SELECT * FROM read_text({literal(OUTSIDE)})",
        f"COPY (SELECT 1) TO {target}",
        f"ATTACH {target}",
        "SET enable_external_access = true",
        "DELETE FROM calls",
        "INSTALL httpfs",
    ):
        with pytest.raises(QueryError):
            list(run_query(lake.data_dir, statement)[1])
    assert not (tmp_path / "x").exists()
    assert lake.one("SELECT count(*) FROM calls") == 2


ALLOWED = [
    "SELECT count(*) FROM calls",
    "select count(*) from lake.calls;",
    "SELECT count(*) FROM lake.main.calls -- a comment",
    "FROM calls SELECT provider, sum(cost_usd) GROUP BY ALL ORDER BY 2 DESC",
    "WITH days AS (SELECT date_trunc('day', start_time) AS day FROM calls) SELECT day, count(*) FROM days GROUP BY day",
    "SELECT s.name, c.cost_usd FROM spans s LEFT JOIN calls c USING (tenant, trace_id, span_id)",
    "SELECT unnest(notes) FROM spans",
    "SELECT * FROM range(3), generate_series(1, 2)",
    "SELECT key, value FROM spans, json_each(attributes)",
    "SELECT attributes ->> 'gen_ai.request.model', attributes['x'] FROM spans",
    "SELECT quantile_cont(duration_ns, [0.5, 0.95]) FROM calls",
    "PIVOT calls ON provider IN ('openai', 'anthropic') USING count(*) GROUP BY service_name",
    "EXPLAIN SELECT * FROM calls",
    "EXPLAIN ANALYZE SELECT count(*) FROM calls",
    "EXPLAIN (FORMAT json) SELECT 1",
    "/* comment */ EXPLAIN SELECT 1",
    "DESCRIBE calls",
    "SHOW TABLES",
    "SUMMARIZE calls",
    "VALUES (1), (2)",
    "SELECT table_name FROM information_schema.tables",
    "SELECT list_transform([1, 2], lambda x: x + 1), 'explain' AS explain",
    "SELECT count(*) FROM sessions, agents, units",
    "SELECT 'SELECT 1; DELETE FROM calls' AS text",
]


@pytest.mark.parametrize("statement", ALLOWED)
def test_what_people_ask_is_answered(lake: Store, statement: str) -> None:
    columns, rows = run_query(lake.data_dir, statement)
    assert columns
    list(rows)


def test_a_pivot_without_values_is_told_what_to_do(lake: Store) -> None:
    with pytest.raises(QueryRefused, match="has to list its values"):
        run_query(lake.data_dir, "PIVOT calls ON provider USING count(*)")


@pytest.mark.parametrize("opening", ["(", "1+(", "(SELECT "])
def test_deep_nesting_is_an_answer_or_a_sentence(lake: Store, opening: str) -> None:
    for depth in (300, 900, 5000):
        statement = "SELECT " + opening * depth + "1" + ")" * depth
        try:
            list(run_query(lake.data_dir, statement)[1])
        except QueryError as error:
            assert "\n" not in str(error)
