"""Places, sorted lines and waves through the public ops, beside numpy."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import native, ops
from zoo_keras.errors import ConfigError
from zoo_keras.graph import Spec
from zoo_keras.primitives.op import registry as R

RNG = np.random.default_rng(0)
INF = np.inf
LINES = RNG.integers(-4, 4, (3, 7, 200)).astype("f4")  # with ties


@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2), -1])
def test_quantiles_of_sorted_lines_are_numpys(method, axis):
    for q in (0.3, [0.0, 0.5, 1.0]):
        for keepdims in (False, True):
            got = ops.quantile(LINES, q, axis, method, keepdims)
            want = np.quantile(LINES, q, axis, method=method, keepdims=keepdims)
            np.testing.assert_allclose(got, want, 1e-6, 1e-6)


def test_a_line_with_nan_has_no_median_and_the_others_have():
    x = LINES.copy()
    x[0, 1, 5], x[1, 2, 0] = np.nan, np.inf
    np.testing.assert_allclose(ops.median(x, axis=-1), np.median(x, -1), 1e-6)


@pytest.mark.parametrize(
    ("line", "middle"),
    [([INF], INF), ([1, INF], INF), ([1, INF, INF], INF), ([1, 2, INF], 2), ([1, 2, 3, INF], 2.5),
     ([-INF, -INF, 3], -INF), ([-INF, 3], -INF), ([-INF, INF], np.nan)],
)  # fmt: skip
def test_medians_of_infinities_are_numpys(line, middle):
    line = np.array(line, "f4")
    with_nan = np.append(line, np.float32("nan"))
    for found in (ops.median(line), ops.nanmedian(line), ops.nanmedian(with_nan)):
        np.testing.assert_array_equal(np.asarray(found), np.float32(middle))


def test_a_quantile_beyond_1_is_refused():
    with pytest.raises(ConfigError, match=r"between 0 and 1. Received: 1.5"):
        ops.quantile(LINES, 1.5)


@pytest.mark.parametrize("shape", [(5, 4), (2, 33), (16, 128), (17, 513)])
def test_irfft_is_numpys(shape):
    real, imaginary = RNG.normal(size=(2, *shape)).astype("f4")
    want = np.fft.irfft(real + 1j * imaginary)
    np.testing.assert_allclose(ops.irfft((real, imaginary)), want, 1e-4, 1e-5)


def test_fft2_and_its_inverse_are_numpys():
    x = RNG.normal(size=(2, 3, 8, 16)).astype("f4")
    found = ops.fft2((x[0], x[1]))
    want = np.fft.fft2(x[0] + 1j * x[1])
    np.testing.assert_allclose(found[0], want.real, 1e-4, 1e-4)
    np.testing.assert_allclose(found[1], want.imag, 1e-4, 1e-4)
    back = ops.ifft2(found)
    np.testing.assert_allclose(np.stack(back), x, 1e-4, 1e-5)


@pytest.mark.parametrize("name", ["rfft", "fourier"])
def test_a_row_has_the_same_waves_in_any_batch(name):
    x = RNG.normal(size=(37, 64)).astype("f4")
    inputs, attrs = ([x], []) if name == "rfft" else ([x, x[::-1].copy()], [0])
    kept = 33 if name == "rfft" else 64

    def run(rows):
        outs = [Spec((rows.stop - rows.start, kept), "float32")] * 2
        return native.call_kernel(name, outs, [a[rows] for a in inputs], attrs)

    whole = run(slice(0, 37))
    for rows in (slice(0, 1), slice(3, 19), slice(20, 37)):
        for part, all_rows in zip(run(rows), whole, strict=True):
            np.testing.assert_array_equal(part, all_rows[rows])


def test_a_place_outside_is_named_with_its_axis():
    x, ids = np.ones((3, 4), "f4"), np.array([[0, 1], [2, 4]], "int32")
    with pytest.raises(Exception, match=r"position 3.*below 4, the size of axis 1. Received: 4"):
        native.call_kernel("gather_nd", [Spec((2,), "float32")], [x, ids], [])


def test_ids_outside_belong_to_no_segment():
    x, ids = np.arange(6, dtype="f4").reshape(3, 2), np.array([0, -1, 9], "int32")
    (got,) = native.call_kernel("segment_reduce", [Spec((2, 2), "float32")], [x, ids], [0])
    np.testing.assert_array_equal(
        got, R["segment_reduce"].reference(x, ids, kind="max", segments=2)
    )


def test_updates_of_one_place_come_in_their_order_with_any_number_of_threads():
    ids = np.zeros((500, 1), "int32")
    x, g = RNG.normal(size=(2, 3000)).astype("f4"), RNG.normal(size=(500, 3000)).astype("f4")
    want = x[0].copy()
    for row in g:
        want += row
    for threads in (1, 2, 3):
        with native.using_threads(threads):
            (got,) = native.call_kernel("scatter_add", [Spec(x.shape, "float32")], [x, ids, g], [])
        np.testing.assert_array_equal(got[0], want)


def test_sides_of_infinities_and_nan_are_finite():
    x = np.array([np.nan, np.inf, -np.inf, 3e38, 1], "f4")
    np.testing.assert_array_equal(ops.nan_to_num(x), np.nan_to_num(x))
    np.testing.assert_array_equal(ops.nan_to_num(x, 1, 2, -2), np.nan_to_num(x, nan=1, posinf=2,
                                                                          neginf=-2))  # fmt: skip


@pytest.mark.parametrize("dx", [1.0, 0.5])
def test_a_trapezoid_of_even_steps_is_numpys(dx):
    y = RNG.normal(size=(3, 9, 4)).astype("f4")
    integral = getattr(np, "trapezoid", None) or np.trapz
    for axis in (0, 1, -1):
        np.testing.assert_allclose(
            ops.trapezoid(y, dx=dx, axis=axis), integral(y, dx=dx, axis=axis), 1e-5, 1e-5
        )
    np.testing.assert_array_equal(ops.trapezoid(y[:, :1], axis=1), np.zeros((3, 4)))


@pytest.mark.parametrize(
    "options",
    [{"bins": 5}, {"bins": 1}, {"bins": 4, "range": (0.0, 3.0)}, {"bins": 2, "range": (9, 9)}],
)
@pytest.mark.parametrize("x", [RNG.normal(size=(3, 8)), np.full((3, 8), 2.0), np.arange(24.0)])
def test_a_histogram_in_a_model_is_numpys(options, x):
    x = x.reshape(3, 8).astype("f4")
    inputs = keras.Input((8,), batch_size=3)
    model = keras.Model(inputs, ops.histogram(ops.reshape(inputs, (-1,)), **options))
    counts, edges = model.predict_on_batch(x)
    want = np.histogram(x, **options)
    np.testing.assert_array_equal(counts, want[0])
    np.testing.assert_allclose(edges, want[1], rtol=1e-6)


def test_unique_elements_are_cut_or_filled_up_to_a_size():
    x, every = np.array([3, 1, 2, 1]), ["return_index", "return_inverse", "return_counts"]
    found = ops.unique(x, size=5, **dict.fromkeys(every, True))
    want = [[1, 2, 3, 0, 0], [1, 2, 0, 1, 1], [2, 0, 1, 0], [2, 1, 1, 0, 0]]
    assert [np.asarray(part).tolist() for part in found] == want
    assert np.asarray(ops.unique(x, size=2)).tolist() == [1, 2]
    assert np.asarray(ops.unique(x, size=4, fill_value=-1)).tolist() == [1, 2, 3, -1]
    rows = ops.unique(np.array([[1, 0], [0, 1], [1, 0]]), axis=0, size=3, fill_value=9)
    assert np.asarray(rows).tolist() == [[0, 1], [1, 0], [9, 9]]
    columns = ops.unique(np.array([[1, 0], [1, 0]]), axis=-1, size=3)
    assert np.asarray(columns).tolist() == [[0, 1, 0], [0, 1, 0]]
    assert len(ops.unique(np.array([1, np.nan, np.nan], "f4"))) == 3
    with pytest.raises(ConfigError, match="size must be >= 0"):
        ops.unique(x, size=-1)
