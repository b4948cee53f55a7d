"""Whether a batch may be computed a few rows at a time, and how many pay.

In: the traced graph of a prediction, not optimised yet. Out: a number of rows. Small parts of a
batch keep what lies between two layers in the cache (measured: MobileNetV2, 16 images at once are
1.17 times slower than 2 at a time). It changes no graph and knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import native
from zoo_keras.dtypes import storage
from zoo_keras.graph import CONSTANT, INPUT, PARAMETER, Graph, Leaf, Node, Tensor
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.recurrent import MATRICES
from zoo_keras.primitives.row_rules import same_rows
from zoo_keras.primitives.tile_choice import inference_dtype

CACHE_BYTES = 12 << 20  # what should hold the arrays of one layer; threads share a larger cache
REREADING = 4  # a byte of weights read again costs as much as so many bytes between layers


def rows_apart(graph: Graph) -> bool:
    """Whether every output row depends on the input rows of the same number only.

    An op is taken to mix rows unless its declaration has a rule.
    """
    rows = {t.shape[:1] for t in graph.inputs}
    if len(rows) != 1 or rows in ({()}, {(0,)}):
        return False
    ((count,),) = rows
    entries = dict.fromkeys(graph.inputs, 1)  # of the first axis, for each row; 0: no rows
    for node in graph.nodes():
        if node.op is INPUT:
            continue
        ins = [entries[t] for t in node.inputs]
        if any(ins) and not _keeps_rows(node, ins):
            return False
        entries.update((t, t.shape[0] // count if any(ins) else 0) for t in node.outputs)
    return all(entries[t] and t.shape[0] == count for t in graph.outputs)


def _keeps_rows(node: Node, entries: Sequence[int]) -> bool:
    if node.op.random or node.op.rows is None or not all(s.shape for s in node.specs):
        return False
    return node.op.rows(node, entries)


def rows_at_once(graph: Graph, rows: int) -> int:
    """How many of the rows should be computed at once; `rows` itself when all should."""
    if rows < 2 or not rows_apart(graph):
        return rows
    work = [n for n in graph.nodes() if not isinstance(n.op, Leaf)]
    largest = max(map(_touched, work), default=0)
    each = max(1, CACHE_BYTES * rows // max(largest, 1))
    if each >= rows:
        return rows
    weights = sum(_bytes(n.outputs[0]) for n in graph.nodes() if n.op is PARAMETER)
    weights += sum(map(_read_by_steps, work))
    again = (math.ceil(rows / each) - 1) * weights * REREADING
    between = sum(_touched(n) for n in work if not n.op.elementwise)
    return each if again < between else rows


def _read_by_steps(node: Node) -> int:
    """Bytes that a recurrent layer reads of its matrix, once in every step; of an int8 one as if it
    were float32, for its steps gain less from the cache than rows that parts do twice cost."""
    at = MATRICES.get(node.op.name.removesuffix("_int8"))
    if at is None:
        return 0
    matrix = node.inputs[at]
    return node.inputs[0].shape[1] * (4 * matrix.size if matrix.dtype == "int8" else _bytes(matrix))


def _touched(node: Node) -> int:
    if node.op is registry["reshape"]:
        return 0
    return sum(map(_bytes, (*node.outputs, *node.inputs)))


def _bytes(tensor: Tensor) -> int:
    """Float32 that products round waits in two bytes, packed weights too."""
    narrow = tensor.dtype == "float32" and inference_dtype() == "bfloat16" and native.has_tiles()
    return tensor.size * (2 if narrow else np.dtype(storage(tensor.dtype)).itemsize)


def alike(one: Graph, other: Graph) -> bool:
    """Whether two graphs do the same to each row, traced with different numbers of rows."""
    pairs = list(zip(one.nodes(), other.nodes(), strict=False))
    same = len(one.nodes()) == len(other.nodes())
    return same and all(a.op is b.op and _same_attributes(a, b) for a, b in pairs)


def _same_attributes(a: Node, b: Node) -> bool:
    if a.op is CONSTANT:
        return _same_constant(a.outputs[0], b.outputs[0])
    if a.op is PARAMETER:
        return a.attrs["variable"] is b.attrs["variable"]
    return all(_same_value(a.op, key, a.attrs[key], b.attrs[key]) for key in a.attrs)


def _same_constant(a: Tensor, b: Tensor) -> bool:
    """One value, or the same row again and again."""
    x, y = a.node.attrs["value"], b.node.attrs["value"]
    if a.shape != b.shape and same_rows(a) and same_rows(b):
        x, y = x[:1], y[:1]
    return np.array_equal(x, y, equal_nan=True)


def _same_value(op: Any, key: str, a: Any, b: Any) -> bool:
    """Attributes that count rows may differ in those."""
    return bool(np.array_equal(a[1:], b[1:]) if key in op.counts_rows else np.all(a == b))
