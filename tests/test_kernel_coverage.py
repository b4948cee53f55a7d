"""Every kernel of the C tables on random sizes (kernel_draws.py), in every instruction set of this
machine and with one, two and three threads, against the float64 numpy reference. Gradients by
random projection.

A kernel, an op with a kernel, or a tile function of which nothing is drawn fails a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import place_draws  # noqa: F401 - its draws join DRAWN
import pytest
from kernel_check import check_gradient, check_kernel, check_results, reference, run_kernel, wide
from kernel_draws import DRAWN, EXACT, KINDS, Draw, normed
from recurrent_draws import RECURRENT
from test_chain import rows_of, traced
from test_exchange import bf16_bits
from test_ops import NO_SLOPES, as_chain

from zoo_keras import native
from zoo_keras.graph import Node
from zoo_keras.primitives.op import Op, same
from zoo_keras.primitives.op import registry as R

SMALL = ("one", "odd", "odder")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DRAWN)
def test_kernel_equals_the_float64_reference(name: str, kind: str) -> None:
    cases = list(DRAWN[name](name, Draw(name, kind)))
    assert cases
    for arrays, attrs in cases:
        terms = max([a.size for a in arrays])
        close = 0.0 if name in EXACT else 2e-5
        check_kernel(R[name], arrays, attrs, close, close and 2e-6 * max(np.sqrt(terms), 10))


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("name", [n for n in DRAWN if n in R and R[n].grad])
def test_gradient_is_the_slope_on_random_sizes(name: str, kind: str) -> None:
    for arrays, attrs in DRAWN[name](name, Draw(name, kind)):
        states_only = {"kept": RECURRENT[name][2]} if name in RECURRENT else {}
        check_gradient(R[name], arrays, {**attrs, **states_only})


def relu_slopes(g: Any, y: Any, x: Any, gamma: Any, beta: Any, *more: Any, **how: Any) -> Any:
    """The gradient rule that batch_norm_relu has after fusing."""
    y, *moments = R["batch_norm_relu"](x, gamma, beta, *more, **how)
    attrs = {**how, "residual": bool(more)}
    return R["batch_norm_relu_grad"](g, y, x, gamma, *moments, **attrs)


def test_gradient_of_fused_norm_and_relu_is_the_slope() -> None:
    fused = R["batch_norm_relu"]
    op = Op(lambda *a, **k: fused.reference(*a, **k)[0], name="fused", shape=same, grad=relu_slopes)
    for kind in SMALL:
        for arrays, attrs in normed("batch_norm_relu", Draw("fused", kind)):
            check_gradient(op, arrays, attrs)


# ---- elementwise ops and slices ------------------------------------------------------------------


def elementwise_cases(op: Op, kind: str) -> Iterator[tuple[list[np.ndarray], dict[str, Any], Node]]:
    """Arrays of the samples' dtypes and ranges in random broadcast shapes, for which C has a chain
    of this op alone."""
    d = Draw(op.name, kind)
    for sample in op.samples:
        full = d.shape(most=3, elements=20_001)
        parts = [full, (), full[-1:], (*full[:1], *[1] * (len(full) - 1))]
        count = len(sample.inputs(d.rng))
        shapes = [full if i == count - 1 else d.pick(parts) for i in range(count)]
        arrays = replace(sample, shapes=shapes).inputs(d.rng)
        node = as_chain(op, arrays, sample.attrs)
        if node:
            yield arrays, sample.attrs, node


TILED = [op for op in R.values() if op.tile]
SLOPED = [op for op in R.values() if op.grad and op.name not in NO_SLOPES]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", TILED, ids=lambda op: op.name)
def test_elementwise_op_equals_the_float64_reference(op: Op, kind: str) -> None:
    for arrays, attrs, node in elementwise_cases(op, kind):
        wanted = reference(op, wide(arrays), attrs)
        size = max(np.max(np.abs(w), initial=1, where=np.isfinite(w)) for w in wanted)
        run = partial(run_kernel, node.op, arrays, node.attrs)
        check_results(run, wanted, 1e-5, 2e-6 * size, f"{op.name} {attrs}")


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("op", [op for op in SLOPED if op.tile], ids=lambda op: op.name)
def test_elementwise_gradient_is_the_slope(op: Op, kind: str) -> None:
    for arrays, attrs, _ in elementwise_cases(op, kind):
        check_gradient(op, arrays, attrs)


FUSED = {
    "multiply_add": lambda x, y: R["add"](R["multiply"](x, y), y),
    "add_relu": lambda x, y: R["relu"](R["add"](x, y)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tile", FUSED)
def test_two_ops_in_one_tile_equal_the_float64_reference(tile: str, kind: str) -> None:
    d = Draw(tile, kind)
    x = d.floats(*d.shape(elements=20_001))
    node, inputs = traced([x, d.floats(*x.shape[-1:])], FUSED[tile])
    assert rows_of(node) == [tile]
    check_kernel(node.op, inputs, node.attrs, 1e-6, 1e-6)


def bits_of_half(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float16).view(np.uint16)


def half(bits: np.ndarray) -> np.ndarray:
    return bits.view(np.float16).astype(np.float64)


def bfloat(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


SLICES: dict[str, tuple[Any, ...]] = {  # the source's bits, the result's dtype and value
    "slice_add": (None, "f4", lambda to, x: to + x),
    "slice_scale": (None, "f4", lambda to, x: 0.3 * x),
    "slice_axpy": (None, "f4", lambda to, x: to + 0.3 * x),
    "slice_to_bf16": (None, "u2", lambda to, x: bf16_bits(x.astype(np.float32))),
    "slice_from_bf16": (bf16_bits, "f4", lambda to, bits: bfloat(bits)),
    "slice_add_bf16": (bf16_bits, "f4", lambda to, bits: to + bfloat(bits)),
    "slice_to_f16": (None, "u2", lambda to, x: bits_of_half(x.astype(np.float32))),
    "slice_from_f16": (bits_of_half, "f4", lambda to, bits: half(bits)),
    "slice_add_f16": (bits_of_half, "f4", lambda to, bits: to + half(bits)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SLICES)
def test_slice_equals_the_float64_reference(name: str, kind: str) -> None:
    d, (encode, dtype, exact) = Draw(name, kind), SLICES[name]
    x = d.floats(d.batch(200_001, 65))
    start, source = d.floats(x.size, low=0).astype(dtype), encode(x) if encode else x

    def run(threads: int) -> list[np.ndarray]:
        made = start.copy()
        with native.using_threads(threads):
            native.slice_op(name, made, source, 0.3)
        return [made]

    close = 0 if dtype == "u2" else 2e-7
    check_results(run, [exact(*wide([start, source]))], close, close, name)


# ---- nothing is left out -------------------------------------------------------------------------


def test_something_is_drawn_for_every_kernel_of_the_c_tables() -> None:
    apart = {"chain", *SLICES}  # made of tile functions; the exchange calls these without an op
    assert {R[name].kernel for name in DRAWN} | apart == set(native.KERNELS)
    assert set(DRAWN) == {op.name for op in R.values() if op.kernel} - {"chain"}


def test_something_is_drawn_for_every_tile_function() -> None:
    found = set(FUSED)
    for op in TILED:
        found.update(tile for _, _, node in elementwise_cases(op, "odd") for tile in rows_of(node))
    assert found == set(native.TILES)


# Its rows are those of gather_grad, see test_index_ops.py; the one fused with relu, above;
# conv_grad_kernel of rounded numbers, see test_tile_convolutions.py; max_pool_grad of bits.
OTHERWISE = {"gather_grad_rows", "batch_norm_relu_grad", "conv_grad_kernel_bf16"}
OTHERWISE |= {"max_pool_grad_bf16"}


def test_every_gradient_op_is_part_of_a_gradient_that_is_compared_with_a_slope(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called, compute = set(), Op._compute

    def noted(self: Op, *inputs: Any) -> Any:
        called.add(self.name)
        return compute(self, *inputs)

    monkeypatch.setattr(Op, "_compute", noted)
    for op in SLOPED:
        for sample in op.samples:
            check_gradient(op, sample.inputs(np.random.default_rng(1)), sample.attrs)
    assert {name for name in R if "_grad_" in f"{name}_"} - called == OTHERWISE
