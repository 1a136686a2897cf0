# make demo | test | test-train | bench | lint | build | simulate | synth | pnr | report | clean
#
# Everything runs in virtual environments inside the checkout: .venv, and .venv-train with
# torch.  They are made by themselves from pyproject.toml, which pins every version.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# The first interpreter that hwgen can run on; `make PYTHON=/path/to/python3.12 ...` overrides it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && { echo "$$p"; break; }; done)

VENV := .venv
TRAIN := .venv-train
BIN := $(VENV)/bin
PIP_FLAGS := --quiet --disable-pip-version-check --no-input
JOBS ?= 2

MODEL ?= fmnist_cnn
BOARD ?= ulx3s_85f
DIR ?= build/$(MODEL)
FPS ?=
IMAGES ?= 100
DEMO := build/demo

.PHONY: help
help:
	@echo 'make demo         Fashion-MNIST network -> engine for the ULX3S -> simulation, synthesis, report'
	@echo 'make test         the test-suite, without torch'
	@echo 'make test-train   the training tests, with torch'
	@echo 'make bench        the figures of docs/benchmarks.md, then thousands of random programs (hours)'
	@echo 'make lint         ruff and mypy'
	@echo 'make build|simulate|synth|pnr|report MODEL=fmnist_cnn BOARD=ulx3s_85f [FPS=2000] [DIR=build/x]'
	@echo 'make clean        remove build/ and caches (distclean: the virtual environments too)'

# ---- virtual environments -------------------------------------------------------------

# $(1) folder, $(2) extras
define make_venv
	@if [ -z "$(PYTHON)" ]; then \
		echo "hwgen needs Python 3.11, 3.12 or 3.13; found: $$(python3 --version 2>&1 || true)." >&2; \
		echo "Install one (Debian: apt-get install python3 python3-venv) or run make PYTHON=/path/to/python3.11 ..." >&2; \
		exit 1; fi
	@for tool in g++ perl; do command -v $$tool >/dev/null || { \
		echo "hwgen needs $$tool to build simulations: apt-get install g++ perl" >&2; exit 1; }; done
	@echo "setting up $(1) (a few minutes the first time)"
	@rm -rf $(1)
	@"$(PYTHON)" -m venv $(1) || { rm -rf $(1); \
		echo "could not make a virtual environment with $(PYTHON); Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(1)/bin/python -m pip install $(PIP_FLAGS) -e '.[$(2)]' || { \
		echo "installing the packages failed (message above); 'make' tries again" >&2; exit 1; }
	@touch $@
endef

$(VENV)/.ready: pyproject.toml
	$(call make_venv,$(VENV),dev)

$(TRAIN)/.ready: pyproject.toml
	$(call make_venv,$(TRAIN),dev$(comma)train)

comma := ,

.PHONY: setup
setup: $(VENV)/.ready

# ---- demo -----------------------------------------------------------------------------

# Simulation and synthesis need only the build directory: they run side by side, one core each.
.PHONY: demo
demo: $(VENV)/.ready
	@$(BIN)/hwgen build fmnist_cnn --board ulx3s_85f --fps 2000 -o $(DEMO)
	@trap 'kill $$(jobs -p) 2>/dev/null || true' EXIT; \
	$(BIN)/hwgen synth $(DEMO) >build/demo-synth.log 2>&1 & synth=$$!; \
	$(BIN)/hwgen simulate $(DEMO) --images $(IMAGES); \
	echo "synthesis runs on the other core ..."; \
	wait $$synth || { cat build/demo-synth.log >&2; exit 1; }
	@$(BIN)/hwgen report $(DEMO)

# ---- single steps ---------------------------------------------------------------------

.PHONY: build simulate synth pnr report
build: $(VENV)/.ready
	@$(BIN)/hwgen build $(MODEL) --board $(BOARD) $(if $(FPS),--fps $(FPS)) -o $(DIR)
simulate: $(VENV)/.ready
	@$(BIN)/hwgen simulate $(DIR) --images $(IMAGES)
synth: $(VENV)/.ready
	@$(BIN)/hwgen synth $(DIR)
pnr: $(VENV)/.ready
	@$(BIN)/hwgen synth $(DIR) --pnr
report: $(VENV)/.ready
	@$(BIN)/hwgen report $(DIR)

# ---- tests ----------------------------------------------------------------------------

.PHONY: test test-train bench lint
test: $(VENV)/.ready
	$(BIN)/python -m pytest -m 'not bench' --ignore=tests/train -n $(JOBS) --durations 20 $(TESTS)

test-train: $(TRAIN)/.ready
	$(TRAIN)/bin/python -m pytest $(or $(TESTS),tests/train)

bench: $(VENV)/.ready $(TRAIN)/.ready
	$(BIN)/python -m benchmarks.bench $(BENCH)
	$(BIN)/python -m benchmarks.real_networks
	$(BIN)/python -m pytest -m bench --ignore=tests/train -n $(JOBS) $(TESTS)

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: clean distclean
clean:
	rm -rf build .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
distclean: clean
	rm -rf $(VENV) $(TRAIN)
