"""Where columns end: what a feed has computed stands in for the nodes that would make it.

In: nodes over text, over rows of different sizes, or of ops on columns. Out: their outputs, or what
the block around the trace puts in their place. Knows no op and no feed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from zoo_keras import dtypes
from zoo_keras.errors import ShapeError
from zoo_keras.graph import Node, Spec, Tensor

OPEN = -1  # the size of an axis that differs from row to row

StandIn = Callable[[Node], Sequence[Tensor]]


class _Local(threading.local):
    def __init__(self) -> None:
        self.stand_ins: list[StandIn] = []


_local = _Local()


def is_plain(spec: Spec) -> bool:
    """Whether a Program can hold such a tensor: numbers, with one shape for all rows."""
    return spec.dtype not in dtypes.TEXT and OPEN not in spec.shape


@contextmanager
def standing_in(stand_in: StandIn) -> Iterator[None]:
    """In this block stand_in(node) gives the outputs of every node over columns."""
    _local.stand_ins.append(stand_in)
    try:
        yield
    finally:
        _local.stand_ins.pop()


def fed(node: Node) -> Sequence[Tensor]:
    """The outputs of a node over columns, as the block around wants them."""
    if not node.op.on_columns and any(OPEN in t.shape for t in node.inputs):
        raise ShapeError(
            f"{node.op.name}: the rows have different sizes here. Received: shapes "
            f"{[t.shape for t in node.inputs]} ({OPEN}: differs). Bring them to one size first: "
            "output_sequence_length= of TextVectorization, or Resizing for images."
        )
    return _local.stand_ins[-1](node) if _local.stand_ins else node.outputs
