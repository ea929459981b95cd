# make demo: train, rate and plot two tiny runs.    make test: the tests.    make help: the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: .venv help demo test test-all bounds coverage check bench clean

help:
	@echo "demo      train tiny runs from scratch and from a prior, rate them, plot (10 minutes)"
	@echo "test      every test but the slow ones"
	@echo "test-all  every test"
	@echo "bounds    the tests of rules and search with every array index checked"
	@echo "coverage  the same as plain Python, and which lines of the kernels they reach"
	@echo "check     ruff, ruff format --check, mypy --strict, import-linter"
	@echo "bench     speed of rules, search and network on this machine"
	@echo "clean     remove what was built; runs/ stays"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
	  "ghostgo needs Python 3.11 or newer, this is %d.%d; try: make PYTHON=python3.11" % v[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "no venv module: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

.venv: $(STAMP)

demo: $(STAMP)
	$(BIN)/python examples/demo.py

# A process a core (four at most, for memory), each file of tests in one of them, long files first
# (tests/conftest.py): pytest-xdist would put files of few tests last, and those of one take longest.
PARALLEL := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile \
  --no-loadscope-reorder

test: $(STAMP)
	$(PARALLEL) -m "not slow"

test-all: $(STAMP)
	$(PARALLEL)

KERNEL_TESTS := $(addprefix tests/test_,games.py games_oracle.py go.py properties.py exact_values.py search.py \
  rollout.py replay.py solved.py coords.py jit.py orientation.py utility.py convolution.py)

bounds: $(STAMP)
	NUMBA_BOUNDSCHECK=1 $(BIN)/python -m pytest -q -m "not slow" $(KERNEL_TESTS)

# Plain Python is slow: tests that take too long are cut off (tests/conftest.py) and count as skipped.
# `make coverage COVERAGE_TESTS='$(KERNEL_TESTS)' INTERPRETED_SECONDS=900` cuts none of them off, in
# about half an hour.
COVERAGE_TESTS := $(addprefix tests/test_,games.py search.py replay.py coords.py jit.py)

coverage: $(STAMP)
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m coverage run --include='engine/*,ghostgo/engine/*,data/replay.py' \
	  --branch -m pytest -q -m "not slow" $(COVERAGE_TESTS)
	$(BIN)/python -m coverage report --skip-covered

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/ghostgo bench

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
