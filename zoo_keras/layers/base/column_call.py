"""A layer called on text, or on arrays over which it works as columns: traced and run at every
call, since what columns come to is known only with their values.

In: a layer and arrays of numbers or text. Out: arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import interpret
from zoo_keras.engine.eager import Eager
from zoo_keras.feed.columns import narrowed
from zoo_keras.graph import Graph, Node, Tensor, Trace, input_tensor, tracing
from zoo_keras.nest import flatten, map_structure, pack_as
from zoo_keras.primitives.fed import is_plain, standing_in
from zoo_keras.primitives.op import as_tensors
from zoo_keras.values import answering


def call_on_columns(layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """layer(*args, **kwargs); what comes after the ops on columns runs in a program."""
    given = _Given()
    with tracing() as trace, standing_in(given.computed):
        trace.once = True
        args, kwargs = map_structure(given.symbolic, args), map_structure(given.symbolic, kwargs)
        structure = layer._call_traced(*args, **kwargs)
        results = as_tensors(flatten(structure))
    return pack_as(structure, map(answering, given.results(trace, results)))


class _Given:
    """The arrays of a call, and what ops on columns make of them while it is traced."""

    def __init__(self) -> None:
        self.feeds: dict[Tensor, np.ndarray] = {}
        self._values: interpret.Values = {}
        self._whole: dict[int, np.ndarray] = {}  # what a column op gave, before it was narrowed

    def symbolic(self, leaf: Any) -> Any:
        """The tensor that stands for an array; other leaves as they are."""
        if not isinstance(leaf, (np.ndarray, np.generic)):
            return leaf
        array = np.asarray(leaf)
        if array.dtype.kind in "OUS":
            array = array.astype(object)
            tensor = input_tensor(f"text{len(self._values)}", array.shape, "string")
            self._values[id(tensor.node)] = (array,)
            return tensor
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        return self._fed(np.ascontiguousarray(array))

    def _fed(self, array: np.ndarray) -> Tensor:
        tensor = input_tensor(f"in{len(self.feeds)}", array.shape, array.dtype.name)
        self.feeds[tensor] = array
        self._values[id(tensor.node)] = (array,)
        return tensor

    def computed(self, node: Node) -> Sequence[Tensor]:
        """The outputs of a node over columns, computed at once."""
        arrays = interpret.evaluate(node.outputs, self._values)
        if not all(is_plain(t.spec) for t in node.outputs):
            return node.outputs
        found = [self._fed(np.ascontiguousarray(narrowed(a))) for a in arrays]
        self._whole.update((id(t.node), a) for t, a in zip(found, arrays, strict=True))
        return found

    def results(self, trace: Trace, results: Sequence[Tensor]) -> list[np.ndarray]:
        """The values of the results; a Program computes those that are not known yet."""
        known = {}
        for i, t in enumerate(results):
            if id(t.node) in self._whole:
                known[i] = self._whole[id(t.node)]
            elif not is_plain(t.spec):
                known[i] = interpret.evaluate([t], self._values)[0]
        left = [t for i, t in enumerate(results) if i not in known]
        made = iter(self._run(trace, left) if left or trace.updates else [])
        return [known[i] if i in known else next(made) for i in range(len(results))]

    def _run(self, trace: Trace, results: Sequence[Tensor]) -> list[np.ndarray]:
        if trace.rng is not None:
            self.feeds[trace.rng] = np.zeros(2, np.int64)
        updates = list(trace.updates.values())
        variables = [variable for variable, _ in trace.parameters.values()]
        graph = Graph(self.feeds, [*results, *[new for _, new in updates]])
        run = Eager(graph, list(self.feeds), variables)
        made = run([*self.feeds.values(), *[v.present() for v in variables]])
        for (variable, _), new in zip(updates, made[len(results) :], strict=True):
            variable.assign(new)
        return list(made[: len(results)])
