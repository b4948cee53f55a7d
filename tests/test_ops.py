"""Every op of the registry on its samples: the shape rule is numpy's, C computes what the numpy
reference says, and the gradient is the slope of the reference.

Gradients are checked in float64 by random projection (kernel_check.check_gradient).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from kernel_check import (
    SETS,
    check_gradient,
    instruction_set,
    reference,
    run_kernel,
    specs_of,
    wide,
)

from zoo_keras.graph import Node, Tensor, input_tensor
from zoo_keras.primitives.chain import chain_of, chainable
from zoo_keras.primitives.op import Op, Sample, registry

CASES = [(op, i) for op in registry.values() for i in range(len(op.samples))]
NO_SAMPLES = {"chain", "scan", "take_along_axis_grad"}  # test_chain.py, test_loop.py; a gradient


def name_of(value: Any) -> str:
    return value.name if isinstance(value, Op) else str(value)


def arrays_of(sample: Sample) -> list[np.ndarray]:
    return sample.inputs(np.random.default_rng(1))


def test_every_op_has_samples():
    assert {op.name for op in registry.values() if not op.samples} <= NO_SAMPLES


@pytest.mark.parametrize("op, i", CASES, ids=name_of)
def test_shape_rule_is_numpys(op, i):
    arrays, attrs = arrays_of(op.samples[i]), op.samples[i].attrs
    with np.errstate(all="ignore"):
        results = op.reference(*arrays, **attrs)
    results = results if isinstance(results, tuple) else (results,)
    assert [np.shape(r) for r in results] == [s.shape for s in op.infer(*specs_of(arrays), **attrs)]


def as_chain(op: Op, arrays: Sequence[np.ndarray], attrs: dict[str, Any]) -> Node | None:
    """The op as a chain of one over these arrays, when C has it and needs no other op first."""
    tensors = [input_tensor(str(i), a.shape, a.dtype.name) for i, a in enumerate(arrays)]
    result: Tensor = op(*tensors, **attrs)
    if not chainable(result.node) or result.node.inputs != tuple(tensors):
        return None
    return chain_of([result.node], [result])[0].node


def in_c(op: Op, arrays: Sequence[np.ndarray], attrs: dict[str, Any], threads: int) -> list[Any]:
    """The op's outputs as C computes them, or none if it has no C form for these dtypes."""
    if op.kernel and op.fits(*specs_of(arrays)):
        return run_kernel(op, arrays, attrs, threads)
    node = as_chain(op, arrays, attrs) if op.tile else None
    return run_kernel(node.op, arrays, node.attrs, threads) if node else []


@pytest.mark.parametrize("op, i", [c for c in CASES if c[0].kernel or c[0].tile], ids=name_of)
def test_c_computes_the_reference(op, i):
    arrays, attrs = arrays_of(op.samples[i]), op.samples[i].attrs
    wanted = reference(op, wide(arrays), attrs)
    for name in SETS:
        with instruction_set(name):
            one, two, three = (in_c(op, arrays, attrs, threads) for threads in (1, 2, 3))
        for a, b, c, want in zip(one, two, three, wanted):
            size = np.max(np.abs(want), initial=1, where=np.isfinite(want))
            np.testing.assert_allclose(a, want, 1e-5, 2e-6 * size, err_msg=f"{name} {attrs}")
            assert a.tobytes() == b.tobytes() == c.tobytes(), f"{name}: threads change the result"


def test_c_is_used_by_every_op_that_has_it():
    unused = [
        op.name
        for op in registry.values()
        if (op.kernel or op.tile) and op.samples
        and not any(in_c(op, arrays_of(s), s.attrs, 1) for s in op.samples)
    ]  # fmt: skip
    assert not unused


# Gradients that are no slopes: of the number before rounding; and, compared with Keras' in
# test_golden_ops.py, those of symmetric matrices, of tall ones and of singular values alone.
NO_SLOPES = ("round_bfloat16", "cholesky", "qr", "svd")
SLOPES = [c for c in CASES if c[0].grad and c[0].name not in NO_SLOPES]


@pytest.mark.parametrize("op, i", SLOPES, ids=name_of)
def test_gradient_is_the_slope(op, i):
    check_gradient(op, arrays_of(op.samples[i]), op.samples[i].attrs)
