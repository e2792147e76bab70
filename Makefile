# The doors of the house. `make help` lists them.

VENV ?= .venv
PYTEST ?=
export VENV PYTHON AUTHMINT_PORT ORDERS_PORT BILLING_PORT SPA_PORT AUTHMINT_DATA_DIR

.DEFAULT_GOAL := help
.PHONY: help run test test-long bench bench-library bench-sessions lint types format lock clean environment browser

help: ## List the doors
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r door what; do printf '%-26s%s\n' "$$door" "$$what"; done

run: environment ## Serve the token service on port 8000, orders on 8001, billing on 8002 and a page on 8003
	@exec $(VENV)/bin/python examples/demo.py

test: environment browser lint types ## Everything that CI runs: style, types, contracts, tests
	@$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadgroup $(PYTEST)

test-long: environment ## The tests that take minutes; each prints its figures
	@$(VENV)/bin/python -m pytest -m long -s $(PYTEST)

lint: environment ## Style and import contracts
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --check --quiet . || { echo 'Some files are not formatted. Run: make format'; exit 1; }
	@said=$$(PYTHONPATH=examples/orders:examples/billing $(VENV)/bin/lint-imports --no-cache .importlinter 2>&1) || { echo "$$said"; exit 1; }

types: environment ## Strict type check
	@$(VENV)/bin/mypy

format: environment ## Put the style right
	@$(VENV)/bin/ruff check --fix --quiet . ; $(VENV)/bin/ruff format --quiet .

bench: environment ## What the token service does, beside its ceilings in the same run; the table goes to docs/benchmarks.md
	@$(VENV)/bin/python -m benchmarks.service $(ARGUMENTS)

bench-library: environment ## What the library costs, as ratios in one run
	@$(VENV)/bin/python -m benchmarks.dependency

bench-sessions: environment ## What a table of a million sessions costs a refresh, as ratios in one run
	@$(VENV)/bin/python -m benchmarks.sessions

lock: environment ## Pin the newest allowed version of every package, with hashes
	@$(VENV)/bin/python tools/lock.py --upgrade

clean: ## Remove the virtual environment and caches; the data in .authmint stays
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache tests/browser/node_modules

environment:
	@command -v python3 >/dev/null || { echo 'Python 3.11 or later is missing. On Debian: apt-get install python3 python3-venv' >&2; exit 1; }
	@python3 tools/environment.py

browser: environment
	@$(VENV)/bin/python tools/browser.py
