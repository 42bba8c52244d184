# Every target sets up what it needs: a fresh clone and Python >= 3.11 are enough.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo docs docs-quick test test-slow test-lowest test-newest lint wheel bench clean

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

# the same tests with the lowest and with the newest versions of dependencies, each in an environment of its own
TESTS ?= tests
RESOLUTION_lowest := lowest-direct
RESOLUTION_newest := highest
EXTRAS_lowest := population,chains,cosmology,numpyro
# without chainconsumer, which needs pandas < 3
EXTRAS_newest := population,cosmology,numpyro

test-lowest test-newest: test-%: .venv-%/.installed
	OMP_NUM_THREADS=1 .venv-$*/bin/python -m pytest -m "not slow and not gpu" --numprocesses 3 --dist loadfile $(TESTS)

.venv-%/.installed: pyproject.toml
	$(PYTHON) -m venv --clear .venv-$*
	.venv-$*/bin/pip install --quiet --disable-pip-version-check uv
	.venv-$*/bin/uv pip install --python .venv-$* --resolution $(RESOLUTION_$*) -e ".[$(EXTRAS_$*)]"
	.venv-$*/bin/uv pip install --python .venv-$* -e ".[dev,docs]"
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

wheel: install
	rm -rf dist
	$(BIN)/python -m hatchling build -d dist
	$(BIN)/twine check --strict dist/*

bench: install
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv .venv-lowest .venv-newest dist runs
