# make demo    the whole loop on simulated data
# make test    all tests
PYTHON ?= python3
BIN := .venv/bin
CODE := src tests benchmarks setup.py

.PHONY: demo test lint format ui benchmark soak clean

demo: .venv/installed
	$(BIN)/impress demo

test: .venv/installed
	$(BIN)/pytest

lint: .venv/installed
	$(BIN)/black --check --quiet $(CODE)
	$(BIN)/isort --check $(CODE)
	$(BIN)/pylint --score=n $(CODE)
	$(BIN)/mypy src tests benchmarks

format: .venv/installed
	$(BIN)/black --quiet $(CODE)
	$(BIN)/isort $(CODE)

# The registry of this checkout in a browser
ui: .venv/installed
	$(BIN)/mlflow ui --backend-store-uri sqlite:///artifacts/mlflow.db

# What a prediction costs beside the bare query and the plain path; allow 15 GB of disk, ten minutes
benchmark: .venv/installed
	$(BIN)/python benchmarks/inbox.py $(ROWS)

# Two hundred random histories of kills, cuts, restarts and late rows; twenty minutes
soak: .venv/installed
	HISTORIES=$(or $(HISTORIES),200) $(BIN)/pytest -s tests/faults/test_histories.py

clean:
	git clean -fdxq .venv artifacts logs ml_downloads .pytest_cache .mypy_cache .hypothesis

.venv/installed: setup.py requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say where: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@
