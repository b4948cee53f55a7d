"""Graph -> Program: flat arrays that C runs, with every tensor at a fixed place in memory.

In: an optimised Graph and the places of its inputs, parameters and outputs. Out: a Program, which
is arrays and plain data only, so it may cross process borders. Knows no model and no Spark.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import gemm, native
from zoo_keras.engine.loop import compiled_body, loop_numbers, renumbered, wanted
from zoo_keras.engine.spaces import ARENA, CONSTANTS, IN, OUT, PACKED
from zoo_keras.errors import ConfigError, ProgramError, ShapeError
from zoo_keras.graph import CONSTANT, INPUT, PARAMETER, Graph, Leaf, Node, Spec, Tensor
from zoo_keras.passes.fuse import frozen_nodes
from zoo_keras.passes.memory import Buffer, padded, plan
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.recurrent import MATRICES
from zoo_keras.primitives.scan import sequences_of

native.check_registry(
    {op.kernel for op in registry.values() if op.kernel},
    {op.tile for op in registry.values() if op.tile},
)
# Where a product's attributes say who multiplies.
_MULTIPLIER = {"matmul": native.lib.ZK_MATMUL_BY, "dense": native.lib.ZK_DENSE_BY}
_TILED = ("dense_bf16", "conv_bf16", "conv_grad_kernel_bf16")
# Where those of a recurrent kernel or attention say that it rounds to bfloat16.
_ROUNDS = dict.fromkeys(MATRICES, native.lib.ZK_RNN_ROUNDS)
_ROUNDS["attention"] = native.lib.ZK_ATTENTION_ROUNDS


class Place(NamedTuple):
    """A spot in a named memory space, in bytes from its start."""

    space: str
    offset: int = 0


class Parts(NamedTuple):
    """A batch of `rows` that is computed `each` rows at a time, `lanes` parts side by side;
    `row_bytes` of the spaces that have rows."""

    rows: int
    each: int
    row_bytes: dict[str, int]
    lanes: int = 1

    def firsts(self) -> list[int]:
        """The first row of each part; the last part may do rows of the one before again."""
        return [*range(0, self.rows - self.each, self.each), self.rows - self.each]


@dataclass
class Program:
    """Instructions over named spaces. The first `prologue` of them depend on weights only and run
    again only when weights have changed; what they make stays in the space `packed`. With `parts`
    the others run once for each part of the batch, and the spaces with rows hold the whole batch.
    `bodies` are what its loops run for each step, `host` the instructions that numpy computes.
    """

    instrs: np.ndarray
    args: np.ndarray
    attrs: np.ndarray
    spaces: tuple[str, ...]
    space_bytes: tuple[int, ...]
    constants: np.ndarray
    labels: tuple[str, ...]
    host: dict[int, tuple[str, dict[str, Any]]]
    prologue: int
    threads: int
    parts: Parts | None = None
    bodies: tuple[Program, ...] = ()
    isa: str = field(default_factory=native.instruction_set)  # for which it was planned

    def fitted(self) -> Program:
        """The program for the instruction set of this process, which may have come from another.
        Its kernels may need more scratch memory, so theirs then lies behind the rest of the arena.
        ConfigError when a product is to be made by MKL and there is none.
        """
        if self.wants_mkl():
            gemm.require_mkl("A program that was compiled after set_gemm('mkl')")
        isa = native.instruction_set()
        if self.isa == isa:
            return self
        if self.wants_tiles() and not native.has_tiles():
            raise ConfigError(
                "The program multiplies bfloat16 in the tile registers of AMX, because it was made "
                f"on a machine that has them. Received: instruction set {isa}, AMX "
                f"{native.amx_state()}. Start the driver with {native.ISA_VARIABLE}=avx512, or run "
                "on machines with AMX only."
            )
        bodies = tuple(body.fitted() for body in self.bodies)
        return replace(self, bodies=bodies, isa=isa)._with_scratch_behind()

    def _with_scratch_behind(self) -> Program:
        """The program with its kernels' scratch memory, as large as it must be now, behind the rest
        of the arena."""
        attrs = renumbered(self.instrs, self.attrs, bodies=self.bodies)
        needs = [
            native.scratch_bytes(self.instrs[i : i + 1], self.args, attrs, self.threads)
            for i in range(len(self.instrs))
        ]
        instrs, end = self.instrs.copy(), padded(self.space_bytes[0])
        instrs["scratch"] = end
        sizes = (end + max(needs, default=0), *self.space_bytes[1:])
        return replace(self, instrs=instrs, attrs=attrs, space_bytes=sizes)

    def wants_mkl(self) -> bool:
        """Whether MKL computes a product of this program, whose tables C has not checked yet."""
        own = any(self._has(name, at, native.lib.ZK_MKL) for name, at in _MULTIPLIER.items())
        return own or any(body.wants_mkl() for body in self.bodies)

    def wants_tiles(self) -> bool:
        """Whether a product of this program is made for tile registers."""
        products = [native.KERNELS[name] for name in _TILED]
        tiled = np.isin(self.instrs["kernel"], products)
        own = tiled.any() or any(self._has(name, at, 1) for name, at in _ROUNDS.items())
        return bool(own) or any(body.wants_tiles() for body in self.bodies)

    def _has(self, kernel: str, place: int, value: int) -> bool:
        """Whether an attribute of a kernel's instructions has this value somewhere."""
        calls = self.instrs["kernel"] == native.KERNELS[kernel]
        at = self.instrs["attr0"][calls].astype(np.int64) + place
        inside = at[(at >= 0) & (at < len(self.attrs))]
        return bool((self.attrs[inside] == value).any())

    @property
    def nbytes(self) -> int:
        """Bytes of its own tables, labels and constants."""
        tables = (self.instrs, self.args, self.attrs, self.constants)
        own = sum(a.nbytes for a in tables) + 128 * len(self.labels)
        return own + sum(body.nbytes for body in self.bodies)

    def by_numpy(self) -> list[str]:
        """Labels of the instructions that numpy computes, those in bodies of loops included."""
        inner = [attrs["body"] for _, attrs in self.host.values() if "body" in attrs]
        own = [self.labels[i] for i in sorted(self.host)]
        return own + [label for body in inner for label in body.by_numpy()]

    def bytes_of(self, space: str) -> int:
        """The size of a space, 0 when the program does not use it."""
        if self.parts and space in self.parts.row_bytes:
            return self.parts.rows * self.parts.row_bytes[space]
        return dict(zip(self.spaces, self.space_bytes, strict=True)).get(space, 0)


def compile_graph(
    graph: Graph,
    inputs: Mapping[Tensor, Place],
    outputs: Sequence[Place],
    parameter: Callable[[Any], Place],
    freeze: bool = False,
) -> Program:
    """Lower an optimised graph.

    Args:
        inputs: the place of each graph input.
        outputs: the place where each graph output is written.
        parameter: the place of a Variable.
        freeze: weights rarely change: hoist what depends on them alone into the prologue.
    """
    return _Lowering(graph, inputs, outputs, parameter, freeze).program()


@dataclass
class _Storage:
    """Memory of one or several tensors: an outside place, or a buffer of the arena or `packed`."""

    place: Place | None = None
    buffer: Buffer | None = None
    space: str = ARENA

    def where(self) -> Place:
        if self.place is not None:
            return self.place
        if self.buffer is None:
            raise ProgramError("A tensor was never given memory.")
        return Place(self.space, self.buffer.offset)


@dataclass
class _Step:
    """One instruction to be: a node, or a copy of a tensor to a place."""

    node: Node
    outs: list[_Storage]
    ins: list[tuple[_Storage, Spec]]
    scratch: Buffer | None = None
    frozen: bool = False
    out_specs: Sequence[Spec] = field(default_factory=tuple)
    body: Program | None = None  # of a scan


def root(tensor: Tensor) -> Tensor:
    """The tensor whose memory this one shares: reshaping moves no data."""
    while tensor.node.op is registry["reshape"]:
        tensor = tensor.node.inputs[0]
    return tensor


def nbytes(spec: Spec) -> int:
    """Bytes of a dense array."""
    return math.prod(spec.shape) * np.dtype(spec.dtype).itemsize


def _copy_step(tensor: Tensor, source: _Storage, target: _Storage) -> _Step:
    copy = Node(registry["reshape"], [tensor], {"shape": tensor.shape}, [tensor.spec])
    return _Step(copy, [target], [(source, tensor.spec)], out_specs=copy.specs)


class _Lowering:
    def __init__(
        self,
        graph: Graph,
        inputs: Mapping[Tensor, Place],
        outputs: Sequence[Place],
        parameter: Callable[[Any], Place],
        freeze: bool,
    ) -> None:
        self.threads = native.threads()
        self.graph = graph
        self.parameter = parameter
        self.storage = {t: _Storage(place) for t, place in inputs.items()}
        self.blob: list[np.ndarray] = []
        self.blob_size = 0
        work = [n for n in graph.nodes() if not isinstance(n.op, Leaf)]
        work = [n for n in work if n.op is not registry["reshape"]]
        quiet = frozen_nodes(graph) if freeze else set()
        self.frozen = {id(n) for n in work if id(n) in quiet}
        self.order = sorted(work, key=lambda n: id(n) not in self.frozen)  # stable: prologue first
        self.step_of = {id(n): i for i, n in enumerate(self.order)}
        self.end = len(self.order)
        self.last = self._last_uses()
        self.copies: list[tuple[Tensor, Place]] = []
        self._designate(outputs)
        self.steps: list[_Step] = []

    # ---- lifetimes and outputs ---------------------------------------------------------------

    def _last_uses(self) -> dict[Tensor, int]:
        last: dict[Tensor, int] = {}
        for i, node in enumerate(self.order):
            for t in node.inputs:
                last[root(t)] = i
        return last

    def _designate(self, places: Sequence[Place]) -> None:
        """Let outputs be computed where they are wanted; what cannot is copied at the end."""
        readers = self._outside_readers()
        for tensor, place in zip(self.graph.outputs, places, strict=True):
            source = root(tensor)
            if isinstance(source.node.op, Leaf) or self._must_copy(source, place, readers):
                self.copies.append((tensor, place))
                self.last[source] = self.end + 2 * len(places)
            else:
                self.storage[source] = _Storage(place)
        self.copies = [c for c in self.copies if self._outside(c[0]) != c[1]]
        self.copies.sort(key=lambda c: self._outside(c[0]) is None)

    def _outside_readers(self) -> dict[Place, list[int]]:
        """The steps that read each input or parameter; being an output counts as the end."""
        readers: dict[Place, list[int]] = {}
        reads = [(i, t) for i, node in enumerate(self.order) for t in node.inputs]
        for i, tensor in [*reads, *[(self.end, t) for t in self.graph.outputs]]:
            place = self._outside(tensor)
            if place is not None:
                readers.setdefault(place, []).append(i)
        return readers

    def _must_copy(self, source: Tensor, place: Place, readers: dict[Place, list[int]]) -> bool:
        if source in self.storage or id(source.node) in self.frozen:
            return True
        made = self.step_of[id(source.node)]
        reads = readers.get(place, [])
        if any(r > made for r in reads):
            return True
        return made in reads and not self._may_overwrite(source, place)

    def _may_overwrite(self, source: Tensor, place: Place) -> bool:
        """Whether the node may write where it reads: it reads the same elements in step."""
        node = source.node
        here = [j for j, t in enumerate(node.inputs) if self._outside(t) == place]
        if node.op.elementwise:
            return all(node.inputs[j].shape == source.shape for j in here)
        taken = node.op.inplace[source.index] if source.index < len(node.op.inplace) else None
        return here == [taken]

    def _outside(self, tensor: Tensor) -> Place | None:
        """The place of a graph input or parameter; None for other tensors."""
        base = root(tensor)
        if base.node.op is PARAMETER:
            return self.parameter(base.node.attrs["variable"])
        return self._of(base).place if base.node.op is INPUT else None

    # ---- storage -----------------------------------------------------------------------------

    def _of(self, tensor: Tensor) -> _Storage:
        base = root(tensor)
        if base not in self.storage:
            self.storage[base] = self._leaf(base)
        return self.storage[base]

    def _leaf(self, tensor: Tensor) -> _Storage:
        node = tensor.node
        if node.op is CONSTANT:
            return _Storage(Place(CONSTANTS, self._add_constant(node.attrs["value"])))
        if node.op is PARAMETER:
            return _Storage(self.parameter(node.attrs["variable"]))
        if node.op is INPUT:
            raise ProgramError(f'Graph input "{node.attrs["name"]}" was given no place.')
        raise ProgramError(f"{node.op.name}: read before it is computed.")

    def _add_constant(self, value: np.ndarray) -> int:
        offset = self.blob_size
        self.blob.append(np.ascontiguousarray(value))
        self.blob_size = offset + padded(value.nbytes)
        return offset

    def _outputs(self, node: Node, step: int) -> list[_Storage]:
        made: list[_Storage] = []
        for tensor in node.outputs:
            if tensor not in self.storage:
                taken = self._taken_over(tensor, step, made)
                self.storage[tensor] = taken or self._new_buffer(tensor, step)
            made.append(self.storage[tensor])
        return made

    def _new_buffer(self, output: Tensor, step: int) -> _Storage:
        buffer = Buffer(nbytes(output.spec), step, self.last.get(output, step))
        return _Storage(None, buffer, PACKED if id(output.node) in self.frozen else ARENA)

    def _taken_over(self, output: Tensor, step: int, made: Sequence[_Storage]) -> _Storage | None:
        """The buffer of an input that dies here and may be overwritten; `made`: earlier outputs."""
        node = output.node
        for j in _candidates(node, output.index):
            tensor = root(node.inputs[j])
            held = self.storage.get(tensor)
            if held is None or held.buffer is None or held.space != ARENA:
                continue
            if any(held is other for other in made):
                continue
            fits = held.buffer.size == nbytes(output.spec)
            alone = sum(root(t) is tensor for t in node.inputs) == 1 or node.op.elementwise
            if fits and alone and held.buffer.last == step:
                held.buffer.last = self.last.get(output, step)
                return held
        return None

    # ---- instructions ------------------------------------------------------------------------

    def program(self) -> Program:
        for i, node in enumerate(self.order):
            ins = [(self._of(t), t.spec) for t in node.inputs]
            made = _Step(node, [], ins, frozen=id(node) in self.frozen, out_specs=node.specs)
            made.outs = self._outputs(node, i)
            if node.op is registry["scan"]:
                self._add_body(made)
            self.steps.append(made)
        sources = self._snapshots()
        for (tensor, place), source in zip(self.copies, sources, strict=True):
            self.steps.append(_copy_step(tensor, source, _Storage(place)))
        return self._emit()

    def _add_body(self, step: _Step) -> None:
        """Compile the body. When C can run it, its constants are one more input of the loop."""
        step.body = body = compiled_body(
            step.node.attrs, lambda g: _body_program(g, step.node.attrs)
        )
        if not body.host:
            place = Place(CONSTANTS, self._add_constant(body.constants))
            step.ins.append((_Storage(place), Spec(body.constants.shape, "uint8")))

    def _snapshots(self) -> list[_Storage]:
        """What each copy reads. What an earlier copy overwrites (variables that are swapped) is
        saved in the arena first."""
        written: set[Place] = set()
        found = []
        for tensor, place in self.copies:
            source = self._of(tensor)
            if source.place in written:
                step, last = len(self.steps), self.end + 2 * len(self.copies)
                kept = _Storage(buffer=Buffer(nbytes(tensor.spec), step, last))
                self.steps.append(_copy_step(tensor, source, kept))
                source = kept
            found.append(source)
            written.add(place)
        return found

    def _emit(self) -> Program:
        tables = _Tables(self.steps)
        for i, step in enumerate(self.steps):
            size = tables.scratch_bytes(i, self.threads)
            step.scratch = Buffer(size, i, i) if size else None
        spaces = self._place_all()
        sizes = tables.locate(self.steps, spaces)
        blob = np.zeros(max(self.blob_size, 1), np.uint8)
        at = 0
        for value in self.blob:
            blob[at : at + value.nbytes] = value.reshape(-1).view(np.uint8)
            at += padded(value.nbytes)
        sizes[spaces.index(CONSTANTS)] = blob.nbytes
        return Program(tables.instrs, tables.args, tables.attrs, tuple(spaces), tuple(sizes), blob,
                       tuple(tables.labels), tables.host, len(self.frozen), self.threads,
                       bodies=tuple(tables.bodies))  # fmt: skip

    def _place_all(self) -> list[str]:
        """Plan the arena and `packed`; returns the names of all spaces in use."""
        stores = {id(s): s for step in self.steps for s in [*step.outs, *[i for i, _ in step.ins]]}
        for space in (ARENA, PACKED):
            buffers = [s.buffer for s in stores.values() if s.buffer and s.space == space]
            if space == ARENA:
                buffers += [step.scratch for step in self.steps if step.scratch]
            plan(buffers)
        names = [ARENA, CONSTANTS, PACKED]
        for store in stores.values():
            if store.place and store.place.space not in names:
                names.append(store.place.space)
        return names


class _Tables:
    """The arrays of a Program while they are filled."""

    def __init__(self, steps: Sequence[_Step]) -> None:
        self.labels = [_label(s.node) for s in steps]
        self.host: dict[int, tuple[str, dict[str, Any]]] = {}
        self.bodies: list[Program] = []
        self.specs: list[Spec] = []  # of all arguments
        numbers: list[float] = []
        instrs = []
        for i, step in enumerate(steps):
            kernel, attrs = self._kernel(i, step)
            sizes = len(step.outs), len(step.ins)
            instrs.append((kernel, *sizes, len(self.specs), len(numbers), len(attrs), 0))
            self.specs += [*step.out_specs, *[spec for _, spec in step.ins]]
            self._check_ranks(i, self.specs[instrs[i][3] :])
            numbers += attrs
        self.instrs = np.array(instrs, native.INSTR)
        rows = [native.arg_row(0, 0, *spec) for spec in self.specs or [Spec((), "float32")]]
        self.args = np.array(rows, native.ARG)
        self.attrs = np.array([*numbers, 0.0], np.float64)

    def _check_ranks(self, i: int, specs: Sequence[Spec]) -> None:
        highest = max(specs, key=lambda s: len(s.shape))
        if len(highest.shape) > native.MAX_DIMS:
            raise ShapeError(
                f"{self.labels[i]}: a tensor has at most {native.MAX_DIMS} dimensions. Received: "
                f"shape {highest.shape}. Merge some axes with ops.reshape."
            )

    def _kernel(self, i: int, step: _Step) -> tuple[int, list[float]]:
        op, specs = step.node.op, [spec for _, spec in step.ins]
        if op.has_kernel_for(specs, step.out_specs):
            native.check_registry({op.kernel}, set())
            numbers = op.attrs_to_c(step.node.attrs, specs, list(step.out_specs))
            return native.KERNELS[op.kernel], [float(n) for n in numbers]
        if step.body and not step.body.host:
            self.bodies.append(step.body)
            sizes = len(step.outs), len(step.ins)
            return native.lib.ZK_LOOP, loop_numbers(step.node.attrs, step.body,
                                                    len(self.bodies) - 1, *sizes)  # fmt: skip
        if op.kernel or op.tile:
            _warn_of_slow_dtypes(self.labels[i], [*specs, *step.out_specs])
        self.host[i] = (op.name, _host_attrs(step))
        return native.lib.ZK_HOST, []

    def scratch_bytes(self, i: int, threads: int) -> int:
        """Scratch memory of instruction i."""
        if i in self.host:
            return 0
        size = native.scratch_bytes(self.instrs[i : i + 1], self.args, self.attrs, threads)
        if size < 0:
            raise ProgramError(f"{self.labels[i]}: the engine cannot size its scratch memory.")
        return size

    def locate(self, steps: Sequence[_Step], spaces: Sequence[str]) -> list[int]:
        """Write down where everything is; returns how many bytes of each space are touched."""
        number = {name: i for i, name in enumerate(spaces)}
        sizes = [0] * len(spaces)
        stores = [store for step in steps for store in (*step.outs, *[s for s, _ in step.ins])]
        places = [store.where() for store in stores]
        for place, spec in zip(places, self.specs, strict=True):
            i = number[place.space]
            sizes[i] = max(sizes[i], place.offset + nbytes(spec))
        self.args["space"][: len(places)] = [number[p.space] for p in places]
        self.args["offset"][: len(places)] = [p.offset for p in places]
        for i, step in enumerate(steps):
            if step.scratch:
                self.instrs["scratch"][i] = step.scratch.offset
                sizes[0] = max(sizes[0], step.scratch.end)
        return sizes


_SLOW_DTYPES = {"float64", "float16"}
_warned: set[str] = set()  # dtypes, in this process


def _warn_of_slow_dtypes(label: str, specs: Sequence[Spec]) -> None:
    """Say once for each dtype that numpy computes what is in it."""
    for dtype in sorted(_SLOW_DTYPES & {s.dtype for s in specs} - _warned):
        _warned.add(dtype)
        warnings.warn(
            f"{label}: {dtype} is computed by numpy, many times more slowly than float32, for "
            f"which the engine has kernels. Received: a program with {dtype} tensors. Use the "
            'dtype "float32" or the policy "mixed_bfloat16" where speed matters.',
            stacklevel=2,
        )


def _label(node: Node) -> str:
    return f'layer "{node.scope}", {node.op.name}' if node.scope else str(node.op.name)


def _body_program(graph: Graph, attrs: dict[str, Any]) -> Program:
    """A step over the spaces in0.. and out0..; what it reads of a model enters it as an input."""
    places = {t: Place(IN(i)) for i, t in enumerate(graph.inputs)}
    results = [Place(OUT(i)) for i, k in enumerate(wanted(attrs)) if k]
    return compile_graph(graph, places, results, lambda v: Place(v.path))


def _host_attrs(step: _Step) -> dict[str, Any]:
    """The attributes of a host instruction; a body is a Program."""
    attrs: dict[str, Any] = step.node.attrs
    if step.body is None:
        return attrs
    sequences = sequences_of(attrs["body"], attrs["states"])
    return {**attrs, "body": step.body, "sequences": sequences}


def _candidates(node: Node, index: int) -> Sequence[int]:
    """Inputs whose memory this output may take over."""
    if node.op.elementwise:
        return [j for j, t in enumerate(node.inputs) if t.shape == node.specs[index].shape]
    return [node.op.inplace[index]] if index < len(node.op.inplace) else []


def join(first: Program, second: Program, renamed: Mapping[str, str] | None = None) -> Program:
    """One program that runs both in turn; spaces of the same name are the same memory.

    Args:
        renamed: new names for spaces of the second, such as {OUT(0): NORMS}.
    """
    if first.prologue or second.prologue:
        raise ProgramError("Programs with a prologue cannot be joined.")
    renamed = renamed or {}
    theirs = [renamed.get(name, name) for name in second.spaces]
    spaces = list(dict.fromkeys([*first.spaces, *theirs]))
    needs = [*zip(first.spaces, first.space_bytes), *zip(theirs, second.space_bytes)]
    sizes = [max(size for name, size in needs if name == space) for space in spaces]
    shift = padded(first.constants.nbytes)
    sizes[spaces.index(CONSTANTS)] = shift + second.constants.nbytes
    args, instrs = second.args.copy(), second.instrs.copy()
    args["offset"][args["space"] == second.spaces.index(CONSTANTS)] += shift
    args["space"] = np.array([spaces.index(n) for n in theirs], np.int32)[args["space"]]
    instrs["arg0"] += len(first.args)
    instrs["attr0"] += len(first.attrs)
    constants = np.zeros(shift + second.constants.nbytes, np.uint8)
    constants[: first.constants.nbytes] = first.constants
    constants[shift:] = second.constants
    host = {**first.host, **{i + len(first.instrs): call for i, call in second.host.items()}}
    joined = Program(
        np.concatenate([first.instrs, instrs]), np.concatenate([first.args, args]),
        np.concatenate([first.attrs, renumbered(second.instrs, second.attrs, len(first.bodies))]),
        tuple(spaces), tuple(sizes), constants, first.labels + second.labels, host, 0,
        min(first.threads, second.threads), bodies=first.bodies + second.bodies,
    )  # fmt: skip
    return joined if first.threads == second.threads else joined._with_scratch_behind()
