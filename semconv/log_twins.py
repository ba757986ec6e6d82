"""Which log record tells of the same call as a span, or as another log record, where only their counts say so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from semconv.call_groups import Groups, Node, Reporter
from semconv.calls import LOG_PERIOD_NS, LOG_SLACK_NS, PARTNER_HORIZON_NS, STREAMS_END

# Of one call no more libraries and events tell; among more of them, only the first are compared.
_MOST_REPORTERS: Final = 8
# How many of the records before it a record is compared with, should the nearest not be its like.
_NEIGHBOURS: Final = 8


class LogTwin(NamedTuple):
    """A row of call_log_twins.sql, where counts that are missing are -1, or of call_streams.sql, where they do not
    matter and a stream's end is what stands for a log record."""

    node: Node
    tenant: str
    reporter: Reporter
    is_log: bool
    trace_id: str
    session_id: str | None
    resource: str | None
    response_id: str | None
    id_style: str | None
    families: list[str]
    input_tokens: int
    output_tokens: int
    answer_tokens: int  # output without the reasoning, where it is known
    start_unix_nano: int
    end_unix_nano: int

    @property
    def is_alone(self) -> bool:
        """Outside any trace."""
        return self.trace_id.startswith("log ")

    @property
    def has_failed(self) -> bool:
        """Without usage, or it would not be here."""
        return self.input_tokens == self.output_tokens == -1


Key = Callable[[LogTwin], Hashable]


def join_log_twins(twins: Sequence[LogTwin], groups: Groups) -> None:
    """Join each log record of `twins`, which are in order of their ends, with the nearest that may be its like,
    one to one for each two reporters: in its trace; else, where one of the two is outside any trace, in its
    session; else in its process.
    """
    for place in (_trace, _session, _process):
        for counts in (_with_reasoning, _without_reasoning):
            for alike in _alike(twins, place, counts):
                _join_nearest(alike, groups)


def _trace(twin: LogTwin) -> Hashable:
    return None if twin.is_alone else twin.trace_id


def _session(twin: LogTwin) -> Hashable:
    return twin.session_id and (twin.session_id, twin.end_unix_nano // LOG_PERIOD_NS)


def _process(twin: LogTwin) -> Hashable:
    """Calls that failed all look alike: their process is not enough."""
    if twin.has_failed:
        return None
    return twin.resource and (twin.resource, twin.end_unix_nano // LOG_PERIOD_NS)


def _with_reasoning(twin: LogTwin) -> Hashable:
    return twin.output_tokens


def _without_reasoning(twin: LogTwin) -> Hashable:
    return twin.answer_tokens


def _alike(twins: Iterable[LogTwin], place: Key, counts: Key) -> Iterator[list[LogTwin]]:
    """Those of one place and one size, from where more than one tells of it."""
    found: dict[Hashable, list[LogTwin]] = defaultdict(list)
    for twin in twins:
        where = place(twin)
        if where is not None:
            found[twin.tenant, where, twin.input_tokens, counts(twin)].append(twin)
    for alike in found.values():
        if any(twin.is_log for twin in alike) and len({twin.reporter for twin in alike}) > 1:
            yield alike


def _join_nearest(alike: Sequence[LogTwin], groups: Groups) -> None:
    """Each record takes the latest before it that is still without a record of its reporter."""
    reporters = sorted({twin.reporter for twin in alike})[:_MOST_REPORTERS]
    waiting: dict[tuple[Reporter, Reporter], list[LogTwin]] = defaultdict(list)  # (whose, for whom)
    for twin in alike:
        for other in reporters:
            if other != twin.reporter:
                _take_nearest(twin, waiting[other, twin.reporter], groups)
                waiting[twin.reporter, other].append(twin)


def _take_nearest(twin: LogTwin, waiting: list[LogTwin], groups: Groups) -> None:
    for place in range(len(waiting) - 1, max(len(waiting) - 1 - _NEIGHBOURS, -1), -1):
        before = waiting[place]
        reporters = groups.reporters(twin.node, twin.reporter)
        if before.reporter in reporters:
            return
        if twin.reporter in groups.reporters(before.node, before.reporter):
            del waiting[place]
        elif _may_be_one(before, twin) and _join(before, twin, groups):
            del waiting[place]
            return


def _join(before: LogTwin, twin: LogTwin, groups: Groups) -> bool:
    if _would_bridge_spans(before, twin, groups):
        return False
    return groups.join(before.node, before.reporter, twin.node, twin.reporter)


def _may_be_one(before: LogTwin, twin: LogTwin) -> bool:
    return (
        (before.is_log or twin.is_log)
        and (before.trace_id == twin.trace_id or before.is_alone or twin.is_alone)
        and twin.end_unix_nano - before.end_unix_nano <= LOG_SLACK_NS
        and abs(twin.start_unix_nano - before.start_unix_nano) <= PARTNER_HORIZON_NS
        and not _conflict(before.session_id, twin.session_id)
        and not (before.id_style == twin.id_style and _conflict(before.response_id, twin.response_id))
        and not (before.families and twin.families and set(before.families).isdisjoint(twin.families))
    )


def _conflict(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def _would_bridge_spans(before: LogTwin, twin: LogTwin, groups: Groups) -> bool:
    """Spans that nothing else makes one call are not made one by a log record that fits both."""
    return all(any(map(_is_call, groups.reporters(node.node, node.reporter))) for node in (before, twin))


def _is_call(reporter: Reporter) -> bool:
    return reporter.startswith("span") and not reporter.endswith(f"\x1f{STREAMS_END}")
