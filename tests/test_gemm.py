"""Matrix kernels against float64 numpy: odd shapes, turned and batched arguments, every
instruction set of this machine, any number of threads, MKL beside our own kernels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from kernel_check import SETS

from zoo_keras import gemm, native
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.graph import Spec
from zoo_keras.native import call_kernel
from zoo_keras.primitives.products import FUSED_ACTIVATIONS, dense, dense_packed, matmul, pack_dense

# m, n, k on both sides of every border: panels of 16, tiles of 3, 6 and 12 rows, blocks of 256
# steps and 256 rows, one task and many.
SHAPES = (
    (1, 1, 1), (1, 1, 300), (1, 70, 9), (1, 200, 600), (2, 16, 3), (3, 17, 5), (5, 1, 33),
    (6, 48, 25), (7, 33, 257), (12, 15, 64), (13, 31, 512), (25, 10, 100), (40, 130, 3),
    (70, 129, 513), (128, 300, 260), (300, 64, 40), (517, 3, 19), (900, 1, 700), (64, 64, 1000),
    (64, 96, 2100), (20, 10, 5000), (0, 3, 4), (3, 0, 4), (3, 4, 0),
)  # fmt: skip
TURNS = [(False, False), (False, True), (True, False), (True, True)]
BATCHES = (
    ((2, 3, 4), (4, 5)),
    ((3, 1, 6, 5), (2, 5, 9)),
    ((4, 6), (3, 6, 2)),
    ((1, 7, 8), (5, 8, 3)),
    ((40, 9, 17), (40, 17, 20)),
    ((0, 2, 3), (3, 4)),
    ((2, 1, 33, 40), (1, 3, 40, 18)),
)


OWN, MKL = native.lib.ZK_OWN, native.lib.ZK_MKL


@pytest.fixture(params=SETS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    current = native.instruction_set()
    native.set_instruction_set(request.param)
    yield request.param
    native.set_instruction_set(current)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def product(
    a: np.ndarray, b: np.ndarray, turn_a: bool, turn_b: bool, count: int = 2, by: int = OWN
) -> np.ndarray:
    """The matmul kernel's result."""
    attrs = {"transpose_a": turn_a, "transpose_b": turn_b}
    specs = [Spec(a.shape, "float32"), Spec(b.shape, "float32")]
    numbers = native.attributes("MATMUL", **attrs, by=by)
    return call_kernel("matmul", matmul.infer(*specs, **attrs), [a, b], numbers, count)[0]


def turned(a: np.ndarray, turn: bool) -> np.ndarray:
    return np.swapaxes(a, -1, -2) if turn else a


def assert_product(y: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Every element within the rounding of a float32 sum of its terms' magnitudes."""
    exact = np.matmul(a.astype(np.float64), b.astype(np.float64))
    size = np.matmul(np.abs(a).astype(np.float64), np.abs(b).astype(np.float64))
    assert y.shape == exact.shape
    assert np.all(np.abs(y - exact) <= 3e-6 * size)


@pytest.mark.parametrize("turn_a,turn_b", TURNS)
def test_matmul_is_exact_to_rounding(isa, rng, turn_a, turn_b):
    for m, n, k in SHAPES:
        a = normal(rng, *((k, m) if turn_a else (m, k)))
        b = normal(rng, *((n, k) if turn_b else (k, n)))
        y = product(a, b, turn_a, turn_b)
        assert_product(y, turned(a, turn_a), turned(b, turn_b))


@pytest.mark.parametrize("turn_a,turn_b", TURNS)
def test_leading_axes_broadcast(isa, rng, turn_a, turn_b):
    for shape_a, shape_b in BATCHES:
        a, b = normal(rng, *shape_a), normal(rng, *shape_b)
        y = product(turned(a, turn_a).copy(), turned(b, turn_b).copy(), turn_a, turn_b)
        assert_product(y, a, b)


@pytest.mark.parametrize("turn_a", [False, True])
@pytest.mark.parametrize("n", [9, 16, 31, 40, 48, 63, 64, 80])
def test_every_tile_of_rows_and_panels_is_exact(isa, rng, n, turn_a):
    for m in range(1, 32):
        for k in (3, 8, 21):
            a, b = normal(rng, *((k, m) if turn_a else (m, k))), normal(rng, k, n)
            assert_product(product(a, b, turn_a, False), turned(a, turn_a), b)


def dense_outputs(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    activation: str,
    count: int = 2,
    *more: np.ndarray,
    by: int = OWN,
) -> list[np.ndarray]:
    """Results of the dense kernel and of the packing and packed kernels; `more`: a residual."""
    code, out = FUSED_ACTIVATIONS[activation], [((*x.shape[:-1], b.size), "float32")]
    packed_spec = pack_dense.infer(Spec(w.shape, "float32"))
    packed = call_kernel("pack_dense", packed_spec, [w], [], count)[0]
    assert np.array_equal(packed, pack_dense(w))
    return [
        call_kernel("dense", out, [x, w, b, *more], [code, by], count)[0],
        call_kernel("dense_packed", out, [x, packed, b, *more], [b.size, code], count)[0],
    ]


@pytest.mark.parametrize("activation", FUSED_ACTIVATIONS)
def test_dense_equals_its_reference(isa, rng, activation):
    for m, n, k in SHAPES:
        x, w, b = normal(rng, m, k), normal(rng, k, n) / np.sqrt(k + 1), normal(rng, n)
        expected = dense(*(v.astype(np.float64) for v in (x, w, b)), activation=activation)
        for y in dense_outputs(x, w.astype(np.float32), b, activation):
            np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-5)


def test_dense_takes_any_leading_axes(rng):
    for lead in ((), (2, 3), (0,), (1, 1, 4)):
        x, w, b = normal(rng, *lead, 5), normal(rng, 5, 18), normal(rng, 18)
        for y in dense_outputs(x, w, b, "relu"):
            np.testing.assert_allclose(y, dense(x, w, b, activation="relu"), rtol=1e-5, atol=1e-5)


# inputs and units: k in one piece and in several; one column, incomplete panels, several blocks
@pytest.mark.parametrize(
    "k,n", [(300, 100), (1100, 10), (513, 64), (700, 600), (40, 1), (3000, 48)]
)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_row_is_the_same_alone_and_in_a_batch(isa, rng, k, n, activation):
    x, w, b, residual = (normal(rng, *shape) for shape in ((300, k), (k, n), (n,), (300, n)))
    whole = dense_outputs(x, w, b, activation, 1, residual)
    assert np.array_equal(*whole)
    for rows in (1, 2, 5, 7, 13, 65, 200):
        for count in (1, 2, 3):
            for y in dense_outputs(x[:rows], w, b, activation, count, residual[:rows]):
                assert np.array_equal(y, whole[0][:rows])


def test_results_do_not_depend_on_the_thread_count(isa, rng):
    for m, n, k in (
        (128, 300, 260),
        (1, 900, 700),
        (900, 1, 700),
        (13, 31, 512),
        (600, 40, 90),
        (64, 96, 2100),
    ):
        for turn_a, turn_b in TURNS:
            a = normal(rng, *((k, m) if turn_a else (m, k)))
            b = normal(rng, *((n, k) if turn_b else (k, n)))
            results = [product(a, b, turn_a, turn_b, count) for count in (1, 2, 3)]
            assert all(np.array_equal(results[0], y) for y in results[1:])


def test_nan_passes_through_relu(isa):
    x, w, b = np.full((2, 3), np.nan, np.float32), np.ones((3, 20), np.float32), np.zeros(20)
    for y in dense_outputs(x, w, b.astype(np.float32), "relu"):
        assert np.isnan(y).all()


@pytest.fixture
def mkl() -> None:
    if not gemm.load_mkl():
        pytest.skip("MKL is not installed")


def test_mkl_and_our_kernels_agree(mkl, rng):
    for m, n, k in SHAPES:
        for turn_a, turn_b in TURNS:
            a = normal(rng, *((k, m) if turn_a else (m, k)))
            b = normal(rng, *((n, k) if turn_b else (k, n)))
            y = product(a, b, turn_a, turn_b, by=MKL)
            assert_product(y, turned(a, turn_a), turned(b, turn_b))
            own = product(a, b, turn_a, turn_b)
            np.testing.assert_allclose(y, own, rtol=1e-4, atol=1e-4)


def test_mkl_multiplies_batches_and_layers(mkl, rng):
    for shape_a, shape_b in BATCHES:
        a, b = normal(rng, *shape_a), normal(rng, *shape_b)
        assert_product(product(a, b, False, False, by=MKL), a, b)
    x, w, b = normal(rng, 40, 300), normal(rng, 300, 100), normal(rng, 100)
    for y in dense_outputs(x, w, b, "sigmoid", by=MKL):
        np.testing.assert_allclose(y, dense(x, w, b, activation="sigmoid"), rtol=1e-4, atol=1e-5)


def test_mkl_results_do_not_depend_on_the_thread_count(mkl, rng):
    a, b = normal(rng, 128, 300), normal(rng, 300, 500)
    results = [product(a, b, False, False, count, MKL) for count in (1, 2, 3)]
    assert all(np.array_equal(results[0], y) for y in results[1:])


WITHOUT_MKL = """
import numpy as np
from zoo_keras import native
x = np.ones((2, 2), "f4")
native.call_kernel("matmul", [((2, 2), "float32")], [x, x], [0, 0, native.lib.ZK_MKL])
"""


def test_a_product_for_mkl_fails_where_mkl_is_not_loaded():
    done = subprocess.run([sys.executable, "-c", WITHOUT_MKL], capture_output=True, text=True)
    assert done.stderr.endswith("matmul: the program wants MKL, which is not loaded\n")


def scratch_bytes(m: int, n: int, k: int, turn_a: bool, by: int) -> int:
    """Scratch memory that a matmul of these sizes asks for."""
    shapes = ((m, n), (k, m) if turn_a else (m, k), (k, n))
    args, instr = np.zeros(3, native.ARG), np.zeros(1, native.INSTR)
    for row, shape in zip(args, shapes, strict=True):
        native.fill_arg(row, 1, 0, shape, "float32")
    instr[0] = (native.KERNELS["matmul"], 1, 2, 0, 0, 3, 0)
    return native.scratch_bytes(instr, args, np.array([turn_a, False, by], np.float64), 2)


@pytest.mark.parametrize("turn_a", [False, True])
def test_scratch_memory_is_the_same_whoever_multiplies(isa, turn_a):
    assert scratch_bytes(64, 96, 2100, turn_a, OWN) == scratch_bytes(64, 96, 2100, turn_a, MKL)


@pytest.mark.parametrize(
    "function,shapes,attrs",
    [
        (matmul, ((3, 4), (5, 6)), {"transpose_a": False, "transpose_b": False}),
        (matmul, ((4,), (4, 6)), {"transpose_a": False, "transpose_b": False}),
        (matmul, ((2, 3, 4), (3, 4, 5)), {"transpose_a": False, "transpose_b": False}),
        (dense, ((3, 4), (5, 6), (6,)), {"activation": "linear"}),
        (dense, ((3, 4), (4, 6), (5,)), {"activation": "linear"}),
        (pack_dense, ((3,),), {}),
        (dense_packed, ((3, 4), (1, 4, 16), (20,)), {"units": 20, "activation": "linear"}),
    ],
)
def test_wrong_shapes_are_named(function, shapes, attrs):
    with pytest.raises(ShapeError, match=f"^{function.name}.*Received: shapes"):
        function.infer(*[Spec(s, "float32") for s in shapes], **attrs)


def test_unknown_activation_is_named():
    with pytest.raises(ConfigError, match="'elu'"):
        dense.infer(*[Spec(s, "float32") for s in ((3, 4), (4, 5), (5,))], activation="elu")
