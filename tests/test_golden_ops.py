"""Every public op against real Keras: on arrays, in a compiled program, its gradient, its spec.

In: cases/ops*.py, whose calls run with either library, and data/ops.* by make_ops.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from golden.cases.ops import CASES
from golden.cases.ops_table import weights
from golden.store import Golden, series
from traced import in_program, value_and_grad

import zoo_keras as zk
from zoo_keras import ops
from zoo_keras.backend import standardize_dtype
from zoo_keras.errors import ConfigError, DataError, UnsupportedError
from zoo_keras.missing import keras_names
from zoo_keras.nest import flatten

GOLDEN = Golden("ops")
# The beginning of a name -> why other values than Keras' on TensorFlow are right here.
_NUMPY = "as in numpy and Keras' other backends; TensorFlow alone differs"
OTHERWISE = {
    "isclose(float32[8]": "an infinity is close to itself and not to minus infinity",
    "isclose(float32[289]": "an infinity is close to itself and not to minus infinity",
    "hypot(float32[289]": "of two infinities it is infinite, not NaN",
    "heaviside(float32[289]": "of NaN it is NaN, " + _NUMPY,
    "heaviside(float32[5]": "of NaN it is NaN, " + _NUMPY,
    "floor_divide(float32[6]": "of infinity it is NaN, " + _NUMPY,
    "soft_shrink(float32[17])": "NaN stays NaN",
    "nextafter(float32[5]": "TensorFlow takes the next float64 and rounds it back",
    "saturate_cast(int32[3,4], 'float32')": "Keras' limits overflow in int32",
    "argmax(float32[3])": "minus zero equals zero, and the first of equals is told, as in numpy",
    "nanargmax(float32[3])": "minus zero equals zero, and the first of equals is told, as in numpy",
    "argmax(float32[2,3], axis=1)": "the first NaN is told, " + _NUMPY,
    "argmin(float32[2,3], axis=1)": "the first NaN is told, " + _NUMPY,
    "prod(int32[2,3,4], axis=0, dtype='float": "TensorFlow forgets the dtype",
    "prod(float32[2,3,4], dtype='int32'": "TensorFlow forgets the dtype",
    "histogram(int32": "the edges of whole numbers are not whole",
    "histogram(float32[3])": "of equal numbers the edges are half a unit away, " + _NUMPY,
    **{f"segment_{op}({kind}, sorted=True)": "a segment without rows has no 0 in it"
       for op in ("max", "min")
       for kind in ("float32[6,2], int32[6]", "float32[6], int32[6]", "int32[6,2], int32[6]",
                    "float32[6,2,2], int32[6]")},
    **{f"segment_{op}(float32[6{shape}], int32[6], num_segments={n})":
       "a segment without rows is infinite, " + _NUMPY
       for op in ("max", "min") for shape, n in (("", 5), (",2", 5), (",2,2", 5), (",2", 6))},
    "nanmedian(float32[2,3], axis=1)": "an infinity times 0 is left out, as in numpy",
    "nanquantile(float32[2,3], [0, 0.5, 1]": "an infinity times 0 is left out, as in numpy",
    "unique(float32[4], return_counts": "NaN stands behind the numbers, as in numpy",
    "moments(int32": "of whole numbers they are not whole",
    **{f"image.map_coordinates(float32[5,6], float32[2,3,7], {order}, fill_mode='reflect'":
       "(d c b a | a b c d | d c b a), as documented, before the beginning too"
       for order in (0, 1)},
    "view_as_complex(float64": "double precision stays",
    "vstack([float32[4], float32[4]])": "vectors are rows, " + _NUMPY,
    "rot90(float32[3,4], k=2)": "half a turn flips both axes, " + _NUMPY,
    "rot90(float32[2,3,4], k=2, axes=[0, 2])": "half a turn flips both axes, " + _NUMPY,
    "unravel_index(int32[2,2]": "TensorFlow rounds its quotients up",
    "unravel_index(7,": "TensorFlow rounds its quotients up",
    **{f"bitwise_{op}({dtype}": "a Python number takes the dtype of what it meets"
       for op in ("and", "or", "xor") for dtype in ("uint8[3,4], 5", "int16[3,4], 5")},
}  # fmt: skip
# What has no place in a program, which says so.
ONLY_ON_ARRAYS = (
    "view(", "view_as_complex(", "polar(", "bincount(int32[12])", "bincount(uint8[12])",
    "bincount(int64[12], minlength=3)", "bincount(int32[12], weights=float32[12])",
    "bincount(int32[3,4])", "unique(", "nonzero(", "where(bool[3,4])",
    *[f"{op}({x}, int32[6]{sort})" for op in ("segment_sum", "segment_max", "segment_min",
      "segment_prod") for x in ("float32[6,2]", "float32[6]", "int32[6,2]", "float32[6,2,2]")
      for sort in ("", ", sorted=True")],
    *[f"{op}(float32[2,3,4], {q}" for op in ("quantile", "nanquantile", "percentile",
      "nanpercentile") for q in ("float32[], ", "float32[2], ")],
    "repeat(int32[3,4], int32[]", "repeat(float32[4], int32[4])",
    "slice(float32[2,3,4], int32[3]", "slice_update(float32[3,4], int32[2]",
    "slice_update(int32[3,4], int32[2]", "while_loop(int32[])", "eig(",
)  # fmt: skip
# Of "cumprod" TensorFlow's gradient is 0 where one factor is 0, of the others see above.
OTHER_GRADIENTS = ("cumprod(float32[5])", *OTHERWISE)
# Ops without golden calls, and why.
WITHOUT = {
    "vectorize": "Keras on TensorFlow has none; test_rearranging.py compares it with numpy",
}
MADE = [name for name, case in GOLDEN.cases.items() if "refused" not in case]
SAME = [name for name in MADE if not name.startswith(tuple(OTHERWISE))]


def fits_a_program(name):
    numbers = all(a.dtype.kind != "c" for a in CASES[name].arrays)
    return numbers and not name.startswith(ONLY_ON_ARRAYS)


def has_gradient(name):
    known = "grad0" in GOLDEN.cases[name]["arrays"] and fits_a_program(name)
    return known and not name.startswith(OTHER_GRADIENTS)


def check(name, made, in_program=False):
    """Values, shapes and dtypes are those of Keras; what is no array is equal."""
    left, leaves = iter(series_of(name)), flatten(made)
    for got, want in zip(leaves, GOLDEN.cases[name]["outputs"], strict=True):
        if isinstance(want, dict):
            assert got == want["value"]
            continue
        # a program keeps int64 that it makes itself in int32
        dtype = got.dtype.name if np.iscomplexobj(got) else standardize_dtype(got.dtype)
        assert dtype == want or (in_program and (dtype, want) == ("int32", "int64"))
        if name.startswith("image.") and dtype == "uint8":  # a half rounds either way
            got = np.asarray(got, np.float32)
            assert np.abs(got - next(left)).max() <= 1
        else:
            close(np.asarray(got), next(left), dtype)


def series_of(name):
    arrays = GOLDEN.arrays(name)
    return [arrays[k] for k in arrays if k.startswith("output")]


def close(got, want, dtype="float32", scale=1.0):
    assert got.shape == want.shape
    if got.dtype.kind not in "fc":
        return np.testing.assert_array_equal(got, want)
    rtol, atol = (4e-3, 1e-3) if dtype == "float16" else (3e-5, 3e-6)
    finite = np.abs(want[np.isfinite(want) & (np.abs(want) < 1e4)])
    np.testing.assert_allclose(got, want, scale * rtol, scale * atol * finite.max(initial=1e-3))


@pytest.mark.parametrize("name", SAME)
def test_on_arrays(name):
    case = CASES[name]
    check(name, case.run(ops, case.arrays))


@pytest.mark.parametrize("name", [name for name in SAME if fits_a_program(name)])
def test_in_a_program(name):
    case = CASES[name]
    if all(isinstance(want, dict) for want in GOLDEN.cases[name]["outputs"]):
        in_program(lambda *tensors: check(name, case.run(ops, tensors)), *case.arrays)
    else:
        made = in_program(lambda *tensors: case.run(ops, tensors), *case.arrays)
        check(name, made, in_program=True)


def takes_keras_tensors(name):
    """With a branch on one, `cond` is for layers: its functions hold tensors of their own."""
    arrays = any(isinstance(want, str) for want in GOLDEN.cases[name]["outputs"])
    closed = name.startswith("cond(float32[3,4], bool[]")
    return fits_a_program(name) and arrays and CASES[name].arrays and not closed


@pytest.mark.parametrize("name", [name for name in SAME if takes_keras_tensors(name)])
def test_on_keras_tensors(name):
    case = CASES[name]
    inputs = [zk.KerasTensor(a.shape, dtype=a.dtype.name) for a in case.arrays]
    made = [x for x in flatten(case.run(ops, inputs)) if isinstance(x, zk.KerasTensor)]
    dtypes = [want for want in GOLDEN.cases[name]["outputs"] if isinstance(want, str)]
    for x, array, dtype in zip(made, series_of(name), dtypes, strict=True):
        assert tuple(x.shape) == array.shape
        assert x.dtype == dtype or (x.dtype, dtype) == ("int32", "int64")


@pytest.mark.parametrize("name", [name for name in MADE if name not in SAME])
def test_where_tensorflow_is_alone_a_program_gives_what_arrays_give(name):
    case = CASES[name]
    made = case.run(ops, case.arrays)
    with pytest.raises(AssertionError):
        check(name, made)
    if fits_a_program(name):
        again = in_program(lambda *tensors: case.run(ops, tensors), *case.arrays)
        for one, other in zip(flatten(made), flatten(again), strict=True):
            close(np.asarray(other), np.asarray(one))


@pytest.mark.parametrize("name", [n for n in MADE if not fits_a_program(n)])
def test_what_does_not_fit_a_program_says_so(name):
    with pytest.raises((UnsupportedError, ConfigError, DataError, TypeError)):
        in_program(lambda *tensors: CASES[name].run(ops, tensors), *CASES[name].arrays)


@pytest.mark.parametrize("name", [n for n in MADE if has_gradient(n)])
def test_gradient(name):
    case = CASES[name]

    def total(*tensors):
        leaves = [x for x in flatten(case.run(ops, tensors)) if "float" in str(x.dtype)]
        return sum(ops.sum(ops.cast(x, "float32") * weights(x.shape)) for x in leaves)

    _, found, _ = value_and_grad(total, case.arrays, [])
    sources = [(g, a) for g, a in zip(found, case.arrays, strict=True) if a.dtype.kind == "f"]
    for (got, array), want in zip(sources, series(GOLDEN.arrays(name), "grad"), strict=True):
        close(np.zeros(array.shape) if got is None else got, want, scale=4)


def test_every_public_op_has_golden_calls():
    names = {n for n in keras_names()["3"]["ops"] if callable(getattr(ops, n))}
    names |= {f"image.{n}" for n in keras_names()["3"]["ops.image"]}
    assert names - {CASES[name].op for name in MADE} == WITHOUT.keys()


def test_every_exception_is_one_of_a_golden_call():
    for start in (*OTHERWISE, *ONLY_ON_ARRAYS, *OTHER_GRADIENTS):
        assert any(name.startswith(start) for name in MADE), start
    assert GOLDEN.cases.keys() == CASES.keys()  # else make the area again
