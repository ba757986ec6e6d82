"""status and doctor over a lake whose contents are known row by row."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from collector.cli import facts
from collector.cli.main import main
from collector.spool_format import Record, encode_head
from collector.store.lake import Lake
from collector.store.migrate import open_current

_CALL = """
    INSERT INTO lake.calls BY NAME SELECT
        uuid()::VARCHAR AS call_id, '' AS tenant, '[]' AS members, 'span' AS signal, 'llm' AS role,
        $start_time::TIMESTAMP AS start_time, false AS session_inherited, false AS user_inherited,
        false AS agent_inherited, false AS tool_inherited, false AS possible_duplicate,
        $pricing_mode AS pricing_mode, 'unknown' AS plan_tier, $account AS billing_account,
        $cost_usd::DECIMAL(38, 12) AS cost_usd, $status_code AS status_code
"""
_LOAD = """
    INSERT INTO lake.loads BY NAME SELECT
        'l1' AS load_id, $received::TIMESTAMP AS loaded_at, 'otlp' AS source, 3 AS spool_segment,
        $offset AS spool_offset, 1 AS requests, 1 AS bytes, $received::TIMESTAMP AS last_received_at,
        0 AS spans_read, 0 AS spans_stored, 0 AS spans_duplicate, 0 AS spans_not_kept, 2 AS spans_rejected,
        0 AS log_records_read, 0 AS log_records_stored, 0 AS log_records_duplicate,
        1234 AS log_records_not_kept, 0 AS log_records_rejected, 0 AS metric_points_read,
        0 AS metric_points_stored, 0 AS metric_points_duplicate, 7 AS metric_points_not_kept,
        0 AS metric_points_rejected, 0 AS calls_written, 1.0 AS duration_ms
"""


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def empty_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "data"
    open_current(path, {}).close()
    return path


@pytest.fixture
def data_dir(empty_lake: Path, tmp_path: Path) -> Path:
    """A lake of the test's own; copying one is faster than laying one out."""
    path: Path = shutil.copytree(empty_lake, tmp_path / "data")
    return path


def write(data_dir: Path, statement: str, *rows: dict[str, Any]) -> None:
    with Lake.open(data_dir) as lake:
        lake.connection.execute("BEGIN")
        for row in rows:
            lake.connection.execute(statement, row)
        lake.connection.execute("COMMIT")


def call(mode: str, cost: str | None, **fields: Any) -> dict[str, Any]:
    values = {"start_time": now().replace(tzinfo=None), "status_code": "UNSET", "account": "acme", **fields}
    return {"pricing_mode": mode, "cost_usd": cost, **values}


def load_row(received: dt.datetime, offset: int) -> dict[str, Any]:
    return {"received": received.replace(tzinfo=None), "offset": offset}


def invoke(*arguments: str | Path) -> str:
    answer = CliRunner().invoke(main, [*map(str, arguments), "--admin-endpoint", f"127.0.0.1:{free_port()}"])
    assert answer.exit_code == 0, answer.output
    return answer.output


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def status_json(data_dir: Path, *arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(invoke("status", "--data-dir", data_dir, "--json", *arguments))
    return document


def test_an_empty_lake_is_a_status_of_zeros(data_dir: Path) -> None:
    found = status_json(data_dir)
    assert (found["today"]["calls"], found["today"]["by_pricing_mode"], found["last_received_at"]) == (
        0,
        [],
        None,
    )
    assert (found["quarantined_requests"], found["lag"]["waiting_bytes"]) == (0, 0)
    assert found["server"] == {"running": False, "ready": False}
    shown = invoke("status", "--data-dir", data_dir)
    assert "0 calls" in shown
    assert "not running" in shown


def test_money_of_different_modes_is_named_apart_and_never_added(data_dir: Path) -> None:
    """Guarantee: spend is of mode api alone, and the line that declares a missing plan is shown."""
    write(
        data_dir,
        _CALL,
        call("api", "1.25"),
        call("api", None, status_code="ERROR"),
        call("subscription", "10.5"),
        call("unknown", "100.125"),
        call("local", None),
    )
    found = status_json(data_dir)
    assert (found["today"]["calls"], found["today"]["failed_calls"]) == (5, 1)
    modes = {mode.pop("pricing_mode"): mode for mode in found["today"]["by_pricing_mode"]}
    assert modes["api"] == {
        "calls": 2,
        "failed_calls": 1,
        "calls_without_cost": 1,
        "spend_usd": 1.25,
        "implied_api_value_usd": None,
        "list_price_usd": None,
        "local_cost_usd": None,
    }
    assert (modes["subscription"]["spend_usd"], modes["unknown"]["spend_usd"]) == (None, None)
    assert modes["subscription"]["implied_api_value_usd"] == 10.5
    assert modes["unknown"]["list_price_usd"] == 100.125
    assert modes["local"]["spend_usd"] is None
    shown = invoke("status", "--data-dir", data_dir)
    for part in (
        "spend                                      1.250000 USD",
        "implied API value (beside the fee)        10.500000 USD",
        "list price, plan not declared            100.125000 USD",
        '{name: "acme", plan_tier: api}',
    ):
        assert part in shown
    assert not {"111.875", "101.375", "11.75"} & set(shown.replace("0 USD", " ").split())


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_today_is_the_configured_time_zones_day(data_dir: Path, zone: str) -> None:
    """A call of one minute before local midnight is yesterday's, however UTC sees it."""
    midnight = facts.today(zone, now()).start.replace(tzinfo=None)
    before = call("api", "1", start_time=midnight - dt.timedelta(minutes=1))
    write(data_dir, _CALL, before, call("api", "2", start_time=midnight))
    found = status_json(data_dir, "--timezone", zone)["today"]
    assert (found["calls"], found["by_pricing_mode"][0]["spend_usd"]) == (1, 2)


def test_a_day_of_a_clock_change_has_its_real_length() -> None:
    window = facts.today("Europe/Berlin", dt.datetime(2026, 3, 29, 12, tzinfo=dt.UTC))
    assert window.end - window.start == dt.timedelta(hours=23)


def write_spool(data_dir: Path, segment: int, *received: dt.datetime) -> list[int]:
    """A segment of one record per time; returns the position after each."""
    folder = data_dir / "spool"
    folder.mkdir(exist_ok=True)
    ends = []
    with (folder / f"{segment:020d}.spool").open("wb") as file:
        for moment in received:
            record = Record(int(moment.timestamp() * 1e9), 1, "", None, "traces", "protobuf", b"body")
            file.write(encode_head(record) + record.body)
            ends.append(file.tell())
    return ends


def test_what_is_accepted_and_not_loaded_is_counted_and_dated(data_dir: Path) -> None:
    at = now()
    ago = [at - dt.timedelta(seconds=seconds) for seconds in (900, 610, 300)]
    first, last = write_spool(data_dir, 3, ago[0], ago[1])
    (next_end,) = write_spool(data_dir, 4, ago[2])
    write(data_dir, _LOAD, load_row(ago[0], first))
    found = status_json(data_dir)
    assert found["lag"]["waiting_bytes"] == last - first + next_end
    oldest = dt.datetime.fromisoformat(found["lag"]["oldest_received_at"])
    assert abs((oldest - ago[1]).total_seconds()) < 0.001
    assert found["not_kept"] == {"spans": 0, "log_records": 1234, "metric_points": 7}
    assert found["rejected"]["spans"] == 2
    shown = invoke("status", "--data-dir", data_dir)
    assert "the oldest received 1" in shown
    assert " minutes ago" in shown
    assert "1,234 log records, 7 metric points (by `keep`" in shown


def doctor(data_dir: Path, *arguments: str | Path) -> dict[str, dict[str, str]]:
    ports = ["--grpc-endpoint", f"127.0.0.1:{free_port()}", "--http-endpoint", f"127.0.0.1:{free_port()}"]
    document = json.loads(invoke("doctor", "--data-dir", data_dir, "--json", *ports, *arguments))
    return {check["name"]: check for check in document["checks"]}


def test_a_sound_lake_has_nothing_to_see_to_but_a_stopped_server(data_dir: Path) -> None:
    checks = doctor(data_dir)
    bad = {name for name, check in checks.items() if check["level"] != "ok"}
    # The disk is the machine's, and the price data ages.
    assert bad <= {"collector", "disk", "prices"}
    assert checks["collector"]["advice"] == "start it with: otlp-collector serve"
    assert {"versions", "data directory", "lake", "spool", "quarantine", "clock", "plans"} <= set(checks)


def test_doctor_without_a_data_directory_says_what_creates_it(tmp_path: Path) -> None:
    checks = doctor(tmp_path / "none")
    assert (checks["data directory"]["level"], checks["lake"]["level"]) == ("warn", "warn")
    assert "otlp-collector serve" in checks["lake"]["advice"]
    assert not (tmp_path / "none").exists()


def test_doctor_finds_what_is_wrong_and_says_what_to_do(data_dir: Path) -> None:
    write(data_dir, _CALL, call("unknown", "1"))
    write(data_dir, _LOAD, load_row(now(), 0))
    write_spool(data_dir, 3, now() - dt.timedelta(minutes=30, seconds=1))
    data_dir.chmod(0o755)
    checks = doctor(data_dir)
    data_dir.chmod(0o700)
    for name, level, found, advice in (
        ("data directory", "fail", "can be read by others", "chmod 0700"),
        ("spool", "warn", "bytes wait to be loaded, the oldest for 3", "otlp-collector serve"),
        ("plans", "warn", "plan_tier: api", "configuration"),
        ("rejected", "warn", "2 spans", ""),
        ("kept", "ok", "1,234 log records", ""),
    ):
        check = checks[name]
        assert check["level"] == level, check
        assert found in check["found"]
        assert advice in (check["advice"] or "")


def test_doctor_finds_damage_in_the_spool(data_dir: Path) -> None:
    write_spool(data_dir, 1, now(), now())
    path = next((data_dir / "spool").iterdir())
    body = bytearray(path.read_bytes())
    body[-1] ^= 1
    path.write_bytes(body)
    check = doctor(data_dir)["spool"]
    assert (check["level"], "checksum" in check["found"]) == ("fail", True)


def test_doctor_names_a_port_that_something_else_holds(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        endpoint = f"127.0.0.1:{holder.getsockname()[1]}"
        check = doctor(data_dir, "--http-endpoint", endpoint)["http_endpoint"]
    assert (check["level"], endpoint in check["found"]) == ("fail", True)
    assert "--http-endpoint" in check["advice"]


def test_doctor_names_senders_whose_clock_runs_ahead(data_dir: Path) -> None:
    ahead = int((now() + dt.timedelta(hours=1)).timestamp() * 1e9)
    write(
        data_dir,
        """
        INSERT INTO lake.spans BY NAME SELECT
            '' AS tenant, 't' AS trace_id, 's' AS span_id, 'n' AS name, 'CLIENT' AS kind,
            make_timestamp_ns($ahead)::TIMESTAMP AS start_time, $ahead AS start_unix_nano,
            $ahead AS end_unix_nano, 'UNSET' AS status_code, 'bot' AS service_name, 'otlp' AS source,
            $now::TIMESTAMP AS received_at, 'l' AS load_id
        """,
        {"ahead": ahead, "now": now().replace(tzinfo=None)},
    )
    check = doctor(data_dir)["senders' clocks"]
    assert check["level"] == "warn"
    assert "bot: 1 spans up to 3,600 s ahead" in check["found"]


def test_doctor_prints_a_line_per_check_without_colours_in_a_pipe(data_dir: Path) -> None:
    os.environ.pop("FORCE_COLOR", None)
    shown = invoke("doctor", "--data-dir", data_dir)
    assert "\x1b[" not in shown
    assert shown.splitlines()[-1].endswith(" ok")
