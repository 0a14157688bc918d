# The two commands are `make demo` and `make test`; both set up everything that they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Processes among which the tests are shared out; 0: none but pytest itself.
WORKERS ?= logical
SOURCES := pyproject.toml $(shell find edgemse agent/edgemse_agent -name '*.pyx' -o -name '*.pxd' -o -name '*.h')

# A line for each step; what it prints is shown only if it fails.
STEP := @step() { echo "$$1"; shift; log=$$(mktemp); if "$$@" >"$$log" 2>&1; then rm -f "$$log"; \
	else code=$$?; cat "$$log" >&2; rm -f "$$log"; return $$code; fi; }; step

.PHONY: demo test test-integrations test-arm test-c test-sanitize chaos crash simulate mutants fuzz lint bench clean

demo: $(VENV)/demo.stamp
	@$(BIN)/edgemse demo $(ARGS)

test: $(VENV)/dev.stamp
	sh tests/system_parts.sh
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal $(ARGS)

test-integrations: $(VENV)/dev.stamp
	sh tests/system_parts.sh integrations
	$(BIN)/python -m pytest tests/integrations $(ARGS)

test-arm: $(VENV)/dev.stamp
	tests/arm/run.sh $(ARGS)

test-c: $(VENV)/dev.stamp
	sh tests/system_parts.sh
	tests/c/run.sh $(ARGS)

test-sanitize: $(VENV)/dev.stamp
	tests/sanitize.sh $(ARGS)

chaos: $(VENV)/dev.stamp
	sh tests/system_parts.sh
	$(BIN)/python tests/chaos/campaign.py $(or $(ARGS),--seconds 600)

crash: $(VENV)/dev.stamp
	sh tests/system_parts.sh
	$(BIN)/python tests/crash/campaign.py $(ARGS)
	$(BIN)/python tests/chaos/campaign.py --kills $(or $(KILLS),200)

simulate: $(VENV)/dev.stamp
	$(BIN)/python tests/simulation/campaign.py $(ARGS)

mutants: $(VENV)/dev.stamp
	$(BIN)/python tests/mutants/campaign.py $(ARGS)

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
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "edgemse needs Python 3.11 or newer; say make PYTHON=python3.11"; exit 1; }
	$(STEP) "making a virtual environment in $(VENV)" $(PYTHON) -m venv $(VENV)
	$(STEP) "bringing its pip up to date" $(BIN)/python -m pip install --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/demo.stamp: $(VENV)/pip.stamp $(SOURCES)
	$(STEP) "compiling edgemse and fetching what the demo needs: a minute or two" \
		$(BIN)/python -m pip install --editable '.[demo]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/demo.stamp
	$(STEP) "fetching what the tests need" $(BIN)/python -m pip install --group dev
	@touch $@

$(VENV)/bench.stamp: $(VENV)/dev.stamp
	$(STEP) "fetching what the benchmarks compare with" $(BIN)/python -m pip install --group bench
	@touch $@
