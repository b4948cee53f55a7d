"""Tensors of bfloat16 become float32 tensors whose numbers are rounded: no Program has others.

In: a Graph as it was traced. Out: one without bfloat16, its inputs in the same order. The bodies of
loops are rewritten too. All other passes run after this.
"""

from __future__ import annotations

from typing import Any

from zoo_keras.bfloat16 import BFLOAT16
from zoo_keras.graph import Graph, Leaf, Node, Spec, Tensor, constant
from zoo_keras.passes.rewrite import rewrite
from zoo_keras.primitives.op import stored_in_float32
from zoo_keras.primitives.rounding import round_bfloat16


def in_float32(graph: Graph) -> Graph:
    """The same numbers in a graph of float32; the graph itself when it has no bfloat16."""
    fed = [_leaf(t.node).outputs[0] if _is_bfloat16(t.spec) else t for t in graph.inputs]
    new = dict(zip(graph.inputs, fed, strict=True))

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> list[Tensor] | None:
        if node.outputs[0] in new:
            return [new[node.outputs[0]]]
        if not any(map(_is_bfloat16, [*node.specs, *(t.spec for t in node.inputs)])):
            return None
        return list(_leaf(node).outputs) if isinstance(node.op, Leaf) else _node(node, inputs)

    made = rewrite(graph, rule)
    return made if made is graph else Graph(fed, made.outputs)


def _is_bfloat16(spec: Spec) -> bool:
    return spec.dtype == BFLOAT16


def _leaf(node: Node) -> Node:
    if "value" in node.attrs:
        return constant(node.attrs["value"], "float32").node
    return Node(node.op, (), node.attrs, [_wide(s) for s in node.specs], node.scope)


def _node(node: Node, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    attrs = {k: _body(v) for k, v in stored_in_float32(node.attrs).items()}
    specs = node.op.infer(*[t.spec for t in inputs], **attrs)
    outputs = Node(node.op, inputs, attrs, specs, node.scope).outputs
    pairs = zip(outputs, node.specs, strict=True)
    return [round_bfloat16(t) if _is_bfloat16(s) else t for t, s in pairs]


def _body(value: Any) -> Any:
    return in_float32(value) if isinstance(value, Graph) else value


def _wide(spec: Spec) -> Spec:
    return Spec(spec.shape, "float32") if _is_bfloat16(spec) else spec
