"""What LiteLLM makes of a config.yaml, as JSON: the names that it serves, and which of them are routers. It is run by a
Python that has LiteLLM, which the project's own has not."""

import json
import sys
from pathlib import Path

import litellm
import yaml

config = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
router = litellm.Router(model_list=config["model_list"])
told = {"names": sorted(router.get_model_names()), "routers": sorted(router.complexity_routers)}
Path(sys.argv[2]).write_text(json.dumps(told), encoding="utf-8")
