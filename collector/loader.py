"""The loader process: spool → one lake transaction per batch. ``python -m collector.loader``

Started and fed by the supervisor (collector/children.py says how they talk). It never loses and never stores
twice: the position in the spool is committed with the rows. Trouble of the lake is waited out; a batch that fails
because of what is in it is halved until the request is found, which goes to the quarantine, and loading goes on.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO, Final

import duckdb
import orjson

from collector import quarantine
from collector.config import Config, ConfigError
from collector.data_dir import SPOOL
from collector.load_batch import Batch, Requests, origin_of
from collector.load_orders import Orders, Reports, lines_of
from collector.load_reader import EndOfSpool, SpoolReader
from collector.log import Log, configure
from collector.memory import give_back, look_for_garbage_rarely
from collector.spool_files import Position, SpoolDamaged, segment_path
from collector.store import damage
from collector.store.commit import Committer
from collector.store.lake import Lake, LakeError, LakeTooNew
from collector.store.load_row import Origin
from collector.store.lock import LockTimeout, loader_lock
from collector.store.maintenance import Maintenance, grace_seconds
from collector.store.migrate import open_current
from collector.store.rebuild import rebuild_calls
from collector.store.trouble import fault_of
from collector.worker import WorkerEnded
from semconv.extract import Extracted, extract
from semconv.otlp import DecodeError
from semconv.request import Request
from semconv.settings import Signal
from semconv.validity import check
from semconv.wire import TooMany

_FIRST_DELAY: Final = 0.5
_LAST_DELAY: Final = 10.0
# Of rows in one transaction, which takes some 200 MB for that; a full batch of ordinary spans, 1.7 KB each, is no more:
# in two transactions it costs a third more time.
_LARGEST_COMMIT_BYTES: Final = 48 << 20
# How often an idle loader looks whether there is something to tidy up.
_IDLE_SECONDS: Final = 0.5

log = Log("loader")


class Stopped(Exception):  # noqa: N818 - not an error
    """Told to stop while waiting for the lake."""


class Loader:
    """Loads batches into the lake until told to stop."""

    def __init__(self, config: Config, lake: Lake, orders: Orders, reports: Reports) -> None:
        self._data_dir = Path(config.data_dir)
        self._lake = lake
        self._settings = config.semconv_settings()
        self._orders = orders
        self._reports = reports
        self._committer = Committer(lake, self._settings, _LARGEST_COMMIT_BYTES)
        self._has_loaded = False
        self._maintenance = Maintenance(lake, grace_seconds(config.sql.time_limit_seconds))
        self.position = self._committer.spool_position()
        self._reader = SpoolReader(config, self._settings, self.position, orders)

    def run(self) -> None:
        """Until told to stop and everything durable is loaded."""
        self._reader.start()
        try:
            while True:
                batch = self._reader.take(_IDLE_SECONDS)
                if batch is not None:
                    self._load(batch)
                    self._has_loaded = True
                    self._reader.done()
                self._tidy_up(idle=batch is None)
        except (EndOfSpool, Stopped):
            return
        finally:
            self._reader.close()

    def _load(self, batch: Batch) -> None:
        """One batch; the second failure because of its content starts the search for the request."""
        for refused in batch.refused:
            self._put_aside(refused.end, self._reader.spool.request_of(refused), refused.error)
        if batch.damage is not None:
            self._put_damage_aside(batch.damage, batch.position)
        origin, extracted = batch.origin, batch.extracted
        batch.extracted = None  # the reader has the batch at hand until there is another
        if origin is None or not (origin.requests or batch.skips):
            return
        if extracted is not None and self._commit_twice(extracted, origin):
            return
        if batch.error is not None:
            log.warning("batch cannot be read", error=batch.error, requests=origin.requests)
        self._search(self._reader.spool.again(batch.start, batch.position), batch.position)

    def _search(self, requests: Requests, end: Position) -> None:
        """Load what can be loaded of `requests`, put the rest aside, end at `end`."""
        origin = origin_of(requests, end)
        if not requests:
            self._commit(extract([], self._settings), origin)
            return
        try:
            self._commit(extract((request for _, request in requests), self._settings), origin)
        except Stopped:
            raise
        except Exception as error:
            if len(requests) > 1:
                middle = len(requests) // 2
                self._search(requests[:middle], requests[middle - 1][0])
                self._search(requests[middle:], end)
            elif fault_of(error) == "size":
                raise  # the process starts anew, and the request is tried again: it is not to blame
            else:
                self._put_aside(*requests[0], error)
                self._search([], end)

    def _commit_twice(self, extracted: Extracted, origin: Origin) -> bool:
        """Whether the batch is in the lake, after a second attempt if need be."""
        for _ in range(2):
            try:
                self._commit(extracted, origin)
            except Stopped:
                raise
            except Exception as error:
                log.failed_on_data("batch failed", error, requests=origin.requests)
            else:
                return True
        return False

    def _commit(self, extracted: Extracted, origin: Origin) -> None:
        """Commit, waiting as long as the lake is in trouble. Raises what the content causes, and Stopped."""
        delay = _FIRST_DELAY
        while True:
            try:
                row = self._committer.commit(extracted, origin)
            except Exception as error:
                trouble = self._mend(error)
                if trouble is None:
                    continue
                if fault_of(trouble) != "lake":
                    raise
                self._report_trouble(trouble, origin)
            else:
                self.position = origin.position
                self._reports.send(loaded=row.as_json())
                return
            if self._orders.wait_for_stop(delay):
                raise Stopped
            delay = min(delay * 2, _LAST_DELAY)

    def _mend(self, error: Exception) -> Exception | None:
        """Put the data file aside whose damage caused this, for no batch is to blame for it: None, what failed may work
        now. Else what is the matter. A file that is missing may come back with its disk, and is waited for.
        """
        found = damage.find(self._lake, error)
        if found is None:
            return error
        trouble = damage.LakeDamaged(str(found))
        if found.is_missing:
            return trouble
        try:
            entry = damage.put_aside(self._lake, found)
            if found.file.table == "calls":
                rebuild_calls(self._lake, self._settings, found.file)
        except (LakeError, OSError, duckdb.Error) as failure:
            log.failed("damaged data file cannot be put aside", failure, file=found.file.path)
            return trouble
        log.failed("damaged data file put aside", trouble, rows=found.file.rows)
        if entry is not None:
            self._report_put_aside(entry, None, 0)
        return None

    def _report_trouble(self, error: Exception, origin: Origin) -> None:
        since = origin.first_received_at
        lag = time.time() - since / 1e9 if since is not None else 0.0
        log.failed("lake cannot be written", error)
        self._reports.send(error=f"{type(error).__name__}: {error}", lag_seconds=round(lag, 3))

    def _put_aside(self, position: Position, request: Request, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        entry = quarantine.put_request(self._data_dir, position, request, reason)
        log.failed_on_data(
            "request put aside", error, name=entry.name, signal=request.signal, bytes=entry.bytes
        )
        # What cannot or must not be parsed is not parsed to be counted.
        items = 0 if isinstance(error, TooMany | DecodeError) else _items(request)
        self._report_put_aside(entry, request.signal, items)

    def _put_damage_aside(self, damage: SpoolDamaged, resumed: Position) -> None:
        with segment_path(self._data_dir / SPOOL, damage.segment).open("rb") as file:
            file.seek(damage.offset)
            damaged = file.read(max(0, resumed[1] - damage.offset))
        entry = quarantine.put_damage(self._data_dir, (damage.segment, damage.offset), damaged, str(damage))
        log.failed("spool bytes put aside", damage, name=entry.name, bytes=entry.bytes)
        self._report_put_aside(entry, None, 0)

    def _report_put_aside(self, entry: quarantine.Entry, kind: Signal | None, items: int) -> None:
        about = {"name": entry.name, "reason": entry.reason, "bytes": entry.bytes}
        self._reports.send(quarantined={**about, "signal": kind, "items": items})

    def _tidy_up(self, *, idle: bool) -> None:
        """A step of maintenance where one is due; trouble of the lake will be met by the next load too."""
        if idle and self._has_loaded:
            self._has_loaded = False
            give_back()
        try:
            self._maintenance.step_if_due(idle=idle)
        except Exception as error:
            if (trouble := self._mend(error)) is not None:
                log.failed("maintenance failed", trouble)


def _items(request: Request) -> int:
    """How many records a request holds, for the counters; 0 where even that cannot be told."""
    try:
        return check(request.signal, request.encoding, request.body, request.received_at).items
    except Exception:
        return 0


def main() -> int:
    """Speak the supervisor's protocol on stdin and stdout; the exit code."""
    os.umask(0o077)
    # Ctrl-C reaches the whole process group; the supervisor decides what is still to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reports = Reports(_take_stdout())
    lines = lines_of(sys.stdin.fileno())
    config = Config.model_validate(orjson.loads(next(lines))["config"])
    configure(config.log_level)
    orders = Orders()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=orders.stop).start())
    threading.Thread(target=orders.listen, args=[lines], daemon=True).start()
    try:
        with loader_lock(config.data_dir):
            _serve(config, orders, reports)
    except LakeTooNew as error:
        reports.send(error=str(error), refused=True)
        return 1
    except (LakeError, LockTimeout, ConfigError, WorkerEnded, OSError, duckdb.Error) as error:
        log.failed("loader cannot work", error)
        reports.send(error=str(error))
        return 1
    return 0


def _serve(config: Config, orders: Orders, reports: Reports) -> None:
    dimensions = config.semconv_settings().dimensions
    threads, memory = config.loader.threads, config.loader.memory_limit
    with open_current(config.data_dir, dimensions, threads=threads, memory_limit=memory) as lake:
        loader = Loader(config, lake, orders, reports)
        look_for_garbage_rarely()
        reports.send(ready=True, position=loader.position)
        loader.run()


def _take_stdout() -> BinaryIO:
    """The pipe to the supervisor, for us alone: whatever else prints goes to stderr."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return pipe


if __name__ == "__main__":
    sys.exit(main())
