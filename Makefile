# make demo: install, run the first experiment on the embedded data set, print Table 1.
# make test: install, run the tests.
# make test-lowest: install the lowest versions that setup.cfg allows into .venv-lowest, run the quick tests on them.

PYTHON ?= python3
# Processes that run tests; each takes 2 to 3 GB.
PROCESSES ?= 2
BIN := .venv/bin

.PHONY: demo test test-lowest lint clean

demo: .venv/installed
	@echo 'The first experiment: it draws its videos, which takes a minute, and trains two models.'
	$(BIN)/python -m experiments.ucf10_cnn_gru

test: .venv/installed
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile

# All but what trains models for minutes. Python as well is the lowest: make test-lowest PYTHON=python3.11. Of the extras,
# beam, detectors and jax are not installed there, so their bounds are not tried.
test-lowest:
	$(PYTHON) -m venv --clear .venv-lowest
	$(PYTHON) har_tf/ranges.py --lowest > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-lowest/lowest.txt --editable '.[dev]'
	.venv-lowest/bin/python -m pytest -n $(PROCESSES) --dist loadfile tests --ignore tests/benchmarks \
	    --ignore tests/experiments --ignore tests/notebooks

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
	    f"Python 3.11 or newer is needed; {sys.executable} is {v.major}.{v.minor}. Choose another with: make PYTHON=...")'
	@echo 'Installing TensorFlow and what else is needed into .venv: minutes, and some 2 GB.'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

clean:
	rm -rf .venv .venv-lowest runs
