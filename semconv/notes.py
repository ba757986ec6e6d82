"""The closed vocabulary of ``notes``: what was repaired, left out or odd about one stored record.

Every note that extraction or resolution writes stands in this module; readers may match on the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# Times
START_MISSING: Final = "start_time_missing"  # start time 0; stored as 1970
START_IN_FUTURE: Final = "start_time_in_future"  # over 24 h ahead of the receiver's clock
END_MISSING: Final = "end_time_missing"  # no duration
END_BEFORE_START: Final = "end_time_before_start"  # no duration
TIME_MISSING: Final = "time_missing"  # a log record or data point without a time of its own

# Ids: the malformed one is NULL
MALFORMED_PARENT_ID: Final = "malformed_parent_span_id"
MALFORMED_LINK_ID: Final = "malformed_link_id"
MALFORMED_TRACE_ID: Final = "malformed_trace_id"  # of a log record
MALFORMED_SPAN_ID: Final = "malformed_span_id"  # of a log record
MALFORMED_EXEMPLAR_ID: Final = "malformed_exemplar_id"

# Values
MALFORMED_FIELD: Final = "malformed_field"  # a field of the wrong JSON type, read as absent
MALFORMED_VALUE: Final = "malformed_value"  # an attribute value that is no AnyValue, stored as null
INTEGER_OUT_OF_RANGE: Final = "integer_out_of_range"  # beyond 64 bits, stored as null
DOUBLE_OUT_OF_RANGE: Final = "double_out_of_range"  # beyond what a double can hold, stored as null
DUPLICATE_ATTRIBUTE: Final = "duplicate_attribute"  # one key twice in one list: the last one is kept
UNUSABLE_VALUE: Final = "unusable_value"  # of a known key, but not of the type it must have
VALUE_CUT: Final = "value_cut"  # a text, or a key, longer than the configured limit
ATTRIBUTES_DROPPED: Final = "attributes_dropped"  # more than the configured number
EVENTS_DROPPED: Final = "events_dropped"  # more events, links or exemplars than anyone sends
TEXT_DROPPED: Final = "text_dropped"  # more of it than the rows of a request may hold: what is claimed stays
REDACTED: Final = "redacted"  # an attribute was dropped or hashed, as configured

EXTRACTION_NOTES: Final = frozenset(
    {
        START_MISSING,
        START_IN_FUTURE,
        END_MISSING,
        END_BEFORE_START,
        TIME_MISSING,
        MALFORMED_PARENT_ID,
        MALFORMED_LINK_ID,
        MALFORMED_TRACE_ID,
        MALFORMED_SPAN_ID,
        MALFORMED_EXEMPLAR_ID,
        MALFORMED_FIELD,
        MALFORMED_VALUE,
        INTEGER_OUT_OF_RANGE,
        DOUBLE_OUT_OF_RANGE,
        DUPLICATE_ATTRIBUTE,
        UNUSABLE_VALUE,
        VALUE_CUT,
        ATTRIBUTES_DROPPED,
        EVENTS_DROPPED,
        TEXT_DROPPED,
        REDACTED,
    }
)

# What resolution notes on a record; resolve_records.sql writes them.
RESOLUTION_NOTES: Final = frozenset(
    {
        "implausible_token_count",  # negative, or more than any call could have: read as unknown
        "zero_usage_ignored",  # a call cannot have no input: read as unknown
        "estimated_usage_ignored",  # counted by the sender, far from what the provider counts: read as unknown
        "output_excluded_reasoning",  # reasoning stood beside the output: added to it
        "output_may_lack_reasoning",  # the sender leaves reasoning out, and says nowhere how much it was
        "input_completed_by_total",  # the sender's total has the cache in it, and nothing else does
        "input_may_lack_cache",  # the sender leaves the cache out, and may not say how much it was
        "zero_cost_ignored",  # the sender found no price: read as unknown
        "time_to_first_token_without_stream",  # no such time: read as unknown
        "session_is_response_id",  # the conversation's id names an answer: no session
    }
)

# What building calls notes on a call, beside the notes of its records; call_merge.sql and call_sql.py write them.
CALL_NOTES: Final = frozenset(
    {
        "session_conflict",  # several sessions, and nothing says which: session_id is NULL
        "user_conflict",  # likewise
        "token_counts_differ",  # records of one call disagree: the richer one's counts stand
    }
)


def note_list(*notes: Iterable[str]) -> list[str] | None:
    """Distinct notes in alphabetical order, as the ``notes`` column holds them; None where there are none."""
    return sorted({note for some in notes for note in some}) or None
