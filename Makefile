# What a user calls. Everything lives in .venv; nothing needs root.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.PHONY: demo test check install bench bench-ecg bench-pleth bench-stethoscope bench-drivers bench-wire bench-custody bench-listening bench-load chaos fuzz sbom release clean

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

# Side by side with the peers, each set in an environment of its own under build/. BESACE_DATA names the recordings.
bench-ecg: .venv/dev
	$(BIN)/python -m benchmarks.ecg

bench-pleth: .venv/dev
	$(BIN)/python -m benchmarks.pleth

bench-stethoscope: .venv/dev
	$(BIN)/python -m benchmarks.stethoscope

bench-wire: build/peers-wire/done .venv/dev
	build/peers-wire/bin/python -m benchmarks.waveform
	$(BIN)/python -m benchmarks.wire
	$(BIN)/python -m benchmarks.reconnect --report

bench-load: .venv/dev
	$(BIN)/python -m benchmarks.load --report

bench-listening: .venv/dev
	$(BIN)/python -m benchmarks.listening

bench-drivers: .venv/dev
	$(BIN)/python -m benchmarks.drivers

bench-custody: .venv/dev
	$(BIN)/python -m benchmarks.custody

# Kills the agent, the broker and the hub at random, for real, and checks every sample: make chaos KILLS=1000
chaos: .venv/dev
	$(BIN)/python -m benchmarks.chaos --kills $(or $(KILLS),50)

fuzz: .venv/dev
	$(BIN)/python -m benchmarks.fuzz_wire
	$(BIN)/python -m benchmarks.fuzz_drivers
	$(BIN)/python -m benchmarks.fuzz_scp

# What a benchmark or a test compares with, in an environment of its own.
build/peers-%/done: benchmarks/peers-%.txt constraints.txt
	$(PYTHON) -m venv build/peers-$*
	build/peers-$*/bin/pip --disable-pip-version-check --quiet install -r $<
	@touch $@

# A second CDDL tool, for one test; it too needs an older cbor2.
build/peers-cddl/done: benchmarks/peers-cddl.txt
	$(PYTHON) -m venv build/peers-cddl
	build/peers-cddl/bin/pip --disable-pip-version-check --quiet install -r $<
	@touch $@

# What a bag carries, by name, version and licence (CycloneDX), and the digest that its records will name.
sbom: .venv/sbom
	rm -rf build/bag
	$(PYTHON) -m venv build/bag
	build/bag/bin/pip --disable-pip-version-check --quiet install -c constraints.txt '.[page,lights]'
	mkdir -p dist
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o dist/besace.cdx.json build/bag
	cd dist && ../build/bag/bin/python -c 'from agent.software import software; print(software())' | tee besace.software

# What bags install without a network, for machines like this one; besace-provision release signs it.
release: sbom
	rm -rf dist/release
	$(PIP) wheel -c constraints.txt -w dist/release '.[page,lights]'
	cp dist/besace.cdx.json dist/besace.software dist/release/

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

.venv/sbom: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[sbom]'
	@touch $@

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache
