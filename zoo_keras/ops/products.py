"""Public matrix ops: products of all kinds, einsum, factorisations, Fourier transforms.

In: tensors, Variables or arrays. Out: tensors or arrays. Products run in the engine, the rest of
linear algebra on the host.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.graph import Tensor
from zoo_keras.ops.convert import (
    as_dtype,
    as_float,
    axis_in,
    common_dtype,
    dtype_of,
    known_ints,
    value,
)
from zoo_keras.ops.indexing import get_item
from zoo_keras.ops.plain import unary_float
from zoo_keras.ops.reduction import norm, sum
from zoo_keras.ops.shaping import (
    concatenate,
    diagonal,
    flip,
    moveaxis,
    pad,
    ravel,
    stack,
    swapaxes,
    transpose,
    tril,
    triu,
)
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives import elementwise as m
from zoo_keras.primitives import host_linalg as hl
from zoo_keras.primitives import reduce
from zoo_keras.primitives.arrays import reshape as reshape_op
from zoo_keras.primitives.products import matmul as matmul_op


def _pair(x1: Any, x2: Any) -> tuple[Any, Any]:
    dtype = common_dtype(x1, x2)
    dtype = "int32" if dtype == "bool" else dtype
    return as_dtype(x1, dtype), as_dtype(x2, dtype)


@public
def matmul(x1: Any, x2: Any) -> Any:
    """The matrix product over the last two axes; leading axes broadcast, vectors as in numpy.

    That of int8 matrices is summed as int32.
    """
    x1, x2 = _pair(x1, x2)
    if dtype_of(x1) == "int8" and min(len(x1.shape), len(x2.shape)) > 1:
        x1, x2 = as_dtype(x1, "int32"), as_dtype(x2, "int32")
    if not x1.shape or not x2.shape:
        raise ShapeError(
            "matmul: scalars have no matrix product. Received: shapes "
            f"{tuple(x1.shape)} and {tuple(x2.shape)}. Use multiply."
        )
    a = reshape_op(x1, shape=(1, -1)) if len(x1.shape) == 1 else x1
    b = reshape_op(x2, shape=(-1, 1)) if len(x2.shape) == 1 else x2
    found = matmul_op(a, b, transpose_a=False, transpose_b=False)
    shape = list(found.shape)
    if len(x2.shape) == 1:
        shape.pop()
    if len(x1.shape) == 1:
        shape.pop(len(shape) - (1 if len(x2.shape) == 1 else 2))
    return reshape_op(found, shape=tuple(shape)) if len(shape) != len(found.shape) else found


@public
def dot(x1: Any, x2: Any) -> Any:
    """The sum product over x1's last axis and x2's last but one (its only one for a vector)."""
    x1, x2 = _pair(x1, x2)
    if not x1.shape or not x2.shape:
        return m.multiply(x1, x2)
    return tensordot(x1, x2, [[len(x1.shape) - 1], [max(len(x2.shape) - 2, 0)]])


@public
def vdot(x1: Any, x2: Any) -> Any:
    """The sum of the products of all elements."""
    x1, x2 = _pair(x1, x2)
    return sum(m.multiply(ravel(x1), ravel(x2)))


@public
def inner(x1: Any, x2: Any) -> Any:
    """The sum product over the last axes."""
    x1, x2 = _pair(x1, x2)
    if not x1.shape or not x2.shape:
        return m.multiply(x1, x2)
    return tensordot(x1, x2, [[len(x1.shape) - 1], [len(x2.shape) - 1]])


@public
def outer(x1: Any, x2: Any) -> Any:
    """The products of each element of x1 with each of x2: a matrix."""
    x1, x2 = _pair(x1, x2)
    return m.multiply(reshape_op(x1, shape=(-1, 1)), reshape_op(x2, shape=(1, -1)))


@public
def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """The sum product over given axes: the last and first n, or [axes of x1, axes of x2]."""
    x1, x2 = _pair(x1, x2)
    over1, over2 = _product_axes(axes, len(x1.shape), len(x2.shape))
    free1 = [i for i in range(len(x1.shape)) if i not in over1]
    free2 = [i for i in range(len(x2.shape)) if i not in over2]
    if [x1.shape[a] for a in over1] != [x2.shape[a] for a in over2]:
        raise ShapeError(
            f"tensordot: the summed axes differ in size. Received: shapes {x1.shape} and "
            f"{x2.shape}, axes={axes}. Name axes of equal sizes.",
            met=[(x.shape[a],) for x, over in ((x1, over1), (x2, over2)) for a in over],
        )
    width = math.prod(x1.shape[a] for a in over1)
    left = reshape_op(transpose(x1, [*free1, *over1]), shape=(_size(x1, free1), width))
    right = reshape_op(transpose(x2, [*over2, *free2]), shape=(width, _size(x2, free2)))
    found = matmul_op(left, right, transpose_a=False, transpose_b=False)
    rest = (*(x1.shape[i] for i in free1), *(x2.shape[i] for i in free2))
    return reshape_op(found, shape=rest)


def _size(x: Any, axes: list[int]) -> int:
    return math.prod(x.shape[a] for a in axes)


def _product_axes(axes: Any, ndim1: int, ndim2: int) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        return list(range(ndim1 - axes, ndim1)), list(range(axes))
    first, second = (known_ints(a, "axes") for a in axes)
    return [axis_in(a, ndim1) for a in first], [axis_in(a, ndim2) for a in second]


# --- einsum


@public
def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Any:
    """Einstein's sums, as "bij,bjk->bik"; "..." stands for leading axes.

    Operands are multiplied from left to right, pair by pair, as matrix products.
    """
    if kwargs:
        raise UnsupportedError(f"einsum has no further arguments. Received: {list(kwargs)}.")
    values = [value(x) for x in operands]
    dtype = common_dtype(*values)
    bytes_ = all(dtype_of(v) == "int8" for v in values)
    values = [as_dtype(v, "int32" if bytes_ or dtype == "bool" else dtype) for v in values]
    inputs, output = _labels(subscripts, [len(v.shape) for v in values])
    x, labels = _single(values[0], inputs[0])
    for i, (other, names) in enumerate(zip(values[1:], inputs[1:], strict=True)):
        later = set("".join([output, *inputs[i + 2 :]]))
        x, labels = _product(x, labels, *_single(other, names), later, output)
    x, labels = _summed(x, labels, set(output))
    return transpose(x, [labels.index(name) for name in output])


_SPARE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _labels(subscripts: str, ranks: list[int]) -> tuple[list[str], str]:
    """One letter for each axis of each operand, and of the output."""
    text = subscripts.replace(" ", "")
    left, arrow, output = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(ranks):
        raise ShapeError(
            f"einsum: {len(inputs)} terms for {len(ranks)} operands. Received: {subscripts!r}."
        )
    spare = "".join(c for c in _SPARE if c not in text)
    most = max((r - len(t.replace("...", "")) for t, r in zip(inputs, ranks) if "..." in t),
               default=0)  # fmt: skip
    lead = spare[:most]
    named = []
    for term, rank in zip(inputs, ranks, strict=True):
        extra = rank - len(term.replace("...", ""))
        if extra < 0 or (extra and "..." not in term):
            raise ShapeError(
                f"einsum: {term!r} does not name {rank} axes. Received: {subscripts!r}."
            )
        named.append(term.replace("...", lead[len(lead) - extra :]))
    if not arrow:
        once = sorted({c for c in "".join(inputs) if c.isalpha()})
        output = lead + "".join(c for c in once if "".join(inputs).count(c) == 1)
    return named, output.replace("...", lead)


def _single(x: Any, labels: str) -> tuple[Any, str]:
    """Repeated letters of one operand taken along their diagonal."""
    while len(set(labels)) < len(labels):
        name = next(c for c in labels if labels.count(c) > 1)
        first = labels.index(name)
        second = labels.index(name, first + 1)
        x = diagonal(x, 0, first, second)
        labels = "".join(c for i, c in enumerate(labels) if i not in (first, second)) + name
    return x, labels


def _summed(x: Any, labels: str, keep: set[str]) -> tuple[Any, str]:
    gone = tuple(i for i, name in enumerate(labels) if name not in keep)
    if not gone:
        return x, labels
    return reduce.reduce_sum(x, axes=gone, keepdims=False), "".join(
        name for name in labels if name in keep
    )


def _product(a: Any, la: str, b: Any, lb: str, later: set[str], output: str) -> tuple[Any, str]:
    """a times b as one batched matrix product, letters not needed later summed."""
    a, la = _summed(a, la, later | set(lb))
    b, lb = _summed(b, lb, later | set(la))
    both = [c for c in la if c in lb]
    batch = [c for c in both if c in later]
    inner = [c for c in both if c not in later]
    rows, columns = [c for c in la if c not in lb], [c for c in lb if c not in la]
    sizes = {**dict(zip(lb, b.shape)), **dict(zip(la, a.shape))}
    sizes |= {c: max(a.shape[la.index(c)], b.shape[lb.index(c)]) for c in both}
    x, turn_a = _matrix(a, la, batch, rows, inner)
    y, turn_b = _matrix(b, lb, batch, inner, columns)
    names = [*batch, *rows, *columns]
    if "".join([*batch, *columns, *rows]) == output:  # (x y)' = y' x' needs no transpose
        found = matmul_op(y, x, transpose_a=not turn_b, transpose_b=not turn_a)
        names = [*batch, *columns, *rows]
    else:
        found = matmul_op(x, y, transpose_a=turn_a, transpose_b=turn_b)
    return reshape_op(found, shape=tuple(sizes[c] for c in names)), "".join(names)


def _matrix(
    x: Any, labels: str, batch: list[str], first: list[str], second: list[str]
) -> tuple[Any, bool]:
    """x as (batch, first, second), or, when it lies so, as (batch, second, first) and True."""
    turned = labels == "".join([*batch, *second, *first]) and bool(first and second)
    left, right = (second, first) if turned else (first, second)
    sizes = dict(zip(labels, x.shape, strict=True))
    if labels != "".join([*batch, *left, *right]):
        x = transpose(x, [labels.index(c) for c in [*batch, *left, *right]])
    lead = tuple(sizes[c] for c in batch)
    rows, columns = (math.prod(sizes[c] for c in side) for side in (left, right))
    return reshape_op(x, shape=(*lead, rows, columns)), turned


@public
def cross(
    x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Any:
    """The vector product of vectors of 3 (or 2) numbers: numpy.cross."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = moveaxis(x1, axisa, -1), moveaxis(x2, axisb, -1)
    a1, b1 = [_part(a, i) for i in range(a.shape[-1])], [_part(b, i) for i in range(b.shape[-1])]
    flat = len(a1) == len(b1) == 2
    a1, b1 = (v if len(v) == 3 else [*v, m.multiply(v[0], 0)] for v in (a1, b1))

    def minor(i: int, j: int) -> Any:
        return m.subtract(m.multiply(a1[i], b1[j]), m.multiply(a1[j], b1[i]))

    if flat:
        return minor(0, 1)
    return stack([minor(1, 2), minor(2, 0), minor(0, 1)], axis=axisc)


def _part(x: Any, i: int) -> Any:
    return get_item(x, (Ellipsis, i))


@public
def cdist(x: Any, y: Any) -> Any:
    """The Euclidean distances of all rows of x to all rows of y."""
    x, y = as_float(x), as_float(y)
    a = reshape_op(x, shape=(*x.shape[:-1], 1, x.shape[-1]))
    b = reshape_op(y, shape=(*y.shape[:-2], 1, *y.shape[-2:]))
    return norm(m.subtract(a, b), axis=-1)


# --- factorisations, on the host


def _matrices(name: str, x: Any, square: bool = False) -> Any:
    """x as floats, of rank 2 or more; ShapeError otherwise, or unless matrices are square."""
    x = as_float(x)
    if len(x.shape) < 2 or (square and x.shape[-1] != x.shape[-2]):
        kind = "square matrices" if square else "matrices"
        raise ShapeError(
            f"{name}: the last two axes must hold {kind}. Input should have rank >= 2. Received: "
            f"shape {tuple(x.shape)}. Pass {kind}."
        )
    return x


det = unary_float(hl.det, "The determinant.")
slogdet = unary_float(hl.slogdet, "(sign, logarithm of the absolute value) of the determinant.")


@public
def logdet(x: Any) -> Any:
    """The logarithm of the determinant of a positive definite matrix."""
    return hl.slogdet(as_float(x))[1]


inv = unary_float(hl.inv, "The inverse matrix.")


@public
def pinv(x: Any, rcond: float | None = None) -> Any:
    """The Moore-Penrose pseudo-inverse."""
    return hl.pinv(_matrices("pinv", x), rcond=rcond)


@public
def solve(a: Any, b: Any) -> Any:
    """x with a @ x = b; b may be a vector or a matrix of columns."""
    a, b = _matrices("solve", a, square=True), as_float(b)
    if len(b.shape) == len(a.shape):
        return hl.solve(a, b)
    column = hl.solve(a, reshape_op(b, shape=(*b.shape, 1)))
    return reshape_op(column, shape=b.shape)


@public
def solve_triangular(a: Any, b: Any, lower: bool = False) -> Any:
    """x with a @ x = b, of a only its upper (or lower) triangle used."""
    a, b = _matrices("solve_triangular", a, square=True), as_float(b)
    if len(b.shape) == len(a.shape):
        return hl.solve_triangular(a, b, lower=lower)
    column = hl.solve_triangular(a, reshape_op(b, shape=(*b.shape, 1)), lower=lower)
    return reshape_op(column, shape=b.shape)


@public
def cholesky(x: Any, upper: bool = False) -> Any:
    """The lower triangle L with L @ L.T = x, or its transpose when upper.

    A matrix that is not positive definite is a ConfigError, and NaN inside a program.
    """
    x = _matrices("cholesky", x, square=True)
    found = hl.cholesky(x)
    if not isinstance(found, Tensor) and np.isnan(found).any() and not np.isnan(x).any():
        raise ConfigError(
            "cholesky: a matrix is not positive definite. Received: one with an eigenvalue of 0 or "
            "less. Add a small number to its diagonal."
        )
    return swapaxes(found, -1, -2) if upper else found


@public
def cholesky_inverse(x: Any, upper: bool = False) -> Any:
    """The inverse of the matrix whose Cholesky factor is x."""
    x = _matrices("cholesky_inverse", x, square=True)
    factor = triu(x) if upper else tril(x)
    turn = {"transpose_a": upper, "transpose_b": not upper}
    return hl.inv(matmul_op(factor, factor, **turn))


@public
def lu_factor(x: Any) -> tuple[Any, Any]:
    """(lu, pivots) of matrices (..., m, n): L without its ones and U in one matrix, and for each
    row the one with which it changed places, as LAPACK has it. Source: keras.ops.lu_factor."""
    lu, pivots = hl.lu_factor(as_float(x))
    return lu, pivots


@public
def qr(x: Any, mode: str = "reduced") -> Any:
    """(q, r): x as an orthogonal times an upper triangular matrix."""
    if mode not in ("reduced", "complete"):
        raise ConfigError(
            "`mode` argument value not supported. Expected one of {'reduced', 'complete'}. "
            f"Received: mode={mode}"
        )
    return hl.qr(_matrices("qr", x), mode=mode)


@public
def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """(u, s, v) with x = u @ diag(s) @ v, or only the singular values s."""
    found = hl.svd(as_float(x), full=full_matrices)
    return found if compute_uv else found[1]


eigh = unary_float(hl.eigh, "(values, vectors) of a symmetric matrix, smallest value first.")


@public
def lstsq(a: Any, b: Any, rcond: float | None = None) -> Any:
    """x with the least |a @ x - b|. Singular values below rcond times the largest count as 0."""
    return hl.lstsq(as_float(a), as_float(b), rcond=rcond)


@public
def matrix_rank(x: Any, tol: float | None = None) -> Any:
    """The number of singular values above tol, int32."""
    return hl.matrix_rank(_matrices("matrix_rank", x), tol=tol)


# --- Fourier transforms of (real, imaginary) pairs, on the host


def pair_of(name: str, x: Any, rank: int) -> tuple[Any, Any]:
    """(real, imaginary) as floats of one shape that has so many axes; ShapeError otherwise."""
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ShapeError(
            f"{name}: Input `x` should be a tuple of two tensors - real and imaginary. Received: "
            f"{x!r}. Pass (real, imaginary)."
        )
    real, imaginary = as_float(x[0]), as_float(x[1])
    if tuple(real.shape) != tuple(imaginary.shape):
        raise ShapeError(
            f"{name}: Both the real and imaginary parts should have the same shape. Received: "
            f"{tuple(real.shape)} and {tuple(imaginary.shape)}. Reshape one of them."
        )
    return of_rank(name, real, rank), imaginary


def of_rank(name: str, x: Any, rank: int) -> Any:
    if len(x.shape) < rank:
        raise ShapeError(
            f"{name}: Input should have rank >= {rank}. Received: shape {tuple(x.shape)}. Add an "
            "axis."
        )
    return x


@public
def fft(x: Any) -> Any:
    """The Fourier transform of the last axis; x and the result are (real, imaginary)."""
    made: tuple[Any, Any] = hl.fourier(*pair_of("fft", x, 1), inverse=False)
    return made


def _of_two_axes(pair: tuple[Any, Any], inverse: bool) -> tuple[Any, Any]:
    """Along the last axis, and along the one before by turning the matrices."""
    for _ in range(2):
        pair = hl.fourier(*pair, inverse=inverse)
        pair = tuple(swapaxes(part, -1, -2) for part in pair)
    return pair


@public
def fft2(x: Any) -> Any:
    """The Fourier transform of the last two axes of (real, imaginary)."""
    return _of_two_axes(pair_of("fft2", x, 2), inverse=False)


@public
def ifft2(x: Any) -> Any:
    """The inverse Fourier transform of the last two axes of (real, imaginary)."""
    return _of_two_axes(pair_of("ifft2", x, 2), inverse=True)


@public
def rfft(x: Any, fft_length: int | None = None) -> Any:
    """(real, imaginary) of the first half of the Fourier transform of real numbers."""
    x = of_rank("rfft", as_float(x), 1)
    size, length = x.shape[-1], fft_length or x.shape[-1]
    if size < length:
        x = pad(x, [(0, 0)] * (len(x.shape) - 1) + [(0, length - size)])
    return hl.rfft(x[..., :length] if size > length else x)


@public
def irfft(x: Any, fft_length: int | None = None) -> Any:
    """The real numbers whose rfft is (real, imaginary)."""
    real, imaginary = pair_of("irfft", x, 1)
    length = fft_length or 2 * (real.shape[-1] - 1)
    plain = dtype_of(real) == "float32" and length == 2 * (real.shape[-1] - 1) > 2
    if not plain or length & (length - 1):
        return hl.irfft(real, imaginary, length=length)
    # A power of two: the engine transforms the whole, whose other half is mirrored.
    rest = slice(1, length // 2)
    whole = concatenate([real, flip(real[..., rest], -1)], -1)
    turns = concatenate([imaginary, flip(m.negative(imaginary[..., rest]), -1)], -1)
    return hl.fourier(whole, turns, inverse=True)[0]


__all__ = [
    "cdist", "cholesky", "cholesky_inverse", "cross", "det", "dot", "eigh", "einsum", "fft",
    "fft2", "ifft2", "inner", "inv", "irfft", "logdet", "lstsq", "lu_factor", "matmul",
    "matrix_rank", "outer", "pinv", "qr", "rfft", "slogdet", "solve", "solve_triangular", "svd",
    "tensordot", "vdot",
]  # fmt: skip
