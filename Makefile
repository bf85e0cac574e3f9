# make demo: install, run the first experiment on the embedded data set, print Table 1.
# make test: install, run the tests.

PYTHON ?= python3
# Processes that run tests; each takes 2 to 3 GB.
PROCESSES ?= 2
BIN := .venv/bin

.PHONY: demo test lint clean

demo: .venv/installed
	$(BIN)/python -m experiments.ucf10_cnn_gru

test: .venv/installed
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
	    f"Python 3.11 or newer is needed; {sys.executable} is {v.major}.{v.minor}. Choose another with: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

clean:
	rm -rf .venv runs
