"""Requests that were put aside, loaded once more: after an update that can read them, or with wider limits.

What loads leaves the quarantine. A kill between the two leaves it there: the next attempt finds its records stored
already and stores none twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collector import quarantine
from collector.store.commit import Committer
from collector.store.load_row import LoadRow, Origin
from collector.store.trouble import fault_of
from semconv.admission import Limits, admit
from semconv.extract import extract
from semconv.request import Request
from semconv.settings import Settings

# As the loader: of rows in one transaction.
LARGEST_COMMIT_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of one: its row in `loads`, or why it stays."""

    name: str
    row: LoadRow | None = None
    reason: str | None = None


def retry(
    data_dir: Path, names: Iterable[str], committer: Committer, settings: Settings, limits: Limits
) -> Iterator[Retried]:
    """Load these one after the other. Raises what the lake is to blame for; the rest is left as it is then."""
    for name in names:
        try:
            request = quarantine.entry(data_dir, name).request
            if request is None:
                yield Retried(
                    name, reason="no request but damaged bytes: of the spool, or a data file of the lake"
                )
                continue
            admit(request.signal, request.encoding, request.body, limits)
            row = committer.commit(extract([request], settings), _origin(request))
        except Exception as error:
            if fault_of(error) == "lake" and not isinstance(error, FileNotFoundError):
                raise
            yield Retried(name, reason=f"{type(error).__name__}: {error}")
        else:
            quarantine.remove(data_dir, name)
            yield Retried(name, row)


def _origin(request: Request) -> Origin:
    """Without a position: that of the spool has long passed it."""
    return Origin(
        source=request.source,
        requests=1,
        bytes=len(request.body),
        first_received_at=request.received_at,
        last_received_at=request.received_at,
    )
