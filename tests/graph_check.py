"""Graphs for tests: run by the numpy references, run by the engine, and made at random.

`evaluate` interprets a graph node by node; `run` compiles it and runs it in memory full of garbage,
so that reading what nobody wrote shows; `RandomGraph(seed)` holds tensors of many ops, shapes and
dtypes with their values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from zoo_keras import interpret, native
from zoo_keras.engine.program import Place, Program, compile_graph
from zoo_keras.engine.runner import Runner
from zoo_keras.graph import (
    INPUT,
    PARAMETER,
    Graph,
    Tensor,
    constant,
    input_tensor,
    topological,
    tracing,
)
from zoo_keras.interpret import Values
from zoo_keras.primitives.op import registry as R
from zoo_keras.variables import Variable

Feeds = Mapping[str, np.ndarray]


def evaluate(
    outputs: Iterable[Tensor], feeds: Feeds, values: Values | None = None
) -> list[np.ndarray]:
    """The outputs by the ops' numpy references; `values` keeps what is known of nodes."""
    outputs, known = list(outputs), {} if values is None else values
    for node in topological(t.node for t in outputs):
        if node.op is INPUT:
            known[id(node)] = (feeds[node.attrs["name"]],)
    return interpret.evaluate(outputs, known)


def compiled(graph: Graph, freeze: bool = False) -> Program:
    """The graph as a Program: inputs in spaces of their names, Variables in theirs, out0, ..."""
    places = {t: Place(t.node.attrs["name"]) for t in graph.inputs}
    outs = [Place(f"out{i}") for i in range(len(graph.outputs))]
    return compile_graph(graph, places, outs, lambda v: Place(v.path), freeze)


def variables_of(graph: Graph) -> list[Any]:
    """The Variables that a graph reads."""
    return [n.attrs["variable"] for n in graph.nodes() if n.op is PARAMETER]


def runner_of(program: Program) -> Runner:
    """A Runner whose arena is full of garbage."""
    memory = native.aligned(program.bytes_of("arena"))
    memory[:] = 0xA5
    return Runner(program, memory)


def run(graph: Graph, feeds: Feeds, freeze: bool = False) -> list[np.ndarray]:
    """The outputs, computed by the engine."""
    runner = runner_of(compiled(graph, freeze))
    for name, array in feeds.items():
        runner.set(name, array)
    for variable in variables_of(graph):
        runner.set(variable.path, np.asarray(variable))
    outs = [np.full(t.shape, 77).astype(t.dtype) for t in graph.outputs]
    for i, array in enumerate(outs):
        runner.set(f"out{i}", array)
    runner.run()
    return outs


def op_names(graph: Graph) -> list[str]:
    """The ops of a graph in order, leaves left out."""
    return [n.op.name for n in graph.nodes() if n.inputs]


def assert_close(got: Sequence[Any], want: Sequence[Any], note: object = "") -> None:
    """Shapes and dtypes equal, floats to rounding."""
    assert len(got) == len(want)
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{note} output {i}"
        exact = b.dtype.kind != "f"
        tolerance = 0 if exact else 0.02 if b.dtype == np.float16 else 2e-3
        np.testing.assert_allclose(a, b, tolerance, tolerance, err_msg=f"{note} output {i}")


class RandomGraph:
    """Tensors made by a random sequence of ops; the same seed gives the same graph.

    Args:
        kinds: names of the methods below that may be used, without the underscore.
        sizes: possible sizes of a dimension.
    """

    KINDS = (
        "unary binary safe compare logic where cast int reduce reshape transpose broadcast concat "
        "slice pad dense conv scale norm softmax neutral again known host"
    ).split()  # fmt: skip
    SMOOTH = (
        "unary binary safe where reduce reshape transpose broadcast concat slice pad dense conv "
        "scale norm softmax neutral again"
    ).split()  # fmt: skip

    def __init__(
        self, seed: int, steps: int = 18, kinds: Sequence[str] = KINDS,
        sizes: Sequence[int] = (1, 2, 3, 4), dtype: str = "float32",
    ) -> None:  # fmt: skip
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype
        self.feeds: dict[str, np.ndarray] = {}
        self.inputs: list[Tensor] = []
        self.variables: list[Variable] = []
        self.values: Values = {}
        self.made: list[Tensor] = []  # all stay alive: values are known by the ids of nodes
        self.tensors: list[Tensor] = []
        self.base = tuple(self.pick(sizes) for _ in range(self.rng.integers(1, 4)))
        with tracing() as self.trace:
            for _ in range(3):
                self.leaf(self.part_of(self.base))
            for _ in range(steps):
                getattr(self, "_" + self.pick(kinds))()

    # ---- choices

    def pick(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def array(self, shape: Sequence[int], dtype: str = "") -> np.ndarray:
        dtype = dtype or self.dtype
        if dtype == "bool":
            return np.asarray(self.rng.uniform(size=shape) < 0.5)
        low, high = (-1.5, 1.5) if np.dtype(dtype).kind == "f" else (0, 9)
        return np.asarray(self.rng.uniform(low, high, shape)).astype(dtype)

    def part_of(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape that broadcasts to this one."""
        kept = [d if self.rng.uniform() < 0.7 else 1 for d in shape]
        return tuple(kept[int(self.rng.integers(len(kept) + 1)) if self.coin(0.3) else 0 :])

    def coin(self, chance: float = 0.5) -> bool:
        return bool(self.rng.uniform() < chance)

    def leaf(self, shape: Sequence[int], dtype: str = "", kind: str = "") -> Tensor:
        """A new input, parameter or constant."""
        array = self.array(shape, dtype)
        kind = kind or self.pick(["input", "input", "parameter", "constant"])
        if kind == "input":
            made = input_tensor(f"in{len(self.inputs)}", array.shape, array.dtype.name)
            self.inputs.append(made)
            self.feeds[f"in{len(self.feeds)}"] = array
        elif kind == "parameter":
            self.variables.append(
                Variable(array, name=f"var{len(self.variables)}", dtype=array.dtype)
            )
            made = self.trace.read(self.variables[-1])
        else:
            made = constant(array)
        return self.keep(made)

    def some(self, keep: Callable[[Tensor], bool] = lambda t: True, dtype: str = "") -> Tensor:
        """A tensor made before, of this dtype; a new one when there is none."""
        dtype = dtype or self.dtype
        found = [t for t in self.tensors if t.dtype == dtype and keep(t)]
        return self.pick(found[-8:]) if found else self.leaf(self.base, dtype)

    def mate(self, tensor: Tensor) -> Tensor:
        """A tensor that broadcasts with this one."""

        def fits(other: Tensor) -> bool:
            pairs = zip(tensor.shape[::-1], other.shape[::-1])
            return all(a == b or 1 in (a, b) for a, b in pairs)

        if self.coin(0.3):
            return self.leaf(self.part_of(tensor.shape), tensor.dtype)
        return self.some(fits, tensor.dtype)

    def keep(self, tensor: Tensor) -> Tensor:
        """Note a tensor when its values are tame; large ones are squeezed first."""
        self.made.append(tensor)
        (value,) = evaluate([tensor], self.feeds, self.values)
        if value.size > 4000 or (value.dtype.kind == "f" and not np.isfinite(value).all()):
            return tensor
        if value.dtype.kind == "f" and value.size and np.abs(value).max() > 4:
            return self.keep(R["tanh"](tensor))
        self.tensors.append(tensor)
        return tensor

    # ---- ops

    def _unary(self) -> None:
        names = "relu tanh sigmoid exp square negative softplus sin abs elu stop_gradient".split()
        name = self.pick(names if self.dtype == "float32" else names[:-3])
        x, attrs = self.some(), {"alpha": 0.7} if name == "elu" else {}
        if name in ("relu", "abs", "elu"):
            x = R["add"](x, 0.0123)  # numbers that are exactly 0 have no slope
        self.keep(R[name](x, **attrs))

    def _binary(self) -> None:
        x = self.some()
        name = self.pick(["add", "subtract", "multiply", "multiply", "maximum", "minimum"])
        y = self.mate(x)
        if name in ("maximum", "minimum"):
            y = R["add"](y, 0.0321)
        self.keep(R[name](*([x, y] if self.coin() else [y, x])))

    def _safe(self) -> None:
        x = self.some()
        above = R["add"](R["square"](self.mate(x)), 0.5)
        name = self.pick(["divide", "sqrt", "rsqrt", "log", "power"])
        if name == "divide":
            self.keep(R["divide"](x, above))
        elif name == "power":
            self.keep(R["power"](above, self.pick([2.0, 0.5, -1.0, 1.0, 1.5])))
        else:
            self.keep(R[name](above))

    def _compare(self) -> None:
        x = self.leaf(self.base, kind="input")
        self.keep(R[self.pick(["less", "greater_equal", "equal", "not_equal"])](x, self.leaf(())))

    def _logic(self) -> None:
        x = self.some(dtype="bool")
        name = self.pick(["logical_and", "logical_or", "logical_xor", "logical_not"])
        self.keep(R[name](x) if name == "logical_not" else R[name](x, self.mate(x)))

    def _where(self) -> None:
        x = self.some()
        self.keep(R["where"](self.leaf(self.part_of(x.shape), "bool"), x, self.mate(x)))

    def _cast(self) -> None:
        options = ["float32", "int32", "bool", "int64", "uint8", "float64", "float16", "uint32"]
        x = self.some(dtype=self.pick(["int32", "bool"]))
        y = R["cast"](x, dtype=self.pick(options))
        self.keep(y if self.coin() else R["cast"](y, dtype="float32"))

    def _int(self) -> None:
        x = self.some(dtype="int32")
        name = self.pick(["add", "subtract", "maximum", "floor_divide", "mod"])
        y = R[name](x, self.mate(x))
        self.keep(R["mod"](y, constant(np.int32(11))))

    def _reduce(self) -> None:
        x = self.some(lambda t: t.size > 0)
        axes = tuple(i for i in range(x.ndim) if self.coin())
        name = self.pick(["reduce_sum", "reduce_mean", "reduce_max", "reduce_prod"])
        name = "reduce_sum" if name == "reduce_prod" and x.size > 20 else name
        self.keep(R[name](x, axes=axes, keepdims=self.coin()))

    def _reshape(self) -> None:
        x = self.some(dtype=self.pick([self.dtype, self.dtype, "int32"]))
        shape = [d for d in x.shape if d != 1]
        self.rng.shuffle(shape)
        for _ in range(int(self.rng.integers(0, 3))):
            shape.insert(int(self.rng.integers(len(shape) + 1)), 1)
        if len(shape) > 1 and self.coin():
            shape[:2] = [shape[0] * shape[1]]
        self.keep(R["reshape"](x, shape=tuple(shape)))

    def _transpose(self) -> None:
        x = self.some()
        self.keep(R["transpose"](x, perm=tuple(map(int, self.rng.permutation(x.ndim)))))

    def _broadcast(self) -> None:
        x = self.some()
        shape = [self.pick([1, 2, 3]) if d == 1 else d for d in x.shape]
        self.keep(R["broadcast_to"](x, shape=(*[2] * self.coin(), *shape)))

    def _concat(self) -> None:
        x = self.some(lambda t: t.ndim > 0)
        if x.ndim:
            axis = int(self.rng.integers(x.ndim))
            y = self.leaf((*x.shape[:axis], 2, *x.shape[axis + 1 :]))
            self.keep(R["concatenate"](x, y, x, axis=axis))

    def _slice(self) -> None:
        x = self.some()
        begin = [int(self.rng.integers(0, d + 1)) // 2 for d in x.shape]
        strides = tuple(self.pick([1, 1, 2]) for _ in x.shape)
        self.keep(R["strided_slice"](x, begin=tuple(begin), end=x.shape, strides=strides))

    def _pad(self) -> None:
        x = self.some(lambda t: t.ndim > 0)
        paddings = tuple((self.pick([0, 1]), self.pick([0, 2])) for _ in x.shape)
        if x.ndim:
            self.keep(R["pad"](x, paddings=paddings, value=0.5))

    def _product(self) -> Tensor:
        x = self.some(lambda t: t.ndim > 1)
        if x.ndim < 2:
            x = R["reshape"](x, shape=(1, x.size))
        w = self.leaf((x.shape[-1], self.pick([1, 2, 5])), kind=self.pick(["parameter", "input"]))
        return R["matmul"](x, w)

    def _dense(self) -> None:
        self.keep(self._biased(self._product()))

    def _biased(self, product: Tensor) -> Tensor:
        bias = self.leaf(
            (*[1] * self.coin(0.2), product.shape[-1]), kind=self.pick(["parameter", "input"])
        )
        made: Tensor = R["add"](*([product, bias] if self.coin(0.7) else [bias, product]))
        if self.coin(0.3):
            self.keep(self.pick([product, made]))  # read by somebody else too
        return R[self.pick(["relu", "tanh", "sigmoid", "softplus"])](made) if self.coin() else made

    def _conv(self) -> None:
        n, h, w, c = (self.pick([1, 2, 3, 4]) for _ in range(4))
        x = self.leaf((n, h, w, c), kind="input")
        groups = self.pick([g for g in (1, 2) if c % g == 0])
        kernel = self.leaf((2, 1, c // groups, 2 * groups), kind=self.pick(["parameter", "input"]))
        y = R["conv"](
            x, kernel, strides=(1, 2), padding=((1, 0), (0, 0)), dilation=(1, 1), groups=groups
        )
        self.keep(self._biased(y) if self.coin(0.7) else y)

    def _scale(self) -> None:
        y = self.pick([self._product, lambda: self._biased(self._product())])()
        for name in ("multiply", "add", "subtract"):
            if self.coin(0.7):
                pair = [y, self.leaf((y.shape[-1],), kind="parameter")]
                y = R[name](*(pair if self.coin(0.7) else pair[::-1]))
        self.keep(y)

    def _norm(self) -> None:
        x = self.some(lambda t: t.ndim > 1 and t.shape[-1] > 1 and t.size > 4)
        if x.ndim > 1 and x.size > 4 and x.shape[-1] > 1:
            gamma, beta = (self.leaf((x.shape[-1],), kind="parameter") for _ in "gb")
            for y in R["layer_norm"](x, gamma, beta, epsilon=0.1)[: self.pick([1, 2, 3])]:
                self.keep(y)

    def _softmax(self) -> None:
        x = self.some(lambda t: t.ndim > 0 and t.size > 0)
        if x.ndim and x.size:
            self.keep(R["softmax"](x, axis=x.ndim - 1))

    def _neutral(self) -> None:
        x = self.some()
        wider = tuple(2 if d == 1 else d for d in x.shape)
        shape = self.pick([(), x.shape, (1,) * (x.ndim + 1), wider])
        name, number = self.pick([("add", 0), ("subtract", 0), ("multiply", 1), ("divide", 1),
                                  ("multiply", 0), ("power", 1)])  # fmt: skip
        other = constant(np.full(shape, number, self.dtype))
        self.keep(R[name](x, other))

    def _again(self) -> None:
        nodes = [t.node for t in self.tensors if t.node.inputs]
        if nodes:
            node = self.pick(nodes[-6:])
            again = node.op(*node.inputs, **node.attrs)
            self.keep(again[0] if isinstance(again, tuple) else again)

    def _known(self) -> None:
        x = constant(self.array(self.part_of(self.base)))
        self.keep(R["multiply"](R["exp"](R["transpose"](x, perm=tuple(range(x.ndim))[::-1])), 0.5))

    def _host(self) -> None:
        x = self.some()
        self.keep(R["bessel_i0"](x) if self.coin() or not x.ndim else R["cumprod"](x, axis=0))

    # ---- outputs

    def outputs(self) -> list[Tensor]:
        """Some of the tensors: a few late ones, any other, reshaped ones, one of them twice."""
        found = [*self.tensors[-3:], *[self.pick(self.tensors) for _ in range(3)]]
        found += [R["reshape"](t, shape=(t.size, 1)) for t in (found[0], self.pick(self.tensors))]
        return [*found, self.pick(found)]

    def graph(self) -> Graph:
        """All inputs and some outputs."""
        return Graph(self.inputs, self.outputs())
