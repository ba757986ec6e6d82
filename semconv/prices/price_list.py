"""A price list: one compiled state of a source of prices, which knows models by the source's own clauses."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from semconv.prices import published, sheets
from semconv.prices.finder import Finder
from semconv.prices.sheets import Sheet

PACKAGE: Final = "genai-prices"


@dataclasses.dataclass(frozen=True)
class PriceList:
    """``rows`` has the columns of the lake's `prices`; ``sheets`` says the same in objects. ``data_as_of`` is the
    newest date in the data that had come when it was read; the rows also hold prices announced for later.
    ``document`` is the source's text as far as it is read.
    """

    snapshot_id: str
    source: str
    source_version: str
    data_as_of: dt.date | None
    sheets: tuple[Sheet, ...] = dataclasses.field(repr=False)
    finder: Finder = dataclasses.field(repr=False, compare=False)
    document: str = dataclasses.field(repr=False)

    @functools.cached_property
    def rows(self) -> pa.Table:
        return sheets.table(
            self.sheets,
            snapshot_id=self.snapshot_id,
            source=self.source,
            source_version=self.source_version,
            data_as_of=self.data_as_of,
        )

    def to_json(self) -> str:
        """All of it, for `from_json`."""
        head = {
            "source": self.source,
            "source_version": self.source_version,
            "data_as_of": self.data_as_of and self.data_as_of.isoformat(),
        }
        return json.dumps(head)[:-1] + f', "providers": {self.document}}}'

    @classmethod
    def from_json(cls, text: str) -> PriceList:
        """What `to_json` wrote. Raises ValueError, KeyError for anything else."""
        stored = published.parse(text)
        as_of = stored["data_as_of"]
        return _compiled(
            stored["providers"],
            source=stored["source"],
            source_version=stored["source_version"],
            data_as_of=as_of and dt.date.fromisoformat(as_of),
        )


@functools.cache
def installed() -> PriceList:
    """The prices of the installed genai-prices; the same release always gives the same ``snapshot_id``."""
    return _compiled(published.of_package(), source=PACKAGE, source_version=version(PACKAGE))


def read_file(path: Path) -> PriceList:
    """A price list in genai-prices' published form. ``source_version`` is a hash of the file's bytes.

    Raises OSError; ValueError saying what stood where and what was expected.
    """
    content = path.read_bytes()
    providers = published.kept(published.parse(content))
    digest = hashlib.sha256(content).hexdigest()[:16]
    return _compiled(providers, source=f"file:{path.name}", source_version=digest)


def _compiled(
    raw: list[dict[str, Any]], *, source: str, source_version: str, data_as_of: dt.date | None = None
) -> PriceList:
    providers = published.read(raw)
    unnamed = [
        sheet
        for provider in providers
        for model in provider.models
        for sheet in sheets.sheets_of(provider.id, model)
    ]
    document = published.dump(raw)
    snapshot_id = _digest(unnamed, document)
    named = tuple(dataclasses.replace(sheet, id=f"{snapshot_id}/{sheet.id}") for sheet in unnamed)
    return PriceList(
        snapshot_id,
        source,
        source_version,
        data_as_of or _newest_date(named),
        named,
        Finder(providers),
        document,
    )


def _newest_date(named: Iterable[Sheet]) -> dt.date | None:
    today = dt.datetime.now(dt.UTC).date()
    return max((sheet.since for sheet in named if sheet.since and sheet.since <= today), default=None)


def _digest(unnamed: Iterable[Sheet], document: str) -> str:
    """Of what the rows say and of the clauses that find them: a new way to compile gives a new snapshot too."""
    digest = hashlib.sha256(document.encode())
    for sheet in unnamed:
        digest.update(repr(sheet).encode())
    return digest.hexdigest()[:16]
