"""rearrange, vectorize, unfold, fold, LU and gradients of one's own: results and refusals."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import ops
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError

RNG = np.random.default_rng(3)


def floats(*shape):
    return RNG.normal(size=shape).astype("float32")


@pytest.mark.parametrize("excluded", (None, {1}))
def test_vectorize_maps_over_whatever_broadcasts(excluded):
    a, b = floats(2, 3), floats(3) if excluded is None else np.float32(2.0)
    found = ops.vectorize(lambda x, y: x * 2 + y, excluded=excluded)(a, b)
    np.testing.assert_allclose(found, a * 2 + b, rtol=1e-6)


def test_vectorize_with_a_signature_maps_over_leading_axes():
    a, b = floats(4, 2, 3), floats(3)
    found = ops.vectorize(ops.matmul, signature="(m,n),(n)->(m)")(a, b)
    np.testing.assert_allclose(found, a @ b, rtol=1e-5)
    assert ops.vectorize(lambda x: (x, x + 1))(floats(3))[1].shape == (3,)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: ops.rearrange(floats(2, 6), "a (b c) -> a b c"), ShapeError),
        (lambda: ops.rearrange(floats(2, 6), "a (b c) -> a b c", b=4), ShapeError),
        (lambda: ops.rearrange(floats(2, 6), "a b c -> a b c"), ShapeError),
        (lambda: ops.rearrange(floats(2, 6), "a b -> a"), ConfigError),
        (lambda: ops.rearrange(floats(2, 6), "a b"), ConfigError),
        (lambda: ops.vectorize(3), ConfigError),
        (lambda: ops.vectorize(ops.matmul, signature="m,n")(floats(2), floats(2)), ConfigError),
        (lambda: ops.unfold(floats(2, 6), 2), ShapeError),
        (lambda: ops.unfold(floats(1, 1, 3, 3), 4), ShapeError),
        (lambda: ops.fold(floats(1, 4, 5), 4, 2), ShapeError),
        (lambda: ops.view_as_complex(floats(3)), ShapeError),
        (lambda: ops.eig(floats(2, 3)), ShapeError),
        (lambda: ops.jvp(ops.sin, (floats(2),), (floats(3),)), ShapeError),
        (lambda: ops.custom_gradient(lambda x: x)(floats(2)), ConfigError),
    ],
)
def test_what_does_not_fit_is_named(call, error):
    with pytest.raises(error, match="Received"):
        call()


def test_complex_numbers_are_no_part_of_a_model():
    with pytest.raises(UnsupportedError, match="two tensors"):
        zk.Sequential([zk.Input((2,)), zk.layers.Lambda(ops.view_as_complex)])


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 3), (3, 5), (5, 3)])
def test_lu_factors_give_the_matrix_back(shape):
    matrix = floats(*shape)
    lu, pivots = ops.lu_factor(matrix)
    rows, columns = shape[-2:]
    count = min(rows, columns)
    lower = np.tril(lu[..., :, :count], -1) + np.eye(rows, count)
    upper = np.triu(lu[..., :count, :])
    swapped = matrix.reshape(-1, rows, columns).copy()
    for one, places in zip(swapped, np.asarray(pivots).reshape(-1, count), strict=True):
        for k, other in enumerate(places):
            one[[k, other]] = one[[other, k]]
    np.testing.assert_allclose((lower @ upper).reshape(swapped.shape), swapped, atol=1e-5)


def test_a_gradient_of_ones_own_is_taken_by_a_tape_and_in_a_functional_model():
    @ops.custom_gradient
    def tripled(x, y):
        return x * y, lambda up: (3 * up, None)

    x, y = zk.Variable(floats(3)), floats(3)
    with zk.GradientTape() as tape:
        out = ops.sum(tripled(x, y))
    np.testing.assert_allclose(tape.gradient(out, x), 3 * np.ones(3))
    inputs = zk.Input((3,))
    model = zk.Model(inputs, tripled(inputs, inputs))
    np.testing.assert_allclose(model.predict_on_batch(y[None]), y[None] ** 2, rtol=1e-6)
