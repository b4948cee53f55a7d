"""Every public op against real Keras: on arrays, in a compiled program, and its gradient."""

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
from zoo_keras.errors import UnsupportedError
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
    "saturate_cast(int32[3,4], 'float32')": "Keras' limits overflow in int32, which ruins all values",
    **{f"bitwise_{op}({dtype}": "a Python number takes the dtype of what it meets"
       for op in ("and", "or", "xor") for dtype in ("uint8[3,4], 5", "int16[3,4], 5")},
}  # fmt: skip
# What has no place in a program, which says so.
ONLY_ON_ARRAYS = ("view(", "view_as_complex(", "polar(")
MADE = [name for name, case in GOLDEN.cases.items() if "refused" not in case]


def judged(name):
    why = [reason for start, reason in OTHERWISE.items() if name.startswith(start)]
    marks = [pytest.mark.xfail(strict=True, reason=why[0], raises=AssertionError)] if why else []
    return pytest.param(name, marks=marks)


JUDGED = [judged(name) for name in MADE]


def check(name, made):
    """Values, shapes and dtypes are those of Keras; what is no array is equal."""
    left, leaves = iter(series_of(name)), flatten(made)
    for got, want in zip(leaves, GOLDEN.cases[name]["outputs"], strict=True):
        if isinstance(want, dict):
            assert got == want["value"]
            continue
        dtype = got.dtype.name if np.iscomplexobj(got) else standardize_dtype(got.dtype)
        assert dtype == want
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


@pytest.mark.parametrize("name", JUDGED)
def test_on_arrays(name):
    case = CASES[name]
    check(name, case.run(ops, case.arrays))


@pytest.mark.parametrize("name", JUDGED)
def test_in_a_program(name):
    case = CASES[name]
    if name.startswith(ONLY_ON_ARRAYS) or any(a.dtype.kind == "c" for a in case.arrays):
        with pytest.raises(UnsupportedError):
            in_program(lambda *tensors: case.run(ops, tensors), *case.arrays)
        return
    check(name, in_program(lambda *tensors: case.run(ops, tensors), *case.arrays))


@pytest.mark.parametrize("name", [n for n in MADE if "grad0" in GOLDEN.cases[n]["arrays"]])
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
