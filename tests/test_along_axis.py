"""Sorting, the k largest and running sums in C: bit for bit numpy's, ties and NaN included."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_check import SETS, instruction_set

from zoo_keras import native
from zoo_keras.errors import DataError
from zoo_keras.primitives.op import registry

ODD = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-40, -1e-40], "f4")
NUMBERS = {
    "ties": lambda rng, shape: rng.integers(-2, 3, shape).astype("f4"),
    "odd numbers": lambda rng, shape: rng.choice(ODD, shape),
    "limits": lambda rng, shape: rng.choice(
        np.array([-(2**31), 2**31 - 1, 0, -1, 7], "i4"), shape),
    "bools": lambda rng, shape: rng.uniform(size=shape) < 0.5,
}  # fmt: skip
CALLS = {"sort": [0, 1, -1], "argsort": [0, 1, -1], "top_k": [0, 1, 3, "all"]}


def want(name, x, value):
    attrs = {"k": value} if name == "top_k" else {"axis": value}
    found = registry[name].reference(x, **attrs)
    return [*found] if isinstance(found, tuple) else [found]


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize(
    "shape", [(3, 5), (7, 64), (5, 65), (2, 300), (3, 0), (0, 4), (150, 3, 70)]
)
@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("name", CALLS)
def test_ties_keep_their_order_and_nan_is_the_largest(name, kind, shape, isa):
    x = NUMBERS[kind](np.random.default_rng(len(shape)), shape)
    for value in CALLS[name]:
        value = shape[-1] if value == "all" else value
        if name == "top_k" and value > shape[-1]:
            continue
        expected = want(name, x, value)
        places = {1: [name == "argsort"], 2: [False, True]}[len(expected)]
        specs = [(e.shape, "int32" if p else x.dtype.name)
                 for e, p in zip(expected, places, strict=True)]  # fmt: skip
        with instruction_set(isa):
            for threads in (1, 2, 3):
                attrs = [] if name == "top_k" else [value]
                made = native.call_kernel(name, specs, [x], attrs, threads)
                for got, right in zip(made, expected, strict=True):
                    np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_running_sums_add_in_order_and_count_bools(axis, reverse):
    rng = np.random.default_rng(1)
    for x in (rng.normal(size=(40, 33, 21)).astype("f4"), rng.uniform(size=(40, 33, 21)) < 0.5):
        right = registry["cumsum"].reference(x, axis=axis, reverse=reverse)
        dtype = "float32" if x.dtype == "float32" else "int32"
        (got,) = native.call_kernel("cumsum", [(x.shape, dtype)], [x], [axis, reverse], 3)
        np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize("low", [-1, 5])
def test_an_id_outside_the_axis_is_named(low):
    x, ids = np.ones((3, 5), "f4"), np.full((3, 2), low, "i4")
    with pytest.raises(DataError, match=f"below 5.*Received: {low}"):
        native.call_kernel("take_along_axis", [((3, 2), "float32")], [x, ids], [1])


def test_elements_are_taken_from_an_axis_that_is_repeated():
    x, ids = np.arange(5, dtype="f4")[None], np.array([[4, 0], [1, 1]], "i8")
    (got,) = native.call_kernel("take_along_axis", [((2, 2), "float32")], [x, ids], [-1])
    assert got.tolist() == [[4, 0], [1, 1]]


@pytest.mark.parametrize(("of", "to"), [("int64", "int32"), ("int64", "float32"),
                                        ("int32", "int64"), ("float64", "float32"),
                                        ("int32", "uint8"), ("int64", "bool"),
                                        ("float32", "bool"), ("int16", "uint32")])  # fmt: skip
def test_casts_wrap_and_round_once_as_numpy_does(of, to):
    numbers = [0, 1, -1, 255, 256, 2**24 + 1, 2**31, -(2**31) - 5, 2**60 + 2**36 + 1, 2**62]
    x = np.array(numbers, "i8").astype(of)
    with np.errstate(all="ignore"):
        right = x.astype(to)
    (got,) = native.call_kernel("cast", [(x.shape, to)], [x])
    np.testing.assert_array_equal(got, right)
