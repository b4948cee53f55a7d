"""What Python and C must agree on is checked as they are imported, and what machines must agree on
before a program runs elsewhere: each difference is named."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from zoo_keras import Sequential, config, gemm, layers, native
from zoo_keras.engine.program import Place, Program, compile_graph, join
from zoo_keras.engine.runner import Runner
from zoo_keras.errors import ClusterError, ConfigError, ProgramError
from zoo_keras.graph import Graph, input_tensor
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.products import dense, matmul
from zoo_keras.spark.engine import check_engine, check_ranks, this_engine


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


# ---- Python and C --------------------------------------------------------------------------------


def test_a_kernel_that_the_library_lacks_is_an_import_error():
    code = """
from zoo_keras import native
for name in ("conv", "lstm"):
    del native.KERNELS[name]
del native.TILES["exp"]
import zoo_keras.engine.program
"""
    assert "ImportError: The C engine lacks conv, lstm, exp: the build is" in run(code).stderr


def test_an_op_that_came_later_does_not_fall_back_to_numpy(monkeypatch):
    x, w = input_tensor("x", (2, 3)), input_tensor("w", (3, 4))
    graph = optimise(Graph([x, w], [matmul(x, w)]))
    monkeypatch.delitem(native.KERNELS, "matmul")
    with pytest.raises(ImportError, match="lacks matmul"):
        compile_graph(graph, dict(zip([x, w], [Place("x0"), Place("x1")])), [Place("y")], Place)


def test_tables_of_a_program_are_the_structs_of_c():
    for dtype, struct in ((native.ARG, "zk_arg"), (native.INSTR, "zk_instr")):
        assert dtype.itemsize == native.ffi.sizeof(struct)
        for name, field in native.ffi.typeof(struct).fields:
            kind, offset = dtype.fields[name][:2]
            assert (kind.itemsize, offset) == (native.ffi.sizeof(field.type), field.offset)


def test_attributes_lie_where_c_reads_them():
    strides, padding, dilation = (1, 2, 3), (4, 5, 6), (7, 8, 9)
    rest = {"activation": 12, "groups": 11, "winograd": 0, "kernel": (3, 3, 3)}
    found = native.attributes(
        "CONV", dilation=dilation, strides=strides, padding=padding, **rest
    )  # in any order
    assert found == [*range(1, 10), 11, 12, 0, 3, 3, 3]


@pytest.mark.parametrize("strides", [(1, 1), (1, 1, 1, 1)])
def test_attributes_that_leave_a_gap_are_refused(strides):
    with pytest.raises(ProgramError, match=r"POOL: attribute 'padding' lies at place 6 in C"):
        native.attributes("POOL", window=(1, 1, 1), strides=strides, padding=(0, 0, 0))


@pytest.mark.parametrize("name", native.instruction_sets())
def test_the_environment_chooses_the_instruction_set(name):
    code = "from zoo_keras import native; print(native.instruction_set())"
    assert run(code, ZOO_KERAS_ISA=name).stdout.strip() == name


def test_an_unknown_instruction_set_is_named_at_import():
    error = run("import zoo_keras.native", ZOO_KERAS_ISA="sse9").stderr
    assert "ZOO_KERAS_ISA names no instruction set of this machine. Received: 'sse9'" in error
    assert "Use one of" in error and "'base'" in error


def test_the_library_says_what_it_was_built_from():
    assert len(native.build()) == 32 and native.compiler()[0].isdigit()


# ---- who multiplies ------------------------------------------------------------------------------


def layer_program() -> Program:
    """y = dense(x, w, b), compiled as the present choice has it."""
    shapes = {"x": (40, 50), "w": (50, 60), "b": (60,)}
    inputs = [input_tensor(name, shape) for name, shape in shapes.items()]
    graph = optimise(Graph(inputs, [dense(*inputs)]))
    places = {t: Place(name) for t, name in zip(graph.inputs, shapes, strict=True)}
    return compile_graph(graph, places, [Place("y")], Place)


@pytest.fixture
def for_mkl(monkeypatch: pytest.MonkeyPatch) -> Program:
    """A program that was compiled after set_gemm("mkl"), wherever that was."""
    monkeypatch.setattr(gemm, "_choice", "mkl")
    program = layer_program()
    monkeypatch.setattr(gemm, "_choice", "auto")
    return program


def test_the_choice_is_written_into_the_program(for_mkl):
    own = layer_program()
    assert for_mkl.wants_mkl() and not own.wants_mkl()
    assert join(own, for_mkl).wants_mkl() and not join(own, own).wants_mkl()


def test_a_program_for_mkl_is_refused_where_there_is_none(for_mkl, monkeypatch):
    monkeypatch.setattr(gemm, "load_mkl", lambda: False)
    with pytest.raises(ConfigError, match=r"set_gemm\('mkl'\): MKL .* cannot be loaded"):
        Runner(for_mkl)
    Runner(layer_program())


def test_a_program_keeps_its_choice(for_mkl):
    if not gemm.load_mkl():
        pytest.skip("MKL is not installed")
    rng = np.random.default_rng(0)
    arrays = {n: rng.normal(size=s).astype("f4") for n, s in
              {"x": (40, 50), "w": (50, 60), "b": (60,), "y": (40, 60)}.items()}  # fmt: skip
    results = []
    for program in (for_mkl, layer_program(), for_mkl):
        runner = Runner(program)
        for name, array in arrays.items():
            runner.set(name, array)
        runner.run()
        results.append(arrays["y"].copy())
    assert np.array_equal(results[0], results[2])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-5)


def test_set_gemm_reaches_models_that_are_compiled_afterwards():
    if not gemm.load_mkl():
        pytest.skip("MKL is not installed")
    model = Sequential([layers.Input((50,)), layers.Dense(60)])
    x = np.ones((40, 50), "f4")
    config.set_gemm("mkl")
    try:
        model.compile("sgd", "mse")
        model.train_on_batch(x, np.ones((40, 60), "f4"))
        programs = [ready.crew.first.program for _, ready in model._local()._programs.items()]
    finally:
        config.set_gemm("auto")
    assert [p.wants_mkl() for p in programs] == [True]


# ---- driver and executors ------------------------------------------------------------------------


def test_the_order_of_a_dictionary_is_no_part_of_an_engine(monkeypatch):
    before = this_engine()
    monkeypatch.setattr(native, "KERNELS", dict(reversed(native.KERNELS.items())))
    assert this_engine() == before


@pytest.mark.parametrize("part", ["version", "build", "compiler", "kernels"])
def test_a_part_of_the_engine_that_differs_is_named(part):
    check_engine(this_engine())
    driver = this_engine()._replace(**{part: "odd"})
    here = getattr(this_engine(), part)
    with pytest.raises(ClusterError, match=f"differ in {part}. Received: {part} odd there, {here}"):
        check_engine(driver)


def test_a_driver_may_have_another_instruction_set():
    check_engine(this_engine()._replace(isa="odd"))


def test_an_executor_without_mkl_is_told_so(monkeypatch):
    monkeypatch.setattr(gemm, "load_mkl", lambda: False)
    check_engine(this_engine())
    with pytest.raises(ClusterError, match=r"chose MKL .* which this executor cannot load"):
        check_engine(this_engine()._replace(gemm="mkl"))
    assert gemm.choice() == "auto"  # asking changes nothing


def test_ranks_must_compute_with_one_instruction_set():
    check_ranks(["avx2", "avx2"])
    found = "avx512 on ranks .0, 2.; avx2 on ranks .1."
    with pytest.raises(ClusterError, match=f"Received: {found}.*ZOO_KERAS_ISA=avx2"):
        check_ranks(["avx512", "avx2", "avx512"])


def test_a_restarted_fit_keeps_its_instruction_set():
    check_ranks(["avx2", "avx2"], "avx2")
    check_ranks(["amx", "avx512"], "avx512")
    check_ranks(["avx512", "avx512"], "amx")
    with pytest.raises(ClusterError, match=r"After a restart .*: avx512 before, avx2 now"):
        check_ranks(["avx2", "avx2"], "avx512")
