# Two commands on a bare machine (Rust, Python >= 3.10, pip, make): `make demo` and `make test`.
# Every target sets up what it needs in .venv and does not do so again until a source file changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
SOURCES := pyproject.toml Cargo.toml Cargo.lock README.md LICENSE $(shell find src python -type f -not -name '*.pyc' -not -name '*.so')

.PHONY: demo test test-rust test-python bench lint format clean

# The users' notebook on the real table; prints where the results lie.
demo: $(VENV)/.demo
	$(BIN)/python notebooks/run.py

test: test-rust test-python

# The core without Python: unit tests, golden vectors, properties, documentation examples.
test-rust:
	cargo test --quiet

test-python: $(VENV)/.test
	$(BIN)/python -m pytest

# Ratios to scikit-learn and scipy on this machine; takes some minutes, most of them scipy's.
bench: $(VENV)/.test
	$(BIN)/python tests/bench/compare.py

lint: $(VENV)/.lint
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet --all-targets --features python -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/lint/user_code.py
	$(BIN)/python -m mypy.stubtest isoxide._core --mypy-config-file pyproject.toml
	$(BIN)/python tests/lint/public_docstrings.py

format: $(VENV)/.lint
	cargo fmt
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) target demo-output

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || ($(PYTHON) -m pip install --quiet virtualenv && $(PYTHON) -m virtualenv --quiet $(VENV))

# The package is installed as a user installs it, not in place: what the wheel lacks is missed by the tests.
$(VENV)/.demo: $(BIN)/python $(SOURCES)
	$(PIP) '.[notebook]'
	touch $@

$(VENV)/.test: $(BIN)/python $(SOURCES)
	$(PIP) '.[test]'
	touch $@ $(VENV)/.demo

$(VENV)/.lint: $(BIN)/python $(SOURCES)
	$(PIP) '.[test,lint]'
	touch $@ $(VENV)/.test $(VENV)/.demo
