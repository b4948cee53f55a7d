"""Nodes and graphs: what is to be computed, with concrete shapes and dtypes, and no numbers but
constants. Nodes are immutable; a pass makes new ones. Knows no device, no layer and no model.

Three ops have no inputs: `input` (fed at each run), `parameter` (a Variable) and `constant`.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo_keras.bfloat16 import BFLOAT16, Bfloat16, foreign, in_dtype
from zoo_keras.dtypes import native
from zoo_keras.errors import ShapeError


class Spec(NamedTuple):
    """Shape and dtype of one tensor; every dimension is a known integer."""

    shape: tuple[int, ...]
    dtype: str


class Node:
    """One op applied to tensors. `specs` holds one Spec for each output; `known` the arrays of the
    outputs, where somebody has asked for them (see `Tensor.known`)."""

    __slots__ = ("attrs", "inputs", "known", "op", "outputs", "scope", "specs")

    def __init__(
        self,
        op: Any,
        inputs: Iterable[Tensor],
        attrs: dict[str, Any],
        specs: Iterable[Spec],
        scope: str = "",
    ) -> None:
        self.op = op
        self.inputs = tuple(inputs)
        self.attrs = attrs
        self.specs = tuple(specs)
        self.scope = scope
        self.known: tuple[np.ndarray, ...] | None = None
        self.outputs = tuple([Tensor(self, i) for i in range(len(self.specs))])

    def __repr__(self) -> str:
        return f"<Node {self.op.name} {self.specs}>"


class Operators:
    """What type checkers see of the operators that `install_operators` gives a class."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __getitem__(self, key: Any) -> Any: ...
        def __add__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...


class Tensor(Operators):
    """One output of a node. Arithmetic on it calls the ops in `zoo_keras.ops`."""

    __slots__ = ("index", "node")
    __array_priority__ = 100

    def __init__(self, node: Node, index: int) -> None:
        self.node = node
        self.index = index

    @property
    def spec(self) -> Spec:
        return self.node.specs[self.index]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.shape

    @property
    def dtype(self) -> str:
        return self.spec.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a scalar tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        known = self.known()
        if known is not None:
            return bool(known)
        raise TypeError(
            "A symbolic tensor has no truth value while a model is traced. Received: an `if`, "
            "`and`, `or` or `not` on a tensor. Use zoo_keras.ops.where or ops.logical_and/or/not."
        )

    def known(self) -> np.ndarray | None:
        """The array that this tensor stands for: None while a model is traced, what the ops give in
        a trace of arrays (see `EagerTrace`)."""
        return evaluated(self)

    def numpy(self) -> np.ndarray:
        """The array; TypeError where there are no values yet."""
        return np.asarray(self)

    def __float__(self) -> float:
        return float(self.numpy())

    def __int__(self) -> int:
        return int(self.numpy())

    def __index__(self) -> int:
        return self.numpy().__index__()

    def __format__(self, spec: str) -> str:
        known = self.known() if spec else None
        return repr(self) if known is None else format(known[()], spec)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return ufunc_operator(ufunc, method, inputs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        known = self.known()
        if known is not None:
            return np.array(known, dtype=dtype, copy=copy)
        raise TypeError(
            "A symbolic tensor has no values yet, so numpy cannot take it. Use the functions of "
            "zoo_keras.ops in place of numpy's inside `call`."
        )

    def __repr__(self) -> str:
        known = self.known()
        values = "" if known is None else f" values={known}"
        return f"<Tensor {self.node.op.name} shape={self.shape} dtype={self.dtype}{values}>"


# numpy's functions for Python's operators: `array + tensor` reaches us as np.add.
_UFUNCS = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "truediv", "power": "pow",
    "floor_divide": "floordiv", "remainder": "mod", "matmul": "matmul", "less": "lt",
    "less_equal": "le", "greater": "gt", "greater_equal": "ge", "equal": "eq", "not_equal": "ne",
}  # fmt: skip


def ufunc_operator(ufunc: Any, method: str, inputs: tuple[Any, ...]) -> Any:
    """What np.add(array, tensor) and the like mean; TypeError for numpy's other functions."""
    name = _UFUNCS.get(ufunc.__name__)
    if method != "__call__" or name is None:
        raise TypeError(
            f"A symbolic tensor has no values yet, so numpy cannot take it. Received: np."
            f"{ufunc.__name__} of a tensor. Use zoo_keras.ops.{ufunc.__name__} inside `call`."
        )
    return operators[name](*inputs)


# Filled in by zoo_keras.ops: Python's operator name -> op function.
operators: dict[str, Callable[..., Any]] = {}
_BINARY = "add sub mul truediv floordiv mod pow matmul".split()
_COMPARE = "lt le gt ge eq ne and or xor".split()
_UNARY = "neg abs invert round getitem".split()


def install_operators(cls: type) -> None:
    """Give a class Python's operators, looked up in `operators` when they are used."""

    def method(name: str, swap: bool = False) -> Callable[..., Any]:
        def call(self: Any, *args: Any) -> Any:
            return operators[name](*((*args, self) if swap else (self, *args)))

        return call

    for name in _BINARY + _COMPARE + _UNARY:
        setattr(cls, f"__{name}__", method(name))
    for name in [*_BINARY, "and", "or", "xor"]:
        setattr(cls, f"__r{name}__", method(name, swap=True))
    cls.__hash__ = object.__hash__  # type: ignore[assignment]


install_operators(Tensor)
_item = Bfloat16.__getitem__
install_operators(Bfloat16)  # numpy's own would give float32
Bfloat16.__getitem__ = _item  # type: ignore[method-assign]
for _name in _BINARY:
    setattr(Bfloat16, f"__i{_name}__", getattr(Bfloat16, f"__{_name}__"))


class Leaf:
    """The op of a node without inputs. To all that passes ask of an op (`ops.op.Op`) it says no."""

    elementwise = random = cheap = keeps_rounding = False
    rows = axes = neutral = activation = with_bias = with_residual = packed = takes_scale = None
    epilogue: frozenset[str] = frozenset()
    counts_rows: frozenset[str] = frozenset()

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<Leaf {self.name}>"


INPUT, PARAMETER, CONSTANT = Leaf("input"), Leaf("parameter"), Leaf("constant")


def input_tensor(name: str, shape: Iterable[int], dtype: str = "float32") -> Tensor:
    """A tensor whose values are fed at each run."""
    spec = Spec(tuple(int(d) for d in shape), dtype)
    return Node(INPUT, (), {"name": name}, [spec]).outputs[0]


def constant(value: Any, dtype: str | None = None) -> Tensor:
    """A tensor whose values are known while tracing."""
    if dtype == BFLOAT16 or (dtype is None and isinstance(value, Bfloat16)):
        array: np.ndarray = in_dtype(np.array(value), BFLOAT16)
    else:
        array = foreign(native(np.array(value, dtype=dtype)))
    array.setflags(write=False)
    return Node(CONSTANT, (), {"value": array}, [Spec(array.shape, array.dtype.name)]).outputs[0]


class Graph:
    """Inputs (fed), outputs (read), and every node between them."""

    def __init__(self, inputs: Iterable[Tensor], outputs: Iterable[Tensor]) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._nodes: tuple[Node, ...] | None = None
        self._readers: dict[Tensor, list[Node | None]] | None = None

    def nodes(self) -> Sequence[Node]:
        """All nodes that the outputs need, each after its inputs; the order is deterministic."""
        if self._nodes is None:
            self._nodes = tuple(topological(t.node for t in self.outputs))
        return self._nodes

    def readers(self) -> dict[Tensor, list[Node | None]]:
        """Who reads each tensor, if anybody does; None stands for being an output."""
        if self._readers is None:
            self._readers = {t: [] for node in self.nodes() for t in node.outputs}
            for node in self.nodes():
                for t in node.inputs:
                    self._readers[t].append(node)
            for t in self.outputs:
                self._readers[t].append(None)
        return self._readers

    def __str__(self) -> str:
        names: dict[int, str] = {}
        lines = []
        for i, node in enumerate(self.nodes()):
            names[id(node)] = f"%{i}"
            args = ", ".join(_reference(names, t) for t in node.inputs)
            attrs = ", ".join(f"{k}={_short(v)}" for k, v in node.attrs.items())
            specs = " ".join(f"{s.dtype}{list(s.shape)}" for s in node.specs)
            lines.append(f"%{i} = {node.op.name}({', '.join(filter(None, (args, attrs)))}) {specs}")
        results = ", ".join(_reference(names, t) for t in self.outputs)
        return "\n".join([*lines, f"return {results}"])


def _reference(names: dict[int, str], tensor: Tensor) -> str:
    suffix = f".{tensor.index}" if len(tensor.node.specs) > 1 else ""
    return names[id(tensor.node)] + suffix


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size > 4:
        return f"array{list(value.shape)}"
    return repr(value.tolist()) if isinstance(value, np.ndarray) else repr(value)


def evaluated(tensor: Tensor) -> np.ndarray | None:
    """What a tensor's ops give for the arrays they stand on; None when some leaf has none."""
    for node in topological([tensor.node], known=False):
        if node.op is CONSTANT:
            node.known = (node.attrs["value"],)
        elif node.known is None and (node.op in (INPUT, PARAMETER) or not _ready(node)):
            return None
        elif node.known is None:
            arrays = [t.node.known[t.index] for t in node.inputs if t.node.known is not None]
            node.known = node.op.results(arrays, node.attrs)
    known = tensor.node.known
    return None if known is None else known[tensor.index]


def _ready(node: Node) -> bool:
    return all(t.node.known is not None for t in node.inputs)


def topological(roots: Iterable[Node], known: bool = True) -> list[Node]:
    """Nodes reachable from the roots, inputs first; no recursion, so depth does not matter.

    Args:
        known: whether to go on behind nodes whose arrays are known.
    """
    order: list[Node] = []
    state: dict[int, bool] = {}  # False: opened, True: placed
    for root in roots:
        stack = [root]
        while stack:
            node = stack[-1]
            placed = state.get(id(node))
            if placed is None:
                state[id(node)] = False
                inputs = node.inputs if known or node.known is None else ()
                stack.extend([t.node for t in reversed(inputs) if id(t.node) not in state])
                continue
            stack.pop()
            if not placed:
                state[id(node)] = True
                order.append(node)
    return order


class Trace:
    """Collects what a traced function reads and writes: Variables, and losses on the way.

    `parameters` maps id(variable) to (variable, the Tensor that stands for it); `updates` maps
    id(variable) to (variable, the Tensor assigned last). `rng` is the int64 pair (step, first row)
    that random ops read, made when first asked for. Traces nest; the innermost is current.
    """

    def __init__(self, rng: Tensor | None = None) -> None:
        self.parameters: dict[int, tuple[Any, Tensor]] = {}
        self.updates: dict[int, tuple[Any, Tensor]] = {}
        self.watched: dict[int, tuple[Any, Tensor]] = {}  # arrays that a tape follows
        self.masks: dict[Tensor, Any] = {}
        self.narrow = False  # Variables are read rounded to bfloat16: see layers.call_context
        self.losses: list[Any] = []  # added by layers: add_loss and activity regularizers
        self.rng = rng
        self.once = False  # the graph runs once: see random.SeedGenerator.next
        self.detaches = False  # what is read of a Variable after an assignment has no history
        # (optimizer, gradients, their Variables) -> the gradients that `apply` goes on with
        self.exchange: Callable[[Any, Sequence[Any], Sequence[Any]], list[Any]] | None = None

    def read(self, variable: Any) -> Tensor:
        """The variable's value at this point of the trace."""
        if id(variable) in self.updates:
            return self.updates[id(variable)][1]
        if id(variable) not in self.parameters:
            spec = Spec(tuple(variable.shape), variable.dtype)
            node = Node(PARAMETER, (), {"variable": variable}, [spec])
            self.parameters[id(variable)] = (variable, node.outputs[0])
        tensor = self.parameters[id(variable)][1]
        if self.narrow and variable.autocast and tensor.dtype == "float32":
            rounded: Tensor = operators["round_bfloat16"](tensor)
            return rounded
        return tensor

    def watch(self, array: np.ndarray) -> None:
        """Let one tensor stand for an array wherever it is used from now on."""
        narrow = {"float64": "float32", "int64": "int32"}.get(array.dtype.name)
        self.watched.setdefault(id(array), (array, constant(array, narrow)))

    def random_source(self) -> Tensor:
        """The (step, first row) pair; random ops add a seed of their own."""
        if self.rng is None:
            self.rng = input_tensor("rng", (2,), "int64")
        return self.rng

    def assign(self, variable: Any, value: Tensor) -> None:
        """Note that the variable has this value once the program has run."""
        if tuple(value.shape) != tuple(variable.shape):
            raise ShapeError(
                f'Variable "{variable.path}" has shape {tuple(variable.shape)}. Received: a value '
                f"of shape {value.shape} to assign. Reshape the value first."
            )
        self.read(variable)
        if self.detaches:
            value = operators["stop_gradient"](value)
        self.updates[id(variable)] = (variable, value)


class EagerTrace(Trace):
    """A trace of arrays: Variables have the values of now, so every tensor has its own, too."""

    def __init__(self) -> None:
        super().__init__()
        self.detaches = True

    def read(self, variable: Any) -> Tensor:
        tensor = super().read(variable)
        node = self.parameters[id(variable)][1].node
        if node.known is None:
            node.known = (np.array(variable),)
        return tensor

    def random_source(self) -> Tensor:
        if self.rng is None:
            self.rng = constant(np.array([next(_eager_draws), 0], np.int64))
        return self.rng

    def write(self) -> None:
        """Give Variables what was assigned to them."""
        updates = [(variable, np.asarray(tensor)) for variable, tensor in self.updates.values()]
        with not_tracing():
            for variable, array in updates:
                variable.assign(array)


_eager_draws = itertools.count(1 << 41)  # no training has so many steps


class _Local(threading.local):
    def __init__(self) -> None:
        self.traces: list[Trace] = []
        self.scopes: list[str] = []


_local = _Local()


def current_trace() -> Trace | None:
    """The innermost running trace of this thread, or None."""
    return _local.traces[-1] if _local.traces else None


@contextmanager
def tracing(trace: Trace | None = None) -> Iterator[Trace]:
    """Run a block with a trace as the current one."""
    trace = trace or Trace()
    _local.traces.append(trace)
    try:
        yield trace
    finally:
        _local.traces.pop()


@contextmanager
def not_tracing() -> Iterator[None]:
    """Run a block outside any trace: weights are made and assigned at once."""
    traces, _local.traces = _local.traces, []
    try:
        yield
    finally:
        _local.traces = traces


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Nodes made in this block carry the name (a layer's), for error messages and profiles."""
    _local.scopes.append(name)
    try:
        yield
    finally:
        _local.scopes.pop()


def current_scope() -> str:
    """The names of the layers being called, joined by slashes."""
    return "/".join(_local.scopes)
