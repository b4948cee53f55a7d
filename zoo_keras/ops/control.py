"""Public control flow: branches, loops and maps, as far as a program of fixed shapes has them.

In: Python functions and values. Out: what they return. `scan` is a loop of the program; the other
loops run in Python while the model is traced, so each turn adds its ops to the graph. A branch on
a tensor computes both sides.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo_keras.bfloat16 import in_dtype
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.graph import Tensor, current_trace, tracing
from zoo_keras.nest import flatten, map_structure, pack_as
from zoo_keras.ops.convert import as_dtype, dtype_of, known_array, known_int, shape_of, value
from zoo_keras.ops.indexing import get_item
from zoo_keras.ops.shaping import concatenate, reshape, stack, unstack
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives import elementwise as m
from zoo_keras.primitives.scan import scan_steps


def _known(x: Any) -> bool:
    return not isinstance(x, Tensor) or x.node.op.name == "constant"


@public
def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """true_fn() or false_fn(). When pred is a tensor of a trace both are computed, and
    results and assigned Variables are chosen element by element."""
    pred = value(pred)
    if _known(pred):
        return true_fn() if bool(known_array(pred, "pred")) else false_fn()
    trace = current_trace()
    before = dict(trace.updates) if trace else {}
    yes, after_yes = true_fn(), dict(trace.updates) if trace else {}
    if trace:
        trace.updates = dict(before)
    no, after_no = false_fn(), dict(trace.updates) if trace else {}
    pred = as_dtype(pred, "bool")
    for key in {**after_yes, **after_no} if trace else ():
        variable = (after_yes.get(key) or after_no[key])[0]
        sides = [u[key][1] if key in u else trace.parameters[key][1]  # type: ignore[union-attr]
                 for u in (after_yes, after_no)]  # fmt: skip
        trace.updates[key] = (variable, m.where(pred, *sides))  # type: ignore[union-attr]
    return _chosen(pred, yes, no)


def _chosen(pred: Any, yes: Any, no: Any) -> Any:
    if yes is None and no is None:
        return None
    leaves = zip(flatten(yes), flatten(no), strict=True)
    return pack_as(yes, [m.where(pred, value(a), value(b)) for a, b in leaves])


@public
def switch(index: Any, branches: Any, *operands: Any) -> Any:
    """branches[index](*operands), the index cut to those there are."""
    index = value(index)
    if _known(index):
        place = min(max(known_int(index, "index"), 0), len(branches) - 1)
        return branches[place](*operands)
    found = branches[-1](*operands)
    for i in reversed(range(len(branches) - 1)):
        found = _chosen(m.less_equal(index, i), branches[i](*operands), found)
    return found


@public
def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    maximum_iterations: int | None = None,
) -> Any:
    """Call body on the loop variables while cond is true.

    Raises UnsupportedError when cond depends on values that a traced model computes later.
    """
    many = isinstance(loop_vars, (list, tuple))
    state = tuple(map_structure(value, v) for v in (loop_vars if many else (loop_vars,)))
    turns = 0
    while maximum_iterations is None or turns < maximum_iterations:
        go = value(cond(*state))
        if not _known(go):
            raise UnsupportedError(
                "while_loop: the condition depends on values that are only known when the program "
                f"runs. Received: {go}. Use a fixed number of turns, as in ops.fori_loop."
            )
        if not bool(known_array(go, "the condition")):
            break
        made = body(*state)
        state = tuple(made) if isinstance(made, (list, tuple)) else (made,)
        turns += 1
    return type(loop_vars)(state) if isinstance(loop_vars, list) else (state if many else state[0])


@public
def fori_loop(lower: Any, upper: Any, body_fun: Callable[..., Any], init_val: Any) -> Any:
    """body_fun(i, carried) for i from lower to upper - 1."""
    carried = init_val
    for i in range(known_int(lower, "lower"), known_int(upper, "upper")):
        carried = body_fun(i, carried)
    return carried


def _rows(xs: Any, length: Any) -> int:
    """The number of rows of all leaves of xs, which must be `length` if that is given."""
    shapes = [shape_of(x) for x in flatten(xs) if x is not None]
    sizes = {shape[0] if shape else None for shape in shapes}
    sizes |= set() if length is None else {known_int(length, "length")}
    if not sizes:
        raise ConfigError(
            "ops.scan and ops.map: nothing says how many steps to make. Received: no tensor in xs "
            "and length=None. Pass xs, or the length."
        )
    if len(sizes) != 1 or None in sizes or min(sizes) < 0:  # type: ignore[type-var,operator]
        raise ShapeError(
            "ops.scan and ops.map: every tensor of xs needs as many rows, the length if one is "
            f"given. Received: shapes {shapes} and length={length}. Make the first axes equal."
        )
    return int(sizes.pop())  # type: ignore[arg-type]


def _row(xs: Any, i: int) -> Any:
    return map_structure(lambda x: None if x is None else get_item(x, i), xs)


def _stacked(rows: list[Any]) -> Any:
    if not rows:
        return None
    columns = [list(c) for c in zip(*[flatten(r) for r in rows], strict=True)]
    return pack_as(rows[0], [None if c[0] is None else stack(c) for c in columns])


@public
def scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: Any = 1,
) -> Any:
    """(last carry, stacked outputs) of carry, y = f(carry, xs[i]) for each row i of xs.

    In a model f is traced once, and its ops run as a loop: the program has the same size for any
    length. Gradients reach init, xs, and the tensors and weights that f reads. The carry before
    each turn is kept for them, everything else is computed again. Each step draws random numbers
    of its own. On arrays outside a model f is called for each row.

    Args:
        f: f(carry, row of xs) -> (carry, y). The carry must keep its structure, shapes and dtypes.
        init: the first carry: a tensor, or nested lists, tuples and dicts of tensors.
        xs: tensors (length, ...), nested likewise; None when f needs no rows.
        length: number of steps, needed when xs is None.
        reverse: begin with the last row. Outputs stay at the place of their row.
        unroll: how many steps make one turn of the loop. A turn costs some microseconds, so for
            small f a number such as 8 saves time. True, or a number not below the length, writes
            all steps out; then f may assign Variables, add losses and change the carry's shape.

    Returns:
        The last carry, and y with the axis (length, ...) in front of each of its tensors.

    Raises ShapeError when rows are not equally many or the carry changes; UnsupportedError when f
    assigns Variables (a BatchNormalization in training does) or adds losses in a loop.
    https://keras.io/api/ops/core/#scan-function

    >>> ops.scan(lambda total, x: (total + x, total + x), 0, np.array([1, 2, 3], "int32"))[1]
    array([1, 3, 6], dtype=int32)
    """
    _check_scan(f, unroll)
    count, init = _rows(xs, length), _filled(init, _leaves(init))
    written_out = max(count if unroll is True else int(unroll), 1)
    traced = current_trace() is not None or any(isinstance(t, Tensor) for t in flatten((init, xs)))
    if traced and not 0 < count <= written_out:
        return _looped(f, init, xs, count, reverse, written_out)
    if count == 0:
        return init, _no_rows(f, init, xs)
    carried, outputs = init, []
    for i in reversed(range(count)) if reverse else range(count):
        carried, y = f(carried, _row(xs, i))
        outputs.append(y)
    return carried, _stacked(outputs[::-1] if reverse else outputs)


def _check_scan(f: Any, unroll: Any) -> None:
    if not callable(f):
        raise ConfigError(
            f"ops.scan: f must be a function of the carry and a row. Received: f={f!r}. Pass a "
            "function that returns (carry, y)."
        )
    if not isinstance(unroll, (bool, int)) or (unroll < 1 and unroll is not False):
        raise ConfigError(
            f"ops.scan: unroll must be True, False or a positive whole number. Received: "
            f"unroll={unroll!r}. Leave it out, or pass True to write the loop out."
        )


def _looped(
    f: Callable[..., Any], init: Any, xs: Any, count: int, reverse: bool, group: int
) -> Any:
    """The scan as a loop of `group` steps a turn, and one of single steps for what is left."""
    body, states, rows = _Body(f, init, xs), _leaves(init), _leaves(xs)
    whole = count - count % group
    parts = [(0, whole, group), (whole, count, 1)] if count % group else [(0, count, group)]
    found: dict[int, list[Any]] = {}
    for start, stop, size in parts[:: -1 if reverse else 1]:
        turns = (stop - start) // size
        grouped = [reshape(x[start:stop], (turns, size, *x.shape[1:])) for x in rows]
        step = functools.partial(body.turn, size, reverse)
        states, stacked = scan_steps(step, states, grouped, turns, reverse)
        found[start] = [reshape(y, (stop - start, *y.shape[2:])) for y in stacked]
    columns = zip(*[found[start] for start in sorted(found)], strict=True)
    return _filled(init, states), _filled(body.y, [concatenate(list(c)) for c in columns])


def _no_rows(f: Callable[..., Any], init: Any, xs: Any) -> Any:
    """The outputs (0, ...) of no steps, their shapes found by tracing one."""
    with tracing():
        _, y = _looped(f, init, xs, 0, False, 1)
    return map_structure(lambda t: None if t is None else in_dtype(np.zeros(t.shape), t.dtype), y)


class _Body:
    """f as a step for `scan_steps`, which knows lists of tensors only. `y` is what f gave last."""

    def __init__(self, f: Callable[..., Any], init: Any, xs: Any) -> None:
        self.f, self.init, self.xs = f, init, xs
        self.y: Any = None

    def turn(
        self, size: int, reverse: bool, states: list[Any], rows: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        """`size` steps on rows (size, ...)."""
        found: list[list[Any]] = []
        for i in range(size)[:: -1 if reverse else 1]:
            states, y = self._step(states, [x[i] for x in rows])
            found.append(y)
        columns = zip(*found[:: -1 if reverse else 1], strict=True)
        return states, [stack(list(c)) for c in columns]

    def _step(self, states: list[Any], rows: list[Any]) -> tuple[list[Any], list[Any]]:
        made = self.f(_filled(self.init, states), _filled(self.xs, rows))
        if not isinstance(made, (tuple, list)) or len(made) != 2:
            raise ConfigError(
                f"ops.scan: f must return two things, the carry and y. Received: {made!r}. Return "
                "(carry, None) when there is nothing to stack."
            )
        carried, self.y = _leaves(made[0]), made[1]
        before, after = ([(shape_of(t), dtype_of(t)) for t in ts] for ts in (states, carried))
        if before != after:
            raise ShapeError(
                "ops.scan: f must keep the structure, shapes and dtypes of the carry. Received: "
                f"{after} after a step, {before} in init. Cast or broadcast init, or write the "
                "steps out with unroll=True."
            )
        return carried, _leaves(self.y)


def _leaves(structure: Any) -> list[Any]:
    return [value(leaf) for leaf in flatten(structure) if leaf is not None]


def _filled(structure: Any, leaves: list[Any]) -> Any:
    """The structure with other tensors in place of its own; None stays."""
    left = iter(leaves)
    return map_structure(lambda leaf: None if leaf is None else next(left), structure)


@public
def associative_scan(
    f: Callable[..., Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """Running results of an associative f along an axis, the first element unchanged."""
    columns = [unstack(e, axis=axis) for e in flatten(elems)]
    rows = [pack_as(elems, list(c)) for c in zip(*columns, strict=True)]
    rows = rows[::-1] if reverse else rows
    found = rows[:1]
    for row in rows[1:]:
        found.append(f(found[-1], row))
    leaves = zip(*[flatten(r) for r in (found[::-1] if reverse else found)], strict=True)
    return pack_as(elems, [stack(list(c), axis=axis) for c in leaves])


@public
def map(f: Callable[..., Any], xs: Any) -> Any:
    """f of every row of xs, stacked."""
    return _stacked([f(_row(xs, i)) for i in range(_rows(xs, None))])


@public
def vectorized_map(function: Callable[..., Any], elements: Any) -> Any:
    """function of every row of the elements, stacked."""
    return _stacked([function(_row(elements, i)) for i in range(_rows(elements, None))])


__all__ = [
    "associative_scan", "cond", "fori_loop", "map", "scan", "switch", "vectorized_map",
    "while_loop",
]  # fmt: skip
