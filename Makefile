# kdtool from a checkout. `make demo` shows what it does, `make test` proves it; both set up what they need.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
# URL of an index of CPU builds of torch. Empty: the package index's own build, which on Linux brings
# the libraries for GPUs along, ten times the download.
TORCH_INDEX ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TRAIN := $(VENV)/.installed-train
TEST := $(VENV)/.installed-test
WEB := $(VENV)/.installed-web
WEBTEST := $(VENV)/.installed-webtest
# torch and torchvision as pyproject.toml wants them
TORCH := $(BIN)/python -c "import tomllib; print(*(want for want in tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['train'] if want.startswith('torch')))"

.DEFAULT_GOAL := help
.PHONY: help setup setup-test web demo docs quick check test test-arm64 test-hub mutants interval-coverage kill-campaign io-faults cache-edits clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo    install into $(VENV) and run every stage on the embedded digits'
	@echo 'make test    install what tests need, check the code and run every test'
	@echo 'make quick   ruff, mypy and the tests that need no training, no browser and little time'
	@echo 'make test-arm64  the device path in an emulated arm64 Debian (as root; long)'
	@echo 'make test-hub  transformers.js and Optimum load a bundle and answer as kdtool (npm; installs both in build/hub)'
	@echo 'make check   ruff, mypy and import-linter alone'
	@echo 'make mutants small wrong changes to the code, each of which some test must catch (ONLY=regular expression)'
	@echo 'make interval-coverage  how often the interval of a ratio of latencies holds the truth (ROUNDS=n)'
	@echo 'make kill-campaign, io-faults, cache-edits   long searches for what is lost (ROUNDS=n; tests/campaigns)'
	@echo 'make docs    write docs/architecture.md, docs/api.md and the table of tests/README.md from the code'
	@echo 'make setup   install alone'
	@echo 'make setup-test  install what tests need, too'
	@echo 'make web     fetch onnxruntime-web from npm, for the pages of bundles'
	@echo 'make clean   remove $(VENV), caches and builds (runs under artifacts/ stay)'
	@echo
	@echo 'Variables: PYTHON ($(PYTHON)), VENV ($(VENV)), JOBS ($(JOBS)), TORCH_INDEX (an index of CPU builds of torch)'

setup: $(TRAIN)

setup-test: $(TEST)

$(TRAIN): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'kdtool needs Python 3.11 or newer, and $(PYTHON) is not. Name one that is: make PYTHON=python3.12 $(MAKECMDGOALS)' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
ifneq ($(strip $(TORCH_INDEX)),)
	$(PIP) install --no-deps --index-url '$(TORCH_INDEX)' $$($(TORCH))
endif
	$(PIP) install --editable '.[train]'
	@touch $@

# What a page runs on: package.json says which versions, and kdtool checks their hashes.
$(WEB): $(TRAIN) package.json
	@command -v npm >/dev/null || { echo 'npm is missing: install Node.js 20.19 or newer (Debian: apt-get install npm)' >&2; exit 1; }
	cp package.json $(VENV)/
	npm install --prefix $(VENV) --omit=dev --ignore-scripts --no-package-lock --no-audit --no-fund
	@touch $@

web: $(WEB)

# The browser the page is tested in is the system's; Playwright brings none.
$(WEBTEST): $(WEB)
	npm install --prefix $(VENV) --ignore-scripts --no-package-lock --no-audit --no-fund
	@command -v chromium >/dev/null || { echo 'installing chromium' && apt-get update -qq && apt-get install -y -qq chromium; } || { \
	  echo 'chromium is missing: install it (Debian: apt-get install chromium) and give the command again' >&2; exit 1; }
	@touch $@

$(TEST): $(TRAIN) $(WEBTEST)
	$(PIP) install --group test
	@touch $@

demo: $(TRAIN)
	$(BIN)/kdtool run
	@echo 'kdtool is in $(BIN). For the commands above: . $(BIN)/activate'

check: $(TEST)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(TEST)
	$(BIN)/python docs/architecture.py
	$(BIN)/python tests/table.py
	KDTOOL_WRITE_API=1 $(BIN)/pytest -q tests/packaging/test_api.py

test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# To run after each change: at most 90 s on two cores. The hosted CI has the same commands.
quick: $(TEST)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile -m 'not train and not browser and not slow'

test-arm64: $(TEST)
	tests/device/arm64.sh $(BIN)/python build/arm64

test-hub: $(WEB)
	OMP_NUM_THREADS=1 tests/hub/hub.sh $(BIN)/python build/hub

CAMPAIGN := OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m
ROUNDS ?=
ONLY ?=
ROUNDS_OPTION = $(if $(ROUNDS),--rounds $(ROUNDS))

mutants: $(TEST)
	$(CAMPAIGN) campaigns.mutants --jobs $(JOBS) --only '$(ONLY)'

interval-coverage: $(TEST)
	$(CAMPAIGN) campaigns.coverage $(ROUNDS_OPTION)

kill-campaign: $(TEST)
	$(CAMPAIGN) campaigns.kill $(ROUNDS_OPTION)

io-faults: $(TEST)
	$(CAMPAIGN) campaigns.io_faults $(ROUNDS_OPTION)

cache-edits: $(TEST)
	$(CAMPAIGN) campaigns.cache_edits $(ROUNDS_OPTION)

clean:
	rm -rf '$(VENV)' build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
