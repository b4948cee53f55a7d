"""Makes a call out of one kernel: `prepared(op, arrays, attrs, threads)()` runs it once.

In: an op of the registry, arrays and attributes. Out: a function without arguments, whose time is
that of the kernel and of one call into C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo_keras import native
from zoo_keras.engine.program import registry  # fills in the numbers of the tile functions
from zoo_keras.graph import Graph, Spec, input_tensor
from zoo_keras.primitives.chain import chain_of
from zoo_keras.primitives.op import Op


class Call:
    """A call to be timed, and the arrays that it reads and writes."""

    def __init__(self, run: Callable[[], None], arrays: Sequence[np.ndarray]) -> None:
        self.run, self.arrays = run, list(arrays)

    def __call__(self) -> None:
        self.run()

    @property
    def nbytes(self) -> int:
        """Size of the working set."""
        return sum({native.address(a): a.nbytes for a in self.arrays}.values())


def several(calls: Sequence[Call]) -> Call:
    """All calls in turn."""

    def run() -> None:
        for call in calls:
            call.run()

    return Call(run, [a for call in calls for a in call.arrays])


def prepared(
    op: Op,
    arrays: Sequence[np.ndarray],
    attrs: dict[str, Any],
    threads: int,
    inplace: bool = False,
) -> Call:
    """The kernel of `op` on these arrays; outputs and scratch memory are made once.

    inplace: outputs are written over the inputs that the op names for that, as in a training step.
    """
    arrays = [np.asarray(a, order="C") for a in arrays]  # a packed one may come as a view
    ins = [Spec(a.shape, a.dtype.name) for a in arrays]
    outs = op.infer(*ins, **attrs)
    numbers = np.array([*op.attrs_to_c(attrs, ins, outs), 0.0], np.float64)
    over = [arrays[i] for i in op.inplace[: len(outs)]] if inplace else [_empty(s) for s in outs]
    held = [*over, *arrays]
    args = np.zeros(len(held), native.ARG)
    for i, a in enumerate(held):
        native.fill_arg(args[i], i + 1, 0, a.shape, a.dtype.name)
    instrs = np.zeros(1, native.INSTR)
    kernel = native.KERNELS[str(op.kernel)]
    instrs[0] = (kernel, len(outs), len(ins), 0, 0, len(numbers) - 1, 0)
    arena = native.aligned(native.scratch_bytes(instrs, args, numbers, threads))
    sizes = [arena.nbytes, *[a.nbytes for a in held]]
    program = native.Executable(instrs, args, numbers, sizes, threads)
    table = native.pointer_table(len(sizes))
    for i, a in enumerate([arena, *held]):
        table[i] = native.pointer(a)
    return Call(lambda: program.run(table, _nothing, lambda i: op.name), [arena, *held])


def _nothing(instruction: int) -> None:
    """Takes the place of a step on the host, of which there is none."""


def _empty(spec: Spec) -> np.ndarray:
    size = int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize
    return native.aligned(size).view(spec.dtype).reshape(spec.shape)


def prepared_chain(
    function: Callable[..., Any], arrays: Sequence[np.ndarray], threads: int
) -> Call:
    """Elementwise ops, as `function` writes them, as the one instruction that fusion makes."""
    tensors = [input_tensor(f"x{i}", a.shape, a.dtype.name) for i, a in enumerate(arrays)]
    result = function(*tensors)
    nodes = [n for n in Graph(tensors, [result]).nodes() if isinstance(n.op, Op)]
    node = chain_of(nodes, [result])[0].node
    place = {id(t.node): a for t, a in zip(tensors, arrays, strict=True)}
    return prepared(
        registry["chain"], [place[id(t.node)] for t in node.inputs], node.attrs, threads
    )
