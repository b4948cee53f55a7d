"""Matrix factorisations, inverses and Fourier transforms; most run on the host.

In: arrays whose last two axes (last one for Fourier) hold the matrices. Out: arrays of known
shapes. Gradients of vectors that belong to singular values, of wide `qr` and of `lstsq` there are
none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError, UnsupportedError
from zoo_keras.graph import Spec
from zoo_keras.primitives.elementwise import add, divide, multiply, negative, subtract
from zoo_keras.primitives.op import Sample, all_float32, op, registry
from zoo_keras.primitives.products import matmul


def _square(x: Spec, **attrs: Any) -> Spec:
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError("the last two axes must be a square matrix.")
    return x


def _scalar(x: Spec, **attrs: Any) -> Spec:
    return Spec(_square(x).shape[:-2], x.dtype)


def _definite(rng: np.random.Generator) -> list[np.ndarray]:
    a = rng.normal(size=(2, 3, 3))
    return [(a @ a.swapaxes(-1, -2) + 2 * np.eye(3)).astype("f4")]


_DEFINITE = [Sample((), make=_definite)]


def _as_matrix(g: Any) -> Any:
    return registry["reshape"](g, shape=(*g.shape, 1, 1))


def _turned(x: Any) -> Any:
    axes = range(len(x.shape))
    return registry["transpose"](x, perm=(*axes[:-2], axes[-1], axes[-2]))


def _column(x: Any) -> Any:
    return registry["reshape"](x, shape=(*x.shape, 1))


def _row(x: Any) -> Any:
    return registry["reshape"](x, shape=(*x.shape[:-1], 1, x.shape[-1]))


def _triangle(n: int, columns: int, *, lower: bool, k: int = 0) -> np.ndarray:
    """Ones in a triangle, which a matrix is multiplied with."""
    ones = np.ones((n, columns), np.float32)
    return np.tril(ones, k) if lower else np.triu(ones, k)


def _half_symmetric(x: Any) -> Any:
    return multiply(add(x, _turned(x)), 0.5)


@op(
    shape=_scalar,
    grad=lambda g, y, x: (multiply(_as_matrix(multiply(g, y)), _turned(inv(x))),),
    samples=_DEFINITE,
)
def det(x: np.ndarray) -> np.ndarray:
    """The determinant."""
    return np.linalg.det(x)


@op(
    shape=lambda x: (_scalar(x), _scalar(x)),
    grad=lambda g, y, x: (None if g[1] is None else multiply(_as_matrix(g[1]), _turned(inv(x))),),
    samples=_DEFINITE,
)
def slogdet(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(sign, logarithm of the absolute value) of the determinant."""
    sign, size = np.linalg.slogdet(x)
    return sign, size


def _inv_grad(g: Any, y: Any, x: Any) -> tuple[Any]:
    turned = _turned(y)
    return (negative(matmul(matmul(turned, g), turned)),)


@op(shape=_square, grad=_inv_grad, samples=_DEFINITE)
def inv(x: np.ndarray) -> np.ndarray:
    """The inverse matrix."""
    return np.linalg.inv(x)


def _solved(a: Spec, b: Spec, **attrs: Any) -> Spec:
    _square(a)
    if len(b.shape) != len(a.shape) or b.shape[:-1] != a.shape[:-1]:
        raise ShapeError("b must have a's leading axes and rows.")
    return b


def _solve_grad(g: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    db = solve(_turned(a), g)
    return negative(matmul(db, y, transpose_a=False, transpose_b=True)), db


@op(
    shape=_solved,
    grad=_solve_grad,
    samples=[Sample((), make=lambda r: [*_definite(r), r.normal(size=(2, 3, 4)).astype("f4")])],
)
def solve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x with a @ x = b."""
    return np.linalg.solve(a, b)


def _solve_triangular_grad(g: Any, y: Any, a: Any, b: Any, *, lower: bool) -> tuple[Any, Any]:
    db = solve_triangular(_turned(a), g, lower=not lower)
    da = negative(matmul(db, y, transpose_a=False, transpose_b=True))
    return multiply(da, _triangle(a.shape[-1], a.shape[-1], lower=lower)), db


@op(
    shape=_solved,
    grad=_solve_triangular_grad,
    samples=[Sample([(3, 3), (3, 2)], {"lower": low}, low=0.5, high=1.5) for low in (True, False)],
)
def solve_triangular(a: np.ndarray, b: np.ndarray, *, lower: bool) -> np.ndarray:
    """x with a @ x = b, of a only the triangle used."""
    return np.linalg.solve(np.tril(a) if lower else np.triu(a), b)


def _lu_spec(x: Spec) -> tuple[Spec, Spec]:
    if len(x.shape) < 2:
        raise ShapeError("the last two axes must be a matrix.")
    return x, Spec((*x.shape[:-2], min(x.shape[-2:])), "int32")


@op(
    kernel=True,
    attrs_to_c=lambda attrs, ins, outs: (),
    dtypes=all_float32,
    shape=_lu_spec,
    samples=[Sample([(2, 4, 4)]), Sample([(3, 5)])],
)
def lu_factor(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(both triangles in one matrix, row by row the row with which it changes its place)."""
    made = x.astype(np.float64).reshape(-1, *x.shape[-2:])
    rows, count = made.shape[-2], min(made.shape[-2:])
    each = np.arange(len(made))
    pivots = np.zeros((len(made), count), np.int32)
    for k in range(count):
        best = k + np.abs(made[:, k:, k]).argmax(-1)
        pivots[:, k] = best
        upper, lower = made[each, k].copy(), made[each, best].copy()
        made[each, best], made[each, k] = upper, lower
        if k + 1 < rows:
            pivot = made[:, k, k]  # 0 where the rest of the column is, too
            made[:, k + 1 :, k] /= np.where(pivot == 0, 1, pivot)[:, None]
            outer = made[:, k + 1 :, k, None] * made[:, k, None, k + 1 :]
            made[:, k + 1 :, k + 1 :] -= outer
    return made.reshape(x.shape), pivots.reshape(*x.shape[:-2], count)


def _cholesky_grad(g: Any, y: Any, x: Any) -> tuple[Any]:
    n = y.shape[-1]
    half = _triangle(n, n, lower=True) - 0.5 * np.eye(n, dtype=np.float32)
    inner = multiply(matmul(y, g, transpose_a=True, transpose_b=False), half)
    back = inv(y)
    whole = matmul(matmul(back, inner, transpose_a=True, transpose_b=False), back)
    return (_half_symmetric(whole),)  # shared by the two triangles, as in TensorFlow


@op(shape=_square, grad=_cholesky_grad, samples=_DEFINITE)
def cholesky(x: np.ndarray) -> np.ndarray:
    """The lower triangle L with L @ L.T = x; NaN for a matrix that is not positive definite."""
    try:
        return np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        return np.full_like(x, np.nan)


def _qr_spec(x: Spec, *, mode: str) -> tuple[Spec, Spec]:
    *lead, rows, columns = x.shape
    inner = min(rows, columns) if mode == "reduced" else rows
    return Spec((*lead, rows, inner), x.dtype), Spec((*lead, inner, columns), x.dtype)


def _qr_grad(g: Any, y: Any, x: Any, *, mode: str) -> tuple[Any]:
    """Of tall matrices of full rank: (gQ + Q S) / R.T, with S symmetric."""
    rows, columns = x.shape[-2:]
    if rows < columns or (mode == "complete" and rows > columns):
        raise UnsupportedError(
            f"qr has a gradient for mode='reduced' of matrices that are not wide. Received: shape "
            f"{x.shape} and mode={mode!r}. Turn the matrix, or use ops.stop_gradient."
        )
    q, r = y
    gq, gr = (multiply(part, 0.0) if up is None else up for up, part in zip(g, y, strict=True))
    mixed = subtract(
        matmul(r, gr, transpose_a=False, transpose_b=True),
        matmul(gq, q, transpose_a=True, transpose_b=False),
    )
    below = multiply(mixed, _triangle(columns, columns, lower=True))
    strictly = multiply(mixed, _triangle(columns, columns, lower=True, k=-1))
    whole = add(gq, matmul(q, add(below, _turned(strictly))))
    return (_turned(solve_triangular(r, _turned(whole), lower=False)),)


@op(
    shape=_qr_spec,
    grad=_qr_grad,
    samples=[Sample([(4, 3)], {"mode": mode}) for mode in ("reduced", "complete")],
)
def qr(x: np.ndarray, *, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """(q, r): x as an orthogonal times an upper triangular matrix."""
    q, r = np.linalg.qr(x, mode)  # type: ignore[call-overload]
    return q, r


def _svd_spec(x: Spec, *, full: bool) -> tuple[Spec, Spec, Spec]:
    *lead, rows, columns = x.shape
    k = min(rows, columns)
    left, right = ((rows, rows), (columns, columns)) if full else ((rows, k), (k, columns))
    shapes = ((*lead, *left), (*lead, k), (*lead, *right))
    return Spec(shapes[0], x.dtype), Spec(shapes[1], x.dtype), Spec(shapes[2], x.dtype)


def _svd_grad(g: Any, y: Any, x: Any, *, full: bool) -> tuple[Any]:
    if g[0] is not None or g[2] is not None:
        raise UnsupportedError(
            "svd has a gradient of its singular values alone. Received: a loss that depends on u "
            "or v. Use s only, or ops.stop_gradient around the others."
        )
    u, _, v = svd(x, full=False) if full else y
    return (matmul(multiply(u, _row(g[1])), v),)


@op(
    shape=_svd_spec,
    grad=_svd_grad,
    samples=[Sample([(4, 3)], {"full": full}) for full in (True, False)],
)
def svd(x: np.ndarray, *, full: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(u, s, v): x = u @ diag(s) @ v, the singular values s largest first."""
    u, s, v = np.linalg.svd(x, full)
    return u, s, v


def _eigh_grad(g: Any, y: Any, x: Any) -> tuple[Any]:
    values, vectors = y
    inner: Any = np.zeros((1, 1), np.float32)
    n = values.shape[-1]
    if g[0] is not None:
        inner = multiply(_row(g[0]), np.eye(n, dtype=np.float32))
    if g[1] is not None:
        apart = subtract(_row(values), _column(values))
        share = divide(apart, add(multiply(apart, apart), 1e-20))  # 0 between equal ones
        turned = matmul(vectors, g[1], transpose_a=True, transpose_b=False)
        inner = add(inner, multiply(share, turned))
    whole = matmul(matmul(vectors, inner), vectors, transpose_a=False, transpose_b=True)
    lower = _triangle(n, n, lower=True) + _triangle(n, n, lower=True, k=-1)
    return (multiply(_half_symmetric(whole), lower),)  # the upper triangle is not read


@op(shape=lambda x: (Spec(x.shape[:-1], x.dtype), _square(x)), grad=_eigh_grad, samples=_DEFINITE)
def eigh(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(values, vectors) of a symmetric matrix, smallest value first."""
    values, vectors = np.linalg.eigh(x)
    return values, vectors


@op(
    shape=lambda a, b, *, rcond: Spec((a.shape[1], *b.shape[1:]), a.dtype),
    samples=[
        Sample([(5, 3), (5, 2)], {"rcond": None}),
        Sample([(5, 3), (5,)], {"rcond": 1e-3}),
    ],
)
def lstsq(a: np.ndarray, b: np.ndarray, *, rcond: float | None) -> np.ndarray:
    """x with the least |a @ x - b|."""
    return np.linalg.lstsq(a, b, rcond=rcond)[0]


def _pinv_spec(x: Spec, *, rcond: float | None) -> Spec:
    return Spec((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)


def _pinv_grad(g: Any, y: Any, x: Any, *, rcond: float | None) -> tuple[Any]:
    """By Golub and Pereyra, for matrices whose rank does not change nearby."""
    up, back = _turned(g), _turned(y)
    left = subtract(np.eye(x.shape[-2], dtype=np.float32), matmul(x, y))
    right = subtract(np.eye(x.shape[-1], dtype=np.float32), matmul(y, x))
    inner = negative(matmul(matmul(back, g), back))
    rows = matmul(matmul(matmul(left, up), y), back)
    columns = matmul(matmul(matmul(back, y), up), right)
    return (add(add(inner, rows), columns),)


@op(shape=_pinv_spec, grad=_pinv_grad, samples=[Sample([(4, 3)], {"rcond": None})])
def pinv(x: np.ndarray, *, rcond: float | None) -> np.ndarray:
    """The Moore-Penrose pseudo-inverse."""
    return np.linalg.pinv(x) if rcond is None else np.linalg.pinv(x, rcond)


@op(
    shape=lambda x, *, tol: Spec(x.shape[:-2], "int32"),
    samples=[Sample([(4, 3)], {"tol": None})],
)
def matrix_rank(x: np.ndarray, *, tol: float | None) -> np.ndarray:
    """The number of singular values above tol."""
    return np.asarray(np.linalg.matrix_rank(x, tol))


# --- Fourier transforms of a real and an imaginary part


def _complex(real: np.ndarray, imaginary: np.ndarray) -> np.ndarray:
    return real + 1j * imaginary


def _parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x.real, x.imag


def _power_of_two(*specs: Spec) -> bool:
    """Whether the kernel knows the length: its buffers hold two to 16,384 elements of each row."""
    n = specs[0].shape[-1] if specs[0].shape else 0
    return all_float32(*specs) and 2 <= n <= 1 << 14 and n & (n - 1) == 0


def _fourier_grad(g: Any, y: Any, real: Any, imaginary: Any, *, inverse: bool) -> tuple[Any, ...]:
    """The transform's adjoint is its inverse, but for the number of elements."""
    n = real.shape[-1]
    parts = [multiply(real, 0.0) if part is None else part for part in g]
    back = fourier(*parts, inverse=not inverse)
    return tuple(multiply(part, 1.0 / n if inverse else float(n)) for part in back)


@op(
    kernel=True,
    grad=_fourier_grad,
    attrs_to_c=lambda attrs, ins, outs: [attrs["inverse"]],
    dtypes=_power_of_two,
    shape=lambda real, imaginary, *, inverse: (real, imaginary),
    samples=[Sample([(4, n), (4, n)], {"inverse": back}) for n in (6, 8) for back in (False, True)],
)
def fourier(
    real: np.ndarray, imaginary: np.ndarray, *, inverse: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(real, imaginary) of the Fourier transform of the last axis, or of its inverse."""
    function: Any = np.fft.ifft if inverse else np.fft.fft
    return _parts(function(_complex(real, imaginary)))


def _half(x: Spec) -> tuple[Spec, Spec]:
    spec = Spec((*x.shape[:-1], x.shape[-1] // 2 + 1), x.dtype)
    return spec, spec


def _rfft_grad(g: Any, y: Any, x: Any) -> tuple[Any]:
    """sum over frequencies of real * cos - imaginary * sin, which a Fourier transform gives."""
    rest = x.shape[-1] - (x.shape[-1] // 2 + 1)
    sides = (*((0, 0) for _ in x.shape[:-1]), (0, rest))
    parts = [multiply(y[0], 0.0) if part is None else part for part in g]
    real, imaginary = (registry["pad"](part, paddings=sides) for part in parts)
    return (fourier(real, negative(imaginary), inverse=False)[0],)


@op(
    kernel=True,
    attrs_to_c=lambda attrs, ins, outs: (),
    dtypes=_power_of_two,
    shape=_half,
    grad=_rfft_grad,
    samples=[Sample([(3, n)]) for n in (6, 8, 5)],
)
def rfft(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(real, imaginary) of the first half of the Fourier transform of real numbers."""
    return _parts(np.fft.rfft(x))


def _irfft_grad(g: Any, y: Any, real: Any, imaginary: Any, *, length: int) -> tuple[Any, ...]:
    """Each frequency but the first and the last of an even length stands for two."""
    many, given = length // 2 + 1, real.shape[-1]
    twice = np.full(many, 2.0 / length, np.float32)
    twice[[0, -1] if length % 2 == 0 else [0]] = 1.0 / length
    found = (multiply(part, twice) for part in rfft(g))
    return tuple(_fitted(part, given) for part in found)


def _fitted(x: Any, size: int) -> Any:
    """The first elements of the last axis, zeros behind them where there are too few."""
    axes, has = len(x.shape), x.shape[-1]
    if has < size:
        return registry["pad"](x, paddings=(*((0, 0) for _ in x.shape[:-1]), (0, size - has)))
    end = (*x.shape[:-1], size)
    return registry["strided_slice"](x, begin=(0,) * axes, end=end, strides=(1,) * axes)


@op(
    grad=_irfft_grad,
    shape=lambda real, imaginary, *, length: Spec((*real.shape[:-1], length), real.dtype),
    samples=[Sample([(3, 4), (3, 4)], {"length": n}) for n in (6, 7)],
)
def irfft(real: np.ndarray, imaginary: np.ndarray, *, length: int) -> np.ndarray:
    """The real numbers whose rfft is given."""
    return np.fft.irfft(_complex(real, imaginary), length)
