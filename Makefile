# Every target prepares .venv first (deploy/prepare.sh: quick when nothing changed).
# Options for a target's command go into ARGS: make test ARGS="-k router -x"
.DEFAULT_GOAL := help
.PHONY: help up test sanitize build bench lint clean
ARGS ?=
BIN := .venv/bin
# Everything that feeds the compiled room and starts no other server.
SANITIZED := tests/node/engine tests/node/test_hostile.py tests/fuzz
PREPARE := @PYTHON='$(PYTHON)' sh deploy/prepare.sh

help: ## this list
	@echo "Grapevine: a cache cluster that Redis clients use unmodified."
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-13s %s\n", $$1, $$2 }'
	@echo
	@echo 'Options for the command go into ARGS: make test ARGS="-k router -x"'

up: ## build, start 3 shards with a replica each and a router here; Ctrl-C stops them
	$(PREPARE) run
	@$(BIN)/grapevine up $(ARGS)

test: ## build and run the tests
	$(PREPARE) test
	@$(BIN)/python -m pytest $(ARGS)

sanitize: ## run the tests of the compiled room under the address and undefined-behaviour sanitizers
	$(PREPARE) test
	@sh deploy/sanitize.sh python -m pytest --hypothesis-profile=ci -m "not oracle" $(or $(ARGS),$(SANITIZED))

build: ## build only: .venv, the compiled room, the grapevine command
	$(PREPARE) run
	@echo "grapevine: ready: $(BIN)/grapevine --help"

bench: ## measure a stand-alone node beside redis-server and memcached
	$(PREPARE) run
	@$(BIN)/grapevine bench $(or $(ARGS),all)

lint: ## ruff (rules and format) and mypy, strict
	$(PREPARE) lint
	@failed=0; for check in "ruff check ." "ruff format --check ." mypy; do $(BIN)/$$check || failed=1; done; exit $$failed

clean: ## remove everything that was built, and .venv; data in .cluster stays
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@rm -f node/engine/*.so node/engine/*.c
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
