"""The only importer of the C module. In: flat tables and arrays. Out: arrays filled in.

Turns C's codes and messages into exceptions in one place, reads from C what both sides must know
alike (tables of arguments, kernel names, attribute places), chooses the instruction set, and
decides how many threads are used. Knows no graph and no model.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from zoo_keras.errors import DataError, ProgramError

try:
    from zoo_keras._zk import ffi, lib
except ImportError as error:  # a source checkout that was never built, or a broken install
    raise ImportError(
        "The C engine of zoo_keras is missing or was built for another Python or machine "
        f"({error}). Install the wheel, or run `python csrc/build.py --inplace` in a checkout."
    ) from error


def _table_row(name: str) -> np.dtype:
    """A C struct of whole numbers as numpy's dtype; cffi has compared it with the compiler's."""
    row: dict[str, Any] = {"names": [], "formats": [], "offsets": [], "itemsize": ffi.sizeof(name)}
    for field, place in ffi.typeof(name).fields:
        array = place.type.kind == "array"
        item = place.type.item if array else place.type
        row["names"].append(field)
        row["formats"].append((f"i{ffi.sizeof(item)}", (place.type.length,) if array else ()))
        row["offsets"].append(place.offset)
    return np.dtype(row)  # type: ignore[call-overload]


MAX_DIMS: int = lib.ZK_DIMS
ARG, INSTR = _table_row("zk_arg"), _table_row("zk_instr")
ISA_VARIABLE = "ZOO_KERAS_ISA"
ISAS = ("base", "avx2", "avx512", "amx")  # of all machines, the narrowest first


def _names(function: Any) -> list[str]:
    found: list[str] = []
    while (name := function(len(found))) != ffi.NULL:
        found.append(ffi.string(name).decode())
    return found


DTYPES = {name: i for i, name in enumerate(_names(lib.zk_dtype_name))}
KERNELS = {name: i for i, name in enumerate(_names(lib.zk_kernel_name))}
TILES = {name: i for i, name in enumerate(_names(lib.zk_tile_name))}


def constants() -> dict[str, int]:
    """The numbers that C shares by name: places of attributes, codes and limits."""
    return {name: getattr(lib, name) for name in sorted(dir(lib)) if name.startswith("ZK_")}


def attributes(kernel: str, /, **values: Any) -> list[float]:
    """Attribute numbers in C's order: each value, or run of values, at the place that zk.h names
    ZK_<kernel>_<NAME>. All places up to the last are filled.

    >>> attributes("MATMUL", transpose_a=True, transpose_b=False, by=0)
    [1.0, 0.0, 0.0]
    """
    placed = sorted((getattr(lib, f"ZK_{kernel}_{n.upper()}"), n) for n in values)
    found: list[float] = []
    for place, name in placed:
        if place != len(found):
            raise ProgramError(
                f"{kernel}: attribute {name!r} lies at place {place} in C. Received: {len(found)} "
                "numbers before it. Give every attribute that zk.h names, in its length."
            )
        value = values[name]
        found += map(float, value if isinstance(value, (tuple, list)) else [value])
    return found


_threads: int | None = None
_here: ContextVar[int | None] = ContextVar("zoo_keras.threads", default=None)


def threads() -> int:
    """Threads for programs compiled from now on: those of a `using_threads` block of this thread,
    set_threads, ZK_THREADS, or all cores allowed."""
    chosen = _here.get() or _threads or int(os.environ.get("ZK_THREADS", 0))
    return chosen or int(lib.zk_threads_online())


def set_threads(count: int | None) -> None:
    """The default of this process (None: as at the start). A Spark task gives spark.task.cpus."""
    global _threads
    if count is not None and count < 1:
        raise ValueError(f"set_threads: the count must be at least 1. Received: {count}.")
    _threads = count


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Programs that this thread compiles in this block are for so many threads."""
    token = _here.set(count)
    try:
        yield
    finally:
        _here.reset(token)


def settings() -> tuple[int | None, int | None, int]:
    """Equal when programs compiled now and then are for the same threads and instructions."""
    return _here.get(), _threads, _isa_changes


_isa_changes = 0


def instruction_set() -> str:
    """The instruction set in use: "amx" (avx512 and tile registers), "avx512", "avx2" or "base"."""
    return ffi.string(lib.zk_isa()).decode()


def amx_state() -> str:
    """AMX of this machine: "present", "absent", "refused" by the system, or "emulated"."""
    return ffi.string(lib.zk_amx_state()).decode()


def has_tiles() -> bool:
    """Whether programs made now may multiply bfloat16 in tile registers."""
    return instruction_set() == "amx"


def set_instruction_set(name: str) -> None:
    """Switch to another built-in instruction set; for tests and comparisons. Programs that are
    ready to run keep theirs."""
    global _isa_changes
    _isa_changes += 1
    if lib.zk_set_isa(name.encode()):
        raise ProgramError(
            f"Instruction set not built in or not supported by this CPU. Received: {name!r}. "
            f"Use one of {', '.join(map(repr, instruction_sets()))}."
        )


def instruction_sets() -> list[str]:
    """The instruction sets that are built in and that this CPU has, the widest first."""
    return _names(lib.zk_isa_name)


def _obey_environment() -> None:
    """The instruction set that the user pins for this process, so that machines compute alike."""
    wanted = os.environ.get(ISA_VARIABLE)
    if wanted and lib.zk_set_isa(wanted.encode()):
        raise ImportError(
            f"The environment variable {ISA_VARIABLE} names no instruction set of this machine. "
            f"Received: {wanted!r}. Use one of {', '.join(map(repr, instruction_sets()))}, or "
            "unset it for the widest."
        )


_obey_environment()


def build() -> str:
    """A digest of the C sources and compiler flags that the library was built from."""
    return ffi.string(lib.zk_build()).decode()


def compiler() -> str:
    """The version of the compiler that built the library."""
    return ffi.string(lib.zk_compiler()).decode()


def check_registry(kernels: set[str], tiles: set[str]) -> None:
    """Raise ImportError when an op names a kernel or tile function that C does not have."""
    missing = sorted(kernels - KERNELS.keys()) + sorted(tiles - TILES.keys())
    if missing:
        raise ImportError(
            f"The C engine lacks {', '.join(missing)}: the build is older than the source. "
            "Run `python csrc/build.py --inplace` or install again."
        )


def scratch_bytes(instr: np.ndarray, args: np.ndarray, attrs: np.ndarray, count: int) -> int:
    """Scratch memory that one instruction (an INSTR row) wants for `count` threads."""
    return lib.zk_scratch_bytes(
        ffi.cast("zk_instr *", ffi.from_buffer(instr)),
        ffi.cast("zk_arg *", ffi.from_buffer(args)),
        ffi.cast("double *", ffi.from_buffer(attrs)),
        count,
    )


class Executable:
    """A checked program in C. `spaces` at each run are one buffer per memory space."""

    def __init__(
        self,
        instrs: np.ndarray,
        args: np.ndarray,
        attrs: np.ndarray,
        space_bytes: Sequence[int],
        count: int,
        bodies: Sequence[Executable] = (),
    ) -> None:
        err = ffi.new("char[256]")
        self._handle: Any = None
        self._bodies = list(bodies)  # C reads them as long as this program lives
        inner = ffi.new("zk_program *[]", [body._handle for body in bodies])
        sizes = np.asarray(space_bytes, np.int64)
        handle = lib.zk_program_new(
            ffi.cast("zk_instr *", ffi.from_buffer(instrs)), len(instrs),
            ffi.cast("zk_arg *", ffi.from_buffer(args)), len(args),
            ffi.cast("double *", ffi.from_buffer(attrs)), len(attrs),
            ffi.cast("int64_t *", ffi.from_buffer(sizes)), len(sizes),
            inner, len(bodies), count, err, 256,
        )  # fmt: skip
        if handle == ffi.NULL:
            raise ProgramError(f"The engine refused the program: {ffi.string(err).decode()}.")
        self._handle = ffi.gc(handle, lib.zk_program_free)
        self.size = len(instrs)

    def run(
        self, pointers: Any, host: Callable[[int], None], where: Callable[[int], str],
        seconds: Any = ffi.NULL, result: Any = None,
    ) -> None:  # fmt: skip
        """Run to the end; `host(i)` computes instruction i, `where(i)` names it in an error.
        Several threads may run it at once, each with pointers and a `new_result` of its own."""
        result = result or new_result()
        at = lib.zk_run(self._handle, pointers, 0, result, seconds)
        while at != self.size:
            if at < 0:
                message = ffi.string(result.message).decode()
                raise DataError(f"{where(result.instr)}: {message}")
            host(at)
            at = lib.zk_run(self._handle, pointers, at + 1, result, seconds)


def new_result() -> Any:
    """Room for what a run reports."""
    return ffi.new("zk_result *")


class Gather:
    """Rows order[0], order[1], ... of each array of shape (rows, ...).

    Arrays must be contiguous and hold no objects.

    Args:
        ahead: threads of the engine that are idle may begin at once. Arrays must not change then.

    Raises:
        DataError: an array has not all these rows.
    """

    def __init__(
        self, arrays: Sequence[np.ndarray], order: np.ndarray, ahead: bool = False
    ) -> None:
        order = np.ascontiguousarray(order, np.int64)
        self._found = [np.empty((len(order), *a.shape[1:]), a.dtype) for a in arrays]
        tables = ffi.new("zk_rows[]", len(arrays))
        for table, to, source in zip(tables, self._found, arrays, strict=True):
            table.to, table.source, table.rows = pointer(to), pointer(source), len(source)
            table.bytes = source.itemsize * math.prod(source.shape[1:])
        rows = ffi.from_buffer("int64_t[]", order)
        self._kept = arrays, order, tables, rows  # in place until all is copied
        self._batch = ffi.new("zk_batch *", (tables, rows, len(order), 0, len(arrays), 0))
        wrong = lib.zk_gather_begin(self._batch, ahead, threads())
        if wrong >= 0:
            raise DataError(
                f"A batch asks for rows that array {wrong} does not have. Received: rows "
                f"{order.min()} to {order.max()} of {len(arrays[wrong])}. Number rows from 0."
            )

    def rows(self) -> list[np.ndarray]:
        """The rows of each array, once all are there. To be called once."""
        lib.zk_gather_rows(self._batch, threads())
        return self._found

    def __del__(self) -> None:
        if self._batch.promised:  # nobody wants the rows any more, but threads still write them
            lib.zk_gather_rows(self._batch, 1)


def permutation(count: int, seed: np.ndarray) -> np.ndarray:
    """The numbers 0 to count - 1 in an order of which each is equally likely, as int64. It takes
    0.6 of the time of a sort of random keys, and numpy's twice that of a sort.

    Args:
        seed: four uint64, not all 0.
    """
    order, scratch = np.empty(count, np.int64), np.empty(count, np.uint8)
    lib.zk_permutation(
        ffi.from_buffer("int64_t[]", order), count,
        ffi.from_buffer("uint64_t[4]", seed), ffi.from_buffer("uint8_t[]", scratch),
        threads(),
    )  # fmt: skip
    return order


def pointer(array: np.ndarray) -> Any:
    """The address of an array's first byte; the caller keeps the array alive."""
    return ffi.cast("void *", array.__array_interface__["data"][0])


def address(array: np.ndarray) -> int:
    """The address of an array's first byte as a number."""
    return int(array.__array_interface__["data"][0])


def number_of(pointer: Any) -> int:
    """The address that a pointer holds."""
    return int(ffi.cast("intptr_t", pointer))


def pointer_to(number: int) -> Any:
    """The pointer to an address."""
    return ffi.cast("void *", number)


def array_at(address: Any, offset: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The array at an address plus so many bytes; valid while the memory is."""
    count = math.prod(shape)
    if not count:
        return np.empty(shape, dtype)
    raw = ffi.buffer(ffi.cast("char *", address) + offset, count * dtype.itemsize)
    return np.frombuffer(raw, dtype).reshape(shape)


# Like `pointer`, through the buffer protocol: quicker, for contiguous writable arrays.
buffer_pointer: Callable[[Any], Any] = ffi.from_buffer


def pointer_table(count: int) -> Any:
    """Room for `count` space pointers."""
    return ffi.new("void *[]", count)


def aligned(nbytes: int) -> np.ndarray:
    """A zeroed uint8 array whose first byte lies on a 64-byte border."""
    raw = np.zeros(nbytes + 64, np.uint8)
    start = -raw.__array_interface__["data"][0] % 64
    return raw[start : start + nbytes]


def slice_op(kernel: str, dst: np.ndarray, src: np.ndarray, number: float = 0.0) -> None:
    """dst = kernel(dst, src) over equally long one-dimensional arrays, in place."""
    if dst.size != src.size or not (dst.flags.c_contiguous and src.flags.c_contiguous):
        raise ProgramError(f"{kernel}: slices must be contiguous and equally long.")
    if lib.zk_slice(kernel.encode(), pointer(dst), pointer(src), dst.size, number, threads()):
        raise ProgramError(f"{kernel}: no such kernel, or it failed.")


def arg_row(space: int, offset: int, shape: Sequence[int], dtype: str) -> tuple[Any, ...]:
    """One row of an argument table, as a tuple."""
    if dtype not in DTYPES:
        raise DataError(
            f"The engine has no kernels for {dtype}. Received: values of that dtype. Give real and "
            "imaginary parts; single ops take complex arrays."
        )
    dims = (*shape, *[0] * (MAX_DIMS - len(shape)))
    return space, DTYPES[dtype], len(shape), 0, offset, dims


def fill_arg(row: Any, space: int, offset: int, shape: Sequence[int], dtype: str) -> None:
    """Write one row of an argument table."""
    for field, value in zip(ARG.names or (), arg_row(space, offset, shape, dtype), strict=True):
        row[field] = value


def call_kernel(
    name: str,
    out_specs: Sequence[tuple[Sequence[int], str]],
    inputs: Sequence[np.ndarray],
    attrs: Sequence[float] = (),
    count: int = 2,
) -> list[np.ndarray]:
    """Run one kernel by itself on arrays; for tests and measurements."""
    outs = [np.empty(shape, dtype) for shape, dtype in out_specs]
    arrays = [*outs, *[np.ascontiguousarray(a) for a in inputs]]
    args = np.zeros(len(arrays), ARG)
    for i, a in enumerate(arrays):
        args[i] = arg_row(i + 1, 0, a.shape, a.dtype.name)
    instrs = np.zeros(1, INSTR)
    instrs[0] = (KERNELS[name], len(outs), len(inputs), 0, 0, len(attrs), 0)
    numbers = np.array([*attrs, 0.0], np.float64)
    arena = aligned(scratch_bytes(instrs, args, numbers, count))
    made = Executable(instrs, args, numbers, [arena.nbytes, *[a.nbytes for a in arrays]], count)
    table = pointer_table(len(arrays) + 1)
    for i, a in enumerate([arena, *arrays]):
        table[i] = pointer(a)
    made.run(table, lambda i: None, lambda i: name)
    return outs
