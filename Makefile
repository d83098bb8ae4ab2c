# `make` alone lists the commands.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
COMPOSE := $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
# The containers of a developer's machine are a project of their own beside production's: other volumes, another network,
# nothing that another machine can reach.
LOCAL = PUBLISH_ADDRESS=127.0.0.1 FRONT_NETWORK=10.213.58 $(COMPOSE) --env-file .env.test \
	--project-name local-$$(basename "$(CURDIR)" | tr 'A-Z' 'a-z' | tr -cd 'a-z0-9_-') \
	-f docker-compose.yml -f docker-compose.local.yml
# To stop production and to look at it no secret is needed, so no .env either; but Compose wants each name to have a value.
PRODUCTION := $(COMPOSE) --env-file .env.test
# Containers read these as users of their own; a checkout under a strict umask would not let them.
READABLE := chmod -R a+rX deploy migrations src manage.py

.PHONY: help run test test_all check format docs round_trips lock up up_local_compose down logs bench bench_paired chaos

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z_]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment is made again whenever the pinned requirements change. The file names all of it, so pip has nothing to
# resolve: where it may, a release of today that a dependency asks for under an extra stops it for having no hash.
$(READY): deploy/requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another with make PYTHON=…") if sys.version_info < (3, 11) else None'
	@echo "Making the environment in $(VENV) (once; about a minute) …"
	@$(PYTHON) -m venv $(VENV) || { echo "This Python cannot make environments; on Debian: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --require-hashes --no-deps --progress-bar on -r deploy/requirements-dev.txt
	@touch $@

# A developer's profile, whatever a .env made by `make up` says.
run: export APP_ENV := $(or $(APP_ENV),$(shell sed -n 's/^APP_ENV=//p' .env 2>/dev/null | grep -xE 'local|test'),local)
run: $(READY) ## start everything on this machine: engines, API, mailer
	@exec $(BIN)/python manage.py api

test: $(READY) ## run the tests that every commit needs, in at most five minutes
	@$(BIN)/python -m pytest -m "not slow and not chaos" $(PYTEST_ARGS)

test_all: $(READY) ## run all tests except chaos: also faults, fuzzing, README, containers
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(READY) ## linters, types, import contracts, lock, documents, containers
	@CI_BIN=$(BIN) sh .ci/check

format: $(READY) ## format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

docs: $(READY) ## write the tables of the documents that are made from the code
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
	@echo "Production is up, by HTTP on port $$(sed -n 's/^PUBLISH_PORT=//p' .env | grep . || echo 5000) of this machine."
	@echo "\`make logs\` shows what it does, \`make down\` stops it and keeps the data."

up_local_compose: ## start PostgreSQL, Redis and Mailpit for a developer's machine, and the API in a container on port 5001
	@$(READABLE)
	@$(LOCAL) up --build --detach
	@echo "PostgreSQL 127.0.0.1:5432, Redis 127.0.0.1:6379; use them with: cp .env.test .env"
	@echo "API        http://127.0.0.1:5001/api/swagger"
	@echo "Mailpit    http://127.0.0.1:8025"

down: ## stop the containers, those of a developer's machine too; the data stays
	@if [ -n "$$($(LOCAL) ps --all --quiet)" ]; then $(LOCAL) down --remove-orphans; fi
	@if [ -n "$$($(PRODUCTION) ps --all --quiet)" ]; then $(PRODUCTION) down --remove-orphans; fi

logs: ## follow the logs of the containers
	@if [ -n "$$($(LOCAL) ps --quiet)" ]; then $(LOCAL) logs --follow --tail 100; \
	else $(PRODUCTION) logs --follow --tail 100; fi

bench: $(READY) ## measure the service against its floors
	@PYTHONPATH=src $(BIN)/python -m tests.bench

bench_paired: $(READY) ## compare this checkout with another commit (AGAINST=HEAD~1), alternately in one run
	@git worktree prune
	@git worktree add --quiet --force --detach .data/against $(or $(AGAINST),HEAD~1)
	@PYTHONPATH=src $(BIN)/python -m tests.bench.pairs .data/against; status=$$?; \
	git worktree remove --force .data/against; exit $$status

chaos: $(READY) ## the long forms of the fault tests: hundreds of kills
	@$(BIN)/python -m pytest -m chaos
