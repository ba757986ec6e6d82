"""Data files that cannot be read any more.

Guarantee: each is named, nothing else is blamed, and once it is put aside everything else reads as before, in readers
that were open all the while too; what it held can come again and is stored once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collector import quarantine
from collector.store import damage, rebuild
from collector.store.lake import Lake
from collector.store.query import QueryFailed, run_query
from collector.store.rebuild import rebuild_calls
from semconv.request import Request
from tests.store_support import HOUR, SECOND, Store, call, copy_of, store, traces


def flipped(content: bytes, column: str) -> bytes:
    """Every other bit of the pages that hold a column which each load looks at."""
    group = pq.read_metadata(pa.BufferReader(content)).row_group(0)
    chunk = next(
        group.column(n) for n in range(group.num_columns) if group.column(n).path_in_schema == column
    )
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    end = start + chunk.total_compressed_size
    return content[:start] + bytes(byte ^ 0x55 for byte in content[start:end]) + content[end:]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "no footer": lambda content: content[:-100] + bytes(100),
    "flipped in a page": lambda content: flipped(content, "trace_id"),
    "another file": lambda content: content[:4] + content[4:][::-1],
}


def requests(first: int) -> list[Request]:
    """Ten calls of ten traces, in one hour of their own."""
    return [
        traces(
            *(
                call(n, 1, response_id=f"r-{n}", at=first * HOUR + n * SECOND)
                for n in range(first, first + 10)
            )
        )
    ]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two loads; the first one's spans are what the tests damage."""
    path = tmp_path_factory.mktemp("sound") / "data"
    with store(path) as lake:
        lake.load(*requests(10))
        lake.load(*requests(20))
    return path


@pytest.fixture
def lake(sound: Path, tmp_path: Path) -> Iterator[Store]:
    with store(copy_of(sound, tmp_path / "data")) as opened:
        yield opened


def first_file(lake: Store, table: str = "spans") -> Path:
    files = [file for file in damage.data_files(lake.lake.connection) if file.table == table]
    return lake.data_dir / "data" / files[-1].path


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_named_and_put_aside_and_all_else_can_be_read(lake: Store, kind: str) -> None:
    reader = Lake.open(lake.data_dir, read_only=True)
    path = first_file(lake)
    content = DAMAGES[kind](path.read_bytes())
    path.write_bytes(content)
    with pytest.raises((duckdb.Error, UnicodeDecodeError)) as caught:
        lake.load(*requests(10))
    found = damage.find(lake.lake, caught.value)
    assert found is not None
    assert (found.file.table, found.file.rows, found.is_missing) == ("spans", 10, False)
    with pytest.raises(QueryFailed, match=path.name) as failed:
        list(run_query(lake.data_dir, "SELECT * FROM spans")[1])
    assert "doctor --repair" in str(failed.value)

    damage.put_aside(lake.lake, found)
    with reader:
        assert reader.connection.execute("SELECT count(*) FROM spans").fetchall() == [(10,)]
        assert len(reader.connection.execute("SELECT * FROM spans").fetchall()) == 10
    assert not path.exists()
    (entry,) = quarantine.entries(lake.data_dir)
    assert (entry.name, entry.bytes, entry.request) == (path.stem, len(content), None)
    assert (lake.data_dir / "quarantine" / f"{path.stem}.body").read_bytes() == content
    assert path.name in entry.reason

    assert lake.load(*requests(10), *requests(20)).spans_stored == 10
    for table in ("spans", "calls"):
        assert lake.ask(f"SELECT count(*), count(DISTINCT trace_id) FROM {table}") == [(20, 20)]


@pytest.mark.parametrize(
    "message",
    [
        'Invalid JSON found in Parquet file: Malformed JSON at byte 9 of input: unexpected end. Input: "secret"',
        'Invalid string encoding found in Parquet file "a.parquet": value "secret" is not valid UTF8!',
    ],
)
def test_a_reason_quotes_nothing_of_what_was_stored(message: str) -> None:
    """DuckDB's messages do, and reasons go to logs and reports."""
    kept = damage.without_quotes(message)
    assert kept.startswith("Invalid ")
    assert "secret" not in kept


def test_a_file_with_deleted_rows_stays_without_them(lake: Store) -> None:
    """The file of deletes goes with the file it belongs to: no row that was deleted comes back."""
    lake.lake.connection.execute(f"DELETE FROM lake.calls WHERE trace_id = '{10:032x}'")
    path = first_file(lake, "calls")
    path.write_bytes(b"PAR1")
    (found,) = damage.damaged(lake.data_dir, damage.data_files(lake.lake.connection))
    damage.put_aside(lake.lake, found)
    assert lake.ask("SELECT count(*), count(DISTINCT trace_id) FROM calls") == [(10, 10)]


def test_calls_are_built_again_from_their_records(lake: Store) -> None:
    """Every column as it was; done again it writes nothing."""
    everything = "SELECT * FROM calls ORDER BY ALL"
    before = lake.ask(everything)
    path = first_file(lake, "calls")
    path.write_bytes(b"PAR1")
    (found,) = damage.damaged(lake.data_dir, damage.data_files(lake.lake.connection))
    damage.put_aside(lake.lake, found)
    assert len(lake.ask(everything)) == 10
    with lake.lends_resolver(rebuild):
        assert rebuild_calls(lake.lake, lake.settings, found.file) == 10
        assert lake.ask(everything) == before
        assert rebuild_calls(lake.lake, lake.settings, found.file) == 0


def test_a_missing_file_is_told_from_a_damaged_one(lake: Store) -> None:
    """It may be on a disk that is not there for the moment: named, and nobody throws its rows away."""
    path = first_file(lake)
    moved = path.rename(lake.data_dir / "moved")
    with pytest.raises(duckdb.IOException) as caught:
        lake.load(*requests(10))
    found = damage.find(lake.lake, caught.value)
    assert found is not None
    assert found.is_missing
    assert path.name in str(found)
    moved.rename(path)
    assert not list(damage.damaged(lake.data_dir, damage.data_files(lake.lake.connection)))


def test_trouble_that_no_file_is_to_blame_for_looks_at_none(
    lake: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, a value out of range, a user's typing error."""
    monkeypatch.setattr(damage, "damaged", lambda *_: pytest.fail("files were read"))
    path = lake.data_dir / "data/main/spans/new.parquet"
    for error in (
        duckdb.IOException(f'Could not write to file "{path}": No space left on device'),
        duckdb.ConversionException("out of range"),
        duckdb.InvalidInputException("Could not parse string"),
        OSError(28, "No space left on device"),
    ):
        assert damage.find(lake.lake, error) is None


def test_without_its_version_or_prices_no_lake_is_left(lake: Store) -> None:
    """Those files are named, and stay."""
    path = first_file(lake, "prices")
    path.write_bytes(b"PAR1")
    (found,) = damage.damaged(lake.data_dir, damage.data_files(lake.lake.connection))
    with pytest.raises(damage.LakeDamaged, match="restore it from a backup"):
        damage.put_aside(lake.lake, found)
    assert path.exists()
