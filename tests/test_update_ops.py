"""An optimizer's step as one op: values, long vectors, and running in the memory of its inputs."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_check import SETS, check_kernel, instruction_set, run_kernel

from zoo_keras import native
from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.primitives.update import HOW, optimizer_update, update_inputs

by_kind = pytest.mark.parametrize("kind", HOW)


def long_arrays(kind: str, n: int, ema: bool = False) -> list[np.ndarray]:
    return update_inputs(np.random.default_rng(2), kind, n, ema)


def attrs_of(kind: str, **rest) -> dict:
    return {"kind": kind, "how": HOW[kind], **rest}


@by_kind
def test_long_vectors_cut_among_threads(kind):
    arrays = long_arrays(kind, 50001, ema=True)
    attrs = attrs_of(kind, clip=0.5, decay=0.1, ema=0.9)
    check_kernel(optimizer_update, arrays, attrs, 2e-5, 2e-6)


def run_in_place(op, arrays: list[np.ndarray], attrs: dict) -> list[np.ndarray]:
    """Each output lies over the input that op.inplace names."""
    ins = [Spec(a.shape, a.dtype.name) for a in arrays]
    outs = op.infer(*ins, **attrs)
    taken = op.inplace[: len(outs)]
    spaces = [native.aligned(1 << 16), *[native.aligned(a.nbytes) for a in arrays]]
    for space, a in zip(spaces[1:], arrays, strict=True):
        space[:] = a.reshape(-1).view(np.uint8)
    places = [j + 1 for j in taken] + list(range(1, len(arrays) + 1))
    args = np.zeros(len(places), native.ARG)
    for row, place, spec in zip(args, places, [*outs, *ins], strict=True):
        native.fill_arg(row, place, 0, spec.shape, spec.dtype)
    numbers = [float(v) for v in op.attrs_to_c(attrs, ins, outs)]
    instrs = np.zeros(1, native.INSTR)
    kernel = native.KERNELS[op.kernel]
    instrs[0] = (kernel, len(outs), len(ins), 0, 0, len(numbers), 0)
    sizes = [s.nbytes for s in spaces]
    made = native.Executable(instrs, args, np.array([*numbers, 0.0]), sizes, 2)
    table = native.pointer_table(len(spaces))
    for i, space in enumerate(spaces):
        table[i] = native.pointer(space)
    made.run(table, lambda i: None, lambda i: op.name)
    return [spaces[j + 1] for j in taken]


@by_kind
def test_outputs_may_lie_over_the_inputs_they_replace(kind):
    arrays, attrs = long_arrays(kind, 20003), attrs_of(kind, decay=0.1)
    for name in SETS:
        with instruction_set(name):
            apart = run_kernel(optimizer_update, arrays, attrs)
            together = run_in_place(optimizer_update, arrays, attrs)
        for a, b in zip(apart, together, strict=True):
            assert a.tobytes() == b.tobytes()


def test_adam_counts_steps_from_one():
    """The first step moves each weight by the learning rate, whatever the gradient's size."""
    w, g = np.zeros(3, np.float32), np.array([1e-3, -5.0, 200.0], np.float32)
    scalars = [np.array(x, np.float32) for x in (0.1, 1, 1)]
    attrs = {"kind": "adam", "how": (0.9, 0.999, 1e-7)}
    moved = run_kernel(optimizer_update, [w, g, w, w, *scalars], attrs)[0]
    np.testing.assert_allclose(moved, [-0.1, 0.1, -0.1], rtol=5e-3)


def test_vectors_of_other_lengths_are_refused():
    w, lr = np.zeros(3, np.float32), np.array(0.1, np.float32)
    with pytest.raises(ShapeError, match="one shape"):
        optimizer_update(w, w[:2], lr, lr, lr, kind="sgd", how=())
    with pytest.raises(ShapeError, match="must be scalars"):
        optimizer_update(w, w, w, lr, lr, kind="sgd", how=())
