"""`make test-litellm`: LiteLLM itself takes what --export-config litellm writes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.calls_table import lake_with_calls
from tests.priced_lakes import every_day, gpt
from tests.unit.test_cli_export_config import EVIL, exported, mixed

READ = Path(__file__).with_name("read_config.py")


def test_litellm_builds_its_router_out_of_the_file(tmp_path: Path):
    """A cheaper model, a router and a hostile name. Guarantee: each name is served, and the router is one."""
    lake = lake_with_calls(
        tmp_path / "data", *every_day(gpt, 2), *mixed("writer"), *every_day(gpt, 2, agent_name=EVIL)
    )
    exported(lake, "litellm", tmp_path / "config.yaml")
    # No key is used, and no list of prices fetched.
    environment = {
        "OPENAI_API_KEY": "unused",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PATH": os.environ["PATH"],
    }
    command = [os.environ["LITELLM_PYTHON"], READ, tmp_path / "config.yaml", tmp_path / "told.json"]
    subprocess.run(command, env=environment, check=True, timeout=100)
    told = json.loads((tmp_path / "told.json").read_text())
    assert {*told["names"]} == {
        *("gpt-4o", "gpt-4o-mini", "tagger:gpt-4o", "writer:gpt-4o:auto", f"{EVIL}:gpt-4o")
    }
    assert told["routers"] == ["writer:gpt-4o:auto"]
