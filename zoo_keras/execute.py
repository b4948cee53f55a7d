"""Runs Programs: gives their spaces memory, calls C, and computes host instructions with numpy.

In: a Program and arrays for its outside spaces. Out: those arrays, changed. Knows no model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zoo_keras import native
from zoo_keras.dtypes import native as native_order
from zoo_keras.errors import DataError, ProgramError
from zoo_keras.graph import Graph, Spec, Tensor, input_tensor, tracing
from zoo_keras.ops.op import as_tensors, registry
from zoo_keras.passes.grad import gradients
from zoo_keras.passes.pipeline import optimise
from zoo_keras.program import ARENA, CONSTANTS, PACKED, Parts, Place, Program, compile_graph

_DTYPE_NAMES = {number: name for name, number in native.DTYPES.items()}


class Runner:
    """A Program with memory. It runs once at a time: two threads need two Runners and arenas.

    >>> runner = Runner(program)
    >>> runner.set("weights", flat)
    >>> runner.set("x0", batch)
    >>> runner.run()
    """

    def __init__(self, program: Program, arena: np.ndarray | None = None) -> None:
        self.program = program = program.fitted()
        self.arrays: dict[str, np.ndarray] = {}
        self._table = native.pointer_table(len(program.spaces))
        self._number = {name: i for i, name in enumerate(program.spaces)}
        self._need = {name: program.bytes_of(name) for name in program.spaces}
        self._arenas: list[np.ndarray] = []  # of the lanes beside the first
        self._fresh: Any = None  # the version of the weights from which `packed` was made
        self._complete = False
        self._check_host()
        self._loops = {i: Loop(attrs) for i, (_, attrs) in program.host.items() if "body" in attrs}
        self._split()
        need = self._need[ARENA]
        self.set(ARENA, arena if arena is not None and arena.nbytes >= need
                 else native.aligned(need))  # fmt: skip
        self.set(PACKED, native.aligned(self._need[PACKED]))
        constants = native.aligned(program.constants.nbytes)
        constants[:] = program.constants
        self.set(CONSTANTS, constants)

    def _check_host(self) -> None:
        """Every instruction left to the host names an op of this process."""
        for i in np.flatnonzero(self.program.instrs["kernel"] == -1).tolist():
            name, _ = self.program.host.get(i, ("", {}))
            if name not in registry:
                raise ProgramError(
                    f"Instruction {i} is left to an op that this process does not have. "
                    f"Received: {name!r}. Import the module that declares the op."
                )

    def _split(self) -> None:
        p = self.program
        make = lambda part: native.Executable(  # noqa: E731
            np.ascontiguousarray(part), p.args, p.attrs, p.space_bytes, p.threads
        )
        self._prologue = make(p.instrs[: p.prologue]) if p.prologue else None
        self._frozen = _spaces_read(p, p.prologue)
        self._body = make(p.instrs[p.prologue :])

    def set(self, space: str, array: np.ndarray) -> None:
        """Use this array as a space (one the program does not know is ignored)."""
        number = self._number.get(space)
        if number is None:
            return
        if array.nbytes < self._need[space] or not array.flags.c_contiguous:
            raise ProgramError(
                f'Space "{space}" needs {self._need[space]} contiguous bytes. '
                f"Received: {array.nbytes} bytes, contiguous: {array.flags.c_contiguous}."
            )
        if space in self._frozen and self.arrays.get(space) is not array:
            self._fresh = None
        self.arrays[space] = array
        self._table[number] = native.pointer(array)

    def space_number(self, space: str) -> int:
        """The number of a space, for `point`; -1 when the program does not use it."""
        return self._number.get(space, -1)

    def point(self, number: int, array: np.ndarray) -> None:
        """`set` without checks: the array is contiguous, writable and large enough."""
        if number >= 0:
            self._table[number] = native.buffer_pointer(array)

    def point_rows(self, numbers: Sequence[int], arrays: Sequence[np.ndarray]) -> None:
        """`point` for several spaces."""
        for number, array in zip(numbers, arrays, strict=True):
            self.point(number, array)

    def point_at(self, number: int, address: int) -> None:
        """`point` to memory by its address, which the caller keeps alive."""
        if number >= 0:
            self._table[number] = native.pointer_to(address)

    def run(self, version: Any = None, seconds: np.ndarray | None = None) -> None:
        """Run once. When `version` is not that of the last run, weights have changed and the
        prologue runs first. seconds: one float64 for each instruction, to which time is added."""
        if not self._complete:
            self._check_spaces()
        times = native.ffi.NULL
        if seconds is not None:
            times = native.ffi.cast("double *", native.pointer(seconds))
        if self._prologue is not None and (version is None or version != self._fresh):
            self._prologue.run(self._table, self._host, self._where, times)
            self._fresh = version
        if seconds is not None:
            times += self.program.prologue
        if self.program.parts:
            self._run_parts(self.program.parts, times)
        else:
            self._body.run(self._table, self._body_host, self._body_where, times)

    def _run_parts(self, parts: Parts, times: Any) -> None:
        """The body once for each part of the batch. Lanes take the next part in turn."""
        left, errors = iter(parts.firsts()), list[BaseException]()
        if not times and len(self._arenas) < parts.lanes - 1:
            need = self._need[ARENA]
            self._arenas = [native.aligned(need) for _ in range(parts.lanes - 1)]

        def lane(arena: np.ndarray) -> None:
            try:
                self._run_lane(parts, left, arena, times)
            except BaseException as error:
                errors.append(error)

        others = () if times else self._arenas
        threads = [threading.Thread(target=lane, args=(arena,)) for arena in others]
        for thread in threads:
            thread.start()
        lane(self.arrays[ARENA])
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _run_lane(self, parts: Parts, firsts: Iterator[int], arena: np.ndarray, times: Any) -> None:
        """The body for parts until none is left, with pointers to their rows."""
        table = native.pointer_table(len(self._table))
        native.ffi.memmove(table, self._table, native.ffi.sizeof(table))
        table[self._number[ARENA]] = native.pointer(arena)
        spaces = [
            (self._number[n], step) for n, step in parts.row_bytes.items() if n in self._number
        ]
        for first in firsts:
            for number, step in spaces:
                start = native.number_of(self._table[number])
                table[number] = native.pointer_to(start + first * step)
            self._body.run(table, self._body_host, self._body_where, times)

    def _check_spaces(self) -> None:
        for name, address in zip(self.program.spaces, self._table, strict=True):
            if address == native.ffi.NULL:
                raise ProgramError(
                    f'Space "{name}" has no memory. Received: run() before set("{name}", array). '
                    "Set every space of the program first."
                )
        self._complete = True

    def _where(self, instruction: int) -> str:
        return self.program.labels[instruction]

    def _body_where(self, instruction: int) -> str:
        return self._where(self.program.prologue + instruction)

    def _body_host(self, instruction: int) -> None:
        self._host(self.program.prologue + instruction)

    def _host(self, instruction: int) -> None:
        name, attrs = self.program.host[instruction]
        row = self.program.instrs[instruction]
        views = [self._view(self.program.args[row["arg0"] + i])
                 for i in range(row["nout"] + row["nin"])]  # fmt: skip
        outs, ins = views[: row["nout"]], views[row["nout"] :]
        if instruction in self._loops:
            self._loops[instruction].run(outs, ins)
            return
        specs = [Spec(v.shape, v.dtype.name) for v in outs]
        try:
            values = registry[name].compute(ins, attrs, specs)
        except DataError as error:
            raise DataError(f"{self._where(instruction)}: {error}") from None
        for out, value in zip(outs, values, strict=True):
            out[...] = value

    def _view(self, arg: np.ndarray) -> np.ndarray:
        dtype = np.dtype(_DTYPE_NAMES[int(arg["dtype"])])
        shape = tuple(arg["dims"][: arg["ndim"]].tolist())
        return native.array_at(self._table[arg["space"]], int(arg["offset"]), shape, dtype)


class Loop:
    """The op `scan` at run time: its body's Program, run for each step on the rows of its arrays.

    States go to and fro between two arrays of their own.
    """

    def __init__(self, attrs: Mapping[str, Any]) -> None:
        self._runner = Runner(attrs["body"])
        self._states, self._kept = attrs["states"], attrs["kept"]
        names = attrs["inputs"][self._states :]
        self._rows = self._states + sum(name.startswith(("x", "rng")) for name in names)
        steps = range(attrs["length"])
        self._order = steps[::-1] if attrs["reverse"] else steps
        self._carried: list[list[np.ndarray]] = []

    def run(self, outs: Sequence[np.ndarray], ins: Sequence[np.ndarray]) -> None:
        """Fill the last states and the stacked outputs."""
        first, count = list(ins[: self._states]), self._states
        if not self._carried:
            self._carried = [[np.empty_like(s, order="C") for s in first] for _ in range(2)]
        inputs = [self._number("in", i) for i in range(count)]
        outputs = [self._number("out", i) for i in range(count)]
        for i, array in enumerate(ins[self._rows :], self._rows):
            self._runner.set(f"in{i}", array)
        rows = self._rows_of(ins, outs)
        before = first
        for k, t in enumerate(self._order):
            after = self._carried[k % 2]
            self._runner.point_rows(inputs, before)
            self._runner.point_rows(outputs, after)
            for number, address, step in rows:
                self._runner.point_at(number, address + t * step)
            self._runner.run()
            before = after
        for out, state, kept in zip(outs, before, self._kept, strict=False):
            if kept:
                out[...] = state

    def _number(self, kind: str, i: int) -> int:
        return self._runner.space_number(f"{kind}{i}")

    def _rows_of(
        self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]
    ) -> list[tuple[int, int, int]]:
        """(space, address of row 0, bytes of a row) of all arrays of which a step sees one row."""
        found = [("in", i, ins[i]) for i in range(self._states, self._rows)]
        found += [("out", i, outs[i]) for i in range(self._states, len(outs)) if self._kept[i]]
        return [
            (self._number(kind, i), native.address(a), a.nbytes // max(len(a), 1))
            for kind, i, a in found
        ]


def _spaces_read(program: Program, count: int) -> set[str]:
    """Outside spaces that the first `count` instructions use."""
    rows = program.instrs[:count]
    used = [program.args["space"][r["arg0"] : r["arg0"] + r["nout"] + r["nin"]] for r in rows]
    names = {program.spaces[i] for part in used for i in part}
    return names - {ARENA, CONSTANTS, PACKED}


class Predictor:
    """A Runner behind a plain call for one contiguous input array: about 3 us over the C call."""

    def __init__(self, runner: Runner, outputs: Sequence[Spec]) -> None:
        self._runner, self._outputs = runner, [(s.shape, np.dtype(s.dtype)) for s in outputs]
        self._numbers = [runner.space_number(f"out{i}") for i in range(len(outputs))]
        self._input = runner.space_number("x0")

    def __call__(self, x: np.ndarray, version: int) -> list[np.ndarray]:
        """Outputs for an input of the shape and dtype that the program was compiled for."""
        outs = [np.empty(*spec) for spec in self._outputs]
        self._runner.point(self._input, x)
        for number, out in zip(self._numbers, outs, strict=True):
            self._runner.point(number, out)
        self._runner.run(version)
        return outs


def run_graph(
    program: Program, feeds: Mapping[str, np.ndarray], results: Sequence[np.ndarray]
) -> None:
    """Run a program once whose results go to the spaces out0, out1, ..."""
    runner = Runner(program)
    for space, array in feeds.items():
        runner.set(space, array)
    for i, array in enumerate(results):
        runner.set(f"out{i}", array)
    runner.run()


def value_and_grad(
    fn: Callable[..., Tensor], arrays: Sequence[np.ndarray], variables: Sequence[Any]
) -> tuple[np.ndarray, list[np.ndarray | None], list[np.ndarray | None]]:
    """fn's value on arrays, and its gradients by the arrays and by the Variables that it reads.

    Args:
        fn: maps symbolic tensors to one scalar tensor, with zoo_keras.ops and layers.

    Returns: (value, gradients by arrays, gradients by variables); None where fn does not depend.

    >>> value_and_grad(lambda x: ops.sum(layer(x) ** 2), [x], layer.trainable_variables)
    """
    inputs = [input_tensor(f"in{i}", a.shape, a.dtype.name) for i, a in enumerate(arrays)]
    with tracing() as trace:
        value = as_tensors([fn(*inputs)])[0]
        read = [trace.parameters.get(id(v)) for v in variables]
        wrt = [*inputs, *[r[1] for r in read if r is not None]]
        found = gradients(value, wrt)
    graph = optimise(Graph(inputs, [value, *[g for g in found if g is not None]]))
    places = {t: Place(t.node.attrs["name"]) for t in graph.inputs}
    feeds = {f"in{i}": np.ascontiguousarray(native_order(a)) for i, a in enumerate(arrays)}
    if trace.rng is not None:
        places[trace.rng], feeds["rng"] = Place("rng"), np.zeros(2, np.int64)
    names = {id(v): f"var{i}" for i, (v, _) in enumerate(trace.parameters.values())}
    feeds.update({names[id(v)]: np.asarray(v) for v, _ in trace.parameters.values()})
    results = [np.empty(t.shape, t.dtype) for t in graph.outputs]
    program = compile_graph(
        graph, places, [Place(f"out{i}") for i in range(len(results))],
        lambda v: Place(names[id(v)]),
    )  # fmt: skip
    run_graph(program, feeds, results)
    left = iter(results[1:])
    grads = [None if g is None else next(left) for g in found]
    by_variable = iter(grads[len(inputs) :])
    return (
        results[0], grads[: len(inputs)],
        [None if r is None else next(by_variable) for r in read],
    )  # fmt: skip
