"""What an op does to the rows of a batch: the answers that a declaration gives as `rows=`.

In: a node, and for each of its inputs how many entries of its first axis belong to one row of the
batch: 1, more when a reshape has joined the rows with another axis, or 0 when the input has no rows
(a weight). Out: whether each row of the outputs depends on the rows of the same number only. Knows
no op by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from zoo_keras.graph import CONSTANT, Node, Tensor

RowRule = Callable[[Node, Sequence[int]], bool]


def by_element(node: Node, by_row: Sequence[int]) -> bool:
    """Rows meet rows, and what has no rows is the same for all of them."""
    ndim = len(node.specs[0].shape)
    for tensor, rows in zip(node.inputs, by_row, strict=True):
        if rows and tensor.ndim != ndim:
            return False
        if not rows and tensor.ndim == ndim and tensor.shape[0] != 1:
            return False
    return True


def rows_in(*which: bool | int, rest: bool = False) -> RowRule:
    """The inputs that have rows, in their order; `rest` speaks of all that follow."""

    def rule(node: Node, by_row: Sequence[int]) -> bool:
        wanted = [*which, *[rest] * (len(by_row) - len(which))]
        return all(
            bool(has) or same_rows(tensor) if want else not has
            for tensor, has, want in zip(node.inputs, by_row, wanted, strict=False)
        )

    return rule


first_input = rows_in(1)


def same_rows(tensor: Tensor) -> bool:
    """Whether a tensor is a constant that holds the same row again and again, such as zeros."""
    if tensor.node.op is not CONSTANT or not tensor.ndim or not tensor.size:
        return False
    value = tensor.node.attrs["value"]
    return bool(np.all(value == value[:1]))


def last_axis_of_first(node: Node, by_row: Sequence[int]) -> bool:
    """The first input's last axis is worked on, and is not that of the rows."""
    return first_input(node, by_row) and node.inputs[0].ndim > 1


def other_axes(node: Node, by_row: Sequence[int]) -> bool:
    """The attribute `axes` does not name the first axis."""
    return all(by_row) and all(axis % node.inputs[0].ndim for axis in node.attrs["axes"])


def other_axis(node: Node, by_row: Sequence[int]) -> bool:
    """All inputs have rows, and the attribute `axis` does not name their axis."""
    return all(by_row) and node.attrs["axis"] % node.inputs[0].ndim != 0


def in_row_order(node: Node, by_row: Sequence[int]) -> bool:
    """The elements keep their order, and the first axis still falls into one piece for each row."""
    shape, rows = node.specs[0].shape, node.inputs[0].shape[0] // by_row[0]
    return bool(shape) and shape[0] % rows == 0


def first_axis_stays(node: Node, by_row: Sequence[int]) -> bool:
    """The first axis is the same axis before and after."""
    before, after = node.inputs[0].shape, node.specs[0].shape
    return all(by_row) and len(before) == len(after) and before[0] == after[0]
