# make train                    train a Vision Transformer on the embedded shapes, in minutes, on a CPU
# make train DATASET=cifar10    the same on CIFAR-10 (downloaded once, 170 MB)
# make train ARGS="--epochs 3"  with any flag of minivit train
# make test                     run all tests: gradients, data, training, errors
# make notebooks                execute the course from its first cell to its last, and keep the outputs
# make docs                     the documentation as a site that works offline, in build/site
# make lint                     style, types, words, and which package imports which
# make fuzz ARGS="--seconds 600"  damaged files and odd command lines, for longer than in make test
# make mutants ARGS="FILE …"    change the code in one place after another: does a test fail each time?
# make release                  build it, install it in an empty environment, run every command and the
# tests there
#
# Numba, which makes training faster on a CPU, is installed where it is available.
# Each creates a virtual environment in .venv; nothing else is changed.

PYTHON ?= python3
VENV ?= .venv
DATASET ?= shapes
ARGS ?=

python := $(VENV)/bin/python
# compat: so that Python finds the package also from the folder above a clone of the same name
install := --quiet --disable-pip-version-check --config-settings editable_mode=compat

.PHONY: train test notebooks docs fuzz lint mutants release clean

train: $(VENV)/installed
	$(python) -m minivit.train --dataset $(DATASET) $(ARGS)

test: $(VENV)/installed-dev
	$(python) -X warn_default_encoding -m pytest $(ARGS)

notebooks: $(VENV)/installed-execute
	$(python) notebooks/execute.py $(ARGS)

docs: $(VENV)/installed-docs
	$(python) -m sphinx --quiet --fail-on-warning --keep-going -c docs . build/site $(ARGS)

fuzz: $(VENV)/installed-dev
	$(python) -m pytest tests/fuzz $(ARGS)

lint: $(VENV)/installed-dev
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(VENV)/bin/lint-imports
	$(python) -m mypy
	$(python) -m mypy --platform win32
	$(python) -m mypy --platform darwin
	$(python) tests/prose.py

mutants: $(VENV)/installed-mutants
	$(python) tests/mutants.py $(ARGS)

release: $(VENV)/installed-release
	$(python) tests/release.py $(ARGS)

$(python):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "minivit needs Python 3.11 or newer, found $$($(PYTHON) --version 2>&1); make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(python) requirements.txt pyproject.toml
	$(python) -m pip install $(install) --editable ".[fast]" || $(python) -m pip install $(install) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(python) -m pip install $(install) --editable ".[dev]"
	@touch $@

$(VENV)/installed-execute: $(VENV)/installed
	$(python) -m pip install $(install) --editable ".[execute]"
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(python) -m pip install $(install) --editable ".[docs]"
	@touch $@

$(VENV)/installed-mutants: $(VENV)/installed
	$(python) -m pip install $(install) --editable ".[mutants]"
	@touch $@

$(VENV)/installed-release: $(VENV)/installed
	$(python) -m pip install $(install) --editable ".[release]"
	@touch $@

clean:
	rm -rf $(VENV)
