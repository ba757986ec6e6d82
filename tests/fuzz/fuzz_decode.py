"""The fuzzer: ``make fuzz``, or ``python -m tests.fuzz.fuzz_decode`` with libFuzzer's own arguments.

Every input goes through :func:`tests.fuzz.decode.check_input`; whatever escapes from there ends the run and is
written to a file, as is an input that takes too long or too much memory.
"""

from __future__ import annotations

import sys
import warnings

import atheris

with atheris.instrument_imports(include=["collector.receivers", "semconv"]):
    from tests.fuzz.decode import check_input


def main() -> None:
    warnings.simplefilter("error")
    atheris.Setup(sys.argv, check_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
