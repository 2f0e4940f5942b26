# make demo and make test are all a fresh machine with Python 3.11+ needs to know.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test test-integration coverage faults faults-proof check fmt bench bench-detection lock mutate docs clean run-time dev

demo: run-time
	@$(BIN)/rollbackd demo

run-time: $(VENV)/.run-time
dev: $(VENV)/.dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rollbackd needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing. Fix: sudo apt-get install -y python3-venv"; exit 1; }
	@echo "Making $(VENV), once: less than a minute."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run-time: requirements/runtime.txt requirements/build.txt pyproject.toml | $(VENV)/bin/python
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run-time
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

test: dev
	$(BIN)/pytest -n 2 -m "not integration and not slow" $(ARGS)

coverage: dev
	$(BIN)/pytest -n 2 tests/unit/core --cov=rollbackd.core --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100

# Every fault, at every point, slow ones too: 220 kills at random moments, every pair of deaths, two hours or so.
faults: dev
	FAULT_STARTS=10 FAULT_RESUME_SECONDS=3 $(BIN)/pytest tests/faults/test_resuming.py
	FAULT_KILLS=110 FAULT_FREEZES=5 FAULT_TORN_POINTS=400 FAULT_EVERY=1 FAULT_EXAMPLES=700 \
	$(BIN)/pytest -n 2 tests/faults tests/postgres/test_struck.py tests/process/test_life.py tests/process/test_stopping.py --deselect tests/faults/test_resuming.py

# Takes out one protection after the other: its test must fail. Ten minutes or so; docs/faults.md is the list.
faults-proof: dev
	$(BIN)/python -m tests.faults.proof

# What measures real programs runs one after the other, so that nothing is in its way. The short part of the
# fault campaign is in `make test`, the long one is `make faults`.
test-integration: dev
	$(BIN)/pytest -n 3 -m "slow and not integration" --ignore=tests/faults
	$(BIN)/pytest -m integration

check: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: dev
	$(BIN)/python scripts/generate.py

mutate: dev
	$(BIN)/mutmut run

bench: dev
	PYTHONPATH=. $(BIN)/python bench/run.py

# Some minutes; LONG=1: all the runs of docs/detection-benchmark.md, which it renews. An hour or so.
bench-detection: dev
	$(BIN)/python bench/detection/cost.py
	$(BIN)/python bench/detection/run.py $(if $(LONG),--long --write)

lock: dev
	scripts/lock.sh

clean:
	rm -rf $(VENV) build dist mutants .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
