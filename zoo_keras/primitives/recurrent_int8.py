"""LSTM, GRU and SimpleRNN whose recurrent matrix is int8, for inference: one op each.

In: as the ops of `recurrent` and `gru`, but in place of the matrix its panels by
`pack_int8(u, parts=gates)` and 1 / its scales, (gates * units,). Out: as theirs. In each step a
state is rounded to int8 with a scale of its own, whatever its activation may give; sums of products
are whole numbers, so a row has the same bits alone and in a batch. Gates, states and cells stay
float32. Nothing here has a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.native import lib
from zoo_keras.primitives.gru import gru, gru_reset_first
from zoo_keras.primitives.int8 import LONGEST, MOST, pack_int8, packed_shape, unpacked
from zoo_keras.primitives.op import Op, Sample, op
from zoo_keras.primitives.recurrent import kernel_numbers, lstm, simple_rnn
from zoo_keras.primitives.row_rules import rows_in


def _gates(xp: Spec | np.ndarray, u: Spec | np.ndarray, gates: int) -> tuple[int, int]:
    """(units, columns) of the matrix behind these panels."""
    columns = xp.shape[-1]
    units = columns // gates
    if u.shape != packed_shape(1, units, columns, gates):
        raise ShapeError(f"{units} units need a matrix packed by pack_int8 in {gates} parts.")
    return units, columns


def _spec(of: Op, gates: int) -> Any:
    def shape(xp: Spec, u: Spec, wstep: Spec, *rest: Spec, **how: Any) -> tuple[Spec, ...]:
        if len(xp.shape) != 3 or u.dtype != "int8":
            raise ShapeError("the projected inputs need 3 dimensions, the panels int8 numbers.")
        units, columns = _gates(xp, u, gates)
        if wstep.shape != (columns,):
            raise ShapeError(f"the scales of the matrix must have the shape {(columns,)}.")
        if units > LONGEST:
            raise ShapeError(f"a sum of {units} products may not fit into int32.")
        return of.infer(xp, Spec((units, columns), xp.dtype), *rest, **how)

    return shape


def _numbers(count: int) -> Any:
    def numbers(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
        return kernel_numbers(attrs, len(ins) > count, attrs["kept"], lib.ZK_RNN_INT8)

    return numbers


def _rounded_matrix(sample: Sample, gates: int) -> Sample:
    """The sample with its matrix in int8."""

    def make(rng: np.random.Generator) -> list[np.ndarray]:
        xp, u, *rest = sample.inputs(rng)
        q = np.rint(u * MOST).astype(np.int8)
        return [xp, pack_int8(q, parts=gates), np.full(u.shape[1:], 1 / MOST, np.float32), *rest]

    return replace(sample, make=make)


def _in_int8(of: Op, gates: int, *, vectors: int, states: int) -> Op:
    """The form of a recurrent op on an int8 matrix. vectors: inputs between matrix and states."""

    def reference(
        xp: np.ndarray, u: np.ndarray, wstep: np.ndarray, *rest: np.ndarray, **how: Any
    ) -> Any:
        units, columns = _gates(xp, u, gates)
        matrix = unpacked(u, 1, units, columns, gates)[0] * wstep
        return of.reference(xp, matrix, *rest, rounds="int8", **how)

    reference.__name__ = f"{of.name}_int8"
    reference.__doc__ = f"`{of.name}` whose recurrent matrix is int8: see the module."
    made: Op = op(
        reference,
        kernel=True,
        rows=rows_in(1, 0, 0, *[0] * vectors, *[1] * states, rest=True),
        shape=_spec(of, gates),
        attrs_to_c=_numbers(3 + vectors + states),
        dtypes=lambda *specs: all(s.dtype in ("float32", "int8", "bool") for s in specs),
        inplace=(0,),
        samples=[_rounded_matrix(sample, gates) for sample in of.samples],
    )
    return made


# By the op on a float32 matrix.
IN_INT8 = {
    lstm: _in_int8(lstm, 4, vectors=0, states=2),
    gru: _in_int8(gru, 3, vectors=1, states=1),
    gru_reset_first: _in_int8(gru_reset_first, 3, vectors=0, states=1),
    simple_rnn: _in_int8(simple_rnn, 1, vectors=0, states=1),
}
