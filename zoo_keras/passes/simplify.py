"""Constant folding, common subexpressions, and algebra that never changes a result.

In: a Graph. Out: an equal Graph with fewer nodes. Dead nodes fall away by themselves, since a
graph is what its outputs need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo_keras.graph import CONSTANT, INPUT, PARAMETER, Graph, Node, Tensor, constant
from zoo_keras.passes.rewrite import rewrite, with_inputs
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.rounding import is_rounded

FOLD_LIMIT = 1 << 16  # elements; a larger constant would only swell the program
Outputs = Sequence[Tensor] | None


def simplify(graph: Graph) -> Graph:
    """Fold, tidy and merge until nothing changes (two rounds at most pay)."""
    for _ in range(2):
        before = graph
        graph = rewrite(rewrite(graph, _tidy), _merger())
        if graph is before:
            break
    return graph


def _tidy(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    if folded := _fold(node, inputs):
        return folded
    rule = _neutral if node.op.neutral is not None else _RULES.get(node.op.name)
    return rule(node, inputs) if rule else None


def _fold(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    if not inputs or node.op.random or any(t.node.op is not CONSTANT for t in inputs):
        return None
    if sum(math.prod(s.shape) for s in node.specs) > FOLD_LIMIT:
        return None
    arrays = [t.node.attrs["value"] for t in inputs]
    return [constant(a) for a in node.op.compute(arrays, node.attrs, node.specs)]


def _all_equal_to(tensor: Tensor, number: float) -> bool:
    if tensor.node.op is not CONSTANT:
        return False
    return bool(np.all(tensor.node.attrs["value"] == number))


def _neutral(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    """x op neutral == x, when x has the result's shape and dtype already."""
    for kept, other in ((0, 1), (1, 0)) if node.op.commutes else ((0, 1),):
        if _all_equal_to(inputs[other], node.op.neutral) and inputs[kept].spec == node.specs[0]:
            return [inputs[kept]]
    return None


def _same_spec(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    return [inputs[0]] if inputs[0].spec == node.specs[0] else None


def _reshape(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    if inputs[0].spec == node.specs[0]:
        return [inputs[0]]
    before = inputs[0].node
    if before.op.name == "reshape":
        return [registry["reshape"](before.inputs[0], shape=node.specs[0].shape)]
    return None


def _identity(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    return [inputs[0]]


def _values_alone(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    return list(inputs[: len(node.specs)])


def cancelled_transpose(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    """What becomes of a transpose that moves nothing, only axes of length 1, or moves back."""
    x, perm = inputs[0], tuple(node.attrs["perm"])
    if x.node.op.name == "transpose":
        x, inner = x.node.inputs[0], x.node.attrs["perm"]
        perm = tuple(inner[p] for p in perm)
    if perm == tuple(range(len(perm))):
        return [x]
    long = [p for p in perm if x.shape[p] != 1]
    if long == sorted(long):
        return [registry["reshape"](x, shape=node.specs[0].shape)]
    return None if x is inputs[0] else [registry["transpose"](x, perm=perm)]


def _rounded_twice(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    return [inputs[0]] if is_rounded(inputs[0]) else None


def _sum_of_norm_gradient(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
    """Each channel of what goes back through batch_norm sums up to 0: the bias of a convolution
    before it has no gradient, only rounding errors."""
    x = inputs[0]
    rows = set(range(x.ndim - 1))
    if x.node.op.name != "batch_norm_grad" or x.index or not rows <= set(node.attrs["axes"]):
        return None
    return [constant(np.zeros(node.specs[0].shape, np.float32), node.specs[0].dtype)]


_RULES: dict[str, Callable[[Node, tuple[Tensor, ...]], Outputs]] = {
    "reshape": _reshape,
    "transpose": cancelled_transpose,
    "broadcast_to": _same_spec,
    "reduce_sum": _sum_of_norm_gradient,
    "cast": _same_spec,
    "round_bfloat16": _rounded_twice,
    "stop_gradient": _identity,
    "own_gradient": _values_alone,
}


def _merger() -> Callable[[Node, tuple[Tensor, ...]], Outputs]:
    """A rule that gives equal calls the same node."""
    seen: dict[Any, Sequence[Tensor]] = {}

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Outputs:
        key = _key(node, inputs)
        if key is None:
            return None
        if key not in seen:
            seen[key] = with_inputs(node, inputs).outputs
        return seen[key]

    return rule


def _key(node: Node, inputs: tuple[Tensor, ...]) -> Any:
    if node.op in (INPUT, PARAMETER) or getattr(node.op, "random", False):
        return None
    if node.op is CONSTANT:
        value = node.attrs["value"]
        return None if value.size > 64 else (value.shape, value.dtype.name, value.tobytes())
    attrs = tuple((k, _text(v)) for k, v in sorted(node.attrs.items()))
    return node.op, tuple((id(t.node), t.index) for t in inputs), attrs


def _text(value: Any) -> Any:
    """Equal for equal attributes only; numpy's repr leaves out the middle of long arrays."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.name, value.tobytes()
    return tuple(map(_text, value)) if isinstance(value, (list, tuple)) else repr(value)
