"""One collector for all tests of the conformance checklist that a process runs: starting one costs seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.conformance_support import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the default limits, without tokens; each test sends under a service name of its own."""
    with serving(tmp_path_factory.mktemp("conformance")) as running:
        yield running
