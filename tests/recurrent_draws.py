"""Random inputs for the recurrent kernels: forward, in int8, backward. Importing it adds them to
DRAWN of kernel_draws.py. Knows nothing of what is checked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from kernel_draws import DRAWN, Draw, Inputs, drawn_for

from zoo_keras.primitives.op import registry as R
from zoo_keras.primitives.recurrent_activations import NAMES

__all__ = ["DRAWN", "RECURRENT"]

RECURRENT = {
    # gates, initial states, which outputs have gradients, which sequences the backward op is given,
    # and which of these a masked step leaves unwritten
    "lstm": (4, 2, (False, False, False, True, True, True), (0, 1), (0,)),
    "gru": (3, 1, (False, False, False, True, True), (0, 1, 2), (0, 1)),
    "gru_reset_first": (3, 1, (False, False, False, True, True), (0, 2), ()),
    "simple_rnn": (1, 1, (False, True, True), (1,), ()),
}


# Activations that many steps do not let grow beyond all bounds; and those of gates.
TAME = [name for name in NAMES if name != "exponential"]
GATES = ["sigmoid", "tanh", "hard_sigmoid", "hard_sigmoid_fifth", "sparse_sigmoid", "softsign"]


@drawn_for(*RECURRENT)
def recurrent(name: str, d: Draw) -> Iterator[Inputs]:
    gates, states, outputs, _, unwritten = RECURRENT[name]
    for i in range(4):
        chosen = {"activation": d.pick(TAME) if i else "tanh"}
        chosen |= {"recurrent_activation": d.pick(GATES)} if i > 1 and gates > 1 else {}
        batch, steps, units = d.batch(67, 33), d.size(7), d.size(33)
        u = d.floats(units, gates * units) / np.float32(np.sqrt(units))
        inputs = [d.floats(batch, steps, gates * units), u]
        inputs += [d.floats(gates * units)] if name == "gru" else []
        inputs += [d.floats(batch, units) for _ in range(states)]
        inputs += [d.bools(batch, steps)] if i % 2 else []
        kept = tuple(not (i % 2 and k in unwritten) and (i < 2 or d.coin())
                     for k in range(len(outputs)))  # fmt: skip
        yield inputs, {"reverse": d.coin(), "kept": kept, **chosen}


@drawn_for(*[f"{name}_int8" for name in RECURRENT])
def recurrent_in_int8(name: str, d: Draw) -> Iterator[Inputs]:
    """One step: a state of a later one may be rounded the other way."""
    for (xp, u, *rest), attrs in recurrent(name.removesuffix("_int8"), d):
        parts = RECURRENT[name.removesuffix("_int8")][0]
        panels = R["pack_int8"](np.rint(u * 127).astype(np.int8), parts=parts)
        rest = [a[:, :1] if a.dtype == bool else a for a in rest]
        yield [xp[:, :1], panels, d.floats(u.shape[1], low=0.5) / np.float32(127), *rest], attrs


@drawn_for(*[f"{name}_grad" for name in RECURRENT])
def recurrent_back(name: str, d: Draw) -> Iterator[Inputs]:
    forward = name.removesuffix("_grad")
    _, states, outputs, used, unwritten = RECURRENT[forward]
    for inputs, attrs in recurrent(forward, d):
        made = R[forward](*inputs, **{**attrs, "kept": (True,) * len(outputs)})
        masks = [a for a in inputs if a.dtype == bool]
        for k in unwritten if masks else ():
            made[k][~masks[0]] = np.nan  # so that reading it shows
        given = (bool(masks), d.coin(), *[d.coin() for _ in range(states)])
        found = [*masks, made[outputs.index(True)], *made[-states:]]
        wanted = given if masks else given[1:]
        chosen = [a if a.dtype == bool else d.floats(*a.shape)
                  for a, g in zip(found, wanted, strict=True) if g]  # fmt: skip
        cells = [inputs[3]] if forward == "lstm" else []
        rest = {key: value for key, value in attrs.items() if key != "kept"}
        yield [*[made[k] for k in used], inputs[1], *cells, *chosen], {**rest, "given": given}
