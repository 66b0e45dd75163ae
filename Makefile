# make demo          creates .venv, exports the embedded Phantom-Nano for iOS and prints the verification table
# make test          creates what is missing and runs every test
# make check         format, lint, types and the fast tests: for daily work
# make docs          the documentation as a site, in build/site
# make conformance   what recorded outputs of the published implementation add to the tests
VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests run in two processes, a file at a time; TESTS=… runs some of them, for example TESTS=tests/text.
TESTS  ?= tests
PYTEST := $(BIN)/python -m pytest --numprocesses $(or $(WORKERS),2) --dist loadfile --no-loadscope-reorder

RECORDINGS = $(or $(PHANTOM_EDGE_CONFORMANCE),$(wildcard ../shared/conformance))
export PYTHON

.PHONY: demo test check lint docs conformance clean

demo: $(STAMP)
	$(BIN)/phantom-edge export --target ios --output demo/nano-ios

test: $(STAMP)
	$(PYTEST) $(TESTS)

check: lint
	$(PYTEST) -m "not slow and not arm64 and not browser and not native and not stock" $(TESTS)

lint: $(STAMP)
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees docs build/site

conformance: $(STAMP)
	@test -n "$(RECORDINGS)" || { echo "set PHANTOM_EDGE_CONFORMANCE to the folder of the recorded outputs (docs/conformance.md)"; exit 2; }
	PHANTOM_EDGE_CONFORMANCE="$(RECORDINGS)" $(PYTEST) -m conformance $(TESTS)

$(STAMP): pyproject.toml scripts/environment
	scripts/environment $(VENV)
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
