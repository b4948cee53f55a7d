"""The fused optimizer steps: values, long vectors, and running in the memory of their inputs."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_check import SETS, check_kernel, check_samples, instruction_set, run_kernel

from zoo_keras import native
from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.ops import update

OPS = [
    update.sgd_update,
    update.momentum_update,
    update.adam_update,
    update.amsgrad_update,
    update.rmsprop_update,
    update.rmsprop_momentum_update,
    update.rmsprop_centered_update,
    update.rmsprop_centered_momentum_update,
]
by_name = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def long_arrays(op, n: int) -> list[np.ndarray]:
    """Inputs of the op's first sample stretched to n elements; scalars stay."""
    arrays = op.samples[0].inputs(np.random.default_rng(2))
    return [np.resize(a, n) if a.ndim else a for a in arrays]


@by_name
def test_kernel_equals_numpy_on_the_samples(op):
    check_samples([op], 2e-5, 2e-6)


@by_name
def test_long_vectors_cut_among_threads(op):
    check_kernel(op, long_arrays(op, 50001), op.samples[0].attrs, 2e-5, 2e-6)


def run_in_place(op, arrays: list[np.ndarray], attrs: dict) -> list[np.ndarray]:
    """Each output lies over the input that op.inplace names."""
    ins = [Spec(a.shape, a.dtype.name) for a in arrays]
    outs = op.infer(*ins, **attrs)
    spaces = [native.aligned(64), *[native.aligned(a.nbytes) for a in arrays]]
    for space, a in zip(spaces[1:], arrays, strict=True):
        space[:] = a.reshape(-1).view(np.uint8)
    places = [j + 1 for j in op.inplace] + list(range(1, len(arrays) + 1))
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
    return [spaces[j + 1].view(np.float32) for j in op.inplace]


@by_name
def test_outputs_may_lie_over_the_inputs_they_replace(op):
    arrays, attrs = long_arrays(op, 20003), op.samples[0].attrs
    for name in SETS:
        with instruction_set(name):
            apart, together = run_kernel(op, arrays, attrs), run_in_place(op, arrays, attrs)
        for a, b in zip(apart, together, strict=True):
            assert a.tobytes() == b.tobytes()


def test_adam_counts_steps_from_one():
    """The first step moves each weight by the learning rate, whatever the gradient's size."""
    w, g = np.zeros(3, np.float32), np.array([1e-3, -5.0, 200.0], np.float32)
    lr, step = np.array(0.1, np.float32), np.array(1, np.float32)
    attrs = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    moved = run_kernel(update.adam_update, [w, g, w, w, lr, step], attrs)[0]
    np.testing.assert_allclose(moved, [-0.1, 0.1, -0.1], rtol=5e-3)


def test_vectors_of_other_lengths_are_refused():
    w, lr = np.zeros(3, np.float32), np.array(0.1, np.float32)
    with pytest.raises(ShapeError, match="one shape"):
        update.sgd_update(w, w[:2], lr)
    with pytest.raises(ShapeError, match="must be scalars"):
        update.sgd_update(w, w, w)
