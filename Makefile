# make demo    the whole loop on simulated data
# make test    all tests
PYTHON ?= python3
BIN := .venv/bin
CODE := src tests setup.py

.PHONY: demo test lint format ui clean

demo: .venv/installed
	$(BIN)/impress demo

test: .venv/installed
	$(BIN)/pytest

lint: .venv/installed
	$(BIN)/black --check --quiet $(CODE)
	$(BIN)/isort --check $(CODE)
	$(BIN)/pylint --score=n $(CODE)
	$(BIN)/mypy src tests

format: .venv/installed
	$(BIN)/black --quiet $(CODE)
	$(BIN)/isort $(CODE)

# The registry of this checkout in a browser
ui: .venv/installed
	$(BIN)/mlflow ui --backend-store-uri sqlite:///artifacts/mlflow.db

clean:
	git clean -fdxq .venv artifacts logs ml_downloads .pytest_cache .mypy_cache .hypothesis

.venv/installed: setup.py requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say where: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@
