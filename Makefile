# The two commands are `make demo` and `make test`; both set up everything that they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml $(shell find edgemse -name '*.pyx' -o -name '*.pxd' -o -name '*.h')

.PHONY: demo test test-arm test-sanitize fuzz lint bench clean

demo: $(VENV)/demo.stamp
	$(BIN)/edgemse demo $(ARGS)

test: $(VENV)/dev.stamp
	sh tests/system_parts.sh
	$(BIN)/python -m pytest $(ARGS)

test-arm: $(VENV)/dev.stamp
	tests/arm/run.sh $(ARGS)

test-sanitize: $(VENV)/dev.stamp
	tests/sanitize.sh $(ARGS)

fuzz: $(VENV)/dev.stamp
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) tests/fuzz/run.sh $(ARGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/bench.stamp
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script $(ARGS) || exit 1; done

clean:
	rm -rf $(VENV) build dist *.egg-info .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find edgemse agent \( -name '*.so' -o -name __pycache__ \) -prune -exec rm -rf {} +

$(VENV)/pip.stamp:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "edgemse needs Python 3.11 or newer; say make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/demo.stamp: $(VENV)/pip.stamp $(SOURCES)
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

$(VENV)/dev.stamp: $(VENV)/demo.stamp
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

$(VENV)/bench.stamp: $(VENV)/dev.stamp
	$(BIN)/python -m pip install --quiet --group bench
	touch $@
