# Two commands for users (`make demo`, `make test`); each makes its own environment first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types tests test-real test-stress fuzz docs clean

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: .venv/installed
	$(BIN)/deepfeat demo

test: lint types tests

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

# Two processes of one thread each: most tests are too small for two threads to help.
tests: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# Real images and weights, some minutes: make test-real DEEPFEAT_TEST_DATA=FOLDER
test-real: .venv/installed
	test -d "$(DEEPFEAT_TEST_DATA)/weights"
	DEEPFEAT_TEST_DATA="$(DEEPFEAT_TEST_DATA)" $(BIN)/python -m pytest tests/real -m real

# Thousands of tries of what `tests` tries some dozens of times: some minutes, before a release.
test-stress: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m stress

# Damaged files of every kind for ten minutes; finds lie in fuzz-finds: make fuzz SECONDS=60 SEED=2
SECONDS ?= 600
SEED ?= 1
fuzz: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz.py --seconds $(SECONDS) --seed $(SEED)

docs: .venv/installed
	$(BIN)/python benchmarks/render_docs.py

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
