"""The optimizer's step as a Program over a slice of the flat vectors.

In: an optimizer, the flat weight layout, and the slice [lo, hi) that this rank owns (locally: all
of it). Out: a Program over the spaces weights and grads (whole vectors), slot:<name> (the slice
only), lr, iterations and, for clipping by norm, norms. The optimizer is traced on one flat
Variable, which is the same as on each weight by itself because its update is elementwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import ops
from zoo_keras.errors import UnsupportedError
from zoo_keras.graph import Graph, Tensor, constant, input_tensor, tracing
from zoo_keras.ops.op import as_tensors
from zoo_keras.passes.pipeline import optimise
from zoo_keras.program import Place, Program, compile_graph
from zoo_keras.weights import Variable


class Slice(NamedTuple):
    """A rank's part [lo, hi) of the flat vectors, and where each weight begins and ends in them."""

    lo: int
    hi: int
    offsets: tuple[int, ...]

    @property
    def size(self) -> int:
        return self.hi - self.lo

    def segments(self) -> list[tuple[int, int, int]]:
        """(number of the weight, begin, end within the slice) of each weight that it touches."""
        found = []
        for i, (a, b) in enumerate(zip(self.offsets, self.offsets[1:], strict=False)):
            begin, end = max(a, self.lo), min(b, self.hi)
            if begin < end:
                found.append((i, begin - self.lo, end - self.lo))
        return found

    def number_of_each(self) -> np.ndarray:
        """For every element of the slice the number of the weight it belongs to (int32)."""
        numbers = np.zeros(self.size, np.int32)
        for i, begin, end in self.segments():
            numbers[begin:end] = i
        return numbers


def clips_by_norm(optimizer: Any) -> bool:
    """Whether the update needs the gradient's norms, which span ranks."""
    return bool(optimizer.clipnorm or optimizer.global_clipnorm)


def norm_program(part: Slice) -> Program:
    """Sums of squares of the gradient within the slice, one for each weight, into out0."""
    gradient = input_tensor("grads", (part.size,))
    sums: list[Any] = [constant(np.float32(0))] * (len(part.offsets) - 1)
    for i, begin, end in part.segments():
        piece = gradient[begin:end]
        sums[i] = ops.sum(piece * piece)
    graph = optimise(Graph([gradient], [as_tensors([ops.stack(sums)])[0]]))
    place = {gradient: Place("grads", 4 * part.lo)}
    return compile_graph(graph, place, [Place("out0")], _no_variable)


def _no_variable(variable: Any) -> Place:
    raise UnsupportedError(f'The optimizer reads the Variable "{variable.path}" of its own.')


def update_program(optimizer: Any, part: Slice, decayed: Sequence[bool]) -> Program:
    """One step of the optimizer on the slice.

    Args:
        decayed: for each weight, whether weight decay applies to it.
    """
    clone = type(optimizer).from_config(optimizer.get_config())
    flat = Variable(np.zeros(part.size, np.float32), name="weights")
    clone.build([flat])
    gradient = input_tensor("grads", (part.size,))
    norms = input_tensor("norms", (len(part.offsets) - 1,))
    with tracing() as trace:
        clipped = _clip(optimizer, gradient, norms, part)
        _decay(clone, flat, part, decayed)
        clone.update_step(clipped, flat, clone.current_learning_rate())
        if clone.use_ema:
            clone.update_model_variables_moving_average([flat])
        updates = [(v, t) for v, t in trace.updates.values() if v is not clone.iterations]
    places = _places(clone, flat, part)
    graph = optimise(Graph([gradient, norms], [t for _, t in updates]))
    feeds = {gradient: Place("grads", 4 * part.lo), norms: Place("norms")}
    return compile_graph(graph, feeds, [places[id(v)] for v, _ in updates], lambda v: places[id(v)])


def _places(clone: Any, flat: Variable, part: Slice) -> dict[int, Place]:
    places = {id(flat): Place("weights", 4 * part.lo), id(clone.iterations): Place("iterations")}
    for name, variables in clone.slots().items():
        places[id(variables[0])] = Place(f"slot:{name}")
    for variable in clone.variables:
        places.setdefault(id(variable), Place("lr"))
    return places


def _clip(optimizer: Any, gradient: Tensor, norms: Tensor, part: Slice) -> Any:
    """The gradient clipped as the optimizer says; norms are sums of squares over all ranks."""
    if optimizer.clipvalue:
        return ops.clip(gradient, -optimizer.clipvalue, optimizer.clipvalue)
    if optimizer.global_clipnorm:
        limit = optimizer.global_clipnorm
        return gradient * (limit / ops.maximum(ops.sqrt(ops.sum(norms)), limit))
    if optimizer.clipnorm:
        scale = optimizer.clipnorm / ops.maximum(ops.sqrt(norms), optimizer.clipnorm)
        return gradient * ops.take(scale, constant(part.number_of_each()))
    return gradient


def _decay(clone: Any, flat: Variable, part: Slice, decayed: Sequence[bool]) -> None:
    """Weight decay, on the weights that are not excluded from it."""
    if not clone.weight_decay:
        return
    if all(decayed):
        clone.apply_weight_decay([flat])
        return
    mask = np.asarray(decayed, np.float32)[part.number_of_each()]
    rate = clone.current_learning_rate()
    flat.assign(flat - flat * constant(mask) * (clone.weight_decay * rate))
