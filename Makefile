# `make` alone lists the commands.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
COMPOSE := $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
LOCAL := -f docker-compose.yml -f docker-compose.local.yml

.PHONY: help run test check format docs lock up up_local_compose down logs bench chaos

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z_]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment is made again whenever the pinned requirements change.
$(READY): deploy/requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another with make PYTHON=…") if sys.version_info < (3, 11) else None'
	@echo "Making the environment in $(VENV) (once; about a minute) …"
	@$(PYTHON) -m venv $(VENV) || { echo "This Python cannot make environments; on Debian: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --require-hashes --progress-bar on -r deploy/requirements-dev.txt
	@touch $@

# A developer's profile, whatever a .env made by `make up` says.
run: export APP_ENV := $(or $(APP_ENV),$(shell sed -n 's/^APP_ENV=//p' .env 2>/dev/null | grep -xE 'local|test'),local)
run: $(READY) ## start everything on this machine: engines, API, mailer
	@exec $(BIN)/python manage.py api

test: $(READY) ## run the whole suite
	@$(BIN)/python -m pytest

check: $(READY) ## linters, types, import contracts, lock, documents, containers
	@CI_BIN=$(BIN) sh .ci/check

format: $(READY) ## format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

docs: $(READY) ## write the tables of the documents that are made from the code
	@$(BIN)/python manage.py docs

lock: ## lock the dependencies and export what pip installs (needs poetry with its export plugin)
	poetry lock
	poetry export --only main --output deploy/requirements.txt
	poetry export --with dev,embedded --output deploy/requirements-dev.txt

up: ## build and start production in containers, on port 5000
	@sh deploy/make-env.sh
	@$(COMPOSE) up --build --detach

up_local_compose: ## start PostgreSQL, Redis and Mailpit for a developer's machine, and the API in a container on port 5001
	@$(COMPOSE) $(LOCAL) --env-file .env.test up --build --detach

down: ## stop the containers; the data stays
	@$(COMPOSE) $(LOCAL) --env-file .env.test down --remove-orphans

logs: ## follow the logs of the containers
	@$(COMPOSE) logs --follow --tail 100

bench: $(READY) ## measure the service against its floors
	@$(BIN)/python -m tests.bench

chaos: $(READY) ## the long forms of the fault tests: hundreds of kills
	@$(BIN)/python -m pytest -m chaos
