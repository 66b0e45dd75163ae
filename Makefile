# make demo   creates .venv, exports the embedded Phantom-Nano for iOS and prints the verification table
# make test   creates what is missing and runs every test
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test lint clean

demo: $(STAMP)
	$(BIN)/phantom-edge export --target ios --output demo/nano-ios

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .

# torch comes first and alone: later releases, which a bare requirement may pick, bring gigabytes of CUDA.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install -qq --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
