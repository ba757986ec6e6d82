# Everything a fresh machine needs: python3 (3.11 or later) with venv, and make. Each target sets up what it uses.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BLOAT := .venv-bloat
LITELLM := .venv-litellm
JS := tests/contract/js
JS_READY := $(JS)/node_modules/.ready

.DEFAULT_GOAL := help
.PHONY: help serve demo test test-bloat test-litellm check soak bench fuzz clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(JS_READY): $(JS)/package.json $(JS)/package-lock.json
	@echo "Installing the JavaScript exporters into $(JS)/node_modules (once) ..."
	@cd $(JS) && npm ci --silent --no-audit --no-fund --ignore-scripts && touch node_modules/.ready || \
	  echo "make: npm cannot install them; their tests will be skipped"

serve: $(READY) ## run the collector on 127.0.0.1:4317 (gRPC) and :4318 (HTTP)
	@exec $(BIN)/otlp-collector serve

demo: $(READY) ## send a small made-up agent session to the running collector
	@$(BIN)/otlp-collector demo

# A place of its own, as what the extra brings makes every process of the product slower.
$(BLOAT)/.ready: pyproject.toml constraints.txt
	@test -x $(BLOAT)/bin/python || $(PYTHON) -m venv $(BLOAT)
	@echo "Installing the extra bloat into $(BLOAT) (once) ..."
	@$(BLOAT)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bloat]'
	@touch $@

test-bloat: $(BLOAT)/.ready ## prompt-bloat with a real, tiny model, which the test trains
	@$(BLOAT)/bin/python -m pytest --numprocesses 0 tests/bloat

# Beside the project: its dependencies are at odds with ours. Auto routing came with 1.94.
$(LITELLM)/.ready:
	@test -x $(LITELLM)/bin/python || $(PYTHON) -m venv $(LITELLM)
	@echo "Installing LiteLLM into $(LITELLM) (once) ..."
	@$(LITELLM)/bin/python -m pip install --quiet --disable-pip-version-check litellm==1.94.3
	@touch $@

test-litellm: $(READY) $(LITELLM)/.ready ## LiteLLM reads what --export-config litellm writes
	@LITELLM_PYTHON=$(LITELLM)/bin/python $(BIN)/python -m pytest --numprocesses 0 tests/litellm

# Without Node.js the tests of the JavaScript exporters skip themselves. Hundreds of processes are started: compiled
# modules are kept, also where the environment would have each process compile them for itself.
test: $(READY) $(if $(shell command -v npm),$(JS_READY)) ## the test suite
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

check: $(READY) ## style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

soak: $(READY) ## the long forms of tests, one after the other
	@$(BIN)/python -m pytest --numprocesses 0 -m soak

bench: $(READY) ## speed, memory and size beside their targets and floors; appends to tests/bench/results.jsonl
	@$(BIN)/python -m tests.bench

SECONDS ?= 60
FUZZ := build/fuzz
fuzz: $(READY) ## throw bytes at the decoders for a minute (make fuzz SECONDS=600)
	@test "$$(uname -s)" = Linux || { echo "make: the fuzzer (atheris) exists for Linux only"; exit 1; }
	@$(BIN)/python -c 'import atheris' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[fuzz]' || \
	  { echo "make: pip found no atheris for this Python and machine"; exit 1; }
	@mkdir -p $(FUZZ)/corpus
	@nice $(BIN)/python -m tests.fuzz.fuzz_decode $(FUZZ)/corpus tests/fuzz/corpus -max_total_time=$(SECONDS) \
	  -timeout=10 -rss_limit_mb=1024 -max_len=16384 -dict=tests/fuzz/otlp.dict -artifact_prefix=$(FUZZ)/ || \
	  { echo "make: the input is in $(FUZZ); once mended, it belongs into tests/fuzz/corpus as found-<what>"; exit 1; }

clean: ## remove what make has installed and built
	rm -rf $(VENV) $(BLOAT) $(LITELLM) $(JS)/node_modules build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
