"""Every dtype, byte order and stride of numpy gives what a native, contiguous copy gives."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers, ops
from zoo_keras.errors import DataError, UnsupportedError

KINDS = (
    "float16 >f2 >f4 float64 >f8 longdouble int8 int16 >i2 >i4 int64 >i8 uint8 uint16 >u2 uint32 "
    "uint64 >u8 object"
).split()
X = np.random.default_rng(0).integers(0, 3, (24, 6)).astype(np.float32)
Y, W = X[:, :1], X[:, 1] + 1


def reversed_rows(a):
    return np.ascontiguousarray(a[::-1])[::-1]


def every_second_row(a):
    return np.repeat(a, 2, axis=0)[::2]


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = (np.ascontiguousarray, np.asfortranarray, reversed_rows, every_second_row, read_only)


def model():
    keras.utils.set_random_seed(1)
    made = keras.Sequential([keras.Input((6,)), layers.Dense(4, activation="tanh"),
                             layers.Dense(1)])  # fmt: skip
    made.compile("sgd", "mse", metrics=["mae"])
    return made


def everything(x, y, w):
    """What every door of a model makes of the arrays."""
    made = model()
    found = [made.predict(x, verbose=0), made.predict_on_batch(x), made.layers[0](x)]
    found += made.evaluate(x, y, sample_weight=w, verbose=0)
    found += made.train_on_batch(x, y, sample_weight=w)
    made.fit(x, y, sample_weight=w, batch_size=8, verbose=0, shuffle=False)
    return [np.asarray(a) for a in [*found, *made.get_weights(), ops.max(x), x + ops.zeros(())]]


@pytest.mark.parametrize("kind", KINDS)
def test_every_dtype_is_read_as_numbers(kind):
    given = [a.astype(kind) for a in (X, Y, W)]
    for mine, want in zip(everything(*given), everything(X, Y, W), strict=True):
        np.testing.assert_array_equal(mine, want)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", ["float32", ">f8", "int64"])
def test_every_stride_is_read_as_numbers(kind, layout):
    given = [layout(a.astype(kind)) for a in (X, Y, W)]
    for mine, want in zip(everything(*given), everything(X, Y, W), strict=True):
        np.testing.assert_array_equal(mine, want)


def test_bools_are_zeros_and_ones():
    x = X > 1
    np.testing.assert_array_equal(model().predict(x, verbose=0),
                                  model().predict(x.astype("f4"), verbose=0))  # fmt: skip


def test_ids_from_a_big_endian_file_find_their_rows():
    ids = np.array([[1, 2], [3, 0]])
    table = layers.Embedding(4, 3)
    np.testing.assert_array_equal(table(ids.astype(">i4")), table(ids))


def test_variables_and_constants_take_big_endian_arrays():
    x = np.arange(4, dtype=">f4")
    assert keras.Variable(x).numpy().tolist() == [0, 1, 2, 3]
    net = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda v: v * x)])
    assert net.predict(np.ones((1, 4)), verbose=0).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("value", [["a"], "a", b"a", np.array([None])], ids=repr)
def test_what_is_no_number_is_refused_with_its_value(value):
    with pytest.raises(DataError, match="holds numbers"):
        ops.convert_to_tensor(value)


def test_complex_numbers_are_for_single_ops():
    z = np.array([[1 + 2j]])
    assert ops.imag(ops.multiply(z, z)).tolist() == [[4]]
    with pytest.raises(DataError, match="no kernels for complex128"):
        layers.Dense(2)(z)


@pytest.mark.parametrize("name", ["exp", "mean", "var"])
def test_an_op_that_would_lose_the_imaginary_part_says_so(name):
    with pytest.raises(UnsupportedError, match="no form for complex numbers"):
        getattr(ops, name)(np.array([1 + 2j], "complex64"))


def test_sums_of_a_layer_s_values_are_numbers_of_numpy():
    total = layers.Activation("relu")(np.ones((2, 3), "float32")).sum()
    assert type(total) is np.float32 and round(total, 1) == 6.0 and {total: 1}
