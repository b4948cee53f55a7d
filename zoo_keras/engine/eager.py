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

from zoo_keras.engine.build import Builder
from zoo_keras.engine.program import Place
from zoo_keras.engine.runner import Call, Crew, Loaded, Runner
from zoo_keras.engine.spaces import IN, VAR
from zoo_keras.graph import PARAMETER, Graph, Node, Spec, Tensor, input_tensor
from zoo_keras.primitives.op import Op, as_tensors
from zoo_keras.primitives.straight import Made, note, settings
from zoo_keras.recent import Recent

OPS, OPS_BYTES = 512, 128 << 20  # calls of ops that are kept ready


class Eager(Call):
    """A graph behind a plain call with the inputs' arrays, then those of the Variables.

    Args:
        inputs: what is fed, in the order of the arrays.
        variables: those that the graph reads; their arrays are given at each call.
    """

    def __init__(self, graph: Graph, inputs: Sequence[Tensor], variables: Sequence[Any]) -> None:
        # A convolution on packed weights is so much quicker that packing them each time pays.
        pack = any("conv" in node.op.name for node in graph.nodes())
        names = {id(variable): name for name, variable in VAR.named(variables).items()}
        fed = IN.named(inputs)
        build = Builder(lambda variable: Place(names[id(variable)]), packs=pack)
        for space, tensor in fed.items():
            build.take(tensor, space)
        build.write_out(graph.outputs)
        loaded = Loaded(build.program())
        self.nbytes = loaded.nbytes
        super().__init__(Crew(Runner(loaded)), [*fed, *names.values()],
                         [t.spec for t in graph.outputs])  # fmt: skip


# ---- ops -----------------------------------------------------------------------------------------

# Where numpy has no good way, so that the engine is quicker for the smallest arrays.
_ALWAYS = ("conv", "depthwise", "pool", "rnn", "lstm", "gru", "attention", "norm", "resize",
           "softmax")  # fmt: skip
# What numpy does without touching the data.
_VIEWS = ("reshape", "transpose", "slice", "broadcast_to", "split")
# Below so many numbers numpy is as quick for sums, comparisons and the like (benchmarks/eager.py).
LEAST = 1 << 16

_calls = Recent(OPS, OPS_BYTES)


def in_engine(op: Op, specs: Sequence[Spec], attrs: Mapping[str, Any]) -> bool:
    """Whether an op on arrays runs in the engine, by the op and the shapes alone."""
    if op.name in _VIEWS or not (op.kernel or op.tile) or not op.fits(*specs):
        return False
    if _always(op.name) or _numbers(specs) >= LEAST:
        return True
    return _numbers(op.infer(*specs, **attrs)) >= LEAST


def _numbers(specs: Sequence[Spec]) -> int:
    return sum(math.prod(spec.shape) for spec in specs)


@functools.cache
def _always(name: str) -> bool:
    return any(word in name for word in _ALWAYS)


def compute(
    op: Op, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any], ins: Sequence[Spec]
) -> Sequence[np.ndarray] | None:
    """The outputs of an op by the engine, or None where numpy is to compute them. ins: specs of
    the arrays."""
    key = _key(op, attrs, ins) if _always(op.name) or in_engine(op, ins, attrs) else None
    if key is None:
        return None
    call = _calls.get(key)
    if call is None:
        if not in_engine(op, ins, attrs):
            return None
        op.infer(*ins, **attrs)  # its error names shapes, before anything is traced
        call = _compiled(op, ins, attrs)
        _calls.put(key, call, call.nbytes)
    arrays = [np.asarray(a, order="C") for a in arrays]
    outs = call(arrays)
    note(Made(call, arrays, outs))
    return outs


def _key(op: Op, attrs: Mapping[str, Any], ins: Sequence[Spec]) -> Hashable:
    """What tells calls apart; None where an attribute is no plain value."""
    values = tuple(sorted(attrs.items()))
    try:
        hash(values)
    except TypeError:
        return None
    return op.name, *ins, values, repr(values), settings()  # repr tells 1 from True and 1.0


def _compiled(op: Op, ins: Sequence[Spec], attrs: Mapping[str, Any]) -> Eager:
    """The op alone; what follows the first input of a convolution are its weights."""
    fed = ins[:1] if "conv" in op.name else ins
    tensors = [input_tensor(IN(i), *spec) for i, spec in enumerate(fed)]
    weights = [Node(PARAMETER, (), {"variable": object()}, [spec]) for spec in ins[len(fed) :]]
    made = op(*tensors, *[node.outputs[0] for node in weights], **attrs)
    outputs = as_tensors(made if isinstance(made, (tuple, list)) else [made])
    return Eager(Graph(tensors, outputs), tensors, [n.attrs["variable"] for n in weights])
