"""One op, declared once: numpy reference, shape rule, gradient, C kernel and test samples.

In: a decorated numpy function. Out: an Op in the registry, callable on graph Tensors (makes a
Node), on Variables inside a trace, and on arrays (computes). Knows no layer and no C module.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.bfloat16 import BFLOAT16, Bfloat16, foreign, in_dtype
from zoo_keras.errors import ShapeError, UnsupportedError
from zoo_keras.graph import Node, Spec, Tensor, constant, current_scope, current_trace
from zoo_keras.primitives.fed import fed, is_plain
from zoo_keras.primitives.row_rules import RowRule, by_element

registry: dict[str, Op] = {}

# weights, attributes and output of a product -> its packed weights, and attributes to go with them
Packing = Callable[[Tensor, dict[str, Any], Spec], tuple[Tensor, dict[str, Any]]]


@dataclass(frozen=True)
class Sample:
    """Inputs on which tests/test_ops.py tries an op: shapes, attributes, dtypes, value range."""

    shapes: Sequence[tuple[int, ...]]
    attrs: dict[str, Any] = field(default_factory=dict)
    dtypes: Sequence[str] = ()
    low: float = -1.0
    high: float = 1.0
    make: Callable[..., Sequence[np.ndarray]] | None = None  # make(rng) -> input arrays

    def inputs(self, rng: np.random.Generator) -> list[np.ndarray]:
        """The input arrays; integer dtypes get whole numbers in [low, high)."""
        if self.make:
            return [np.asarray(a) for a in self.make(rng)]
        names = [*self.dtypes, *["float32"] * (len(self.shapes) - len(self.dtypes))]
        return [self._values(rng, s, d) for s, d in zip(self.shapes, names, strict=True)]

    def _values(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if dtypes.is_float(dtype):
            return rng.uniform(self.low, self.high, shape).astype(dtype)
        if dtype == "bool":
            return rng.uniform(size=shape) < 0.5
        return rng.integers(int(self.low), int(self.high), shape).astype(dtype)


@dataclass(frozen=True)
class AxisAttributes:
    """Which attributes speak of axes, so that a transpose can move past the op.

    one: names one axis. reduced: names axes that `keepdims` keeps or not. listed: each holds
    something for every axis.
    """

    one: str | None = None
    reduced: str | None = None
    listed: tuple[str, ...] = ()


class Op:
    """A primitive operation. Tensors are positional, attributes are keywords.

    What passes ask of an op is declared with it:
        rows: whether rows of a batch stay apart (`ops.row_rules`); None: they may mix.
        counts_rows: attributes whose first entry is the number of rows.
        axes: the attributes that speak of axes; None: a transpose stays before the op.
        cheap: computing it again costs less than storing the result.
        keeps_rounding: results are bfloat16 numbers when the first input's are.
        neutral, commutes: `x op neutral` is x; the inputs may change places.
        activation: the name of the fused activation that the op is; may depend on attributes.
        with_bias: for products, `node -> (op with a bias, its attributes)`, or None.
        with_residual: the op that adds a residual too.
        epilogue: activations that the op applies to its result.
        packed: the op that reads packed weights, and how they are packed.
        takes_scale: for products with bias, the inputs by which a scale of each channel may be
            multiplied: its weights, or their own scales; and its bias.
        writes: the dtypes that the kernel can write; None: any that the shape rule gives.
    """

    on_columns = False  # see ops.column: runs in a feed, never in a Program

    def __init__(
        self,
        reference: Callable[..., Any],
        *,
        kernel: str | bool | None = None,
        tile: str | None = None,
        elementwise: bool = False,
        shape: Callable[..., Any] | None = None,
        grad: Callable[..., Any] | None = None,
        attrs_to_c: Callable[..., Iterable[float]] | None = None,
        dtypes: Callable[..., bool] | None = None,
        writes: Iterable[str] | None = None,
        samples: Sequence[Sample] = (),
        inplace: Sequence[int] = (),
        random: bool = False,
        rows: RowRule | None = None,
        counts_rows: Sequence[str] = (),
        axes: AxisAttributes | None = None,
        cheap: bool = False,
        keeps_rounding: bool = False,
        neutral: float | None = None,
        commutes: bool = False,
        activation: str | Callable[[dict[str, Any]], str | None] | None = None,
        with_bias: Callable[[Node], tuple[str, dict[str, Any]] | None] | None = None,
        with_residual: str | None = None,
        epilogue: Iterable[str] = (),
        packed: tuple[str, Packing] | None = None,
        takes_scale: tuple[int, int] | None = None,
        name: str | None = None,
    ) -> None:
        self.name = name or reference.__name__
        self.reference = reference
        self.kernel = self.name if kernel is True else (kernel or None)
        self.tile, self.elementwise = tile, elementwise
        self.infer_spec = shape or broadcast
        self.grad = grad
        self.attrs_to_c = attrs_to_c or _numbers
        self.fits = dtypes or _floats_and_small_integers
        self.writes = None if writes is None else frozenset(writes)
        self.samples = samples
        self.inplace = tuple(inplace)  # inputs whose memory the first output may take over
        self.random = random  # never merged with an equal call
        self.rows = rows or (by_element if elementwise else None)
        self.counts_rows, self.axes = frozenset(counts_rows), axes
        self.cheap, self.keeps_rounding = cheap, keeps_rounding
        self.neutral, self.commutes = neutral, commutes
        self.activation, self.epilogue = activation, frozenset(epilogue)
        self.with_bias, self.with_residual, self.packed = with_bias, with_residual, packed
        self.takes_scale = takes_scale or ((1, 2) if with_residual else None)
        self.__doc__ = reference.__doc__
        self.__name__ = self.name
        self.__wrapped__ = reference
        self.__signature__ = inspect.signature(reference)

    def __repr__(self) -> str:
        return f"<Op {self.name}>"

    def has_kernel_for(self, ins: Sequence[Spec], outs: Sequence[Spec]) -> bool:
        """Whether a kernel in C computes these outputs from these inputs."""
        written = self.writes is None or all(s.dtype in self.writes for s in outs)
        return self.kernel is not None and written and self.fits(*ins)

    def __reduce__(self) -> Any:
        return _named, (self.name,)

    def infer(self, *specs: Spec, **attrs: Any) -> tuple[Spec, ...]:
        """Specs of the outputs; a ShapeError from the rule gets the op's name and shapes."""
        try:
            result = self.infer_spec(*specs, **attrs)
        except ShapeError as error:
            met = error.met or [*(s.shape for s in specs), *map(_whole_numbers, attrs.values())]
            raise ShapeError(_located(self.name, error, specs), met) from None
        return (result,) if isinstance(result, Spec) else tuple(result)

    def __call__(self, *args: Any, **attrs: Any) -> Any:
        if any(isinstance(a, Tensor) for a in args) or _reads_variable(args):
            return self._make_node(args, attrs)
        return self._compute(args, attrs)

    def _make_node(self, args: Sequence[Any], attrs: dict[str, Any]) -> Any:
        tensors = as_tensors(args)
        if self.elementwise:
            tensors = self._same_dtype(tensors)
        given = [t.spec for t in tensors]
        specs = self.infer(*given, **attrs)
        node = Node(self, tensors, attrs, specs, current_scope())
        plain = not self.on_columns and all(map(is_plain, given))
        outputs = node.outputs if plain else fed(node)
        return outputs[0] if len(specs) == 1 else outputs

    def _same_dtype(self, tensors: list[Tensor]) -> list[Tensor]:
        return tensors

    def _compute(self, args: Sequence[Any], attrs: dict[str, Any]) -> Any:
        results = self.results(_as_arrays(args), attrs)
        return results[0] if len(results) == 1 else results

    def results(self, arrays: Sequence[np.ndarray], attrs: dict[str, Any]) -> tuple[Any, ...]:
        """What the op gives for arrays: by the engine, or by numpy."""
        ins = [Spec(a.shape, dtypes.name_of(a.dtype)) for a in arrays]
        if any(s.dtype == BFLOAT16 for s in ins) or attrs.get("dtype") == BFLOAT16:
            return self._in_float32(arrays, attrs, ins)
        results = self._by_engine(arrays, attrs, ins)
        if results is None:
            results = self.compute(arrays, attrs, self.infer(*ins, **attrs))
        return tuple(results)

    def _in_float32(
        self, arrays: Sequence[np.ndarray], attrs: dict[str, Any], ins: Sequence[Spec]
    ) -> tuple[Any, ...]:
        """Of bfloat16: what float32 gives, rounded where the shape rule says bfloat16."""
        specs = self.infer(*ins, **attrs)
        made = self.results([np.asarray(a) for a in arrays], stored_in_float32(attrs))
        return tuple(in_dtype(each, s.dtype) for each, s in zip(made, specs, strict=True))

    def _by_engine(
        self, arrays: Sequence[np.ndarray], attrs: dict[str, Any], ins: Sequence[Spec]
    ) -> Sequence[np.ndarray] | None:
        """The results by the engine, or None where numpy is quicker or alone can."""
        if self.random or not (self.kernel or self.tile):
            return None
        from zoo_keras.engine import eager

        return eager.compute(self, arrays, attrs, ins)

    def compute(
        self, arrays: Sequence[np.ndarray], attrs: dict[str, Any], specs: Sequence[Spec]
    ) -> tuple[np.ndarray, ...]:
        """The numpy reference, its results in the dtypes that the shape rule promises."""
        if any(type(a) is Bfloat16 for a in arrays) or any(s.dtype == BFLOAT16 for s in specs):
            arrays, attrs = [np.asarray(a) for a in arrays], stored_in_float32(attrs)
        with np.errstate(all="ignore"):
            results = self.reference(*arrays, **attrs)
        results = results if isinstance(results, tuple) else (results,)
        for found, spec in zip(results, specs, strict=True):
            if getattr(found, "dtype", np.dtype(bool)).kind == "c" and "complex" not in spec.dtype:
                raise UnsupportedError(
                    f"ops.{self.name} has no form for complex numbers. Received: "
                    f"{found.dtype}. Give real and imaginary parts, or use numpy."
                )
        return tuple(in_dtype(r, s.dtype) for r, s in zip(results, specs, strict=True))


def stored_in_float32(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes of an op that computes in float32 what is bfloat16 around it."""
    return {**attrs, "dtype": "float32"} if attrs.get("dtype") == BFLOAT16 else attrs


def op(reference: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Declare a primitive op. Options are those of Op.

    >>> @op(kernel=True, shape=same, grad=lambda g, y, x: (relu_grad(g, y),))
    ... def relu(x): return np.maximum(x, 0)
    """

    def declare(function: Callable[..., Any]) -> Op:
        return _register(Op(function, **options))

    return declare(reference) if reference else declare


def elementwise(reference: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Declare an op that works element by element with broadcasting; `tile=` names its C form."""

    def declare(function: Callable[..., Any]) -> Op:
        return _register(Elementwise(function, elementwise=True, **options))

    return declare(reference) if reference else declare


def _named(name: str) -> Op:
    return registry[name]


def _register(made: Op) -> Op:
    if made.name in registry:
        raise ValueError(f"Op {made.name!r} is declared twice.")
    registry[made.name] = made
    return made


class Elementwise(Op):
    """An op over broadcast arrays of one dtype; `attrs` hold plain numbers only."""

    def _same_dtype(self, tensors: list[Tensor]) -> list[Tensor]:
        if self.name in ("cast", "where") or len(tensors) == 1:
            return tensors
        common = dtypes.promote(*[t.dtype for t in tensors])
        return [cast_to(t, common) for t in tensors]


def cast_to(tensor: Tensor, dtype: str) -> Tensor:
    """The tensor in another dtype; a constant is converted at once."""
    if tensor.dtype == dtype:
        return tensor
    if tensor.node.op.name == "constant":
        return constant(in_dtype(tensor.node.attrs["value"].astype(dtypes.storage(dtype)), dtype))
    result: Tensor = registry["cast"](tensor, dtype=dtype)
    return result


def _is_variable(value: Any) -> bool:
    return getattr(type(value), "is_zk_variable", False)


def _reads_variable(args: Sequence[Any]) -> bool:
    trace = current_trace()
    if trace is None:
        return False
    return any(_is_variable(a) or (trace.watched and id(a) in trace.watched) for a in args)


def as_tensors(args: Sequence[Any]) -> list[Tensor]:
    """Tensors for a mixture of tensors, Variables, arrays and numbers.

    A Python number takes the dtype of the tensors it meets, so `x + 1` keeps x's dtype.
    """
    made: list[Any] = [_as_tensor(a) for a in args]
    known = [t.dtype for t in made if isinstance(t, Tensor)]
    common = dtypes.promote(*known) if 0 < len(known) < len(made) else None
    return [t if isinstance(t, Tensor) else _number(t, common) for t in made]


def _as_tensor(value: Any) -> Any:
    if isinstance(value, (Tensor, bool, int, float)):
        return value
    if _is_variable(value):
        trace = current_trace()
        return trace.read(value) if trace else constant(value.value)
    if isinstance(value, (np.ndarray, np.generic)):
        trace = current_trace()
        if trace is not None and id(value) in trace.watched:
            return trace.watched[id(value)][1]
        narrow = {"float64": "float32", "int64": "int32"}.get(value.dtype.name)
        return constant(value if narrow is None else value.astype(narrow))
    return constant(value, dtypes.of_python(value))


def _number(value: bool | int | float, common: str | None) -> Tensor:
    own = dtypes.of_python(value)
    if common is None or own == "bool" or (own == "float32" and not dtypes.is_float(common)):
        return constant(value, own)
    return constant(value, "int32" if common == "bool" else common)


def _as_arrays(args: Sequence[Any]) -> list[np.ndarray]:
    arrays = [None if isinstance(a, (bool, int, float)) else _as_array(a) for a in args]
    known = [dtypes.name_of(a.dtype) for a in arrays if a is not None]
    common = dtypes.promote(*known) if known else None
    return [
        _number(v, common).node.attrs["value"] if a is None else a
        for v, a in zip(args, arrays, strict=True)
    ]


def _as_array(value: Any) -> np.ndarray:
    if _is_variable(value):
        value = value.value
    if isinstance(value, (np.ndarray, np.generic)):
        return value if type(value) is Bfloat16 else foreign(np.asarray(value))
    return np.asarray(value, dtype=dtypes.of_python(value))


def _numbers(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    return list(flat_numbers(attrs.values()))


def flat_numbers(values: Iterable[Any]) -> Iterable[float]:
    """Numbers, bools and nested tuples of them as a flat run of floats."""
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from flat_numbers(value)
        else:
            yield float(value)


def _whole_numbers(value: Any) -> tuple[int, ...]:
    """The whole numbers in an attribute, without their signs."""
    if isinstance(value, (tuple, list)):
        return tuple(n for item in value for n in _whole_numbers(item))
    return (abs(value),) if type(value) is int else ()


def _floats_and_small_integers(*specs: Spec) -> bool:
    return all(s.dtype in ("float32", "int32", "bool") for s in specs)


def all_float32(*specs: Spec) -> bool:
    """Kernel rule: every input is float32."""
    return all(s.dtype == "float32" for s in specs)


def _located(name: str, error: ShapeError, specs: Sequence[Spec]) -> str:
    where = current_scope()
    place = f' in layer "{where}"' if where else ""
    return f"{name}{place}: {error} Received: shapes {[s.shape for s in specs]}."


def same(*specs: Spec, **attrs: Any) -> Spec:
    """Shape rule: the output looks like the first input."""
    return specs[0]


def broadcast(*specs: Spec, **attrs: Any) -> Spec:
    """Shape rule: numpy broadcasting, promoted dtype."""
    shape = broadcast_shapes(*[s.shape for s in specs])
    return Spec(shape, dtypes.promote(*[s.dtype for s in specs]))


def compare(*specs: Spec, **attrs: Any) -> Spec:
    """Shape rule: numpy broadcasting, boolean result."""
    return Spec(broadcast_shapes(*[s.shape for s in specs]), "bool")


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """np.broadcast_shapes with a ShapeError."""
    if len(set(shapes)) == 1:
        return shapes[0]
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        met = _not_alike(shapes)
        raise ShapeError("shapes do not broadcast to one shape.", met) from None


def _not_alike(shapes: Sequence[Sequence[int]]) -> list[tuple[int]]:
    """Two sizes of one axis that do not go together."""
    for sizes in itertools.zip_longest(*[reversed(shape) for shape in shapes], fillvalue=1):
        several = [size for size in dict.fromkeys(sizes) if size != 1]
        if len(several) > 1:
            return [(size,) for size in several[:2]]
    return []
