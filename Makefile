# make demo | test | lint | docs | bench | compatibility | keras-suite | golden-applications |
#      test-isas | test-spark35 | test-oracle | test-sanitize | test-emulated | test-aarch64 | clean
#
# Each target makes the Python environment that it needs (.venv, .venv-bench, .venv-docs,
# .venv-spark35) and builds the C library and the jar; a repeat does only what changed. To start
# over: rm -rf .venv*

SHELL := /bin/bash
PYTHON ?= python3
PYTEST ?= .venv/bin/pytest
# Two processes, one of which has Spark's tests.
SIDE_BY_SIDE := -n 2
BENCHMARKS := step latency spark_latency allreduce scaling

.PHONY: demo test lint docs bench compatibility keras-suite golden-applications test-isas \
    test-spark35 test-oracle test-sanitize test-emulated test-aarch64 clean
.DELETE_ON_ERROR:

demo: .venv/zoo-demo
	.venv/bin/python csrc/build.py --inplace
	.venv/bin/python examples/digits.py
	.venv/bin/python examples/transfer_learning.py

test: .venv/zoo-dev
	.venv/bin/python csrc/build.py --inplace
	$(PYTEST) $(SIDE_BY_SIDE)

lint: .venv/zoo-dev
	.venv/bin/python csrc/build.py --inplace
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/clang-format --dry-run -Werror $$(find csrc -name '*.[ch]')
	$(PYTEST) -q tests/test_imports.py

bench: .venv-bench/zoo-peers
	.venv-bench/bin/python csrc/build.py --inplace
	for name in $(BENCHMARKS); do .venv-bench/bin/python benchmarks/$$name.py || exit; done

# The site in build/site: pages of docs/, and the reference from docstrings. A warning is an error.
docs: .venv-docs/zoo-docs
	.venv-docs/bin/python csrc/build.py --inplace
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

# docs/compatibility.md: which names of Keras there are.
compatibility: .venv/zoo-dev
	.venv/bin/python csrc/build.py --inplace --c-only
	.venv/bin/python docs/make_compatibility.py

# Keras' own unit tests (fetched from PyPI) against zoo_keras: AREAS="layers/rnn saving" for some of them.
keras-suite: .venv/zoo-dev
	.venv/bin/python csrc/build.py --inplace
	.venv/bin/python tests/keras_suite/run.py --failures $(AREAS)

# Outputs of every image model beside Keras'; `make test` compares one of each family.
golden-applications: .venv/zoo-dev
	.venv/bin/python csrc/build.py --inplace --c-only
	$(PYTEST) -q tests/test_applications.py -m "every_net or not every_net"

# What kernels and programs compute, in processes pinned to each instruction set but the widest,
# which `make test` runs in.
test-isas: .venv/zoo-dev
	.venv/bin/python csrc/build.py --inplace
	sets="$$(.venv/bin/python -c 'from zoo_keras.native import *; print(*instruction_sets()[1:])')"; \
	for isa in $$sets; do ZOO_KERAS_ISA=$$isa $(PYTEST) -q $(SIDE_BY_SIDE) $(KERNEL_TESTS) || exit; done

KERNEL_TESTS := tests/test_*_ops.py tests/test_gemm.py tests/test_conv*.py \
    tests/test_pool.py tests/test_chain.py tests/test_vmath.py tests/test_reduce.py \
    tests/test_int8.py tests/test_int8_rounding.py tests/test_int8_recurrent.py tests/test_int8_shortcuts.py \
    tests/test_exchange.py tests/test_program.py tests/test_same_bits.py tests/test_engine.py \
    tests/test_threads.py
# `make test` runs these in all instruction sets of the machine already: kernels one by one.
ONE_BY_ONE := tests/test_ops.py tests/test_kernel_coverage.py

test-spark35: .venv-spark35/zoo-dev
	.venv-spark35/bin/python csrc/build.py --inplace
	.venv-spark35/bin/pytest -m spark

# Real Keras opens files that zoo_keras writes. It lives in an environment of its own.
test-oracle: .venv/zoo-dev .venv-oracle/keras
	.venv/bin/python csrc/build.py --inplace
	KERAS_PYTHON=$(CURDIR)/.venv-oracle/bin/python $(PYTEST) tests/oracle

.venv-oracle/keras: pyproject.toml
	test -x $(@D)/bin/pip || $(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install keras tensorflow-cpu tf-keras torch==2.13.0
	touch $@

# Kernel tests against a library that checks every address and every undefined operation, in every
# instruction set of this machine; those that ask for the widest alone also in the others. Building
# takes 8 minutes of a CPU. A report ends the process: `-s` shows it.
test-sanitize: .venv/zoo-dev
	.venv/bin/python csrc/build.py --inplace --c-only --sanitize
	sets="$$(.venv/bin/python -c 'from zoo_keras.native import *; print(*instruction_sets())')"; \
	for isa in $$sets; do LD_PRELOAD=$$(gcc -print-file-name=libasan.so) \
	    ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=build/sanitize ZOO_KERAS_ISA=$$isa \
	    $(PYTEST) -q $(SANITIZED_TESTS) || exit; done

SANITIZED_TESTS := tests/test_*_ops.py tests/test_ops.py tests/test_gemm.py tests/test_conv*.py \
    tests/test_pool.py tests/test_chain.py tests/test_kernel_coverage.py tests/test_norm_bits.py \
    tests/test_int8.py tests/test_int8_rounding.py tests/test_int8_recurrent.py tests/test_int8_shortcuts.py \
    tests/test_tile_*.py tests/test_amx.py tests/test_along_axis.py tests/test_places.py \
    tests/test_vmath.py tests/test_native_loop.py

# The kernels of AVX-512 and AMX on a CPU that has AVX2 alone, by what stands for their instructions.
test-emulated: .venv/zoo-dev
	.venv/bin/python csrc/build.py --inplace --c-only --emulate=avx512,amx
	PYTHONPATH=build/emulate-avx512-emulate-amx ZOO_KERAS_ISA=amx $(PYTEST) -q \
	    $(SIDE_BY_SIDE) $(KERNEL_TESTS) $(ONE_BY_ONE) \
	    tests/test_amx.py tests/test_tile_products.py tests/test_tile_convolutions.py \
	    tests/test_tile_recurrent.py

# The kernel tests on 64-bit ARM: Debian's cross compiler makes the library, qemu-user runs Python.
ARM := build/aarch64
test-aarch64: .venv/zoo-dev
	PYTHON=$(CURDIR)/.venv/bin/python .ci/aarch64 $(ARM)/debian
	mkdir -p $(ARM)/tree
	tar -c --exclude='*.so' --exclude=__pycache__ zoo_keras csrc tests pyproject.toml | \
	    tar -x -C $(ARM)/tree
	cd $(ARM)/tree && CC=aarch64-linux-gnu-gcc ../debian/python csrc/build.py --inplace --c-only
	cd $(ARM)/tree && ../debian/python -m pytest -q $(ARM_TESTS)

ARM_TESTS := tests/test_kernel_coverage.py tests/test_vmath.py tests/test_float_mode.py \
    tests/test_along_axis.py

# The file .venv/zoo-dev says: .venv holds zoo_keras (from this tree) with the extra "dev".
# What builds zoo_keras goes in first, so that pip makes no second environment with a second pyspark.
define install
PYTHON=$(PYTHON) .ci/tools
test -x $(@D)/bin/pip || $(PYTHON) -m venv $(@D)
$(@D)/bin/pip install 'setuptools>=77' cffi '$(SPARK)'
$(@D)/bin/pip install --no-build-isolation -e '.[$*]'
touch $@
endef
SPARK = pyspark>=3.5

.venv/zoo-%: pyproject.toml
	$(install)

.venv-bench/zoo-%: pyproject.toml
	$(install)

.venv-docs/zoo-%: pyproject.toml
	$(install)

.venv-spark35/zoo-%: SPARK = pyspark==3.5.*
.venv-spark35/zoo-%: pyproject.toml
	$(install)

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -f zoo_keras/_zk.abi3.so zoo_keras/spark/zoo_bridge.jar
	find zoo_keras tests csrc -name __pycache__ -prune -exec rm -rf {} +
