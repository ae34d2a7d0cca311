# Everything a developer or CI runs. `make help` lists the targets; each sets up what it needs by itself.
#
#   ARGS=...    passed on to what the target runs: make run ARGS=--once, make test ARGS='-k receipt', make bench ARGS='--mode batch'
#   PYTHON=...  the interpreter for a new .venv (default: the first of python3.13, 3.12, 3.11, python3 that will do)

BIN := .venv/bin
ARGS ?=
UNIT := not interop and not soak

.DEFAULT_GOAL := help
.PHONY: help setup run test check static lint types imports protos-lint protos-check docs-check policy-check secrets-check test-interop interop-tools \
        bench bench-store bench-scale bench-retention bench-lanes soak client-wheel protos docs lock fmt clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv ready: pinned packages by hash, this tree editable. Nothing to do when it is up to date.
	@tools/setup.sh

run: setup ## Run the whole appliance with a simulated carrier: first messages, their receipts; then it stays up (ARGS=--once: ends).
	@$(BIN)/smsgw dev $(ARGS)

test: setup ## Run the tests, a process for each core, up to four (no network, no other tool needed; ARGS='-n 0': one after the other).
	@$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile -m '$(UNIT)' $(ARGS)

check: static test ## All that a change must pass: format, lint, types, layers, protos, documents, tests.

static: lint types imports protos-lint protos-check docs-check policy-check secrets-check ## The part of `check` without the tests.

lint: setup ## Format and lint of the Python sources (ruff).
	@echo 'check: ruff'
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo 'not formatted: run `make fmt`' >&2; exit 1; }

types: setup ## Types, strict, tests included (mypy).
	@echo 'check: mypy --strict'
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/mypy --no-error-summary tools bench

imports: setup ## Which package may import which (import-linter).
	@echo 'check: import-linter'
	@$(BIN)/lint-imports --no-logo >.venv/lint-imports.log 2>&1 || { cat .venv/lint-imports.log >&2; exit 1; }

protos-lint: setup ## Style of protos/ (buf lint, offline).
	@echo 'check: buf lint'
	@$(BIN)/python tools/buf_lint.py

protos-check: setup ## The committed stubs are those of the sources.
	@echo 'check: stubs'
	@$(BIN)/python tools/protos.py --check

docs-check: setup ## The generated parts of docs/ are up to date.
	@echo 'check: generated documents'
	@$(BIN)/python -m gateway.config.docs --check
	@$(BIN)/python tools/draw_states.py --check
	@$(BIN)/python tools/draw_policies.py --check

interop-tools: setup ## Install what test-interop needs: npm packages into .tools/, and missing Debian packages by apt-get.
	@tools/interop.sh

policy-check: setup ## The policies that a new node starts with decide as their table expects, and each of them decides something.
	@echo 'check: default policies'
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cd "$$folder" && \
	  $(CURDIR)/$(BIN)/smsgw policy init >/dev/null && $(CURDIR)/$(BIN)/smsgw policy check --strict >/dev/null && \
	  $(CURDIR)/$(BIN)/smsgw policy test --strict >out || { cat out >&2; exit 1; }

secrets-check: setup ## No tracked file holds a secret (detect-secrets, offline).
	@echo 'check: secrets'
	@$(BIN)/python tools/secret_scan.py

test-interop: interop-tools ## Run the tests against other implementations: node-smpp, smpp34, grpc-js, tshark, strace, openssl, spiffe, SoftHSM2, Go's x/mod/sumdb, aics-tlog.
	@$(BIN)/pytest -m interop $(ARGS)

bench: setup ## Measure messages/s to the receipt and CPU per message, by mode, with all guards and without, then beside Kannel (SINK=host:port[,ca_file]).
	@$(BIN)/python -m bench $(ARGS)

bench-store: setup ## Measure the store alone on both engines: CPU for each message (ARGS='--messages 50000 --lanes 8').
	@$(BIN)/python -m bench.store $(ARGS)

bench-scale: setup ## Measure CPU against 10^3 to 10^7 stored messages (SQLite, 11 GB of disk) and 1 to 4 nodes (ARGS='--most 1000000 --only stored').
	@$(BIN)/python -m bench.scale $(ARGS)

bench-retention: setup ## Measure retention of a large database beside messages: transactions, calls, and that the database stops growing (ARGS='--engine postgres').
	@$(BIN)/python -m bench.retention $(ARGS)

bench-lanes: setup ## Measure one-time passwords while a million promotions wait and saturate the carrier: to submit_sm, and memory.
	@$(BIN)/python -m bench.lanes $(ARGS)

client-wheel: setup ## Build the wheel `smsgw-client` into dist/: what a service needs, and nothing of the appliance.
	@cd protos && ../$(BIN)/python -m hatchling build -t wheel -d ../dist

soak: setup ## Run the long tests (minutes to hours).
	@$(BIN)/pytest -m soak --timeout 0 $(ARGS)

protos: setup ## Generate the stubs from protos/.
	@$(BIN)/python tools/protos.py

docs: setup ## Generate the generated parts of docs/.
	@$(BIN)/python -m gateway.config.docs --write
	@$(BIN)/python tools/draw_states.py
	@$(BIN)/python tools/draw_policies.py

lock: ## Renew requirements.lock and requirements-dev.lock from pyproject.toml (needs the network).
	@tools/lock.sh

fmt: setup ## Format the sources and fix what ruff can fix.
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

clean: ## Remove all that these targets made: .venv, .tools, .smsgw (with its keys and messages), caches, bench results.
	@rm -rf .venv .tools .smsgw build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench/results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
