"""Runs Programs: gives their spaces memory, calls C, and computes host instructions with numpy.

In: a Program and arrays for its outside spaces. Out: those arrays, changed. Knows no model.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import native
from zoo_keras.bfloat16 import BFLOAT16, in_dtype
from zoo_keras.dtypes import storage
from zoo_keras.engine.program import Parts, Program
from zoo_keras.engine.spaces import ARENA, CONSTANTS, IN, OUT, PACKED, Kind
from zoo_keras.errors import DataError, ProgramError
from zoo_keras.graph import Spec
from zoo_keras.primitives.op import registry

_NO_TIMES = native.ffi.NULL
_DTYPE_NAMES = {number: name for name, number in native.DTYPES.items()}


class _Arena(NamedTuple):
    """Memory for the intermediates of one run."""

    array: np.ndarray
    pointer: Any


_idle_arenas: dict[int, list[_Arena]] = {}  # by size, of the whole process
_KEPT = 1 << 30  # bytes of idle arenas of one size
_FINE = 1 << 28
SMALL_ARENA = 1 << 14  # an arena that a Runner keeps for itself


def _take_arena(need: int) -> _Arena:
    """An arena of so many bytes that nobody uses; sizes are powers of two, so there are few."""
    size = 1 << max(need - 1, 4095).bit_length() if need < _FINE else -(-need // _FINE) * _FINE
    try:
        return _idle_arenas[size].pop()
    except (KeyError, IndexError):
        array = native.aligned(size)
        return _Arena(array, native.pointer(array))


def _give_back(arena: _Arena) -> None:
    idle = _idle_arenas.setdefault(arena.array.nbytes, [])
    if not idle or (len(idle) + 1) * arena.array.nbytes <= _KEPT:
        idle.append(arena)


class Packed:
    """What inference derives from the weights: made once for each version of them, and shared by
    all runs of the programs that would derive the same."""

    def __init__(self, nbytes: int) -> None:
        self.array = native.aligned(nbytes)
        self.lock = threading.Lock()  # who makes it
        self.version: Any = None  # of the weights from which it was made
        self.sources: dict[str, np.ndarray] = {}

    def read_from(self, space: str, array: np.ndarray) -> None:
        """Note where the weights are."""
        if self.sources.get(space) is not array:
            self.sources[space], self.version = array, None


class Loaded:
    """A Program in C, with the memory that all its runs share. It changes no more: any number of
    threads may run it, each with a Runner."""

    def __init__(
        self, program: Program, packs: MutableMapping[bytes, Packed] | None = None
    ) -> None:
        self.program = p = program.fitted()
        _check_host(p)
        self.number = {name: i for i, name in enumerate(p.spaces)}
        self.need = {name: p.bytes_of(name) for name in p.spaces}
        inner = [_executable(body, body.instrs) for body in p.bodies]
        self.prologue = _executable(p, p.instrs[: p.prologue], inner) if p.prologue else None
        self.frozen = _spaces_read(p, p.prologue)
        self.body = _executable(p, p.instrs[p.prologue :], inner)
        self.bodies = {i: Loaded(attrs["body"]) for i, (_, attrs) in p.host.items()
                       if "body" in attrs}  # fmt: skip
        self.constants = native.aligned(p.constants.nbytes)
        self.constants[:] = p.constants
        self.packed = _shared_packed(p, {} if packs is None else packs)

    @property
    def nbytes(self) -> int:
        """Bytes that this program holds by itself (`packed` may be shared)."""
        return 2 * self.program.nbytes + sum(body.nbytes for body in self.bodies.values())

    def changes(self) -> bool:
        """Whether a run writes anything but its outputs."""
        written = {self.program.spaces[i] for i in _spaces_written(self.program)}
        return any(n not in OUT for n in written - {ARENA, CONSTANTS, PACKED})


def _executable(
    program: Program, instrs: np.ndarray, bodies: Sequence[native.Executable] | None = None
) -> native.Executable:
    """Some of a program's instructions in C, with the bodies of its loops."""
    p = program
    if bodies is None:
        bodies = [_executable(body, body.instrs) for body in p.bodies]
    rows = np.ascontiguousarray(instrs)
    return native.Executable(rows, p.args, p.attrs, p.space_bytes, p.threads, bodies)


def _check_host(program: Program) -> None:
    """Every instruction left to the host names an op of this process."""
    for i in np.flatnonzero(program.instrs["kernel"] == native.lib.ZK_HOST).tolist():
        name, _ = program.host.get(i, ("", {}))
        if name not in registry:
            raise ProgramError(
                f"Instruction {i} is left to an op that this process does not have. "
                f"Received: {name!r}. Import the module that declares the op."
            )


def _shared_packed(program: Program, packs: MutableMapping[bytes, Packed]) -> Packed:
    """The Packed of a program that derives the same from the weights, or a new one."""
    need = program.bytes_of(PACKED)
    key = _prologue_key(program)
    found = packs.get(key) if key else None
    if found is None:
        found = Packed(need)
        if key:
            packs[key] = found
    return found


def _prologue_key(program: Program) -> bytes:
    """Equal for programs whose prologues make the same; empty when it has none, or not of kernels
    alone."""
    p, digest = program, hashlib.blake2b(digest_size=16)
    rows = p.instrs[: p.prologue]
    if not len(rows) or (rows["kernel"] < 0).any():
        return b""
    digest.update(repr((p.spaces, p.bytes_of(PACKED))).encode())
    for row in rows:
        args = p.args[row["arg0"] : row["arg0"] + row["nout"] + row["nin"]].copy()
        for arg in args[args["space"] == p.spaces.index(CONSTANTS)]:
            shape = arg["dims"][: arg["ndim"]]
            size = int(np.prod(shape)) * np.dtype(_DTYPE_NAMES[int(arg["dtype"])]).itemsize
            digest.update(p.constants[arg["offset"] : arg["offset"] + size].tobytes())
        args["offset"][args["space"] == p.spaces.index(CONSTANTS)] = 0
        attrs = p.attrs[row["attr0"] : row["attr0"] + row["nattr"]]
        digest.update(repr((row["kernel"], row["nout"], row["nin"])).encode())
        digest.update(args.tobytes() + attrs.tobytes())
    return digest.digest()


class Runner:
    """A Program with memory. It runs once at a time: another thread needs its `twin`.

    Intermediates lie in `arena`, or in one that each run takes from those which are idle.

    >>> runner = Runner(program)
    >>> runner.set("weights", flat)
    >>> runner.set("x0", batch)
    >>> runner.run()
    """

    def __init__(self, program: Program | Loaded, arena: np.ndarray | None = None) -> None:
        self.loaded = loaded = program if isinstance(program, Loaded) else Loaded(program)
        self.program = loaded.program
        self.arrays: dict[str, np.ndarray] = {}
        self._number, self._need = loaded.number, loaded.need
        self._table = native.pointer_table(len(self._number))
        self._result = native.new_result()
        self._arena_bytes = need = self._need[ARENA]
        if need <= SMALL_ARENA and arena is None:
            arena = native.aligned(need)
        self._own_arena = arena is not None and arena.nbytes >= need
        self._packed, self._prologue, self._body = loaded.packed, loaded.prologue, loaded.body
        self._parts = self.program.parts
        self._complete = False
        self._loops = {i: Loop(self.program.host[i][1], body)
                       for i, body in loaded.bodies.items()}  # fmt: skip
        if arena is not None and self._own_arena:
            self.set(ARENA, arena)
        self.set(PACKED, self._packed.array)
        self.set(CONSTANTS, loaded.constants)

    def twin(self) -> Runner:
        """Another Runner of the same program on the same arrays, for another thread."""
        made = Runner(self.loaded)
        native.ffi.memmove(made._table, self._table, native.ffi.sizeof(self._table))
        own = made.arrays.get(ARENA)
        made.arrays = dict(self.arrays)
        if own is not None:  # what it keeps for itself, not that of the first
            made.set(ARENA, own)
        return made

    def set(self, space: str, array: np.ndarray) -> None:
        """Use this array as a space (one the program does not know is ignored)."""
        if space in self._number:
            if space in self.loaded.frozen:
                self._packed.read_from(space, array)
            self.lend(space, array)
            self.arrays[space] = array

    def lend(self, space: str, array: np.ndarray) -> None:
        """`set` for one run, for which the caller keeps the array."""
        number = self._number.get(space)
        if number is None:
            return
        if array.nbytes < self._need[space] or not array.flags.c_contiguous:
            raise ProgramError(
                f'Space "{space}" needs {self._need[space]} contiguous bytes. '
                f"Received: {array.nbytes} bytes, contiguous: {array.flags.c_contiguous}."
            )
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
        table, buffer = self._table, native.buffer_pointer
        for number, array in zip(numbers, arrays, strict=True):
            if number >= 0:
                table[number] = buffer(array)

    def point_at(self, number: int, address: int) -> None:
        """`point` to memory by its address, which the caller keeps alive."""
        if number >= 0:
            self._table[number] = native.pointer_to(address)

    def run(self, version: Any = None, seconds: np.ndarray | None = None) -> None:
        """Run once. When `version` is not that of the last run, weights have changed and the
        prologue runs first. seconds: one float64 for each instruction, to which time is added."""
        if not self._own_arena:
            self._run_in_idle_arena(version, seconds)
        else:
            self._run_checked(version, seconds)

    def _run_in_idle_arena(self, version: Any, seconds: np.ndarray | None) -> None:
        arena = _take_arena(self._arena_bytes)
        self._table[0] = arena.pointer  # space 0 is the arena
        try:
            self._run_checked(version, seconds)
        finally:
            _give_back(arena)

    def _run_checked(self, version: Any, seconds: np.ndarray | None) -> None:
        if not self._complete:
            self._check_spaces()
        times = _NO_TIMES
        if seconds is not None:
            times = native.ffi.cast("double *", native.pointer(seconds))
        if self._prologue is not None and (version is None or version != self._packed.version):
            self._derive(version, times)
        if seconds is not None:
            times += self.program.prologue
        if self._parts is not None:
            self._run_parts(self._parts, times)
        else:
            self._body.run(self._table, self._body_host, self._body_where, times, self._result)

    def _derive(self, version: Any, times: Any) -> None:
        """Run the prologue, unless another thread has just done it. Whoever passes a version sees
        to it that nobody still runs with an older one."""
        with self._packed.lock:
            if self._prologue and (version is None or version != self._packed.version):
                self._prologue.run(self._table, self._host, self._where, times)
                self._packed.version = version

    def _run_parts(self, parts: Parts, times: Any) -> None:
        """The body once for each part of the batch. Lanes take the next part in turn."""
        left, errors = iter(parts.firsts()), list[BaseException]()

        def lane(arena: Any) -> None:
            try:
                self._run_lane(parts, left, arena, times)
            except BaseException as error:
                errors.append(error)

        others = () if times else [_take_arena(self._arena_bytes) for _ in range(parts.lanes - 1)]
        threads = [threading.Thread(target=lane, args=(arena.pointer,)) for arena in others]
        for thread in threads:
            thread.start()
        lane(self._table[0])
        for thread in threads:
            thread.join()
        for arena in others:
            _give_back(arena)
        if errors:
            raise errors[0]

    def _run_lane(self, parts: Parts, firsts: Iterator[int], arena: Any, times: Any) -> None:
        """The body for parts until none is left, with pointers to their rows."""
        table = native.pointer_table(len(self._table))
        native.ffi.memmove(table, self._table, native.ffi.sizeof(table))
        table[0] = arena
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
    """A `scan` whose body has host instructions, so that C cannot run it: the body's Program, run
    for each step on the rows of its arrays. States go to and fro between two arrays of their own.
    """

    def __init__(self, attrs: Mapping[str, Any], body: Loaded) -> None:
        self._runner = Runner(body)
        self._states, self._kept = attrs["states"], attrs["kept"]
        self._rows = self._states + attrs["sequences"]
        steps = range(attrs["length"])
        self._order = steps[::-1] if attrs["reverse"] else steps
        self._carried: list[list[np.ndarray]] = []

    def run(self, outs: Sequence[np.ndarray], ins: Sequence[np.ndarray]) -> None:
        """Fill the last states and the stacked outputs."""
        first, count = list(ins[: self._states]), self._states
        if not self._carried:
            self._carried = [[np.empty_like(s, order="C") for s in first] for _ in range(2)]
        inputs = [self._number(IN, i) for i in range(count)]
        outputs = [self._number(OUT, i) for i in range(count)]
        for i, array in enumerate(ins[self._rows :], self._rows):
            self._runner.lend(IN(i), array)
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

    def _number(self, kind: Kind, i: int) -> int:
        return self._runner.space_number(kind(i))

    def _rows_of(
        self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]
    ) -> list[tuple[int, int, int]]:
        """(space, address of row 0, bytes of a row) of all arrays of which a step sees one row."""
        found = [(IN, i, ins[i]) for i in range(self._states, self._rows)]
        found += [(OUT, i, outs[i]) for i in range(self._states, len(outs)) if self._kept[i]]
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


def _spaces_written(program: Program) -> set[int]:
    rows = program.instrs
    outs = [program.args["space"][r["arg0"] : r["arg0"] + r["nout"]] for r in rows]
    return {int(i) for part in outs for i in part}


class Crew:
    """Runners of one program, as many as run at the same time. Any thread may use it."""

    def __init__(self, first: Runner) -> None:
        self.first = first
        self._idle = [first]

    def take(self) -> Runner:
        """A Runner for this thread alone, until it is given back."""
        try:
            return self._idle.pop()
        except IndexError:
            return self.first.twin()

    def give_back(self, runner: Runner) -> None:
        """The thread is done with it."""
        self._idle.append(runner)


class Call:
    """A Crew behind a plain call: about 3 us over the C call.

    Args:
        fed: the spaces of the inputs. outputs: of the spaces out0, out1, ...
    """

    def __init__(self, crew: Crew, fed: Iterable[str], outputs: Iterable[Spec]) -> None:
        self._crew, number = crew, crew.first.space_number
        self._fed = [number(space) for space in fed]
        self._dtypes = [s.dtype for s in outputs]
        self._outputs = [(s.shape, np.dtype(storage(s.dtype))) for s in outputs]
        self._is_labelled = BFLOAT16 in self._dtypes
        self._written = [number(OUT(i)) for i in range(len(self._outputs))]

    def __call__(self, arrays: Sequence[np.ndarray], version: Any = None) -> list[np.ndarray]:
        """Outputs for contiguous inputs of the shapes and dtypes that the program was compiled
        for."""
        outs = [np.empty(shape, dtype) for shape, dtype in self._outputs]
        runner = self._crew.take()
        try:
            runner.point_rows(self._fed, arrays)
            runner.point_rows(self._written, outs)
            runner.run(version)
        finally:
            self._crew.give_back(runner)
        return list(map(in_dtype, outs, self._dtypes)) if self._is_labelled else outs

    def one(self, array: np.ndarray, version: Any = None) -> np.ndarray:
        """The same for a program of one input and one output, without lists: 2 us less."""
        out = np.empty(*self._outputs[0])
        runner = self._crew.take()
        try:
            runner.point(self._fed[0], array)
            runner.point(self._written[0], out)
            runner.run(version)
        finally:
            self._crew.give_back(runner)
        return out


def run_graph(
    program: Program, feeds: Mapping[str, np.ndarray], results: Sequence[np.ndarray]
) -> None:
    """Run a program once whose results go to the spaces out0, out1, ..."""
    runner = Runner(program)
    for space, array in feeds.items():
        runner.set(space, array)
    for space, array in OUT.named(results).items():
        runner.set(space, array)
    runner.run()
