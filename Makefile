# Every target sets up what it needs: a fresh clone and Python >= 3.11 are enough.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo docs docs-quick test test-slow lint bench clean

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[dev,docs]" -c constraints.txt
	touch $@

demo: install
	$(BIN)/clustermass demo

docs: install
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	@echo "Wrote docs/_build/html/index.html."

# without running the tutorials, which `make test` runs
docs-quick: install
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b html -D nb_execution_mode=off docs docs/_build/quick

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" --numprocesses 3 --dist loadfile

test-slow: install
	$(BIN)/python -m pytest -m "slow"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: install
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv runs
