# `make` alone lists the commands.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
COMPOSE := $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
# The containers for development are a Compose project of their own: separate volumes, a separate network, and no port that
# other machines can reach.
LOCAL = PUBLISH_ADDRESS=127.0.0.1 FRONT_NETWORK=10.213.58 $(COMPOSE) --env-file .env.test \
	--project-name local-$$(basename "$(CURDIR)" | tr 'A-Z' 'a-z' | tr -cd 'a-z0-9_-') \
	-f docker-compose.yml -f docker-compose.local.yml
# Stopping production and reading its logs needs no secret and no .env, but Compose requires a value for each name.
PRODUCTION := $(COMPOSE) --env-file .env.test
# The tests run in several processes, each with a PostgreSQL and a Valkey of its own; PYTEST_WORKERS=0 runs them in one,
# where a debugger works. A module stays in one process, which keeps its fixtures.
PYTEST_WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest --numprocesses $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder
# Containers read these files as other users; after a checkout with a strict umask they could not.
READABLE := chmod -R a+rX deploy migrations src manage.py

.PHONY: help run test test_all coverage clients check format docs round_trips lock up backup restore up_local_compose down logs bench bench_paired chaos

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z_]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment is updated when the pinned requirements change. The file lists all packages with hashes. `--no-deps`
# keeps pip from resolving extras, which could require a package without a hash.
$(READY): deploy/requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another with make PYTHON=…") if sys.version_info < (3, 11) else None'
	@echo "Installing $$(grep -c '==' $<) packages into $(VENV) (once; about a minute) …"
	@$(PYTHON) -m venv $(VENV) || { echo "This Python cannot create environments; on Debian: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r deploy/requirements-dev.txt
	@touch $@

# Always a development profile, even if `make up` has written a .env for production.
run: export APP_ENV := $(or $(APP_ENV),$(shell sh deploy/make-env.sh value APP_ENV 2>/dev/null | grep -xE 'local|test'),local)
run: $(READY) ## start everything on this machine: engines, API, mail worker
	@exec $(BIN)/python manage.py api

test: $(READY) ## run the tests that every commit needs, in at most five minutes
	@$(PYTEST) -m "not slow and not chaos" $(PYTEST_ARGS)

test_all: $(READY) ## run all tests except chaos: also faults, fuzzing, README, containers
	@$(PYTEST) $(PYTEST_ARGS)

coverage: $(READY) ## run both tiers with branch coverage; at least 98 % are needed, and twice the time
	@$(PYTEST) --cov $(PYTEST_ARGS)

clients: $(READY) ## generate clients from docs/openapi.json, compile them and run them against the service
	@sh .ci/client_tools.sh
	@$(PYTEST) tests/clients/test_generated_clients.py tests/clients/test_openapi_generator.py $(PYTEST_ARGS)

check: $(READY) ## linters, types, import contracts, lock, documents, containers
	@CI_BIN=$(BIN) sh .ci/check

format: $(READY) ## format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

docs: $(READY) ## write the generated parts of the documents
	@$(BIN)/python manage.py docs

round_trips: $(READY) ## count the round trips of every endpoint and write their table into docs/architecture.md
	@PYTHONPATH=src $(BIN)/python -m tests.support.round_trips_table --write

lock: ## lock the dependencies and export what pip installs (needs poetry with its export plugin)
	poetry lock
	poetry export --only main --output deploy/requirements.txt
	poetry export --with dev,embedded --output deploy/requirements-dev.txt

up: ## build and start production in containers, on port 5000
	@sh deploy/make-env.sh
	@$(READABLE)
	@$(COMPOSE) up --build --detach
	@$(COMPOSE) exec -T nginx nginx -c /etc/nginx/service/nginx.conf -s reload
	@echo "Production is up, by HTTP on port $$(sh deploy/make-env.sh value PUBLISH_PORT | grep . || echo 5000) of this machine."
	@echo "\`make logs\` follows the logs, \`make down\` stops it and keeps the data."

backup: ## write a backup of the production database to a new file (FILE=backups/….dump)
	@COMPOSE="$(COMPOSE)" sh deploy/backup.sh $(FILE)

restore: ## restore a backup of the production database (FILE=…); then make up
	@$(READABLE)
	@COMPOSE="$(COMPOSE)" sh deploy/restore.sh $(FILE)

up_local_compose: ## start PostgreSQL, Redis and Mailpit for development, and the API in a container on port 5001
	@$(READABLE)
	@$(LOCAL) up --build --detach
	@echo "PostgreSQL 127.0.0.1:5432, Redis 127.0.0.1:6379; use them with: cp .env.test .env"
	@echo "API        http://127.0.0.1:5001/api/swagger"
	@echo "Mailpit    http://127.0.0.1:8025"

down: ## stop all containers, also those for development; the data stays
	@if [ -n "$$($(LOCAL) ps --all --quiet)" ]; then $(LOCAL) down --remove-orphans; fi
	@if [ -n "$$($(PRODUCTION) ps --all --quiet)" ]; then $(PRODUCTION) down --remove-orphans; fi

logs: ## follow the logs of the containers
	@if [ -n "$$($(LOCAL) ps --quiet)" ]; then $(LOCAL) logs --follow --tail 100; \
	else $(PRODUCTION) logs --follow --tail 100; fi

bench: $(READY) ## measure the service and compare it with its floors
	@PYTHONPATH=src $(BIN)/python -m tests.bench

bench_paired: $(READY) ## compare this checkout with another commit (AGAINST=HEAD~1), alternately in one run
	@git worktree prune
	@git worktree add --quiet --force --detach .data/against $(or $(AGAINST),HEAD~1)
	@PYTHONPATH=src $(BIN)/python -m tests.bench.paired_service .data/against; status=$$?; \
	git worktree remove --force .data/against; exit $$status

chaos: $(READY) ## run the long fault tests: hundreds of kills
	@$(BIN)/python -m pytest -m chaos
