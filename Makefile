# Lockgate. `make help` lists what a person runs; every target sets itself up.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
PY := .venv/bin/python
STAMP := .venv/.requirements.sha256

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

# The environment is rebuilt when, and only when, the locked requirements change.
$(STAMP): requirements/dev.txt
	@echo "setting up .venv from requirements/dev.txt (hash-locked)"
	@$(PYTHON) -c 'import sys; sys.exit("Lockgate needs Python >= 3.11; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@sha256sum $< > $@

venv: $(STAMP) ## the Python environment in .venv

demo: $(STAMP) ## the whole story: image tag -> merge request -> approval -> rollout (Ctrl-C ends it)
	@$(PY) -m sandbox.demo

test: $(STAMP) ## all tests, on a real control plane
	@$(PY) -m sandbox.controlplane fetch
	@$(PY) -m pytest tests

check: $(STAMP) ## ruff, mypy strict, import contracts, generated files
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo
	@$(MAKE) --no-print-directory protos-check

bench: $(STAMP) ## speed, each with a peer in the same run
	@$(PY) -m bench

chaos: $(STAMP) ## the long rounds of kill -9, resumable by seed
	@$(PY) -m pytest tests/chaos -q --chaos-rounds=$${ROUNDS:-50}

docs: $(STAMP) ## write docs/reference/commands.md from --help
	@$(PY) docs/generate.py

picture: $(STAMP) ## docs/images: the merge request's page, taken in Chromium
	@$(PY) -m sandbox.picture

protos: $(STAMP) ## regenerate the wire protocol's modules
	@$(PY) -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. \
	  --plugin=protoc-gen-mypy=.venv/bin/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=.venv/bin/protoc-gen-mypy_grpc \
	  --mypy_out=quiet:. --mypy_grpc_out=quiet:. protos/lockgate/v1/agent.proto

protos-check: protos
	@git diff --exit-code --stat -- protos || { echo "protos/ was not regenerated: run make protos and commit"; exit 1; }

lock: $(STAMP) ## recompute requirements/*.txt
	@for r in bot hub agent dev; do .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate requirements/$$r.in -o requirements/$$r.txt; done

.PHONY: help venv demo test check bench chaos docs picture protos protos-check lock
