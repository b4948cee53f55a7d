"""Graphs that are computed at once on arrays: compiled when first seen, then kept for a while.

In: a traced Graph, or an op with arrays. Out: something to call with arrays, from any thread. Knows
no layer; Variables only by their arrays.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from zoo_keras import native
from zoo_keras.execute import Crew, Loaded, Runner
from zoo_keras.graph import Graph, Spec, Tensor, input_tensor
from zoo_keras.ops import conv_choice
from zoo_keras.ops.op import Op, as_tensors
from zoo_keras.passes.pipeline import optimise
from zoo_keras.program import Place, compile_graph
from zoo_keras.recent import Recent

OPS, OPS_BYTES = 512, 128 << 20  # calls of ops that are kept ready


class Eager:
    """A graph behind a plain call: arrays in, arrays out.

    Args:
        inputs: what is fed, in the order of the arrays.
        variables: those that the graph reads; their arrays are given at each call.
    """

    def __init__(self, graph: Graph, inputs: Sequence[Tensor], variables: Sequence[Any]) -> None:
        graph = optimise(graph)
        names = dict(zip(map(id, variables), _names("var", variables), strict=True))
        program = compile_graph(
            graph,
            {t: Place(f"in{i}") for i, t in enumerate(inputs)},
            [Place(f"out{i}") for i in range(len(graph.outputs))],
            lambda variable: Place(names[id(variable)]),
        )
        loaded = Loaded(program)
        self._crew = Crew(Runner(loaded))
        number = self._crew.first.space_number
        self._outputs = [(number(f"out{i}"), t.shape, np.dtype(t.dtype))
                         for i, t in enumerate(graph.outputs)]  # fmt: skip
        self._fed = [number(name) for name in (*_names("in", inputs), *names.values())]
        self.nbytes = loaded.nbytes

    def __call__(
        self, arrays: Sequence[np.ndarray], values: Sequence[np.ndarray] = ()
    ) -> list[np.ndarray]:
        """The outputs for contiguous arrays of the inputs' shapes and dtypes."""
        outs, runner = [], self._crew.take()
        try:
            runner.point_rows(self._fed, [*arrays, *values])
            for number, shape, dtype in self._outputs:
                outs.append(out := np.empty(shape, dtype))
                runner.point(number, out)
            runner.run()
        finally:
            self._crew.give_back(runner)
        return outs


def _names(kind: str, items: Sequence[Any]) -> list[str]:
    return [f"{kind}{i}" for i in range(len(items))]


def settings() -> Hashable:
    """What else than the graph decides which program is made."""
    return native.settings(), conv_choice.exact()


# ---- ops -----------------------------------------------------------------------------------------

# Where numpy has no good way, so that the engine is quicker for the smallest arrays.
_ALWAYS = ("conv", "depthwise", "pool", "rnn", "lstm", "gru", "attention", "norm", "resize",
           "softmax")  # fmt: skip
# What numpy does without touching the data.
_VIEWS = ("reshape", "transpose", "slice", "broadcast_to", "split")
# A call here costs about 10 us; numpy needs as long for so many numbers (benchmarks/eager.py).
LEAST = 1 << 14

_calls = Recent(OPS, OPS_BYTES)


def in_engine(op: Op, specs: Sequence[Spec], outs: Sequence[Spec]) -> bool:
    """Whether an op on arrays runs in the engine, by the op and the shapes alone."""
    if op.kernel is None or op.name in _VIEWS or not op.fits(*specs):
        return False
    if _always(op.name):
        return True
    return sum(math.prod(spec.shape) for spec in (*specs, *outs)) >= LEAST


@functools.cache
def _always(name: str) -> bool:
    return any(word in name for word in _ALWAYS)


def compute(
    op: Op, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any], specs: Sequence[Spec]
) -> tuple[np.ndarray, ...] | None:
    """The outputs of an op by the engine, or None where numpy is to compute them."""
    ins = [Spec(a.shape, a.dtype.name) for a in arrays]
    if not in_engine(op, ins, specs):
        return None
    try:
        key = hash((values := tuple(sorted(attrs.items()))))
    except TypeError:  # an attribute that is no plain value
        return None
    key = (op.name, tuple(ins), values, repr(values), settings())
    call = _calls.get(key)
    if call is None:
        tensors = [input_tensor(f"in{i}", *spec) for i, spec in enumerate(ins)]
        made = op(*tensors, **attrs)
        outputs = as_tensors(made if isinstance(made, (tuple, list)) else [made])
        call = Eager(Graph(tensors, outputs), tensors, ())
        _calls.put(key, call, call.nbytes)
    return tuple(call([np.ascontiguousarray(a) for a in arrays]))
