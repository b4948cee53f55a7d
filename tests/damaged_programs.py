"""Damages the tables of Programs at random; a script, because a mistake would end the process.

Every damaged table must be refused with a ProgramError or accepted. What was accepted although a
space, an offset or scratch memory was changed is run in memory with guard bytes around each space,
none of which may change. Prints the messages met, one a line, and how many tables were accepted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import warnings

import numpy as np
from graph_check import RandomGraph, compiled

from zoo_keras import native
from zoo_keras.engine.program import CONSTANTS, Program
from zoo_keras.engine.runner import Runner
from zoo_keras.errors import DataError, ProgramError
from zoo_keras.graph import Graph, Tensor, input_tensor, tracing
from zoo_keras.passes.pipeline import optimise
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.scan import scan_steps

GUARD = 256
PLACES = ("space", "offset", "scratch")
SHAPES = ("ndim", "dims", "dtype", "arg0", "nin", "nout", "nattr", *PLACES)
NUMBERS = [-1, -(2**31), 2**31 - 1, 0, 1, 2, 4, 7, 8, 9, 64, 100, 1 << 20]
LONG = [*NUMBERS, -(2**63), 2**63 - 1, 1 << 40, 1 << 62, 128, 192, 256, 320]
IMPOSSIBLE = {
    "kernel": [-1, -2, -3, 10**6, -(2**31)],
    "attr0": [-1, 10**8],
    "arg0": [-1, 2**31 - 1],
}


def damaged(program: Program, fields: tuple[str, ...], rng: np.random.Generator) -> Program:
    """A copy with one or two numbers changed."""
    instrs, args = program.instrs.copy(), program.args.copy()
    for _ in range(int(rng.integers(1, 3))):
        name = fields[int(rng.integers(len(fields)))]
        column = (instrs if name in native.INSTR.fields else args)[name].reshape(-1)
        options = LONG if column.dtype.itemsize == 8 else NUMBERS
        if fields == tuple(IMPOSSIBLE):
            options = IMPOSSIBLE[name]
        column[int(rng.integers(column.size))] = options[int(rng.integers(len(options)))]
    return dataclasses.replace(program, instrs=instrs, args=args)


def loop() -> Program:
    """Two steps' states go to and fro; a matrix is read whole."""
    h, x, w = input_tensor("h", (2, 3)), input_tensor("x", (5, 2, 3)), input_tensor("w", (3, 3))

    def step(states: list[Tensor], xs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        new = registry["add"](registry["matmul"](states[0], w), xs[0])
        return [new, states[0]], [registry["softmax"](new, axis=1)]

    with tracing():
        states, outputs = scan_steps(step, [h, h], [x], 5)
    return compiled(optimise(Graph([h, x, w], [*states, *outputs])))


def damaged_loop(program: Program, rng: np.random.Generator) -> Program:
    """A copy with an attribute of its loop changed."""
    (row,) = program.instrs[program.instrs["kernel"] == native.lib.ZK_LOOP]
    attrs = program.attrs.copy()
    attrs[row["attr0"] + rng.integers(row["nattr"])] = rng.choice([*LONG, np.nan, 0.5, 3, 5, 6])
    return dataclasses.replace(program, attrs=attrs)


def guarded(nbytes: int) -> tuple[np.ndarray, np.ndarray]:
    """(memory with guards, the part between them)."""
    whole = native.aligned(nbytes + 2 * GUARD)
    whole[:GUARD] = whole[GUARD + nbytes :] = 0x5A
    return whole, whole[GUARD : GUARD + nbytes]


def run_guarded(program: Program) -> None:
    """Raises RuntimeError when the program writes outside its spaces."""
    runner, memories = Runner(program), []
    for name, nbytes in zip(program.spaces, program.space_bytes, strict=True):
        whole, part = guarded(nbytes)
        memories.append(whole)
        if name == CONSTANTS:
            part[:] = program.constants
        runner.set(name, part)
    with contextlib.suppress(DataError):
        runner.run()
    for whole in memories:
        if (whole[:GUARD] != 0x5A).any() or (whole[-GUARD:] != 0x5A).any():
            raise RuntimeError("a program has written outside its spaces")


def main(rounds: int) -> None:
    rng = np.random.default_rng(0)
    made = [optimise(RandomGraph(seed, steps=25).graph(), bool(seed % 2)) for seed in range(10)]
    programs = [compiled(graph, bool(seed % 2)) for seed, graph in enumerate(made)]
    programs += [loop()] * 4
    messages, accepted = set(), 0
    for i in range(rounds):
        fields = (PLACES, SHAPES, tuple(IMPOSSIBLE))[i % 3]
        program = damaged(programs[int(rng.integers(len(programs)))], fields, rng)
        if i % 12 == 0:
            program = damaged_loop(programs[-1], rng)
        try:
            if fields == PLACES:
                run_guarded(program)
            else:
                Runner(program)
            accepted += 1
        except ProgramError as error:
            messages.add(str(error).split(": ")[-1])
    print(*sorted(messages), accepted, sep="\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(int(sys.argv[1]))
