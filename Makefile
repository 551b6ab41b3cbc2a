# Everything happens in .venv, which the first target that needs it makes. Stamp files spare repeated installs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PINS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow faults soak chromium quality-fast quality check audit documents clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 14

install: $(VENV)/.installed  ## the service: leaves .venv/bin/pretune

demo: $(VENV)/.installed-demo  ## pretrain, fine-tune and ask both models, on real text
	$(BIN)/pretune demo

test: $(VENV)/.installed-test  ## the whole fast suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --dist worksteal

# Rooms of the slow suite whose tests keep each to a service, a database and a thread of its own; the longest test first.
SIDE_BY_SIDE := tests/e2e tests/faults tests/contract tests/learning tests/worker tests/app
test-slow: $(VENV)/.installed-test chromium  ## what needs a browser, long faults or larger data
	OMP_NUM_THREADS=1 SOAK_SEED=3 SOAK_ROUNDS=1 $(BIN)/python -m pytest -m slow $(SIDE_BY_SIDE) -n auto --dist worksteal
	$(BIN)/python -m pytest -m slow -rs $(SIDE_BY_SIDE:%=--ignore %)

N ?= 1
faults: $(VENV)/.installed-test  ## kill, stop and freeze everything; N=10: ten times in a row, told in docs/faults.md
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.faults --runs $(N)

ROUNDS ?= 30
soak: $(VENV)/.installed-test  ## random faults under load; SEED=17 ROUNDS=5 as you like
	OMP_NUM_THREADS=1 SOAK_ROUNDS=$(ROUNDS) $(if $(SEED),SOAK_SEED=$(SEED)) $(BIN)/python -m pytest -s tests/faults/test_soak.py

chromium:  ## the browser of the dashboard's tests, from Debian's packages where root may install them
	@command -v chromium >/dev/null || { command -v apt-get >/dev/null && [ "$$(id -u)" -eq 0 ] \
		&& apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium; } \
		|| echo "There is no Chromium, and root alone can install it: THE DASHBOARD WILL NOT BE TESTED."

quality-fast: $(VENV)/.installed-quality  ## train every method on real data and judge it: 40 minutes on two cores
	$(BIN)/python -m benchmarks.quality fast --write

quality: $(VENV)/.installed-quality  ## the same with three seeds: 2 hours on two cores; goes on where it was broken off
	$(BIN)/python -m benchmarks.quality full --write

check: $(VENV)/.installed-test  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: $(VENV)/.installed-test  ## the pinned versions against published advisories; needs the internet
	$(PIP_INSTALL) pip-audit
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r constraints.txt

documents: $(VENV)/.installed-test  ## write anew what is made: openapi.json, docs/{api,errors,methods,openai}.md, pretune/_sync
	$(BIN)/python -m app.openapi
	$(BIN)/python -m app.method_table
	$(BIN)/python -m tests.openai.conformance
	$(BIN)/python -m tests.support.sync_client

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Pretune needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(PINS) | $(BIN)/python
	$(PIP_INSTALL) -e ".[worker,embedded]"
	@touch $@

$(VENV)/.installed-demo: $(PINS) | $(BIN)/python
	$(PIP_INSTALL) -e ".[worker,embedded,demo]"
	@touch $@

$(VENV)/.installed-quality: $(PINS) | $(BIN)/python
	$(PIP_INSTALL) -e ".[worker,embedded,demo,quality]"
	@touch $@

$(VENV)/.installed-test: $(PINS) | $(BIN)/python
	$(PIP_INSTALL) -e ".[worker,embedded,otel,demo,test]"
	@touch $@
