"""What the public ops do with their arguments before a primitive sees them: values, dtypes, axes.

In: tensors, Variables, arrays, numbers, nested lists of them. Out: Tensors or arrays, and axes in
numpy's sense made plain. Knows no op but cast and stacking.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.bfloat16 import foreign
from zoo_keras.errors import DataError, ShapeError, UnsupportedError
from zoo_keras.graph import Tensor, current_trace
from zoo_keras.primitives.arrays import concatenate, reshape
from zoo_keras.primitives.elementwise import cast as cast_op
from zoo_keras.primitives.op import cast_to

_fuzz_factor = 1e-7


def fuzz_factor() -> float:
    """What keeps divisions and logarithms finite: keras.config.epsilon()."""
    return _fuzz_factor


def set_fuzz_factor(value: float) -> None:
    """Set it for all that is computed or traced from now on."""
    global _fuzz_factor
    _fuzz_factor = value


def is_variable(x: Any) -> bool:
    """Whether x is a Variable."""
    return getattr(type(x), "is_zk_variable", False)


def value(x: Any) -> Any:
    """x as a Tensor or an array; lists that hold tensors are stacked.

    Python numbers and lists become float32, int32 or bool; arrays keep their dtype.
    """
    if isinstance(x, Tensor):
        return x
    if isinstance(x, np.ndarray):
        if x.dtype.kind == "c" and current_trace() is None:
            return x
        return dtypes.native(x if x.dtype.kind in "fiub" else _numbers(foreign(x)))
    if is_variable(x):
        return x.value
    if isinstance(x, np.generic):
        return value(np.asarray(x))
    if isinstance(x, (list, tuple)) and _holds_tensors(x):
        return stacked(x)
    _refuse_sparse(x)
    if isinstance(x, complex):
        return value(np.asarray(x, np.complex64))
    name = dtypes.of_python(x)
    return np.asarray(x, dtype=name) if name in dtypes.ALL else value(np.asarray(x))


def _numbers(x: np.ndarray) -> np.ndarray:
    """The numbers in an array of objects. DataError when there are others."""
    found = dtypes.from_objects(x) if x.dtype == object else x
    if found.dtype.kind not in "fiub":
        raise DataError(
            f"A tensor holds numbers. Received: {x.size} values of dtype {x.dtype}, first "
            f"{x.flat[0] if x.size else None!r}. Turn text into numbers before ops see it."
        )
    return found


def operand(x: Any) -> Any:
    """Like value(), but Python numbers stay: they take the dtype of what they meet."""
    return x if isinstance(x, (bool, int, float)) else value(x)


def _holds_tensors(values: Iterable[Any]) -> bool:
    return any(
        isinstance(v, Tensor) or is_variable(v)
        or (isinstance(v, (list, tuple)) and _holds_tensors(v))
        for v in values
    )  # fmt: skip


def alike(xs: Iterable[Any]) -> list[Any]:
    """Tensors or arrays in one dtype."""
    values = [value(x) for x in xs]
    dtype = dtypes.promote(*[dtype_of(v) for v in values])
    return [as_dtype(v, dtype) for v in values]


def stacked(xs: Iterable[Any], axis: int = 0) -> Any:
    """Tensors or arrays side by side along a new axis."""
    values = alike(xs)
    axis = axis_in(axis, len(values[0].shape) + 1)
    rows = [reshape(v, shape=(*v.shape[:axis], 1, *v.shape[axis:])) for v in values]
    return concatenate(*rows, axis=axis) if len(rows) > 1 else rows[0]


def _refuse_sparse(x: Any) -> None:
    kind = type(x).__name__
    if kind in ("SparseTensor", "RaggedTensor", "csr_matrix", "coo_matrix", "BCOO"):
        raise UnsupportedError(
            f"zoo_keras has dense tensors only. Received: a {kind}. Convert it to an array first."
        )


def dtype_of(x: Any) -> str:
    """The dtype name of a tensor, Variable, array or Python value."""
    found = getattr(x, "dtype", None)
    return dtypes.of_python(x) if found is None else _name(found)


def _name(dtype: Any) -> str:
    return dtype if isinstance(dtype, str) else dtypes.name_of(np.dtype(dtype))


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of a tensor, Variable, array or Python value."""
    found = getattr(x, "shape", None)
    return tuple(np.shape(x)) if found is None else tuple(found)


def as_dtype(x: Any, dtype: Any) -> Any:
    """x as a Tensor or array of this dtype."""
    x, name = value(x), dtypes.standardize(dtype)
    if dtype_of(x) == name:
        return x
    return cast_to(x, name) if isinstance(x, Tensor) else cast_op(x, dtype=name)


def without_bools(x: Any) -> Any:
    """x with bools as int32."""
    return as_dtype(x, "int32") if dtype_of(x) == "bool" else x


def as_float(x: Any) -> Any:
    """x as a Tensor or array of a floating dtype; integers and bools become float32."""
    if isinstance(x, (bool, int, float)):
        return float(x)
    x = value(x)
    return x if dtypes.is_float(dtype_of(x)) or is_complex(x) else as_dtype(x, "float32")


def as_floats(x1: Any, x2: Any) -> tuple[Any, Any]:
    """Two values in the floating dtype to which they promote; float32 where neither floats."""
    x1, x2 = value(x1), value(x2)
    found = common_dtype(x1, x2)
    kind = found if dtypes.is_float(found) else "float32"
    return as_dtype(x1, kind), as_dtype(x2, kind)


def is_complex(x: Any) -> bool:
    """Whether x is an array of complex numbers."""
    return isinstance(x, np.ndarray) and x.dtype.kind == "c"


def common_dtype(*values: Any) -> str:
    """The dtype to which several values promote; Python numbers follow the others."""
    strong = [dtype_of(v) for v in values if not isinstance(v, (bool, int, float))]
    kinds = [dtypes.of_python(v) for v in values if isinstance(v, (bool, int, float))]
    if not strong:
        return dtypes.promote(*kinds)
    found = dtypes.promote(*strong)
    wanted = [k for k in kinds if k == "float32" and not dtypes.is_float(found)]
    return "float32" if wanted else found


def is_known(*values: Any) -> bool:
    """Whether all values are at hand: no Tensor of a running trace among them."""
    return not any(isinstance(v, Tensor) for v in values)


def known_array(x: Any, what: str) -> np.ndarray:
    """x as an array, also from a constant tensor; UnsupportedError when it is computed later."""
    if isinstance(x, Tensor):
        if x.node.op.name != "constant":
            raise UnsupportedError(
                f"{what} must be known while the model is traced. Received: {x}. "
                "Pass numbers or an array: shapes in a program are fixed."
            )
        found: np.ndarray = x.node.attrs["value"]
        return found
    return np.asarray(x)


def known_int(x: Any, what: str) -> int:
    """A whole number that is known while the model is traced."""
    return int(known_array(x, what))


def known_ints(x: Any, what: str) -> tuple[int, ...]:
    """Whole numbers (or one) that are known while the model is traced."""
    if isinstance(x, (list, tuple)):
        return tuple(known_int(v, what) for v in x)
    return tuple(int(v) for v in np.atleast_1d(known_array(x, what)))


def axis_in(axis: Any, ndim: int, what: str = "axis") -> int:
    """The axis counted from 0. Raises ShapeError when there is none."""
    if axis is None:
        raise ShapeError(f"{what} must be a whole number here. Received: None. Name one axis.")
    number = known_int(axis, what)
    if not -ndim <= number < ndim:
        raise ShapeError(
            f"{what} {number} is out of bounds for a tensor of {ndim} dimensions. Received: "
            f"{number}. "
            f"Use {-ndim} to {ndim - 1}."
        )
    return number % ndim if ndim else 0


def axes_in(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes counted from 0, in order; None means all."""
    if axis is None:
        return tuple(range(ndim))
    many = axis if isinstance(axis, (list, tuple)) else (axis,)
    found = tuple(axis_in(a, ndim) for a in many)
    if len(set(found)) != len(found):
        raise ShapeError(f"An axis is named twice. Received: axis={axis}. Name each once.")
    return tuple(sorted(found))
