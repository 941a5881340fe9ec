# make demo       95 synthetic brain images from the shipped model, in out/demo
# make test       every test but those that start a browser, a database server or a proxy
# make test-all   those too; on Debian, as root, it installs these programs
# make lint       ruff, pyright, import-linter
# make docs       the site of docs/, in site/, with the command reference made anew from the parser
# make models     write the generated files of the shipped models anew, after a change of the code that samples
# make clean      remove the environment and everything that was made
#
# PYTHON=python3.12       another Python, 3.11 or later
# TORCH_INDEX=<address>   where to take PyTorch from: its CPU builds save several gigabytes on Linux (see README.md)
# OUT=<folder>            where the demo writes
# WORKERS=<number>        processes that share the tests

PYTHON ?= python3
TORCH_INDEX ?=
OUT = out/demo
WORKERS ?= 2
QUICK = --quick

BIN := .venv/bin
# What is imported is compiled at its first import: a third of it is, and compiling all would take over a minute.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile -c constraints.txt
NEEDS := pyproject.toml constraints.txt

.PHONY: help env dev demo test test-all lint docs models clean
.DELETE_ON_ERROR:

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

env: .venv/installed
dev: .venv/installed-dev

# The stamps are what decides: an environment is brought up to date only when one of $(NEEDS) is newer.
.venv/installed: $(NEEDS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version.split()[0] + ". Say which one to use: make PYTHON=python3.12")'
	@echo "Making the environment in .venv (a few minutes the first time)"
	$(PYTHON) -m venv .venv
ifneq ($(TORCH_INDEX),)
	$(PIP) --no-deps --index-url "$(TORCH_INDEX)" torch
endif
	$(PIP) --editable .
	@touch $@

# torch-fidelity and timm, which ours are compared with, ask for torchvision, which has no build for every torch; their
# arithmetic does without.
.venv/installed-dev: .venv/installed
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps torch-fidelity timm
	@touch $@

demo: .venv/installed
	$(BIN)/phonybrains demo --out "$(OUT)"

# One thread per worker: two workers with two threads each would wait for one another on two cores.
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test: .venv/installed-dev
	$(PYTEST) $(QUICK)

test-all:
	.ci/programs
	$(MAKE) test QUICK=

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

docs: .venv/installed-dev
	$(BIN)/python -m phonybrains.cli.reference > docs/commands.md
	$(BIN)/zensical build --strict

models: .venv/installed
	$(BIN)/python -c 'from phonybrains.model.finding import shipped_models; from phonybrains.model.folder import refresh_pipeline; [*map(refresh_pipeline, shipped_models().values())]'

clean:
	rm -rf .venv build dist out site .cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
