"""Makes a call out of one kernel: `prepared(op, arrays, attrs, threads)()` runs it once.

In: an op of the registry, arrays and attributes. Out: a function without arguments, whose time is
that of the kernel and of one call into C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo_keras import native
from zoo_keras.graph import Spec
from zoo_keras.ops.op import Op


def prepared(
    op: Op, arrays: Sequence[np.ndarray], attrs: dict[str, Any], threads: int
) -> Callable[[], None]:
    """The kernel of `op` on these arrays; outputs and scratch memory are made once."""
    ins = [Spec(a.shape, a.dtype.name) for a in arrays]
    outs = op.infer(*ins, **attrs)
    numbers = np.array([*op.attrs_to_c(attrs, ins, outs), 0.0], np.float64)
    buffers = [native.aligned(4 * int(np.prod(s.shape))).view(s.dtype) for s in outs]
    held = [*[b.reshape(s.shape) for b, s in zip(buffers, outs, strict=True)], *arrays]
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

    def call(keep: Any = (arena, held)) -> None:
        program.run(table, lambda i: None, lambda i: op.name)

    return call
