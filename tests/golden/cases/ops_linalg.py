"""Calls of products, linear algebra, Fourier transforms and signals. See ops_table.py.

Where a decomposition leaves signs or an order open, its factors are multiplied again.
"""

from __future__ import annotations

import numpy as np

from .ops_table import Table, spread, whole

T = Table()
f32 = np.float32

A, B, V, W = spread((3, 4)), spread((4, 2), seed=2), spread((4,), seed=3), spread((3,), seed=4)
BATCH, OTHER = spread((2, 3, 4), seed=5), spread((2, 4, 5), seed=6)
IA, IB = whole((3, 4), -4, 5), whole((4, 2), -4, 5, seed=2)
SCALAR = np.array(f32(0.7))

PAIRS = ((A, B), (A, V), (V, V), (BATCH, OTHER), (BATCH, V), (BATCH, B), (IA, IB), (IA, B),
         (A.astype("float64"), B.astype("float64")))  # fmt: skip
for x, y in PAIRS:
    T.add("matmul", x, y)
for x, y in (
    *PAIRS[:3],
    (BATCH, B),
    (BATCH, V),
    *PAIRS[6:],
    (SCALAR, A),
    (A, SCALAR),
    (2, A),
    (A, 3),
):
    T.add("dot", x, y)
T.add("matmul", spread((5, 1, 3, 4)), OTHER)
T.add("matmul", IA.astype("int8"), IB.astype("int8"))
T.add("matmul", np.zeros((0, 4), "float32"), B)
T.add("matmul", np.zeros((3, 0), "float32"), np.zeros((0, 2), "float32"))
T.add("matmul", A.astype("float16"), B.astype("float16"), grad=False)
for axes in (1, 0, ((1,), (0,)), ([1], [0])):
    T.add("tensordot", A, B, axes=axes)
for axes in (2, ((1, 2), (0, 1)), ((2, 1), (1, 0)), (-1, 1)):
    T.add("tensordot", BATCH, spread((3, 4, 2)), axes=axes)
T.add("tensordot", IA, IB, axes=1)
T.each("outer inner vdot kron", V, spread((4,), seed=8))
T.each("outer kron", A, B)
T.each("outer kron", IA, IB)
T.each("inner vdot", A, spread((3, 4), seed=9))
T.each("outer inner kron vdot", SCALAR, SCALAR)
T.add("outer", 2.0, V)
T.add("inner", A, V)
T.add("inner", IA, IA)
T.add("vdot", IA, IA)
T.add("kron", A, V)
T.add("cross", W, spread((3,), seed=9))
T.add("cross", spread((4, 3)), W)
T.add("cross", spread((4, 3)), spread((4, 3), seed=9))
T.add("cross", spread((4, 2)), spread((4, 2), seed=9))
T.add("cross", spread((3, 4)), spread((3, 4), seed=9), axis=0)
T.add("cross", spread((3, 4)), spread((4, 3), seed=9), axisa=0, axisb=1, axisc=0)
T.add("cross", whole((4, 3), -4, 5), whole((4, 3), -4, 5, seed=9))
for subscripts, operands in (
    ("ij,jk->ik", (A, B)), ("ij,jk", (A, B)), ("ij->ji", (A,)), ("ij->", (A,)), ("ij->j", (A,)),
    ("bij,bjk->bik", (BATCH, OTHER)), ("bij,bjk->ik", (BATCH, OTHER)),
    ("...ij,jk->...ik", (BATCH, B)),
    ("i,i->", (V, V)), ("i,j->ij", (V, W)), ("bij,bjk,b->bik", (BATCH, OTHER, V[:2])),
    ("ij,j->i", (A, V)), ("ij,ij->ij", (A, A)), ("ij,jk->ik", (IA, IB)), ("ij,jk->ik", (IA, B)),
    ("bnth,bnsh->bnts", (spread((1, 2, 3, 4)), spread((1, 2, 5, 4)))), ("bij->bji", (BATCH,)),
    ("ab,bc,cd->ad", (A, B, spread((2, 3)))), ("bij,kij->bk", (BATCH, spread((5, 3, 4)))),
):  # fmt: skip
    T.add("einsum", subscripts, *operands)
T.add("einsum", "ii->i", spread((3, 3)), call=lambda ops, s, x: ops.einsum(s, x))
T.add("einsum", "ii", spread((3, 3)))
T.add("correlate", spread((7,)), spread((3,), seed=2))
for mode in ("valid", "same", "full"):
    T.add("correlate", spread((7,)), spread((3,), seed=2), mode=mode)
    if mode != "valid":
        T.add("correlate", spread((3,)), spread((6,), seed=2), mode=mode)
    T.add("correlate", whole((5,), 0, 9), whole((2,), 0, 9), mode)
T.add("corrcoef", A)
T.add("corrcoef", spread((2, 6)))
T.add("corrcoef", IA)
for args in ({}, {"dx": 0.5}, {"axis": 0}, {"dx": 2.0, "axis": 0}):
    T.add("trapezoid", A, **args)
T.add("trapezoid", A, x=f32([0, 1, 3, 7]))
T.add("trapezoid", A, x=f32([0, 1, 3]), axis=0)
T.add("trapezoid", IA)
T.add("cdist", A, spread((5, 4), seed=2))
T.add("cdist", BATCH, spread((2, 5, 4), seed=2))
T.add("cdist", f32([[0, 0], [3, 4]]), f32([[0, 0]]), grad=False)

# Square, symmetric positive, and tall matrices; a few of each
SQUARE = spread((2, 3, 3)) + 2 * np.eye(3, dtype="float32")
TALL, BROAD = spread((4, 3)) + np.eye(4, 3, dtype="float32"), spread((2, 3, 4), seed=2)
POSITIVE = (SQUARE @ SQUARE.transpose(0, 2, 1)).astype("float32")
RIGHT, COLUMN = spread((2, 3, 2), seed=4), spread((3,), seed=5)


def symmetric(ops, x):
    return 0.5 * (x + ops.swapaxes(x, -1, -2))


for x in (SQUARE, SQUARE[0], POSITIVE, SQUARE.astype("float64")):
    T.each("det inv slogdet", x)
    T.each("linalg.det linalg.inv", x)
    if x.ndim == 2:  # of batches TensorFlow fails
        T.add("lu_factor", x, grad=False)
T.add("slogdet", -SQUARE)
T.add("det", f32([[1, 2], [2, 4]]), grad=False)
for x in (POSITIVE, POSITIVE[0]):
    for upper in (False, True):
        T.add(
            "cholesky",
            x,
            upper=upper,
            call=lambda ops, x, upper: ops.cholesky(symmetric(ops, x), upper),
        )
        T.add("cholesky_inverse", np.tril(x) if not upper else np.triu(x), upper=upper)
    T.add("logdet", x)
    T.add("cholesky", x)
    T.add("eigh", x, call=lambda ops, x: ops.eigh(x)[0])
    T.add("eigh", x, call=lambda ops, x: ops.eigh(symmetric(ops, x))[0])
    T.add(
        "eigh",
        x,
        grad=False,
        call=lambda ops, x: (
            lambda w, v: ops.matmul(v * ops.expand_dims(w, -2), ops.swapaxes(v, -1, -2))
        )(*ops.eigh(x)),
    )
    T.add("eig", x, grad=False, call=lambda ops, x: ops.sort(ops.real(ops.eig(x)[0])))
    T.add("eig", x, grad=False, call=lambda ops, x: ops.dtype(ops.eig(x)[1]))
    T.add("linalg.matrix_rank", x, grad=False, call=lambda ops, x: ops.matrix_rank(x))
T.add("cholesky", POSITIVE.astype("float64"), grad=False)
for name in ("pinv", "linalg.pinv"):
    T.add(name, TALL)
    T.add(name, BROAD)
    T.add(name, f32([[1, 2], [2, 4]]), grad=False)
    T.add(name, TALL, rcond=0.3, grad=False)
T.add("matrix_rank", TALL, grad=False)
T.add("matrix_rank", BROAD, grad=False)
T.add("matrix_rank", f32([[1, 2], [2, 4]]), grad=False)
T.add("matrix_rank", TALL, tol=1.2, grad=False)
T.add("matrix_rank", np.zeros((2, 2), "float32"), grad=False)
for x in (TALL, BROAD, SQUARE, TALL.astype("float64")):
    for mode in ("reduced", "complete"):
        T.add(
            "qr",
            x,
            mode=mode,
            grad=False,
            call=lambda ops, x, mode: (lambda q, r: (ops.matmul(q, r), ops.abs(r), ops.ndim(q)))(
                *ops.qr(x, mode=mode)
            ),
        )
    T.add("qr", x, call=lambda ops, x: ops.abs(ops.qr(x)[1]), grad=x is TALL)
    T.add("svd", x, compute_uv=False, grad=x is not SQUARE)
    T.add(
        "svd",
        x,
        grad=False,
        full_matrices=False,
        call=lambda ops, x, full_matrices: (
            lambda u, s, v: (ops.matmul(u * ops.expand_dims(s, -2), v), s)
        )(*ops.svd(x, full_matrices)),
    )
    T.add("svd", x, grad=False, call=lambda ops, x: [ops.abs(y) * 0 for y in ops.svd(x)])
T.add("eigh", POSITIVE, call=lambda ops, x: ops.square(ops.eigh(symmetric(ops, x))[1]))
T.add("qr", TALL, call=lambda ops, x: (ops.square(ops.qr(x)[0]), ops.square(ops.qr(x)[1])))
T.add("solve", SQUARE, RIGHT)
T.add("solve", SQUARE[0], COLUMN)
T.add("solve", SQUARE[0], RIGHT[0])
for lower in (False, True):
    part = np.tril(SQUARE) if lower else np.triu(SQUARE)
    T.add("solve_triangular", part, RIGHT, lower=lower)
    T.add("solve_triangular", part[0], COLUMN, lower=lower)
    T.add("solve_triangular", SQUARE[0], RIGHT[0], lower=lower)
T.add("lstsq", TALL, spread((4,), seed=6), grad=False)
T.add("lstsq", TALL, spread((4, 2), seed=6), grad=False)
T.add("lstsq", BROAD[0], spread((3,), seed=6), grad=False)
T.add("lstsq", TALL, spread((4,), seed=6), rcond=0.5, grad=False)
T.add("linalg.norm", A, axis=1)
T.add("linalg.solve", SQUARE, RIGHT)
T.add(
    "linalg.jvp",
    V,
    spread((4,), seed=7),
    call=lambda ops, x, t: ops.linalg.jvp(ops.sin, (x,), (t,)),
)

# Fourier transforms; complex numbers are pairs of real and imaginary parts
RE, IM = spread((2, 3, 8)), spread((2, 3, 8), seed=2)
T.each("fft fft2 ifft2", (RE, IM))
T.each("fft fft2 ifft2", (RE[..., :5], IM[..., :5]))
T.each("fft", (RE[0, 0], IM[0, 0]))
T.each("fft fft2 ifft2", (RE.astype("float64"), IM.astype("float64")))
for length in (None, 8, 11):
    T.add("rfft", RE, fft_length=length)
    T.add("irfft", (RE[..., :5], IM[..., :5]), fft_length=length)
T.add("rfft", spread((7,)))
SOUND, FRAMES = spread((2, 40)), (spread((2, 5, 9)), spread((2, 5, 9), seed=2))
for kwargs in ({}, {"window": "hamming"}, {"window": None}, {"center": False}):
    T.add("stft", SOUND, 16, 4, 16, **kwargs)
    T.add("istft", FRAMES, 16, 4, 16, **kwargs)
T.add("stft", spread((30,)), 10, 3, fft_length=16)
T.add("istft", FRAMES, 16, 5, 16, length=20)
