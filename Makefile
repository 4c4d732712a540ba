# Everything a person does with Waybill on one machine. `make` alone lists it.
SHELL := /bin/sh
# Where it is set, as in many images, each of the many processes would compile all libraries anew.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
# The first Python that the lock covers; name another one with `make PYTHON=... demo`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && exit; done; echo python3)
BIN := .venv/bin
RUNTIME := $(BIN)/python -m include.runtime
# `make demo ERP=tryton` works with a real Tryton, `ERP=builtin` without again.
WITH_ERP := $(if $(ERP),--erp $(ERP))

.PHONY: help
help: ## Print this list
	@echo "Waybill. Start here: make demo"
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "ERP=tryton runs a real ERP beside it; ERP=builtin goes back to the built-in one."
	@echo "WAYBILL_PORT chooses another port than 8080; WAYBILL_HOME another folder than .waybill."

.PHONY: install
install:
	@$(PYTHON) include/runtime/bootstrap.py

.PHONY: demo
demo: install ## Start everything, send sample leads, show what became of them; it stays up
	@$(RUNTIME) demo $(WITH_ERP)

.PHONY: up
up: install ## Start everything without the samples, and say where it answers
	@$(RUNTIME) up $(WITH_ERP)

.PHONY: down
down: ## Stop all that was started; the data stays
	@test ! -x $(BIN)/python || $(RUNTIME) down

.PHONY: status
status: install ## Say what runs, and how it is
	@$(RUNTIME) status

.PHONY: logs
logs: install ## Follow the logs of the processes
	@$(RUNTIME) logs --follow

.PHONY: test
test: lint ## Lint, then every test
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: lint
lint: install ## Style, types, layers and contracts; changes nothing
	@$(MAKE) --no-print-directory --jobs 2 types style layers contracts

.PHONY: types style layers contracts
types:
	$(BIN)/mypy
style:
	$(BIN)/ruff check
	$(BIN)/ruff format --check
layers:
	PYTHONPATH=.:plugins $(BIN)/lint-imports
contracts:
	$(BIN)/python -m include.contracts check

.PHONY: format
format: install ## Put the code into the form that `lint` wants
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: bench
bench: install ## Measure intake, throughput, latency and matching
	PYTHONPATH=.:plugins $(BIN)/python -m benchmarks

.PHONY: docs
docs: install ## Write anew what is generated from the contracts
	$(BIN)/python -m include.contracts generate

.PHONY: screenshots
screenshots: install ## Take the docs' pictures of the pages of the Waybill that runs
	PYTHONPATH=.:plugins $(BIN)/python -m tests.support.screenshots

.PHONY: lock
lock: install ## Resolve requirements.txt anew into requirements.lock, for Python 3.11 to 3.13
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet requirements-dev.txt -o requirements.lock

.PHONY: clean
clean: down ## Stop, and delete .venv, the local data with every case in it, and caches
	rm -rf .venv .waybill .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
