"""May a request be accepted? What :mod:`semconv.admission` and :mod:`semconv.validity` say, as refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from collector.receivers.status import Malformed, TooDeep, TooLarge
from semconv import admission, otlp, validity
from semconv.admission import Limits
from semconv.settings import Encoding, Signal
from semconv.wire import ITEM_NAMES, TooMany, too_many


def check_size(size: int, encoding: Encoding, limits: Limits) -> None:
    """Raises TooLarge for a body of ``size`` bytes, of which more may follow."""
    with _refused():
        admission.check_size(size, encoding, limits)


def admit(signal: Signal, encoding: Encoding, body: bytes, limits: Limits) -> None:
    """Returns None where ``body`` is safe to parse. Raises TooLarge, TooDeep or Malformed."""
    with _refused():
        admission.admit(signal, encoding, body, limits)


def judge(
    signal: Signal, encoding: Encoding, body: bytes, received_at: int, limits: Limits
) -> validity.Verdict:
    """The verdict on a request, counted before and checked after it is parsed. Raises as ``admit``."""
    with _refused():
        admission.admit(signal, encoding, body, limits)
        verdict = validity.check(signal, encoding, body, received_at, limits.max_depth)
        if verdict.items > limits.max_spans:
            raise too_many(limits.max_spans, ITEM_NAMES[signal])
        return verdict


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except TooMany as error:
        raise TooLarge(str(error)) from error
    except otlp.TooDeep as error:
        raise TooDeep(str(error)) from error
    except otlp.DecodeError as error:
        raise Malformed(str(error)) from error
