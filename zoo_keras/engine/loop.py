"""The instruction of `scan`: its body as a Program, and the numbers by which C runs it.

In: the attributes of a scan and the compiler of graphs. Out: the body over the spaces in0, in1, ...
and out0, out1, ...; and which argument of the instruction each space of the body is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zoo_keras import native
from zoo_keras.engine.spaces import IN, OUT
from zoo_keras.graph import Graph
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.scan import sequences_of


def compiled_body(attrs: Mapping[str, Any], compiled: Callable[[Graph], Any]) -> Any:
    """The Program of one step; outputs that nobody keeps are not computed."""
    body, states = attrs["body"], attrs["states"]
    kept = wanted(attrs)
    outputs = [t for i, t in enumerate(body.outputs) if i < states or kept[i]]
    return compiled(optimise(Graph(body.inputs, outputs)))


def wanted(attrs: Mapping[str, Any]) -> list[bool]:
    """Which outputs a step computes: all states, and of the others those that are kept."""
    return [True] * attrs["states"] + list(attrs["kept"][attrs["states"] :])


def loop_numbers(
    attrs: Mapping[str, Any], body: Any, index: int, nout: int, nin: int
) -> list[float]:
    """C's attributes of a loop. The last input is the body's constants.

    Args:
        body: the Program, which is number `index` of the whole program's bodies.
    """

    def argument(space: str) -> int:
        if space in IN:
            return nout + IN.number(space)
        return OUT.number(space) if space in OUT else nout + nin - 1

    count = sequences_of(attrs["body"], attrs["states"])
    return native.attributes(
        "LOOP", body=index, states=attrs["states"], sequences=count, length=attrs["length"],
        reverse=attrs["reverse"], arena=body.space_bytes[0],
        spaces=[argument(name) for name in body.spaces[1:]],
    )  # fmt: skip


def renumbered(
    instrs: np.ndarray, attrs: np.ndarray, shift: int = 0, bodies: Sequence[Any] | None = None
) -> np.ndarray:
    """The attributes when bodies come `shift` later, or are others in their arenas."""
    attrs = attrs.copy()
    for at in instrs["attr0"][instrs["kernel"] == native.lib.ZK_LOOP].tolist():
        if bodies is not None:
            number = int(attrs[at + native.lib.ZK_LOOP_BODY])
            attrs[at + native.lib.ZK_LOOP_ARENA] = bodies[number].space_bytes[0]
        attrs[at + native.lib.ZK_LOOP_BODY] += shift
    return attrs
