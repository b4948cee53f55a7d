"""The one interpreter of graphs in numpy: every op's reference, node by node.

In: tensors of a Graph, and arrays for its inputs. Out: arrays. Feeds run on it, gradients of loops
fold constants with it, and tests hold the engine against it. Knows no Program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import ProgramError
from zoo_keras.graph import CONSTANT, INPUT, PARAMETER, Graph, Node, Tensor, topological

Values = dict[int, tuple[np.ndarray, ...]]


class Rows(NamedTuple):
    """Stands in an attribute for so many times the number of rows."""

    factor: int


def run(graph: Graph, arrays: Sequence[np.ndarray], rows: int = 0) -> list[np.ndarray]:
    """The outputs of a graph for the values of its inputs."""
    values: Values = {id(t.node): (a,) for t, a in zip(graph.inputs, arrays, strict=True)}
    return evaluate(graph.outputs, values, rows)


def evaluate(outputs: Iterable[Tensor], values: Values, rows: int = 0) -> list[np.ndarray]:
    """The values of the outputs.

    Args:
        values: what is known of nodes, by id: the inputs. All that is computed is added.
        rows: fills `Rows` in attributes.
    """
    outputs = list(outputs)
    for node in topological(t.node for t in outputs):
        if id(node) not in values:
            values[id(node)] = _computed(node, values, rows)
    return [values[id(t.node)][t.index] for t in outputs]


def _computed(node: Node, values: Values, rows: int) -> tuple[np.ndarray, ...]:
    if node.op is CONSTANT:
        return (node.attrs["value"],)
    if node.op is PARAMETER:
        return (np.array(node.attrs["variable"]),)
    if node.op is INPUT:
        raise ProgramError(
            f"No value for the input {node.attrs['name']!r} of a graph. Received: values for "
            "others. Give one for each input."
        )
    ins = [values[id(t.node)][t.index] for t in node.inputs]
    made: tuple[np.ndarray, ...] = node.op.compute(ins, filled(node.attrs, rows), node.specs)
    return made


def filled(attrs: Any, rows: int) -> Any:
    """Attributes with numbers in place of `Rows`."""
    return replaced(attrs, lambda v: v.factor * rows if isinstance(v, Rows) else v)


def replaced(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Nested attributes with leaf(v) in place of every leaf v; dicts keep their order."""
    if isinstance(value, dict):
        return {k: replaced(v, leaf) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and not isinstance(value, Rows):
        return type(value)(replaced(v, leaf) for v in value)
    return leaf(value)
