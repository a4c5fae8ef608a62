# `make` alone lists what there is. Everything runs in .venv, which `make` makes.
.DEFAULT_GOAL := help
.PHONY: help setup train serve test check bench soak docs notebooks bento lock clean

PYTHON ?= python3
BIN := .venv/bin
DEFINITION ?= pql.yaml
OUT ?= build/latest

# One thread each: more of them only wait for each other. Nothing calls home, and no pickle is ever loaded.
export OMP_NUM_THREADS := 1
export OMP_WAIT_POLICY := PASSIVE
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION := false
export UV_PYTHON_DOWNLOADS := never

help: ## this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):[^#]*## /\1|/' | while IFS='|' read -r name what; do \
		printf '  make %-10s %s\n' "$$name" "$$what"; done

setup: .venv/ready ## make .venv with everything pinned

.venv/ready: requirements/dev.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements/dev.lock)"
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python requirements/dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

train: .venv/ready ## train on the demo product, or on yours: DATA=events.parquet [TRIALS=trials.parquet] [DEFINITION=pql.yaml]
ifdef DATA
	$(BIN)/pql train $(DATA) $(if $(TRIALS),--trials $(TRIALS)) -d $(DEFINITION) --out $(OUT)
else
	$(BIN)/python -m training.demo build/demo
	$(BIN)/pql train build/demo/events.parquet --trials build/demo/trials.parquet -d pql.yaml --out $(OUT)
endif

serve: .venv/ready ## answer POST /score on port 3000 with the champion
	$(BIN)/pql serve

test: .venv/ready ## all tests
	$(BIN)/python -m pytest -q

check: .venv/ready ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/ready build/peers/ready build/automl/ready ## the tables of docs/results.md (ranking needs ../shared/data)
	$(BIN)/python -m benchmarks.reference_tasks docs/results.md
	$(BIN)/python -m benchmarks.automl docs/results.md
	$(BIN)/python -m benchmarks.truth docs/results.md
	$(BIN)/python -m benchmarks.leaks docs/results.md
	$(BIN)/python -m benchmarks.reasons_truth docs/results.md
	$(BIN)/python -m benchmarks.reasons_cost docs/results.md
	$(BIN)/python -m benchmarks.windows --out docs/results.md
	$(BIN)/python -m benchmarks.serving docs/results.md
	$(BIN)/python -m benchmarks.serving_batch

soak: .venv/ready ## hours of hostile requests, damaged models and promotions, against the real service (after `make train`)
	$(BIN)/python -m benchmarks.soak_models
	$(BIN)/python -m benchmarks.soak_requests $(OUT)/artifact

build/peers/ready: .venv/ready benchmarks/peers.lock
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/peers
	$(BIN)/uv pip sync --quiet --python build/peers/bin/python benchmarks/peers.lock
	touch $@

build/automl/ready: .venv/ready benchmarks/automl.lock
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/automl
	$(BIN)/uv pip sync --quiet --python build/automl/bin/python benchmarks/automl.lock
	touch $@

docs: .venv/ready ## docs/features.md from pql.yaml, and docs/api.md from the routes
	$(BIN)/python -m features.catalogue pql.yaml docs/features.md
	$(BIN)/python -m serving.web.api_page docs/api.md

notebooks: .venv/ready ## run every notebook
	$(BIN)/python notebooks/run.py

bento: .venv/ready ## put the champion into the Bento model store and build a Bento
	$(BIN)/python -m training.publish
	$(BIN)/bentoml build

lock: ## renew the locks from pyproject.toml
	for part in train serve; do $(BIN)/uv pip compile --universal --python-version 3.11 --no-header --no-annotate --quiet \
		--upgrade --extra $$part pyproject.toml -o requirements/$$part.lock; done
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-header --no-annotate --quiet --upgrade \
		--extra train --extra serve --extra warehouse --extra dev pyproject.toml -o requirements/dev.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-header --no-annotate --quiet --upgrade \
		benchmarks/peers.in -o benchmarks/peers.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-header --no-annotate --quiet --upgrade \
		benchmarks/automl.in -o benchmarks/automl.lock

clean: ## forget what was built, but not what was trained
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
