"""The SQL that builds calls, with the configured dimensions worked into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from semconv import calls
from semconv.sqltext import quoted, sql_text

_WHOSE: Final = ("session_id", "user_id")
_AGENT_AND_TOOL: Final = ("agent_name", "agent_id", "tool_name", "tool_call_id")
_INPUT_COUNTS: Final = (
    *("input_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("cache_write_5m_tokens", "cache_write_30m_tokens", "cache_write_1h_tokens", "cache_write_12h_tokens"),
    *("audio_input_tokens", "image_input_tokens"),
)
_OUTPUT_COUNTS: Final = ("output_tokens", "reasoning_tokens", "audio_output_tokens")
_TOTALS: Final = {"input_tokens", "output_tokens"}
# Columns of several records' one call that call_merge.sql does not take from the first that has a value.
_MERGED_APART: Final = {
    *_INPUT_COUNTS,
    *_OUTPUT_COUNTS,
    *(
        "token_semantics",
        "token_evidence",
        "status_code",
        "error_type",
        "billing_account",
        "plan_tier",
        "notes",
    ),
}

# What identifies a call and says when it was: of a span, where one reported it.
_OF_ITS_SPAN: Final = (
    *("signal", "trace_id", "span_id", "parent_span_id", "scope_name", "event_name"),
    *("start_time", "start_unix_nano", "end_unix_nano", "duration_ns"),
)

# The columns of `calls` in the lake's order; configured dimensions follow.
CALL_COLUMNS: Final = (
    *("call_id", "tenant", "trace_id", "span_id", "members", "signal", "start_time", "duration_ns"),
    *("service_name", "deployment_environment", "dialect", "role", "operation", "provider"),
    *("request_model", "response_model", "model_region", "response_id", "finish_reasons", "service_tier"),
    *("speed", "batch", "error_type", "time_to_first_token_ms"),
    *_WHOSE,
    *_AGENT_AND_TOOL,
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens"),
    *("cache_write_30m_tokens", "cache_write_1h_tokens", "cache_write_12h_tokens"),
    *("output_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "image_input_tokens"),
    *("token_semantics", "token_evidence"),
    *("session_inherited", "user_inherited", "agent_inherited", "tool_inherited", "possible_duplicate"),
    *("billing_account", "plan_tier", "pricing_mode", "cost_usd", "cost_low_usd", "cost_high_usd"),
    *("cost_input_usd", "cost_output_usd", "cost_cache_read_usd", "cost_cache_write_usd"),
    *("cost_reasoning_usd", "cost_audio_usd", "cost_request_usd", "reported_cost_usd"),
    *("price_id", "cost_note", "status_code", "notes"),
)
# A record as `members` names it.
_MEMBER: Final = (
    "CASE WHEN signal = 'span'"
    " THEN to_json({'signal': signal, 'trace_id': trace_id, 'span_id': span_id})"
    " ELSE to_json({'signal': signal, 'record_hash': span_id}) END"
)
_EXPRESSIONS: Final = {
    "call_id": calls.CALL_ID,
    "trace_id": "CASE WHEN signal = 'span' THEN trace_id END",
    "span_id": "CASE WHEN signal = 'span' THEN span_id END",
    "members": f"coalesce(members, to_json([{_MEMBER}]))",
    "agent_inherited": "coalesce(agent_level > 1, FALSE)",
    "tool_inherited": "coalesce(tool_level > 1, FALSE)",
    "plan_tier": "coalesce(plan_tier, 'unknown')",
}
# What those are made of, and `notes`.
_DECIDED_FROM: Final = (
    *(
        "tenant",
        "signal",
        "trace_id",
        "span_id",
        "members",
        "agent_level",
        "tool_level",
        "plan_tier",
        "notes",
    ),
)


class CallSql:
    """One attribute per statement; each .sql file says what its statement does."""

    def __init__(self, dimensions: Iterable[str]) -> None:
        whose = [_Whose(name) for name in _WHOSE] + [_Whose(name) for name in dimensions]
        self.values = _WHOSE
        self.dimensions = tuple(value.name for value in whose[len(_WHOSE) :])
        # What stands in call_candidates as the record has it.
        self.record_columns = tuple(_record_columns())
        self.roll_ups = sql_text("call_rollups.sql")
        self.partners = sql_text("call_partners.sql")
        self.edges = sql_text("call_edges.sql").format(**calls.BOUNDS)
        self.streams = sql_text("call_streams.sql")
        self.log_twins = sql_text("call_log_twins.sql")
        self.merge = _merge(whose)
        self.call_columns = (*CALL_COLUMNS, *self.dimensions)
        decided = dict(_decided(whose))
        # What the statement below reads of call_candidates; all other columns are the calls' as they stand.
        self.decided_from = (*_DECIDED_FROM, *(name for value in whose for name in value.columns()))
        self.calls = sql_text("calls.sql").format(
            columns=_joined(f"{expression} AS {quoted(name)}" for name, expression in decided.items())
        )

    def selects(self) -> dict[str, str]:
        """The statements over relations alone, by name."""
        names = ("roll_ups", "partners", "edges", "streams", "log_twins", "merge", "calls")
        return {name: getattr(self, name) for name in names}


class _Whose:
    """A value that a call may have from elsewhere: a session, a user, a configured dimension.

    ancestry.py says what `<name>_level`, `_low` and `_high` hold.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._level, self._least = quoted(f"{name}_level"), quoted(f"{name}_least_level")
        self._low, self._high = quoted(f"{name}_low"), quoted(f"{name}_high")

    def columns(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{part}" for part in ("level", "low", "high"))

    def least_level(self) -> str:
        return f"min({self._level}) OVER (PARTITION BY call_number) AS {self._least}"

    def merged(self) -> str:
        is_least = f"{self._level} = {self._least}"
        return (
            f"min({self._level}) AS {self._level},"
            f" min(CASE WHEN {is_least} THEN {self._low} END) AS {self._low},"
            f" max(CASE WHEN {is_least} THEN {self._high} END) AS {self._high}"
        )

    def decided(self) -> str:
        return f"CASE WHEN {self._low} = {self._high} THEN {self._low} END"

    def inherited(self) -> str:
        return f"coalesce({self._low} = {self._high} AND {self._level} > 1, FALSE)"

    def conflict_note(self) -> str:
        return f"CASE WHEN {self._low} <> {self._high} THEN ['{self.name.removesuffix('_id')}_conflict'] END"


def _decided(whose: list[_Whose]) -> Iterator[tuple[str, str]]:
    """The columns of `calls` that do not stand in call_candidates, but for the costs."""
    session, user = whose[: len(_WHOSE)]
    yield from _EXPRESSIONS.items()
    yield from ((value.name, value.decided()) for value in whose)
    yield "session_inherited", session.inherited()
    yield "user_inherited", user.inherited()
    yield "notes", f"nullif(list_concat(notes, {session.conflict_note()}, {user.conflict_note()}), [])"


def _merge(whose: list[_Whose]) -> str:
    details = (name for name in (*_INPUT_COUNTS, *_OUTPUT_COUNTS) if name not in _TOTALS)
    filled = (name for name in _record_columns() if name not in (*_MERGED_APART, *_OF_ITS_SPAN))
    return sql_text("call_merge.sql").format(
        details=" + ".join(f"({name} IS NOT NULL)::INT" for name in details),
        least_levels=_joined(value.least_level() for value in whose),
        filled=_joined(f"arg_min({name}, rank) AS {name}" for name in filled),
        of_its_span=_joined(f"arg_min({name}, span_rank) AS {name}" for name in _OF_ITS_SPAN),
        member=_MEMBER,
        filled_input=_joined(
            f"arg_min({name}, CASE WHEN same_input THEN rank END) AS {name}" for name in _INPUT_COUNTS
        ),
        filled_output=_joined(
            f"arg_min({name}, CASE WHEN same_output THEN rank END) AS {name}" for name in _OUTPUT_COUNTS
        ),
        merged_values=_joined(value.merged() for value in whose),
    )


def _record_columns() -> Iterator[str]:
    return (name for name in calls.CALL_RECORD_COLUMNS if name not in (*_WHOSE, *_AGENT_AND_TOOL))


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts)
