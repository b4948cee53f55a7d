"""A frozen product of rows of a frozen table becomes rows of a table of products.

In: a Graph for inference. Out: an equal Graph where the first product after an embedding runs once
in the prologue, over the table, and no more in every run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from zoo_keras.graph import Graph, Node, Tensor, constant, scope
from zoo_keras.passes.fuse import frozen_nodes
from zoo_keras.passes.rewrite import rewrite
from zoo_keras.primitives.op import registry

# The table may have so many times the rows of a run, and its products so many bytes.
MOST_ROWS, MOST_BYTES = 2, 64 << 20
_PRODUCTS, _LOOKUPS = ("dense", "dense_int8"), ("gather", "gather_int8")


def project_tables(graph: Graph) -> Graph:
    """dense(gather(table, ids), w, b) -> gather(dense(table, w, b), ids), where it soon pays. The
    table, and w, may be of int8, with a scale for each row or column."""
    frozen = frozen_nodes(graph)

    def rule(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if node.op.name not in _PRODUCTS or node.inputs[0].node.op.name not in _LOOKUPS:
            return None
        *table, _ = node.inputs[0].node.inputs
        known = (*table, *node.inputs[1:])
        if any(id(t.node) not in frozen for t in known) or not _pays(node, table[0]):
            return None
        gathered = inputs[0].node
        with scope(node.scope):
            products = node.op(_numbers(gathered), *inputs[1:], **node.attrs)
        with scope(gathered.scope):  # whose error it is when an id is out of range
            return [registry["gather"](products, gathered.inputs[-1])]

    return rewrite(graph, rule)


def _numbers(gathered: Node) -> Tensor:
    """The whole table in float32."""
    table, *scale, _ = gathered.inputs
    if not scale:
        return table
    every = constant(np.arange(table.shape[0], dtype=np.int32))
    numbers: Tensor = registry["gather_int8"](table, *scale, every)
    return numbers


def _pays(node: Node, table: Tensor) -> bool:
    if table.ndim != 2 or table.dtype not in ("float32", "int8"):
        return False
    rows, width = table.shape[0], node.specs[0].shape[-1]
    used = math.prod(node.specs[0].shape[:-1])
    return rows <= MOST_ROWS * used and 4 * rows * width <= MOST_BYTES
