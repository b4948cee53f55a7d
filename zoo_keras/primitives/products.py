"""Matrix products: the general matmul, the fused dense layer, and dense on packed weights.

In: tensors of rank 2 and more, row-major. Out: one tensor. Which library multiplies is written
into the instruction as it is compiled (zoo_keras/gemm.py); how the work is cut is C's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo_keras.dtypes import promote
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.gemm import multiplier
from zoo_keras.graph import Node, Spec, Tensor
from zoo_keras.native import attributes, lib
from zoo_keras.primitives.arrays import reshape
from zoo_keras.primitives.elementwise import (
    multiply,
    relu6_grad,
    relu_grad,
    subtract,
)
from zoo_keras.primitives.op import Sample, all_float32, broadcast_shapes, op, registry
from zoo_keras.primitives.reduce import reduce_sum
from zoo_keras.primitives.row_rules import first_input

PANEL: int = lib.ZK_PANEL  # columns of a packed panel


def _codes(*names: str) -> dict[str, int]:
    return {name: getattr(lib, f"ZK_{name.upper()}") for name in names}


# Activations that a kernel can apply as it stores its result: name -> number in C.
FUSED_ACTIVATIONS = _codes("linear", "relu", "tanh", "sigmoid", "relu6")

# A dense layer's kernel knows these too; their gradients need what was before them.
SMOOTH_ACTIVATIONS = _codes("gelu", "gelu_tanh", "silu")
DENSE_ACTIVATIONS = FUSED_ACTIVATIONS | SMOOTH_ACTIVATIONS


def activation_code(name: str, known: Mapping[str, int] = FUSED_ACTIVATIONS) -> int:
    """The number by which C knows a fused activation; ConfigError for any other name."""
    if name not in known:
        raise ConfigError(
            f"This activation cannot be fused into a kernel. Received: {name!r}. "
            f"Use one of {', '.join(known)}."
        )
    return known[name]


def activate(y: np.ndarray, name: str) -> np.ndarray:
    """The fused activation of an array (reference)."""
    if name in SMOOTH_ACTIVATIONS:
        return np.asarray(registry[name](y))
    if name == "relu":
        return np.maximum(y, 0)
    if name == "relu6":
        return np.clip(y, 0, 6)
    if name == "tanh":
        return np.tanh(y)
    return 1 / (1 + np.exp(-y)) if name == "sigmoid" else y


def activation_grad(g: Any, y: Any, name: str) -> Any:
    """Gradient before a fused activation, from the gradient g after it and its output y."""
    if name == "relu":
        return relu_grad(g, y)
    if name == "relu6":
        return relu6_grad(g, y)
    if name == "tanh":
        return multiply(g, subtract(1.0, multiply(y, y)))
    if name == "sigmoid":
        return multiply(g, multiply(y, subtract(1.0, y)))
    return g


def _rows_columns(spec: Spec, transpose: bool) -> tuple[int, int]:
    rows, columns = spec.shape[-2:]
    return (columns, rows) if transpose else (rows, columns)


def _matmul_shape(
    a: Spec, b: Spec, *, transpose_a: bool = False, transpose_b: bool = False
) -> Spec:
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise ShapeError("both arguments need at least 2 dimensions; reshape vectors first.")
    m, k = _rows_columns(a, transpose_a)
    k2, n = _rows_columns(b, transpose_b)
    if k != k2:
        raise ShapeError(
            f"the first argument has {k} columns and the second {k2} rows (transpose_a="
            f"{transpose_a}, transpose_b={transpose_b}); they must be equal."
        )
    leading = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return Spec((*leading, m, n), promote(a.dtype, b.dtype))


def _flat_rows(x: Any) -> Any:
    """x with all but its last axis merged into one."""
    if len(x.shape) == 2:
        return x
    rows = int(np.prod(x.shape[:-1], dtype=np.int64))
    return reshape(x, shape=(rows, x.shape[-1]))


def _turns(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    turns = {name: attrs.get(name, False) for name in ("transpose_a", "transpose_b")}
    return attributes("MATMUL", **turns, by=multiplier())


def _rows_of_product(node: Node, by_row: Sequence[int]) -> bool:
    """Rows times a matrix, a matrix times the matrix of each row, or both for each row."""
    a, b = node.inputs
    if by_row[1]:
        return b.ndim > 2 and (a.ndim == b.ndim if by_row[0] else a.ndim == 2)
    return first_input(node, by_row) and b.ndim == 2 and not node.attrs["transpose_a"]


def _as_dense(node: Node) -> tuple[str, dict[str, Any]] | None:
    """Rows times one matrix, both as they lie, is a dense layer without bias."""
    turned = node.attrs.get("transpose_a") or node.attrs.get("transpose_b")
    return None if turned or node.inputs[1].ndim != 2 else ("dense", {})


def _pack_dense(w: Tensor, attrs: dict[str, Any], out: Spec) -> tuple[Tensor, dict[str, Any]]:
    return pack_dense(w), {"units": w.shape[-1]}


def _matmul_grad(
    g: Any, y: Any, a: Any, b: Any, *, transpose_a: bool = False, transpose_b: bool = False
) -> Any:
    if len(b.shape) == 2 and not transpose_a and len(a.shape) > 2:
        return _shared_matrix_grad(g, a, b, transpose_b)
    if transpose_a:
        da = matmul(b, g, transpose_a=transpose_b, transpose_b=True)
    else:
        da = matmul(g, b, transpose_a=False, transpose_b=not transpose_b)
    if transpose_b:
        db = matmul(g, a, transpose_a=True, transpose_b=transpose_a)
    else:
        db = matmul(a, g, transpose_a=not transpose_a, transpose_b=False)
    return da, db


def _shared_matrix_grad(g: Any, a: Any, b: Any, transpose_b: bool) -> Any:
    """One matrix b for all leading axes: its gradient is one product over all rows."""
    rows, g_rows = _flat_rows(a), _flat_rows(g)
    left, right = (g_rows, rows) if transpose_b else (rows, g_rows)
    return (
        matmul(g, b, transpose_a=False, transpose_b=not transpose_b),
        matmul(left, right, transpose_a=True, transpose_b=False),
    )


_PRODUCTS = (
    ((5, 7), (7, 3)),
    ((1, 9), (9, 70)),
    ((1, 17), (17, 1)),
    ((33, 20), (20, 10)),
    ((3, 0), (0, 4)),
    ((0, 3), (3, 4)),
    ((2, 3, 4), (4, 5)),
    ((3, 1, 6, 5), (2, 5, 9)),
    ((4, 6), (3, 6, 2)),
)


def _matmul_samples() -> list[Sample]:
    def turned(shape: tuple[int, ...], turn: bool) -> tuple[int, ...]:
        return (*shape[:-2], shape[-1], shape[-2]) if turn else shape

    return [
        Sample((turned(a, ta), turned(b, tb)), {"transpose_a": ta, "transpose_b": tb})
        for a, b in _PRODUCTS
        for ta in (False, True)
        for tb in (False, True)
    ]


@op(
    kernel=True,
    with_bias=_as_dense,
    rows=_rows_of_product,
    shape=_matmul_shape,
    grad=_matmul_grad,
    attrs_to_c=_turns,
    dtypes=all_float32,
    samples=_matmul_samples(),
)
def matmul(
    a: np.ndarray, b: np.ndarray, *, transpose_a: bool = False, transpose_b: bool = False
) -> np.ndarray:
    """Matrix product over the last two axes; leading axes broadcast.

    a is (..., M, K), or (..., K, M) with transpose_a; b is (..., K, N), or (..., N, K) with
    transpose_b; the result is (..., M, N).
    """
    a = np.swapaxes(a, -1, -2) if transpose_a else a
    b = np.swapaxes(b, -1, -2) if transpose_b else b
    return np.matmul(a, b)


def _dense_shape(x: Spec, w: Spec, b: Spec, *, activation: str = "linear") -> Spec:
    activation_code(activation, DENSE_ACTIVATIONS)
    if not x.shape or len(w.shape) != 2 or len(b.shape) != 1:
        raise ShapeError("x needs 1 dimension or more, w exactly 2 and b exactly 1.")
    k, n = w.shape
    if x.shape[-1] != k or b.shape[0] != n:
        raise ShapeError(
            f"with w of shape {w.shape} the last axis of x must be {k} and b must hold {n} numbers."
        )
    return Spec((*x.shape[:-1], n), promote(x.dtype, w.dtype, b.dtype))


def _dense_grad(g: Any, y: Any, x: Any, w: Any, b: Any, *, activation: str = "linear") -> Any:
    if activation in SMOOTH_ACTIVATIONS:
        before = registry[f"{activation}_grad"](g, dense(x, w, b))
    else:
        before = activation_grad(g, y, activation)
    rows, g_rows = _flat_rows(x), _flat_rows(before)
    dx = matmul(g_rows, w, transpose_a=False, transpose_b=True)
    dw = matmul(rows, g_rows, transpose_a=True, transpose_b=False)
    db = reduce_sum(g_rows, axes=(0,), keepdims=False)
    return reshape(dx, shape=tuple(x.shape)), dw, db


def _dense_code(attrs: dict[str, Any]) -> int:
    return activation_code(attrs.get("activation", "linear"), DENSE_ACTIVATIONS)


def _dense_to_c(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    return attributes("DENSE", activation=_dense_code(attrs), by=multiplier())


# Leading shape of x, its width, number of units.
_LAYERS = (
    ((5,), 7, 3),
    ((1,), 9, 70),
    ((2, 3), 4, 16),
    ((0,), 3, 4),
    ((3,), 0, 4),
    ((3,), 4, 0),
    ((13,), 33, 1),
    ((), 6, 5),
)


def _dense_samples() -> list[Sample]:
    names = list(DENSE_ACTIVATIONS)
    return [
        Sample(((*lead, k), (k, n), (n,)), {"activation": names[i % len(names)]})
        for i, (lead, k, n) in enumerate(_LAYERS)
    ]


@op(
    kernel=True,
    epilogue=DENSE_ACTIVATIONS,
    with_residual="dense_add",
    packed=("dense_packed", _pack_dense),
    shape=_dense_shape,
    grad=_dense_grad,
    attrs_to_c=_dense_to_c,
    dtypes=all_float32,
    samples=_dense_samples(),
)
def dense(x: np.ndarray, w: np.ndarray, b: np.ndarray, *, activation: str = "linear") -> np.ndarray:
    """activation(x @ w + b), one fused kernel.

    x is (..., K), w is (K, N), b is (N,); the result is (..., N). `activation` is one of
    DENSE_ACTIVATIONS.
    """
    return activate(np.matmul(x, w) + b, activation)


def _add_shape(fused: Any) -> Any:
    """The shape rule of a dense layer with a residual as its last input."""

    def rule(x: Spec, w: Spec, b: Spec, residual: Spec, **attrs: Any) -> Spec:
        spec: Spec = fused(x, w, b, **attrs)
        if residual.shape != spec.shape:
            raise ShapeError(f"the residual must have the shape of the output, {spec.shape}.")
        return Spec(spec.shape, promote(spec.dtype, residual.dtype))

    return rule


def _dense_add_grad(
    g: Any, y: Any, x: Any, w: Any, b: Any, residual: Any, *, activation: str = "linear"
) -> Any:
    if activation in SMOOTH_ACTIVATIONS:
        before = registry[f"{activation}_grad"](g, dense_add(x, w, b, residual))
    else:
        before = activation_grad(g, y, activation)
    return (*_dense_grad(before, y, x, w, b), before)


def _with_residual(sample: Sample, units: int) -> Sample:
    x, w, b = sample.shapes
    return Sample((x, w, b, (*x[:-1], units)), sample.attrs)


@op(
    kernel="dense",
    epilogue=DENSE_ACTIVATIONS,
    packed=("dense_packed_add", _pack_dense),
    shape=_add_shape(_dense_shape),
    grad=_dense_add_grad,
    attrs_to_c=_dense_to_c,
    dtypes=all_float32,
    samples=[_with_residual(s, s.shapes[1][1]) for s in _dense_samples()],
)
def dense_add(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, residual: np.ndarray, *, activation: str = "linear"
) -> np.ndarray:
    """activation(x @ w + b + residual), one fused kernel; residual is like the result.

    The rest is as in `dense`.
    """
    return activate(np.matmul(x, w) + b + residual, activation)


def _panels(columns: int) -> int:
    return -(-columns // PANEL)


def _pack_shape(w: Spec) -> Spec:
    if len(w.shape) != 2:
        raise ShapeError("w needs exactly 2 dimensions.")
    return Spec((_panels(w.shape[1]), w.shape[0], PANEL), w.dtype)


@op(
    kernel=True,
    shape=_pack_shape,
    dtypes=all_float32,
    samples=[Sample((shape,)) for shape in ((3, 40), (7, 1), (1, 16), (0, 5), (4, 0))],
)
def pack_dense(w: np.ndarray) -> np.ndarray:
    """The weights of a dense layer in the order its kernel reads them.

    w is (K, N); the result is (ceil(N / 16), K, 16), zero where there is no column.
    """
    k, n = w.shape
    padded = np.zeros((k, _panels(n) * PANEL), w.dtype)
    padded[:, :n] = w
    return padded.reshape(k, _panels(n), PANEL).swapaxes(0, 1)


def _dense_packed_shape(
    x: Spec, w: Spec, b: Spec, *, units: int, activation: str = "linear"
) -> Spec:
    activation_code(activation, DENSE_ACTIVATIONS)
    if not x.shape or len(w.shape) != 3:
        raise ShapeError("x needs 1 dimension or more, and w exactly the 3 that pack_dense makes.")
    if w.shape != (_panels(units), x.shape[-1], PANEL) or b.shape != (units,):
        raise ShapeError(
            f"{units} units on an input of width {x.shape[-1]} need packed weights of shape "
            f"{(_panels(units), x.shape[-1], PANEL)} and a bias of shape {(units,)}."
        )
    return Spec((*x.shape[:-1], units), promote(x.dtype, w.dtype, b.dtype))


def _packed_to_c(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    return attributes("DENSE_PACKED", units=attrs["units"], activation=_dense_code(attrs))


def _dense_packed_samples() -> list[Sample]:
    names = list(DENSE_ACTIVATIONS)
    return [
        Sample(
            ((*lead, k), (_panels(n), k, PANEL), (n,)),
            {"units": n, "activation": names[i % len(names)]},
        )
        for i, (lead, k, n) in enumerate(_LAYERS)
    ]


@op(
    kernel=True,
    shape=_dense_packed_shape,
    attrs_to_c=_packed_to_c,
    dtypes=all_float32,
    samples=_dense_packed_samples(),
)
def dense_packed(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, *, units: int, activation: str = "linear"
) -> np.ndarray:
    """activation(x @ weights + b) with weights from `pack_dense`; has no gradient.

    x is (..., K), w is (ceil(units / 16), K, 16), b is (units,); the result is (..., units).
    """
    matrix = w.swapaxes(0, 1).reshape(w.shape[1], w.shape[0] * PANEL)[:, :units]
    return activate(np.matmul(x, matrix) + b, activation)


@op(
    kernel="dense_packed",
    shape=_add_shape(_dense_packed_shape),
    attrs_to_c=_packed_to_c,
    dtypes=all_float32,
    samples=[_with_residual(s, s.attrs["units"]) for s in _dense_packed_samples()],
)
def dense_packed_add(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray,
    residual: np.ndarray,
    *,
    units: int,
    activation: str = "linear",
) -> np.ndarray:
    """`dense_add` with weights from `pack_dense`; has no gradient."""
    matrix = w.swapaxes(0, 1).reshape(w.shape[1], w.shape[0] * PANEL)[:, :units]
    return activate(np.matmul(x, matrix) + b + residual, activation)
