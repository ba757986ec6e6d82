"""What lies in the quarantine and is of who is erased: nothing there is in the lake, so it is judged by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from collector import quarantine
from collector.config import Config
from collector.store.erase import Subject
from semconv.admission import admit
from semconv.extract import Extracted, extract
from semconv.request import Request

# An id shorter than this may be part of any other text: it counts where it is a whole value.
_LONG: Final = 8
# As the lake names its files.
_DATA_FILE: Final = "ducklake-"
_RELATIONS: Final = ("spans", "log_records", "metric_points")


class QuarantineEraser:
    """Whole requests go: what cannot be loaded cannot be taken apart reliably."""

    def __init__(self, config: Config, subject: Subject, traces: set[tuple[str, str]]) -> None:
        """``traces``: (tenant, trace_id) in which the lake knows the subject."""
        self._folder = config.data_dir / quarantine.FOLDER
        self._data_dir = config.data_dir
        self._settings = config.semconv_settings()
        self._limits = config.limits
        self._subject = subject
        self._traces = traces
        self._texts = list(_spellings(subject.forms))

    def find(self) -> list[str]:
        """The names of those entries."""
        if not self._folder.is_dir():
            return []
        found = {path.stem for path in self._folder.iterdir() if self._is_named_in(path.read_bytes())}
        for entry in quarantine.entries(self._data_dir):
            if entry.name not in found and self._may_concern(entry):
                found.add(entry.name)
        return sorted(found)

    def remove(self) -> int:
        """Unlink them; how many."""
        names = self.find()
        for name in names:
            quarantine.remove(self._data_dir, name)
        return len(names)

    def _is_named_in(self, data: bytes) -> bool:
        return any(text in data for text in self._texts)

    def _may_concern(self, entry: quarantine.Entry) -> bool:
        if entry.request is not None:
            return self._concerns(entry.request)
        # Nobody can tell any more whose rows a damaged data file holds.
        return entry.name.startswith(_DATA_FILE)

    def _concerns(self, request: Request) -> bool:
        if self._subject.tenant not in (None, request.tenant):
            return False
        try:
            admit(request.signal, request.encoding, request.body, self._limits)
            extracted = extract([request], self._settings)
        except Exception:  # that is why it lies here
            return False
        return any(self._is_subjects(*row) for row in self._rows(extracted))

    def _is_subjects(self, tenant: str, trace: str | None, own: str | None) -> bool:
        return own in self._subject.forms if own is not None else (tenant, trace) in self._traces

    def _rows(self, extracted: Extracted) -> Iterator[tuple[str, str | None, str | None]]:
        for name in _RELATIONS:
            table = getattr(extracted, name)
            traces = table.column("trace_id") if "trace_id" in table.column_names else [None] * table.num_rows
            for tenant, trace, own in zip(
                table.column("tenant"), traces, table.column(self._subject.column), strict=True
            ):
                yield str(tenant), None if trace is None else trace.as_py(), own.as_py()


def _spellings(forms: tuple[str, ...]) -> Iterator[bytes]:
    """An id as it stands in protobuf and JSON: a short one with its length before it, or in quotes."""
    for form in forms:
        plain, quoted = form.encode(errors="surrogatepass"), json.dumps(form).encode()
        if len(form) >= _LONG:
            yield from (plain, quoted[1:-1])
        else:
            yield from (bytes([len(plain)]) + plain, quoted, json.dumps(form, ensure_ascii=False).encode())
