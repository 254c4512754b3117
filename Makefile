# Two commands matter: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/sh

.PHONY: run test install dev lint fuzz crash soak bench help lock

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: install ## Install, make the first org and its keys, and serve on http://127.0.0.1:8700
	@$(BIN)/skillway init --quiet
	@$(BIN)/skillway serve

test: dev lint ## Install what the tests need, check the code, run every test
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

install: .venv/run.stamp ## Only make .venv with the locked dependencies and Skillway

dev: .venv/dev.stamp

lint: dev ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/mypy gateway oauth skills_catalog tests benchmarks
	$(BIN)/lint-imports --no-cache

fuzz: dev ## Try out the description of the API on a running gateway, for half an hour
	$(BIN)/python -m tests.contract.fuzz

crash: dev ## Kill processes again and again while they work, on both databases
	$(BIN)/python -m tests.crash.webhooks --database sqlite
	$(BIN)/python -m tests.crash.webhooks --database postgresql
	$(BIN)/python -m tests.crash.callbacks --database sqlite
	$(BIN)/python -m tests.crash.callbacks --database postgresql
	$(BIN)/python -m tests.crash.herd
	$(BIN)/python -m tests.crash.calls --database sqlite
	$(BIN)/python -m tests.crash.calls --database postgresql

soak: dev ## Load a process for an hour, and see whether anything grows
	$(BIN)/python -m tests.crash.soak --minutes 60

bench: dev ## Measure search, commands, the catalog, limits, and a call against a plain nginx proxy (needs nginx and wrk)
	$(BIN)/python -m benchmarks.bench_search
	$(BIN)/python -m benchmarks.bench_cli
	$(BIN)/python -m benchmarks.bench_catalog
	$(BIN)/python -m benchmarks.bench_limits
	$(BIN)/python -m benchmarks.bench_call

COMPILE := $(BIN)/pip-compile -q --strip-extras --generate-hashes --allow-unsafe --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links

lock: dev ## Write the lock files anew from pyproject.toml
	$(COMPILE) -o requirements/run.txt pyproject.toml requirements/build.in
	$(COMPILE) --extra dev -o requirements/dev.txt pyproject.toml requirements/build.in requirements/tools.in

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run.stamp: .venv/bin/python requirements/run.txt pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@
