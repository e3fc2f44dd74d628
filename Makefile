# What a user calls. Everything lives in .venv; nothing needs root.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.PHONY: demo test check install bench clean

demo: .venv/demo
	$(BIN)/besace demo

test: .venv/dev
	$(BIN)/python -m pytest

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

install: .venv/demo

bench: .venv/dev
	$(BIN)/python -m benchmarks.agent

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "besace needs Python 3.11 or later; $(PYTHON) is older. Next: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "python's venv module is missing. Next: sudo apt install python3-venv" >&2; exit 2; }

.venv/demo: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing into .venv (about a minute the first time)"
	$(PIP) install -c constraints.txt -e '.[demo]'
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing into .venv with the developers' tools (about a minute the first time)"
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@ .venv/demo

clean:
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache
