PYTHON ?= python3
DEMO_VENV := .venv/demo
TEST_VENV := .venv/test
BENCH_VENV := .venv/bench
# each by itself, so that one without a build for this platform leaves the others
PEERS := torch optimum openvino ctranslate2

# The machine that benchmarks/README.md calls A, on one thread as the Action measures.
BASELINE := benchmarks/baselines/epyc-26-2/small.portable.json

FUZZ_COUNT ?= 2000
FUZZ_SEED ?= $(shell date +%s)

.PHONY: demo test lint fuzz bench baseline alarms peers clean

# The built-in model: quantize, verify, use, measure. Keeps bertedge-small-en.int8 and uses it the next time. No torch.
demo: $(DEMO_VENV)/ready
	$(DEMO_VENV)/bin/bertedge demo

# The whole test suite, style and types.
test: $(TEST_VENV)/ready lint
	$(TEST_VENV)/bin/python -m pytest

lint: $(TEST_VENV)/ready
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/mypy

# Damaged files of every kind, other ones each time; about ten minutes. Fewer or the same again: make fuzz FUZZ_COUNT=500 FUZZ_SEED=7
fuzz: $(TEST_VENV)/ready
	FUZZ_COUNT=$(FUZZ_COUNT) FUZZ_SEED=$(FUZZ_SEED) $(TEST_VENV)/bin/python -m pytest tests/fuzz -s

# What each choice in the graph is worth, on the built-in model; takes some minutes.
bench: $(BENCH_VENV)/ready
	$(BENCH_VENV)/bin/python benchmarks/graph_choices.py

# Accept how the built-in model is now: make baseline REASON="...". On a quiet machine; takes about two minutes.
baseline: $(DEMO_VENV)/ready
	$(DEMO_VENV)/bin/bertedge quantize bertedge-small-en -o runs/small.portable --target portable --force
	$(DEMO_VENV)/bin/bertedge bench runs/small.portable --reference bertedge-small-en --threads 1 \
		--baseline $(BASELINE) --update-baseline --reason "$(REASON)"

# How often a verdict on latency is wrong, next to a process that loads a core; about five minutes.
alarms: $(DEMO_VENV)/ready
	$(DEMO_VENV)/bin/python benchmarks/false_alarms.py --results runs/false_alarms.jsonl

# Every peer beside bertedge, in one run; about 25 minutes. ARGS='--quick', or '--models CHECKPOINT,...'.
peers: $(BENCH_VENV)/ready
	$(BENCH_VENV)/bin/python benchmarks/compare_peers.py $(ARGS)

$(DEMO_VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[tools]'
	touch $@

# torch first and pinned: a range would let pip choose a build with several GB of CUDA libraries.
$(TEST_VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(TEST_VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

$(BENCH_VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	for peer in $(PEERS); do \
	  $(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check -e ".[compare-$$peer]" \
	    || echo "$$peer could not be installed: its rows will say so" >&2; \
	done
	touch $@

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
