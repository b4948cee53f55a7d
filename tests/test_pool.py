"""Pooling kernels against numpy: random geometry, ties, few channels, in every instruction set of
this machine, with 1, 2 and 3 threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_check import check_kernel

from zoo_keras.errors import ShapeError
from zoo_keras.primitives.pool import avg_pool, avg_pool_grad, max_pool, max_pool_grad

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def check_all(x: np.ndarray, how: dict[str, Any]) -> None:
    """Both poolings and both gradients."""
    y = max_pool(x, **how)
    g = np.random.default_rng(5).uniform(-1, 1, y.shape).astype("float32")
    check_kernel(max_pool, [x], how)
    check_kernel(avg_pool, [x], how, **CLOSE)
    check_kernel(max_pool_grad, [g, x, y], how, **CLOSE)
    check_kernel(avg_pool_grad, [g], {**how, "input_shape": x.shape}, **CLOSE)


def random_case(rng: np.random.Generator, axes: int) -> tuple[np.ndarray, dict[str, Any]]:
    pool = tuple(int(n) for n in rng.integers(1, 5, axes))
    padding = tuple((int(rng.integers(n)), int(rng.integers(n))) for n in pool)
    size = [max(int(rng.integers(1, 14 if axes < 3 else 8)), n) for n in pool]
    batch, channels = int(rng.choice([1, 2, 17])), int(rng.choice([1, 3, 6, 8, 13, 33, 70, 130]))
    x = rng.integers(-4, 4, (batch, *size, channels)).astype("float32")
    strides = tuple(int(n) for n in rng.integers(1, 4, axes))
    return x, {"pool": pool, "strides": strides, "padding": padding}


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_random_geometry_equals_numpy(axes: int) -> None:
    rng = np.random.default_rng(axes)
    for _ in range(40):
        check_all(*random_case(rng, axes))


@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize("channels", [1, 6, 16])
def test_windows_side_by_side_equal_numpy(batch: int, channels: int) -> None:
    x = np.random.default_rng(0).integers(-9, 9, (batch, 9, 8, channels)).astype("float32")
    check_all(x, {"pool": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))})


def test_gradient_goes_to_the_first_of_equal_cells() -> None:
    x = np.array([1, 3, 3, 2, 2, 2], "float32").reshape(1, 6, 1)
    how = {"pool": (3,), "strides": (3,), "padding": ((0, 0),)}
    g = np.array([10, 20], "float32").reshape(1, 2, 1)
    dx = max_pool_grad(g, x, max_pool(x, **how), **how)
    assert dx.ravel().tolist() == [0, 10, 0, 20, 0, 0]
    check_kernel(max_pool_grad, [g, x, max_pool(x, **how)], how)


def test_padding_takes_no_part() -> None:
    x = np.array([-2, -4, -6], "float32").reshape(1, 3, 1)
    how = {"pool": (2,), "strides": (2,), "padding": ((1, 0),)}
    assert max_pool(x, **how).ravel().tolist() == [-2, -4]
    assert avg_pool(x, **how).ravel().tolist() == [-2, -5]
    check_all(x, how)


def test_maximum_of_something_that_is_not_a_number_is_none() -> None:
    x = np.zeros((2, 4, 4, 9), "float32")
    x[0, 1, 1], x[1, 2, 2] = np.nan, np.nan
    check_kernel(max_pool, [x], {"pool": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))})


def test_average_gradient_is_adjoint_to_the_average() -> None:
    rng = np.random.default_rng(0)
    for sample in avg_pool.samples:
        (x,) = (a.astype("float64") for a in sample.inputs(rng))
        y = avg_pool(x, **sample.attrs)
        g = rng.normal(size=y.shape)
        dx = avg_pool_grad(g, input_shape=x.shape, **sample.attrs)
        np.testing.assert_allclose(np.vdot(dx, x), np.vdot(g, y), rtol=1e-9)


@pytest.mark.parametrize(
    ("shape", "changed", "message"),
    [
        ((1, 4), {}, "batch axis"),
        ((1, 4, 3), {"pool": (5,)}, "does not fit"),
        ((1, 4, 3), {"padding": ((2, 0),)}, "must stay below"),
        ((1, 4, 3), {"strides": (1, 1)}, "strides must have 1 entries"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    shape: tuple[int, ...], changed: dict[str, Any], message: str
) -> None:
    how: dict[str, Any] = {"pool": (2,), "strides": (2,), "padding": ((0, 0),), **changed}
    with pytest.raises(ShapeError, match=message):
        max_pool(np.zeros(shape, "float32"), **how)


def test_gradient_of_another_shape_is_refused() -> None:
    x, g = np.zeros((1, 4, 3), "float32"), np.zeros((1, 3, 3), "float32")
    how: dict[str, Any] = {"pool": (2,), "strides": (2,), "padding": ((0, 0),)}
    with pytest.raises(ShapeError, match="must have the shape"):
        max_pool_grad(g, x, g, **how)
    with pytest.raises(ShapeError, match="must have the shape"):
        avg_pool_grad(g, input_shape=x.shape, **how)
