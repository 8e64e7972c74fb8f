# make run, make test and make check need Python 3.11 or newer, pip and make; uv is used when it is there.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(shell command -v uv)
RUN_TESTS := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# Tests start hundreds of processes, and each worker imports all tests: much slower without bytecode to read.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test test-all collect check check-ruff check-mypy check-pyright check-imports bench bench-smoke docs
.PHONY: pictures command-pictures clean

run: $(VENV)/.run
	$(BIN)/python -m bot run --or-demo

test: $(VENV)/.dev
	$(RUN_TESTS) -m "not slow" $(PYTEST)

test-all: $(VENV)/.dev
	$(RUN_TESTS) $(PYTEST)

# Imports all tests, and leaves their bytecode for the workers.
collect: $(VENV)/.dev
	$(BIN)/python -m pytest --collect-only -qq

# `make -j2 check` runs two at once.
check: check-ruff check-mypy check-pyright check-imports

check-ruff: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-mypy: $(VENV)/.dev
	$(BIN)/mypy

check-pyright: $(VENV)/.dev
	$(BIN)/pyright --pythonpath $(BIN)/python

check-imports: $(VENV)/.dev
	$(BIN)/lint-imports

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/all.py --short

bench-smoke: $(VENV)/.dev
	$(BIN)/python benchmarks/all.py --smoke

docs: $(VENV)/.dev
	$(BIN)/python docs/write_settings.py
	$(BIN)/python docs/write_cli.py
	$(BIN)/python docs/write_grafana.py

# Needs Chromium.
pictures: $(VENV)/.dev
	$(BIN)/python docs/take_pictures.py

# Needs Chromium. The pictures of docs/commands.md.
command-pictures: $(VENV)/.dev
	$(BIN)/python docs/take_command_pictures.py

clean:
	rm -rf $(VENV) build dist

ifdef UV
$(VENV)/bin/python:
	uv venv --quiet --python $(PYTHON) $(VENV)
INSTALL := uv pip install --quiet --python $(VENV)/bin/python
else
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
INSTALL := $(VENV)/bin/python -m pip install --quiet
endif

$(VENV)/.run: pyproject.toml $(VENV)/bin/python
	$(INSTALL) -e ".[demo]"
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/bin/python
	$(INSTALL) -e ".[demo,tui]" --group dev
	touch $@ $(VENV)/.run

$(VENV)/.bench: pyproject.toml $(VENV)/bin/python
	$(INSTALL) -e ".[demo,tui]" --group dev --group bench
	touch $@ $(VENV)/.run $(VENV)/.dev
