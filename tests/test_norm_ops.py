"""Batch and layer normalization kernels against float64, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_check import check_kernel, run_kernel

from zoo_keras.errors import ShapeError
from zoo_keras.primitives.group_norm import group_norm, group_norm_grad, rms_norm, rms_norm_grad
from zoo_keras.primitives.norm import batch_norm, batch_norm_grad, layer_norm, layer_norm_grad

OPS = [batch_norm, batch_norm_grad, layer_norm, layer_norm_grad]
SHAPES = [(2000, 3), (777, 1), (130, 67), (40, 9, 64), (9000, 16), (37, 300), (3, 4100), (70000, 2)]
EMPTY = [(0, 5), (3, 0), (4, 0, 7), (0, 0)]


def arrays(shape: tuple[int, ...], count: int, offset: float = 0.0) -> list[np.ndarray]:
    """`count` arrays of the shape, then gamma and beta."""
    rng = np.random.default_rng(len(shape) + shape[-1])
    made = [rng.normal(offset, 2.0, shape) for _ in range(count)]
    made += [rng.uniform(0.5, 1.5, shape[-1]), rng.normal(size=shape[-1])]
    return [a.astype(np.float32) for a in made]


@pytest.mark.parametrize("shape", SHAPES + EMPTY)
def test_forward_of_any_size(shape):
    check_kernel(batch_norm, arrays(shape, 1), {"epsilon": 1e-3, "axis": -1}, 2e-5, 2e-5)
    check_kernel(layer_norm, arrays(shape, 1), {"epsilon": 1e-3}, 2e-5, 2e-5)


@pytest.mark.parametrize("shape", SHAPES + EMPTY)
def test_backward_of_any_size(shape):
    g, x, gamma, _ = arrays(shape, 2)
    y, *moments = batch_norm(x, gamma, gamma, epsilon=1e-3)
    tolerance = 1e-5 * max(np.sqrt(x.size), 10)  # sums of that many terms
    check_kernel(batch_norm_grad, [g, x, gamma, *moments], {"epsilon": 1e-3}, 2e-5, tolerance)
    y, *moments = layer_norm(x, gamma, gamma, epsilon=1e-3)
    check_kernel(layer_norm_grad, [g, x, gamma, *moments], {}, 2e-5, tolerance)


@pytest.mark.parametrize("shape", SHAPES + EMPTY)
def test_root_mean_square_of_any_size(shape):
    g, x, gamma, _ = arrays(shape, 2)
    check_kernel(rms_norm, [x, gamma], {"epsilon": 1e-3}, 2e-5, 2e-5)
    _, rstd = rms_norm(x, gamma, epsilon=1e-3)
    tolerance = 1e-5 * max(np.sqrt(x.size), 10)
    check_kernel(rms_norm_grad, [g, x, gamma, rstd], {}, 2e-5, tolerance)


@pytest.mark.parametrize("shape, groups", [
    ((40, 9, 64), 8), ((3, 4100), 41), ((2, 37, 41, 6), 3), ((1, 3000, 10), 5), ((300, 7), 7),
    ((0, 5, 4), 2), ((3, 0, 4), 2), ((70, 1, 1), 1),
])  # fmt: skip
def test_groups_of_any_size(shape, groups):
    g, x, gamma, beta = arrays(shape, 2, offset=1.0)
    attrs = {"groups": groups, "epsilon": 1e-3}
    check_kernel(group_norm, [x, gamma, beta], attrs, 2e-5, 2e-5)
    _, *moments = group_norm(x, gamma, beta, **attrs)
    tolerance = 1e-5 * max(np.sqrt(x.size), 10)
    check_kernel(group_norm_grad, [g, x, gamma, *moments], {}, 2e-5, tolerance)


@pytest.mark.parametrize("shape", [(5000, 3), (3000, 70), (20, 2000)])
def test_variance_keeps_its_digits_when_the_mean_is_large(shape):
    x, gamma, beta = arrays(shape, 1, offset=3000.0)
    _, mean, variance = run_kernel(batch_norm, [x, gamma, beta], {"epsilon": 1e-3})
    wide = x.astype(np.float64).reshape(-1, shape[-1])
    np.testing.assert_allclose(mean, wide.mean(0), rtol=1e-6)
    np.testing.assert_allclose(variance, wide.var(0), rtol=1e-5)


def test_a_constant_channel_has_variance_zero():
    x = np.full((100, 5), 7.0, np.float32)
    y, mean, variance = run_kernel(batch_norm, [x, x[0], x[1]], {"epsilon": 1e-3})
    assert (mean == 7).all() and (variance == 0).all() and (y == 7).all()


def test_another_axis_is_refused():
    with pytest.raises(ShapeError, match="transpose x first"):
        batch_norm(*arrays((2, 3, 4), 1), epsilon=1e-3, axis=1)


def test_gamma_must_fit_the_channels():
    with pytest.raises(ShapeError, match="each of the 4 channels"):
        layer_norm(np.zeros((2, 4), "f4"), np.ones(3, "f4"), np.ones(4, "f4"), epsilon=1e-3)
