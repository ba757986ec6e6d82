"""otlp-collector status"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import click

from collector.cli.options import config_options, json_option, load
from collector.cli.render import iso_time, json_text

if TYPE_CHECKING:
    from collector.cli.facts import LakeFacts, ModeTotals, SpoolFacts
    from collector.cli.server import Server
    from collector.config import Config

EPILOG: Final = """\b
Examples:
  otlp-collector status
  otlp-collector status --timezone Europe/Berlin --json

\b
Spend is what calls on plan_tier api cost. What calls on a subscription or without a declared plan
would have cost at list price is shown apart and never added to it.
"""


@click.command(epilog=EPILOG)
@config_options("admin_endpoint", "timezone")
@json_option
def command(config_path: Path | None, as_json: bool, **flags: Any) -> None:
    """Today's calls and cost, and whether everything that was received is in the lake.

    Works with and without a running collector.
    """
    from collector.cli import facts
    from collector.cli.lake import reading
    from collector.cli.quarantine import read_quarantine
    from collector.cli.server import probe

    config = load(config_path, flags)
    now = dt.datetime.now(dt.UTC)
    with reading(config.data_dir) as connection:
        lake = facts.read_lake(connection, facts.today(config.timezone, now))
    status = _Status(
        config=config,
        now=now,
        lake=lake,
        spool=facts.read_spool(config.data_dir / "spool", lake.position),
        quarantined=len(read_quarantine(config.data_dir)),
        server=probe(config.admin_endpoint),
    )
    if as_json:
        click.echo(json_text(status.as_dict(), indent="  "))
    else:
        click.echo("\n".join(status.lines()))


class _Status:
    """What status found, as lines for people and as JSON for programs."""

    def __init__(
        self,
        *,
        config: Config,
        now: dt.datetime,
        lake: LakeFacts,
        spool: SpoolFacts,
        quarantined: int,
        server: Server,
    ) -> None:
        self.config, self.now, self.lake, self.spool = config, now, lake, spool
        self.quarantined, self.server = quarantined, server

    def as_dict(self) -> dict[str, Any]:
        lake, spool = self.lake, self.spool
        return {
            "data_dir": str(self.config.data_dir),
            "server": {"running": self.server.running, "ready": self.server.ready},
            "timezone": self.config.timezone,
            "today": {
                "date": self._local(lake.today.start).date(),
                "start": lake.today.start,
                "end": lake.today.end,
                "calls": sum(mode.calls for mode in lake.modes),
                "failed_calls": sum(mode.failed for mode in lake.modes),
                "by_pricing_mode": [mode.as_dict() for mode in lake.modes],
            },
            "undeclared_plans": list(lake.undeclared),
            "last_received_at": lake.loads.last_received_at,
            "lag": {
                "waiting_bytes": spool.waiting_bytes,
                "oldest_received_at": spool.oldest_received_at,
                "damage": spool.damage,
            },
            "not_kept": lake.loads.not_kept(),
            "rejected": lake.loads.rejected(),
            "quarantined_requests": self.quarantined,
            "prices": self._prices_dict(),
        }

    def _prices_dict(self) -> dict[str, Any] | None:
        prices = self.lake.prices
        return prices and {**prices._asdict(), "age_days": prices.age_days(self.now.date())}

    def lines(self) -> Iterator[str]:
        """One fact a line, its name first."""
        yield from self._today_lines()
        yield ""
        for name, value in (
            ("last received", self._last_received()),
            ("not in the lake yet", self._lag()),
            ("not kept", _counts(self.lake.loads.not_kept(), "by `keep` in the configuration")),
            ("rejected", _counts(self.lake.loads.rejected(), "as they could not be stored")),
            ("quarantine", self._quarantine()),
            ("prices", self._prices()),
            ("collector", f"{self.server} ({self.config.admin_endpoint})"),
            ("data", str(self.config.data_dir)),
        ):
            yield f"{name:<20} {value}"

    def _today_lines(self) -> Iterator[str]:
        modes = self.lake.modes
        calls, failed = sum(mode.calls for mode in modes), sum(mode.failed for mode in modes)
        date = self._local(self.lake.today.start).date()
        yield f"Today, {date} ({self.config.timezone}): {_calls(calls)}, {failed:,} failed"
        for mode in modes:
            yield f"  {_mode_line(mode)}"
        yield from (f"  {note}" for note in self.lake.undeclared)

    def _last_received(self) -> str:
        moment = self.lake.loads.last_received_at
        return f"{iso_time(moment)} ({_ago(moment, self.now)})" if moment else "nothing yet"

    def _lag(self) -> str:
        if self.spool.damage:
            return f"{self.spool.waiting_bytes:,} bytes; {self.spool.damage}: see otlp-collector doctor"
        if not self.spool.oldest_received_at:
            return "nothing"
        age = _ago(self.spool.oldest_received_at, self.now)
        return f"{self.spool.waiting_bytes:,} bytes, the oldest received {age}"

    def _quarantine(self) -> str:
        return (
            f"{self.quarantined} requests: see otlp-collector quarantine list"
            if self.quarantined
            else "empty"
        )

    def _prices(self) -> str:
        from analyzers import price_age

        prices = self.lake.prices
        if prices is None:
            return "none in the lake yet"
        age = prices.age_days(self.now.date())
        as_of = (
            f"data as of {prices.data_as_of}, {age} days old" if age is not None else "data of unknown age"
        )
        old = price_age.note(prices.source, prices.data_as_of, self.now.date())
        advice = f": {price_age.advice(prices.source)}" if old else ""
        return f"{prices.source} {prices.source_version}, {as_of}{advice}"

    def _local(self, moment: dt.datetime) -> dt.datetime:
        return moment.astimezone(ZoneInfo(self.config.timezone))


def _mode_line(mode: ModeTotals) -> str:
    from analyzers import honest

    label = honest.label(mode.pricing_mode)
    if mode.pricing_mode == "local" and mode.list_price_usd is None:
        return f"{'local models':<40} {'':>14}  {_calls(mode.calls)}"
    amount = "unknown" if mode.list_price_usd is None else f"{mode.list_price_usd:,.6f} USD"
    missing = f", {mode.calls_without_cost} without a known cost" if mode.calls_without_cost else ""
    return f"{label:<40} {amount:>14}  {_calls(mode.calls)}{missing}"


def _calls(count: int) -> str:
    return f"{count:,} call{'' if count == 1 else 's'}"


def _counts(counts: dict[str, int], reason: str) -> str:
    parts = [f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count]
    return f"{', '.join(parts)} ({reason})" if parts else "nothing"


def _ago(moment: dt.datetime, now: dt.datetime) -> str:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    seconds = (now - aware).total_seconds()
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"
