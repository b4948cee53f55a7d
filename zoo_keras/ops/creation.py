"""Public ops that make new values from shapes and numbers: zeros, ranges, grids, windows.

In: shapes and numbers known while tracing. Out: numpy arrays, which are constants in a trace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.errors import ArgumentTypeError, ConfigError
from zoo_keras.ops.convert import (
    as_dtype,
    common_dtype,
    dtype_of,
    is_known,
    known_array,
    known_int,
    known_ints,
    operand,
    shape_of,
    value,
)
from zoo_keras.ops.plain import named
from zoo_keras.ops.shaping import moveaxis, ravel, swapaxes
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives import elementwise as m
from zoo_keras.primitives.arrays import broadcast_to as broadcast_op
from zoo_keras.primitives.arrays import reshape as reshape_op


def _shape(shape: Any) -> tuple[int, ...]:
    return known_ints(shape, "shape")


def _storage(dtype: Any) -> Any:
    return dtypes.storage(dtypes.standardize(dtype))


@public
def zeros(shape: Any, dtype: Any = None) -> np.ndarray:
    """Zeros of a shape; float32 unless a dtype is given."""
    return in_dtype(np.zeros(_shape(shape), _storage(dtype)), dtypes.standardize(dtype))


@public
def ones(shape: Any, dtype: Any = None) -> np.ndarray:
    """Ones of a shape; float32 unless a dtype is given."""
    return in_dtype(np.ones(_shape(shape), _storage(dtype)), dtypes.standardize(dtype))


@public
def empty(shape: Any, dtype: Any = None) -> np.ndarray:
    """Zeros of a shape: nothing is left to chance."""
    return zeros(shape, dtype)


@public
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """An array of a shape full of one value (a number, or what broadcasts)."""
    name = dtypes.standardize(dtype) if dtype is not None else "float32"
    made = as_dtype(fill_value, name)
    if not is_known(made):
        return broadcast_op(made, shape=_shape(shape))
    return in_dtype(np.array(np.broadcast_to(made, _shape(shape))), name)


@public
def zeros_like(x: Any, dtype: Any = None) -> Any:
    """Zeros of x's shape and dtype."""
    return zeros(shape_of(x), dtype or dtype_of(x))


@public
def ones_like(x: Any, dtype: Any = None) -> Any:
    """Ones of x's shape and dtype."""
    return ones(shape_of(x), dtype or dtype_of(x))


@public
def empty_like(x: Any, dtype: Any = None) -> Any:
    """Zeros of x's shape and dtype."""
    return zeros(shape_of(x), dtype or dtype_of(x))


@public
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    """An array of x's shape full of one value."""
    return full(shape_of(x), fill_value, dtype or dtype_of(x))


@public
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Any:
    """start, start + step, ... below stop; 0, 1, ... below start when stop is None."""
    step = 1 if step is None else step
    if dtype is None:
        dtype = common_dtype(start, step, *([] if stop is None else [stop]))
    first, last = (0, start) if stop is None else (start, stop)
    bounds = [known_array(v, "arange").item() for v in (first, last, step)]
    return in_dtype(np.arange(*bounds).astype(_storage(dtype)), dtypes.standardize(dtype))


@public
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """`num` evenly spaced numbers from start to stop; also the step when retstep."""
    name = dtypes.standardize(dtype) if dtype else _float_of(start, stop)
    if is_known(value(start), value(stop)):
        ends = known_array(value(start), "start"), known_array(value(stop), "stop")
        made, step = np.linspace(*ends, num, endpoint, retstep=True, axis=axis)
        made = in_dtype(np.asarray(made, dtypes.storage(name)), name)
        return (made, in_dtype(step, name)) if retstep else made
    start, stop = as_dtype(start, name), as_dtype(stop, name)
    step = m.divide(m.subtract(stop, start), float(max(num - endpoint, 1)))
    grid = np.arange(num, dtype=dtypes.storage(name)).reshape(-1, *[1] * len(step.shape))
    made = moveaxis(m.add(start, m.multiply(grid, step)), 0, axis)
    return (made, step) if retstep else made


def _float_of(*values: Any) -> str:
    found = common_dtype(*values)
    return found if dtypes.is_float(found) else "float32"


@public
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """base to the power of evenly spaced numbers from start to stop."""
    exponents = linspace(start, stop, num, endpoint, axis=axis)
    return as_dtype(m.power(float(base), exponents), dtype or dtype_of(exponents))


@public
def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Numbers from start to stop with equal quotients; both have one sign."""
    ends = [as_dtype(v, _float_of(start, stop)) for v in (start, stop)]
    logs = [m.log(m.abs(v)) for v in ends]
    signs = [m.sign(v) for v in ends]
    made = m.multiply(
        m.exp(linspace(*logs, num, endpoint, axis=axis)),
        linspace(*signs, num, endpoint, axis=axis),
    )
    return as_dtype(made, dtype or dtype_of(made))


@public
def eye(N: Any, M: Any = None, k: Any = 0, dtype: Any = None) -> np.ndarray:
    """(N, M) with ones on the k-th diagonal."""
    for given in (N, M):
        if isinstance(given, float) or dtypes.is_float(str(getattr(given, "dtype", ""))):
            raise ArgumentTypeError(
                f"eye: the sizes must be whole numbers. Received: N={N}, M={M}. Pass integers."
            )
    rows, columns = known_int(N, "N"), None if M is None else known_int(M, "M")
    made = np.eye(rows, columns, known_int(k, "k"), _storage(dtype))
    return in_dtype(made, dtypes.standardize(dtype))


@public
def identity(n: Any, dtype: Any = None) -> np.ndarray:
    """The unit matrix (n, n)."""
    return eye(n, dtype=dtype)


@public
def tri(N: Any, M: Any = None, k: Any = 0, dtype: Any = None) -> np.ndarray:
    """(N, M) with ones on and below the k-th diagonal."""
    rows, columns = known_int(N, "N"), None if M is None else known_int(M, "M")
    made = np.tri(rows, columns, known_int(k, "k"), _storage(dtype))
    return in_dtype(made, dtypes.standardize(dtype))


@public
def meshgrid(*x: Any, indexing: str = "xy") -> Any:
    """Coordinate grids of several vectors: numpy.meshgrid."""
    if indexing not in ("xy", "ij"):
        raise ConfigError(
            f"meshgrid: indexing must be 'xy' or 'ij'. Received: indexing={indexing!r}. Use one of "
            "these."
        )
    vectors = [ravel(v) for v in x]
    sizes = tuple(v.shape[0] for v in vectors)
    grids = []
    for i, v in enumerate(vectors):
        column = reshape_op(v, shape=[-1 if i == j else 1 for j in range(len(vectors))])
        grids.append(broadcast_op(column, shape=sizes))
    if indexing == "xy" and len(vectors) > 1:
        grids = [swapaxes(g, 0, 1) for g in grids]
    return grids


# --- windows


def _points(x: Any) -> int:
    return known_int(x, "the length of a window")


def _window(function: Callable[[int], np.ndarray], doc: str) -> Callable[[Any], np.ndarray]:
    return named(lambda x: function(_points(x)).astype("float32"), function.__name__, doc)


bartlett = _window(np.bartlett, "The triangular window of x points.")
blackman = _window(np.blackman, "The Blackman window of x points.")
hamming = _window(np.hamming, "The Hamming window of x points.")
hanning = _window(np.hanning, "The Hann window of x points.")


@public
def kaiser(x: Any, beta: float) -> np.ndarray:
    """The Kaiser window of x points."""
    made = np.kaiser(_points(x), float(known_array(operand(beta), "beta")))
    return made.astype("float32")


__all__ = [
    "arange", "bartlett", "blackman", "empty", "empty_like", "eye", "full", "full_like",
    "geomspace", "hamming", "hanning", "identity", "kaiser", "linspace", "logspace", "meshgrid",
    "ones", "ones_like", "tri", "zeros", "zeros_like",
]  # fmt: skip
