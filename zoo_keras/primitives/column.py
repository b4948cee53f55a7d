"""Ops on columns: text, and rows of different sizes. They run in a feed, never in a Program.

In: a decorated numpy function over columns. Out: a ColumnOp in `column_ops`, called on Tensors of
graphs like any op. A column of text is an array of str and bytes objects; rows of different sizes
are an array of objects, one list or array for each row, and have OPEN axes in their Spec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.graph import Spec
from zoo_keras.primitives.fed import OPEN
from zoo_keras.primitives.op import Op, Sample

column_ops: dict[str, ColumnOp] = {}


class ColumnOp(Op):
    """An op whose body sees whole columns. `samples` are (columns, attributes)."""

    on_columns = True

    def compute(
        self, arrays: Sequence[np.ndarray], attrs: dict[str, Any], specs: Sequence[Spec]
    ) -> tuple[np.ndarray, ...]:
        """The body's results, in the dtypes that the shape rule promises."""
        result, spec = self.reference(*arrays, **attrs), specs[0]
        if OPEN in spec.shape:
            return (result,)
        return (np.asarray(result, dtype=dtypes.storage(spec.dtype)),)


def column_op(*, shape: Callable[..., Spec], samples: Sequence[Sample] = ()) -> Any:
    """Declare an op on columns; `shape` gives the Spec of its one output."""

    def declare(function: Callable[..., Any]) -> ColumnOp:
        made = ColumnOp(function, shape=shape, samples=samples)
        if made.name in column_ops:
            raise ValueError(f"Op {made.name!r} is declared twice.")
        column_ops[made.name] = made
        return made

    return declare


def as_dtype(dtype: str) -> Callable[..., Spec]:
    """Shape rule: the input's shape in another dtype."""

    def rule(x: Spec, **attrs: Any) -> Spec:
        return Spec(x.shape, dtype)

    return rule


def rows_of(values: Sequence[Any]) -> np.ndarray:
    """A column with one object, such as a list or an image, for each row."""
    column = np.empty(len(values), object)
    column[:] = values if all(isinstance(v, (str, bytes)) for v in values) else [*values]
    return column


def each(function: Callable[[Any], Any], column: np.ndarray) -> np.ndarray:
    """function(value) for every value of a column of text, in its shape."""
    made = np.empty(column.size, object)
    made[:] = list(map(function, column.reshape(-1)))
    return made.reshape(column.shape)
