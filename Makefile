# The commands of the project. `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test test-all check bench demo pictures token rebuild dlq accept-new-topic migrate schemas format audit lock clean

PY := .venv/bin/python
# the environment of the running stack, of the same PORT_OFFSET
INSIDE := $(PY) -m deploy.local.inside
# more arguments for pytest, e.g. make test ARGS="tests/unit -k masking"
ARGS ?=
# half of the tests' time is waiting for real servers; 0 runs all in one process, for a debugger
WORKERS ?= 2
PYTEST := $(PY) -m pytest -n $(WORKERS) --dist loadfile

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Start the local stack with demo data (DEMO=0: without, FRESH=1: own empty data, PORT_OFFSET=n: moves all ports)
	@sh deploy/install.sh local
	@exec $(PY) -m deploy.local

test: ## Run all tests but the slow ones, on real PostgreSQL, Kafka and Chromium (WORKERS=2 processes)
	@sh deploy/install.sh dev
	@exec $(PYTEST) -m "not slow" $(ARGS)

test-all: ## Run all tests
	@sh deploy/install.sh dev
	@exec $(PYTEST) $(ARGS)

check: ## Lint, formatting, types, boundaries, event schemas, licences
	@sh deploy/install.sh dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) -m shared.events.schema_files --check
	.venv/bin/reuse lint --quiet || .venv/bin/reuse lint

format: ## Format the code and fix what lint can fix by itself
	@sh deploy/install.sh dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: ## Measure against the yardsticks (ONLY=P1 runs one)
	@sh deploy/install.sh dev
	@exec $(PY) -m tests.benchmarks

demo: ## Send the demonstration into the running stack again
	@sh deploy/install.sh local
	@exec $(INSIDE) deploy.demo

token: ## Print a token of the development issuer: make -s token role=quality_manager [offices=JC-001,JC-002]
	@sh deploy/install.sh local >&2
	@exec $(INSIDE) deploy.local.token $(if $(role),role=$(role)) $(if $(offices),'offices=$(offices)')

pictures: ## Take the pictures in docs/pictures/ from the running stack
	@sh deploy/install.sh dev
	@exec $(INSIDE) tests.browser.pictures

rebuild: ## Rebuild reporting's tables from the log and compare them with the old ones
	@sh deploy/install.sh local
	@exec $(INSIDE) services.reporting.rebuild

dlq: ## Dead letters: make dlq [ARGS="show <topic> <offset>"] [ARGS="resend <topic> <offset>"]
	@sh deploy/install.sh local
	@exec $(INSIDE) shared.redelivery $(or $(ARGS),list)

accept-new-topic: ## After a topic was made anew: make accept-new-topic service=reporting topic=heat.reported.v1
	@sh deploy/install.sh local
	@exec $(INSIDE) shared.inbox accept-new-topic services.$(service) $(topic)

migrate: ## Apply the migrations of all services to the running stack
	@sh deploy/install.sh local
	@for service in feedback incidents reporting; do $(INSIDE) shared.migrate services.$$service || exit; done

schemas: ## Write the JSON Schemas of the events anew
	@sh deploy/install.sh dev
	$(PY) -m shared.events.schema_files

audit: ## Check the locked packages for known vulnerabilities (needs a network)
	@sh deploy/install.sh dev
	.venv/bin/pip-audit -r deploy/requirements/dev.lock --require-hashes --disable-pip

lock: ## Resolve the locked versions and hashes anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header -o deploy/requirements/runtime.lock
	uv pip compile pyproject.toml --group local --universal --python-version 3.11 --generate-hashes --no-header -o deploy/requirements/local.lock
	uv pip compile pyproject.toml --group local --group dev --universal --python-version 3.11 --generate-hashes --no-header -o deploy/requirements/dev.lock

clean: ## Remove the data and logs of the local stack (downloads stay)
	@if [ -x $(PY) ]; then $(PY) -m deploy.local.clean; else rm -rf .local/data* .local/logs* .local/fresh-*; fi
