# What this repository can do. `make help` lists it.

VENV ?= .venv
PYTEST ?=
export VENV PYTHON AUTHMINT_PORT ORDERS_PORT BILLING_PORT SPA_PORT AUTHMINT_DATA_DIR

.DEFAULT_GOAL := help
.PHONY: help run docs docs-settings test test-clients test-long bench bench-library bench-sessions lint types format lock dist clean venv test-programs test-tools

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r target what; do printf '%-24s%s\n' "$$target" "$$what"; done

run: venv ## Serve the token service on port 8000, orders on 8001, billing on 8002 and a page on 8003
	@exec $(VENV)/bin/python examples/demo.py

# Style and types run beside the tests, at a lower priority; what they print comes after the tests.
test: venv test-programs ## Style, types, contracts and tests
	@output=$$(mktemp) && trap 'kill $$style 2>/dev/null; rm -f "$$output"' EXIT && trap 'exit 130' INT TERM; \
	nice $(MAKE) --no-print-directory -j2 --output-sync=target lint types >"$$output" 2>&1 & style=$$!; \
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadgroup $(PYTEST); tests=$$?; \
	wait $$style; checks=$$?; cat "$$output"; \
	[ $$checks -eq 0 ] || echo 'Style or types are wrong: see above.'; \
	exit $$((tests ? tests : checks))

test-clients: venv test-tools ## The tests with a browser, and with clients that are generated or written by others
	@$(VENV)/bin/python -m pytest -m 'clients and not long' -n auto --maxprocesses 4 --dist loadgroup $(PYTEST)

# First those that measure times, one after another on a quiet computer; then the rest, two at a time. 5: none was selected.
test-long: venv test-tools ## The tests that take minutes, two to three hours in all; each prints its measurements
	@$(VENV)/bin/python -m pytest -m 'long and alone' -s $(PYTEST); alone=$$?; \
	$(VENV)/bin/python -m pytest -m 'long and not alone' -n 2 --dist loadgroup -rP $(PYTEST); others=$$?; \
	[ $$alone$$others != 55 ] || { echo 'No long test was selected.'; exit 5; }; \
	[ $$alone -eq 5 ] && alone=0; [ $$others -eq 5 ] && others=0; exit $$((alone ? alone : others))

lint: venv ## Style and import contracts
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --check --quiet . || { echo 'Some files are not formatted. Run: make format'; exit 1; }
	@report=$$(PYTHONPATH=examples/orders:examples/billing $(VENV)/bin/lint-imports --no-cache .importlinter 2>&1) || { echo "$$report"; exit 1; }

types: venv ## Strict type check
	@$(VENV)/bin/mypy

format: venv ## Format the code
	@$(VENV)/bin/ruff check --fix --quiet . ; $(VENV)/bin/ruff format --quiet .

bench: venv ## What the token service does, beside its baselines in the same run; the table goes to docs/benchmarks.md
	@$(VENV)/bin/python -m benchmarks.service $(ARGUMENTS)

bench-library: venv ## What the library costs, as ratios in one run
	@$(VENV)/bin/python -m benchmarks.dependency

bench-sessions: venv ## What a table of a million sessions costs a refresh, as ratios in one run
	@$(VENV)/bin/python -m benchmarks.sessions

docs: venv ## Build the documentation site into docs/_build; a warning is an error
	@$(VENV)/bin/python -m sphinx -q -W --keep-going -n -b html docs docs/_build/html

docs-settings: venv ## Write .env.example and docs/settings.md from the settings
	@$(VENV)/bin/python -m tools.settings_docs

lock: venv ## Pin the newest allowed version of every package, with hashes
	@$(VENV)/bin/python tools/lock.py --upgrade

dist: venv ## Build both distributions into dist/, each with a bill of materials
	@rm -rf dist
	@$(VENV)/bin/python -m hatchling build -d dist
	@cd authmint && $(abspath $(VENV))/bin/python -m hatchling build -d ../dist
	@$(VENV)/bin/python tools/sbom.py authmint >dist/authmint.cdx.json
	@$(VENV)/bin/python tools/sbom.py authmint-service >dist/authmint_service.cdx.json

clean: ## Remove the virtual environment and caches; the data in .authmint stays
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache docs/_build tests/browser/node_modules tests/clients/node_modules tests/clients/.venv

venv: ## Make the virtual environment
	@command -v python3 >/dev/null || { echo 'Python 3.11 or later is missing. On Debian: apt-get install python3 python3-venv' >&2; exit 1; }
	@python3 tools/venv.py

# What `make test` needs of these: no browser and no packages.
test-programs: venv
	@$(VENV)/bin/python -m tools.test_tools curl pgbouncer

test-tools: venv ## Install what the tests need beside Python: a browser, Node.js, PgBouncer, packages of other makers
	@$(VENV)/bin/python -m tools.test_tools
