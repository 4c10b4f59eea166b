# Each target creates the .venv it needs; nothing has to be activated. The stamps in
# .venv/.stamps record which extras are installed, so pip runs again only when setup.cfg
# has changed.

PYTHON ?= python3
KERAS_BACKEND ?= tensorflow
export KERAS_BACKEND
export TF_CPP_MIN_LOG_LEVEL = 2
export PIP_DISABLE_PIP_VERSION_CHECK = 1

VENV := .venv
STAMPS := $(VENV)/.stamps
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:  # two pips must not write to one environment at the same time
.PHONY: help demo check test test-all test-jax test-torch test-gpu on-jax on-torch test-oldest \
	test-beam tpu-check bench docs lint format dist clean distclean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

# One process runs a whole file, whose tests share what was compiled, and the files run in
# the order of their names: the longest, in tests/distribution, is among the first.
IN_PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

demo: $(STAMPS)/demo ## Run examples/noisy_digits.py
	$(RUN) -m examples.noisy_digits

# What trains and measures.
CORE := $(addprefix tests/,callbacks calibrators layers losses metrics ops)

check: lint $(STAMPS)/test ## Check a change before its commit: style, types, core tests, pages
	$(RUN) -m pytest -q $(IN_PARALLEL) $(CORE) tests/test_*.py tests/docs
	$(MAKE) docs

test: $(STAMPS)/test ## Run the tests; of the slow ones, only those of examples and pages
	$(RUN) -m pytest -q $(IN_PARALLEL)
	$(RUN) -m pytest -q $(IN_PARALLEL) -m slow tests/docs tests/examples tests/serving/test_guide.py

test-all: $(STAMPS)/test ## Run all tests, the slow ones too
	$(RUN) -m pytest -q $(IN_PARALLEL) -m ""

# The tests of what is written in keras.ops, and of each backend's own traps. The others
# need TensorFlow (serving, the examples), start the backends themselves (distribution),
# or use none.
ON_ANY_BACKEND := $(addprefix tests/,calibrators callbacks evaluation layers losses metrics ops \
	viz distribution/test_traps.py $(addprefix test_,arguments.py benchmarks.py docstrings.py \
	identifiers.py imports.py keras.py mistakes.py))

# The tests of each loss and each metric, and those of operations that have nothing in
# float64, which on JAX run as most users run it: without float64, and compiled with every
# optimization. The other tests of operations run in both ways.
AS_USERS_RUN := tests/losses/test_common.py tests/metrics/test_contract.py \
	$(addprefix tests/ops/test_,heads.py sound.py summary.py token_statistics.py)

# JAX compiles each operation for each shape, which takes most of the time. So compiled
# operations are cached, and in float64 the compiler's last stages are the quickest ones:
# no expensive optimizations of LLVM, no emitters of fusions. What XLA rewrites stays.
# Only TensorFlow and torch run the slow tests, which compile most.
test-jax: export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/.pytest_cache/jax
test-jax: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
test-jax: $(STAMPS)/test ## Run the tests of everything written in keras.ops on JAX
	KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=1 \
		XLA_FLAGS=--xla_cpu_use_fusion_emitters=false $(RUN) -m pytest -q \
		-m "not slow" $(IN_PARALLEL) $(ON_ANY_BACKEND) $(addprefix --ignore=,$(AS_USERS_RUN))
	KERAS_BACKEND=jax JAX_ENABLE_X64=0 $(RUN) -m pytest -q -m "not slow" \
		$(IN_PARALLEL) $(AS_USERS_RUN) tests/ops

test-torch: $(STAMPS)/test $(STAMPS)/torch ## Run the same tests and the slow ones on torch
	KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n 2 -m "" $(ON_ANY_BACKEND)

# The wheels of JAX and torch with CUDA depend on the machine, so the packages are those of
# $(PYTHON). A part of the tests runs with `make test-gpu GPU_TESTS="tests/ops tests/layers"`.
GPU_TESTS = $(ON_ANY_BACKEND)
GPU_PROCESSES = 8
test-gpu: ## Run the same tests on JAX and torch on a GPU, where there is one
	@$(if $(shell nvidia-smi --list-gpus 2>/dev/null),$(MAKE) --keep-going on-jax on-torch,\
		echo "no NVIDIA GPU was found, so that no test runs on one")

on-jax on-torch: on-%:
	CUDA_VISIBLE_DEVICES=0 KERAS_BACKEND=$* OMP_NUM_THREADS=1 \
		$(PYTHON) -m pytest -q -n $(GPU_PROCESSES) $(GPU_TESTS)

# The core on the oldest Keras and TensorFlow of setup.cfg.
test-oldest: .venv-oldest/.stamp ## Run the core tests on the oldest supported releases
	.venv-oldest/bin/python -m pytest -q -n 2 $(CORE)

test-beam: .venv-beam/.stamp ## Run the tests of Beam, TFMA and Spark, in 4 GB of their own
	.venv-beam/bin/python -m pytest -q tests/test_beam.py tests/test_tfma.py
	.venv-beam/bin/python -m pytest -q tests/test_docstrings.py -k "beam or tfma"
	.venv-beam/bin/python -m pytest -q tests/test_sql.py -k spark

# All kinds of TPU, unless TPUS names some.
tpu-check: .venv-tpu/.stamp ## Compile steps, losses and metrics for TPUs; needs no TPU
	.venv-tpu/bin/python -m tests.tpu $(TPUS)

bench: $(STAMPS)/test ## Run the benchmarks and print one table
	$(RUN) -m benchmarks

docs: $(STAMPS)/docs ## Build the documentation into docs/_build/html
	$(RUN) -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html

lint: $(STAMPS)/dev ## Check style, formatting and type hints; change nothing
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(STAMPS)/dev ## Fix style, formatting and the lists of exports
	$(RUN) -m tests.exports
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

dist: $(STAMPS)/dev ## Build the sdist and the wheel into dist/ and check them
	rm -rf dist build *.egg-info
	$(RUN) -m build
	$(RUN) -m twine check --strict dist/*
	$(RUN) tests/check_dist.py dist

clean: ## Remove caches, build products and the output of the demo
	rm -rf dist build docs/_build docs/api/*.rst *.egg-info demo_output examples/demo_output
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove the virtual environment as well
	rm -rf $(VENV) .venv-oldest .venv-tpu .venv-beam

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "keras_calib needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + ": try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS)
	@touch $@

$(STAMPS)/%: $(STAMPS)/venv setup.cfg
	$(RUN) -m pip install -qq $(EXTRA_INDEX) --editable '.[$*]'
	@touch $@

# PyPI's wheel installs gigabytes of CUDA; PyTorch's own index has a wheel without it. If
# that index cannot be reached, pip installs the wheel of PyPI.
$(STAMPS)/torch: EXTRA_INDEX := --extra-index-url https://download.pytorch.org/whl/cpu --retries 1

.venv-oldest/.stamp: $(STAMPS)/venv setup.cfg tests/oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install -qq --constraint tests/oldest.txt --editable . \
		pytest pytest-xdist hypothesis mpmath scikit-learn matplotlib \
		'tensorflow-probability[tf]'
	@touch $@

# An environment of its own, because it is large, and pins other packages.
.venv-beam/.stamp: $(STAMPS)/venv setup.cfg
	$(PYTHON) -m venv .venv-beam
	.venv-beam/bin/python -m pip install -qq --editable '.[beam]' pytest scikit-learn \
		pyspark
	@touch $@

# An environment of its own, because JAX looks for a TPU if libtpu is installed.
.venv-tpu/.stamp: $(STAMPS)/venv setup.cfg
	$(PYTHON) -m venv .venv-tpu
	.venv-tpu/bin/python -m pip install -qq --editable '.[tpu]'
	@touch $@
