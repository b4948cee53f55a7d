"""The one way from a traced computation to a Program.

In: tensors that are fed and outputs, each with the place where it lives, and where Variables live.
Out: the optimised Program; a Builder's `inputs` and `outputs` are the layout of its spaces. Knows
no model: who builds says what is traced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from zoo_keras.engine import spaces
from zoo_keras.engine.program import Place, Program, compile_graph
from zoo_keras.graph import Graph, Tensor, Trace, input_tensor
from zoo_keras.passes.bfloat16 import in_float32
from zoo_keras.passes.pipeline import optimise


class Builder:
    """A Program in the making.

    >>> build = Builder(state.place)
    >>> x = build.feed(spaces.X(0), (32, 784))
    >>> build.write([ops.relu(x)], [spaces.OUT(0)])
    >>> program = build.program()

    Args:
        variable: the place of a Variable that the computation reads or assigns.
        freeze: weights rarely change: what depends on them alone becomes the prologue.
        rounds: products may round their operands to bfloat16 where this machine has tiles.
        packs: products read packed weights without `freeze` too: every run packs them anew.
    """

    def __init__(
        self, variable: Callable[[Any], Place], freeze: bool = False, rounds: bool = False,
        packs: bool = False,
    ) -> None:  # fmt: skip
        self.variable, self.freeze, self.rounds = variable, freeze, rounds
        self.packs = freeze or packs
        self.inputs: dict[Tensor, Place] = {}
        self.outputs: list[tuple[Tensor, Place]] = []

    def feed(self, place: Place | str, shape: Iterable[int] = (), dtype: str = "float32") -> Tensor:
        """A new tensor that is read at a place; a space's name means its start."""
        place = _at(place)
        return self.take(input_tensor(place.space, shape, dtype), place)

    def feeds(self, kind: spaces.Kind, specs: Iterable[Any]) -> list[Tensor]:
        """A tensor for each (shape, dtype), in spaces of one kind."""
        return [self.feed(kind(i), *spec) for i, spec in enumerate(specs)]

    def take(self, tensor: Tensor, place: Place | str) -> Tensor:
        """Let a tensor that was traced as an input be read at a place."""
        self.inputs[tensor] = _at(place)
        return tensor

    def take_draws(self, trace: Trace) -> None:
        """Feed what random ops of the trace read, if there are any."""
        if trace.rng is not None:
            self.take(trace.rng, spaces.RNG)

    def write(self, tensors: Iterable[Tensor], places: Iterable[Place | str]) -> None:
        """Outputs, computed in this order, and where each is written."""
        self.outputs += zip(tensors, map(_at, places), strict=True)

    def write_out(self, tensors: Iterable[Tensor]) -> None:
        """Outputs to the spaces out0, out1, ..."""
        for i, tensor in enumerate(tensors):
            self.write([tensor], [spaces.OUT(i)])

    def assign(self, updates: Iterable[tuple[Any, Tensor]]) -> None:
        """New values of Variables, written where they live."""
        self.outputs += [(tensor, self.variable(variable)) for variable, tensor in updates]

    def graph(self) -> Graph:
        """What has been traced, as it is."""
        return Graph(self.inputs, [tensor for tensor, _ in self.outputs])

    def program(self) -> Program:
        """The Program, after all passes."""
        traced = self.graph()
        graph = in_float32(traced)
        inputs = dict(zip(graph.inputs, self.inputs.values(), strict=True))
        graph = optimise(graph, self.packs, self.rounds)
        places = [place for _, place in self.outputs]
        return compile_graph(graph, inputs, places, self.variable, self.freeze)


def _at(place: Place | str) -> Place:
    return Place(place) if isinstance(place, str) else place
