"""Calls of ops that take functions: branches, loops, maps, gradients of a user's own."""

from __future__ import annotations

import numpy as np

from .ops_table import Table, spread

T = Table()
f32 = np.float32

X, ROW, ROWS, SCALAR = (
    spread((3, 4)),
    spread((4,), seed=2),
    spread((5, 4), seed=3),
    np.array(f32(0.7)),
)
NUMBER = np.array(np.int32(3))

for yes in (True, False):
    T.add(
        "cond", X, np.array(yes), call=lambda ops, x, p: ops.cond(p, lambda: x * 2, lambda: x - 1)
    )
    T.add("cond", X, yes, call=lambda ops, x, p: ops.cond(p, lambda: x * 2, lambda: ops.sin(x)))
    T.add(
        "cond",
        X,
        np.array(yes),
        call=lambda ops, x, p: ops.cond(p, lambda: (x, x * 2), lambda: (x + 1, ops.exp(x))),
    )
for place in (0, 1, 2, -1, 7):
    T.add(
        "switch",
        np.array(np.int32(place)),
        X,
        call=lambda ops, i, x: ops.switch(
            i, [lambda v: v, lambda v: v * 2, lambda v: ops.exp(v)], x
        ),
    )
T.add("switch", 1, X, ROW, call=lambda ops, i, x, y: ops.switch(i, [ops.add, ops.multiply], x, y))
T.add(
    "while_loop",
    X,
    call=lambda ops, x: ops.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * 1.5), (0, x))[
        1
    ],
)
T.add(
    "while_loop",
    X,
    call=lambda ops, x: ops.while_loop(
        lambda i, v: i < 9, lambda i, v: (i + 1, v + 1), (0, x), maximum_iterations=4
    )[1],
)
T.add(
    "while_loop", NUMBER, call=lambda ops, n: ops.while_loop(lambda i: i < 20, lambda i: i * 2, n)
)
T.add("fori_loop", X, call=lambda ops, x: ops.fori_loop(0, 4, lambda i, v: v * 1.2 + 1, x))
T.add(
    "fori_loop",
    X,
    call=lambda ops, x: ops.fori_loop(1, 4, lambda i, v: v * ops.cast(i, "float32"), x),
)
T.add("fori_loop", X, call=lambda ops, x: ops.fori_loop(3, 3, lambda i, v: v * 2, x))
for reverse in (False, True):
    T.add(
        "scan",
        ROW,
        ROWS,
        reverse=reverse,
        call=lambda ops, c, xs, reverse: ops.scan(
            lambda c, x: (c * 0.5 + x, ops.sin(c)), c, xs, reverse=reverse
        ),
    )
    T.add(
        "scan",
        SCALAR,
        call=lambda ops, c, **k: ops.scan(lambda c, _: (c * 1.5, c + 1), c, None, length=4, **k),
        reverse=reverse,
    )
    T.add(
        "scan",
        ROW,
        ROWS,
        unroll=2,
        reverse=reverse,
        call=lambda ops, c, xs, **k: ops.scan(lambda c, x: (c + x, c * x), c, xs, **k),
    )
    T.add(
        "associative_scan",
        ROWS,
        reverse=reverse,
        call=lambda ops, xs, reverse: ops.associative_scan(lambda a, b: a + b, xs, reverse=reverse),
    )
    T.add(
        "associative_scan",
        ROWS,
        axis=1,
        reverse=reverse,
        call=lambda ops, xs, **k: ops.associative_scan(lambda a, b: a * b, xs, **k),
    )
T.add(
    "associative_scan",
    ROWS,
    ROWS * 2,
    call=lambda ops, a, b: ops.associative_scan(
        lambda p, q: (p[0] * q[0], p[1] * q[0] + q[1]), (a, b)
    ),
)
T.add("map", ROWS, call=lambda ops, xs: ops.map(lambda x: ops.sum(x) * x, xs))
T.add("map", ROWS, ROWS + 1, call=lambda ops, a, b: ops.map(lambda p: p[0] * p[1], (a, b)))
T.add(
    "vectorized_map",
    ROWS,
    call=lambda ops, xs: ops.vectorized_map(lambda x: ops.exp(x) / ops.sum(ops.exp(x)), xs),
)
T.add(
    "vectorized_map",
    ROWS,
    ROWS + 1,
    call=lambda ops, a, b: ops.vectorized_map(lambda p: ops.sum(p[0] * p[1]), (a, b)),
)


def own(ops, x):
    """An exponential whose gradient is made half as large."""

    @ops.custom_gradient
    def function(x):
        y = ops.exp(x)

        def grad(*args, upstream=None):
            return (args[0] if upstream is None else upstream) * y * 0.5

        return y, grad

    return function(x)


T.add("custom_gradient", X, call=own)
T.add("custom_gradient", X, call=lambda ops, x: own(ops, x * 2) + x)
T.add(
    "jvp",
    X,
    spread((3, 4), seed=4),
    call=lambda ops, x, t: ops.jvp(ops.tanh, (x,), (t,)),
    grad=False,
)
T.add(
    "jvp",
    X,
    ROW,
    spread((3, 4), seed=4),
    spread((4,), seed=5),
    grad=False,
    call=lambda ops, x, y, a, b: ops.jvp(lambda x, y: ops.sum(ops.sin(x) * y), (x, y), (a, b)),
)
T.add(
    "jvp",
    X,
    X * 2,
    grad=False,
    call=lambda ops, x, t: ops.jvp(lambda x: (x * x, ops.cos(x)), (x,), (t,), has_aux=True),
)
T.add("stop_gradient", X, call=lambda ops, x: ops.stop_gradient(x) * x)
