# Set-up, demonstration, tests and checks. `make` alone explains the targets.
# Needs Debian 12 or newer with Python 3.11 or newer; `make setup` sees to everything else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
DEMO := build/demo
FUZZ_RUNS ?= 1000000
API_EXAMPLES ?= 200
IMAGE_OPTIONS ?=
DEMO_PACKAGE ?= pkg:pypi/six
DEMO_SAMPLE ?= install-exfil-https
# Tests mostly wait, for sleeps, limits and starting pods: one more process than processors.
TEST_PROCESSES ?= $(shell echo $$(($$(nproc) + 1)))

.PHONY: help
help: ## Explain the targets (the default)
	@printf 'Usage: make TARGET\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what is missing: Debian packages, .venv, the base root filesystem
setup: debian $(STAMPS)/installed
	@$(BIN)/fumehood image build >/dev/null
	@printf 'fumehood is ready: %s/fumehood --help\n' '$(BIN)'

.PHONY: setup-docker
setup-docker: ## Set up, then a Docker engine with gVisor (docker.io, runsc, registered with the engine)
setup-docker: setup
	@.ci/debian-packages dockerd:docker.io runsc:runsc
	@.ci/docker-runtimes

.PHONY: setup-server
setup-server: ## What a machine of its own gets, as in the Vagrantfile: setup-docker, and Redis
setup-server: setup-docker
	@.ci/debian-packages redis-server:redis-server

.PHONY: debian
debian:
	@.ci/debian-packages

$(STAMPS)/created:
	@python=$$(.ci/find-python) && printf 'making %s with %s\n' '$(VENV)' "$$python" && "$$python" -m venv '$(VENV)'
	@mkdir -p '$(STAMPS)' && touch '$@'

$(STAMPS)/locked: requirements.lock | $(STAMPS)/created
	@printf 'installing the locked requirements\n'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@touch '$@'

# The build backend is among the locked requirements, so that building takes nothing unlocked either.
$(STAMPS)/installed: pyproject.toml $(STAMPS)/locked
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch '$@'

.PHONY: demo
demo: ## Set up, then run a real package and a bundled inert sample that misbehaves; show both reports
demo: setup
	@mkdir -p '$(DEMO)'
	@$(BIN)/python tests/samples/build.py --output '$(DEMO)' '$(DEMO_SAMPLE)' >/dev/null
	@printf '\n== A real package: %s ==\n\n' '$(DEMO_PACKAGE)'
	@$(BIN)/fumehood run '$(DEMO_PACKAGE)'
	@printf '\n== An inert sample that misbehaves: %s (malicious is the expected verdict) ==\n\n' '$(DEMO_SAMPLE)'
	@code=0; $(BIN)/fumehood run '$(DEMO)'/$(subst -,_,sample-$(DEMO_SAMPLE))-* || code=$$?; \
	if [ "$$code" != 1 ]; then printf 'the sample ended with exit code %s instead of 1\n' "$$code" >&2; exit 1; fi

.PHONY: test
test: ## Set up, then run every test
test: setup
	@.ci/debian-packages curl:curl pg_ctlcluster:postgresql redis-server:redis-server rsync:rsync sqlite3:sqlite3 \
	  systemd-analyze:systemd vagrant:vagrant
	@$(BIN)/python -m pytest --numprocesses '$(TEST_PROCESSES)' --dist loadscope --no-loadscope-reorder

.PHONY: coverage
coverage: ## How much of the collector its own tests run; fails below 95 of 100 branches (about a minute)
coverage: $(STAMPS)/installed
	@mkdir -p build
	@COVERAGE_FILE=build/coverage $(BIN)/python -m pytest --quiet --numprocesses '$(TEST_PROCESSES)' --cov=collector \
	  --cov-branch --cov-report=term-missing:skip-covered --cov-report=json:build/coverage.json tests/collector tests/golden
	@$(BIN)/python -c 'import json; \
	  taken = json.load(open("build/coverage.json"))["totals"]["percent_branches_covered"]; \
	  print(f"{taken:.1f} of 100 branches of the collector are taken"); \
	  raise SystemExit(taken < 95)'

.PHONY: soak
soak: ## 200 runs in a row, 50 of them killed: does anything stay behind? (about ten minutes)
soak: setup
	@$(BIN)/python -m tests.soak --runs 200 --kills 50

.PHONY: chaos
chaos: ## 1,000 submissions while workers, runs, servers and disks fail: is one lost? (about half an hour)
chaos: setup
	@.ci/debian-packages pg_ctlcluster:postgresql redis-server:redis-server
	@$(BIN)/python -m tests.chaos --submissions 1000

.PHONY: compose-trial
compose-trial: ## Start compose.yaml, kill and restore its containers: is anything lost? (ten minutes; Docker, Compose 2)
compose-trial: $(STAMPS)/installed
	@$(BIN)/python -m tests.containers -- $(IMAGE_OPTIONS)

.PHONY: bench
bench: ## How fast the collector explains bundles of 10,000 to 1,000,000 lines (about ten minutes)
bench: setup
	@$(BIN)/python -m tests.benchmarks.collector

.PHONY: fuzz
fuzz: ## A million inputs for each of the two readers of traces (long; FUZZ_RUNS for another number)
fuzz: $(STAMPS)/installed
	@mkdir -p build/fuzz
	@for target in tokenizer reader; do \
	  (cd build/fuzz && PYTHONPATH='$(CURDIR)' '$(CURDIR)/$(BIN)/python' -m tests.fuzz "$$target" --runs '$(FUZZ_RUNS)'); done

.PHONY: api-fuzz
api-fuzz: ## Thousands of requests made from the OpenAPI document, by every role (API_EXAMPLES for each endpoint and role)
api-fuzz: $(STAMPS)/installed
	@FUMEHOOD_API_EXAMPLES='$(API_EXAMPLES)' $(BIN)/python -m pytest tests/sandbox/api/test_description.py

.PHONY: lint
lint: ## Check style, types and import contracts
lint: $(STAMPS)/installed
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: lock
lock: ## Resolve requirements.lock again from pyproject.toml (needs uv on PATH)
	@command -v uv >/dev/null || { printf 'uv is missing; install it with: pip install uv\n' >&2; exit 1; }
	@printf 'hatchling\neditables\n' | uv pip compile --no-config --quiet --upgrade --universal --python-version 3.11 \
	  --all-extras --generate-hashes --no-header --no-annotate --output-file requirements.lock pyproject.toml -

.PHONY: clean
clean: ## Remove .venv, caches and what was built (images and bundles stay)
	@rm -rf '$(VENV)' build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
