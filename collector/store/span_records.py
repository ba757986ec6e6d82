"""New spans as `call_records`: most columns are taken over as they are, which costs nothing; a few are computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from semconv.ancestry import CANDIDATE_ROLES
from semconv.calls import computed_of_spans
from semconv.planned import Planned

_NO_LENGTH: Final = pa.scalar(0, pa.int64())
# What the computed columns are made of.
_READ: Final = (
    *("role", "start_unix_nano", "end_unix_nano", "duration_ns", "status_code", "error_type"),
    *("input_tokens", "output_tokens", "attributes", "resource_attributes", "evidence"),
)


class SpanRecords:
    """On one connection; `schema` is that of `call_records`."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, dimensions: Mapping[str, str], schema: pa.Schema
    ) -> None:
        self._schema = schema
        self._computed = {
            of_streams: Planned(
                connection, f"SELECT {computed_of_spans(dimensions, of_streams=of_streams)} FROM new_spans"
            )
            for of_streams in (False, True)
        }

    def of(self, spans: pa.Table) -> pa.Table:
        """One record per span, in their order."""
        computed = self._computed[may_have_streams(spans)].table(new_spans=spans.select(_READ))
        columns = {name: spans.column(name) for name in self._schema.names if name in spans.column_names}
        columns |= dict(zip(computed.column_names, computed.columns, strict=True))
        return pa.table([columns[field.name].cast(field.type) for field in self._schema], schema=self._schema)


def may_have_streams(spans: pa.Table) -> bool:
    """Whether any can be a stream's end; where none can, there is a cheaper way to make records of them."""
    are_candidates = pc.is_in(spans.column("role"), value_set=CANDIDATE_ROLES)
    has_no_length = pc.equal(spans.column("duration_ns"), _NO_LENGTH)
    return bool(pc.any(pc.and_(has_no_length, are_candidates)).as_py())
