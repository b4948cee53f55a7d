"""Numbers rounded to bfloat16 wait in two bytes: what forward makes and backward reads.

In: the Graph of a training step. Out: an equal Graph in which a rounded tensor that is read much
later is stored by to_bfloat16 and read through from_bfloat16. No value changes. `passes.chains`
puts the storing beside the rounding, and the reading beside its reader.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence

from zoo_keras import native
from zoo_keras.graph import Graph, Node, Tensor
from zoo_keras.passes.rewrite import rewrite, with_inputs
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.rounding import is_rounded, round_bfloat16

NEAR = 12  # nodes; a tensor read within as many is alive anyway
SMALL = 1 << 14  # elements; less is not worth two instructions


def sink_rounding(graph: Graph) -> Graph:
    """round then relu -> relu then round, and no rounding of a term of a sum that is rounded
    itself, so that normalization, sum and relu stand side by side. Of two terms that are normalized
    one is not taken into the sum's instruction; it stays rounded, and is stored so."""
    readers = graph.readers()

    def lone(t: Tensor) -> bool:
        return t.node.op.name == "round_bfloat16" and len(readers[t]) == 1

    def normalized(t: Tensor) -> bool:
        return lone(t) and t.node.inputs[0].node.op.name == "batch_norm"

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if node.op.name in ("relu", "relu6") and lone(node.inputs[0]):
            return [round_bfloat16(node.op(inputs[0].node.inputs[0]))]
        if node.op.name == "add" and _only_rounded(readers[node.outputs[0]]):
            free = [lone(t) for t in node.inputs]
            free[1] &= not all(map(normalized, node.inputs))
            bare = [
                t.node.inputs[0] if may and t.node.op.name == "round_bfloat16" else t
                for may, t in zip(free, inputs, strict=True)
            ]
            return with_inputs(node, tuple(bare)).outputs
        return None

    return rewrite(graph, rule)


def _only_rounded(readers: Sequence[Node | None]) -> bool:
    return all(r is not None and r.op.name == "round_bfloat16" for r in readers)


def narrow_storage(graph: Graph) -> Graph:
    """Store rounded tensors narrow for those readers that are far, where there is AMX. Elsewhere
    nothing gains what storing costs, and float32 waits; the numbers are the same."""
    far = _far_readers(graph)
    if not any(far.values()):
        return graph
    if not native.has_tiles():
        _say_once()
        return graph
    made: dict[Tensor, Tensor] = {}
    stored: dict[int, Tensor] = {}
    for node in graph.nodes():
        inputs = [
            registry["from_bfloat16"](stored[id(t.node)])
            if id(node) in far.get(id(t.node), ())
            else made[t]
            for t in node.inputs
        ]
        outputs = with_inputs(node, tuple(inputs)).outputs
        made.update(zip(node.outputs, outputs, strict=True))
        if far.get(id(node)):
            stored[id(node)] = registry["to_bfloat16"](outputs[0])
    feeds = [made.get(t, t) for t in graph.inputs]
    return Graph(feeds, [made[t] for t in graph.outputs])


@functools.cache
def _say_once() -> None:
    warnings.warn(
        "mixed_bfloat16: this process rounds to bfloat16 and stores float32, which takes less time "
        f"where there is no AMX (instruction set {native.instruction_set()}, AMX "
        f"{native.amx_state()}).",
        stacklevel=2,
    )


def _far_readers(graph: Graph) -> dict[int, set[int]]:
    """For each large rounded tensor, by the id of its node, the ids of the nodes that read it
    late."""
    position = {id(n): i for i, n in enumerate(graph.nodes())}
    readers = graph.readers()

    def late(node: Node) -> set[int]:
        end = position[id(node)] + NEAR
        return {id(r) for r in readers[node.outputs[0]] if r is not None and position[id(r)] > end}

    return {
        id(node): late(node)
        for node in graph.nodes()
        if len(node.specs) == 1 and node.outputs[0].size >= SMALL and is_rounded(node.outputs[0])
    }
