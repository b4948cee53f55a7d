"""Public control flow: branches, loops and maps, as far as a program of fixed shapes has them.

In: Python functions and values. Out: what they return. Loops run in Python while the model is
traced, so each turn adds its ops to the graph; a branch on a tensor computes both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo_keras.errors import ShapeError, UnsupportedError
from zoo_keras.graph import Tensor, current_trace
from zoo_keras.nest import flatten, map_structure, pack_as
from zoo_keras.ops import math as m
from zoo_keras.ops.api_index import get_item
from zoo_keras.ops.api_shape import stack, unstack
from zoo_keras.ops.convert import as_dtype, known_array, known_int, shape_of, value
from zoo_keras.ops.symbolic import public


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


def _rows(xs: Any, length: int | None) -> int:
    sizes = {shape_of(x)[0] for x in flatten(xs) if x is not None}
    sizes |= {length} if length is not None else set()
    if len(sizes) != 1:
        raise ShapeError(
            f"All leading axes must be equally long. Received: lengths {sorted(sizes)}."
        )
    return int(sizes.pop())


def _row(xs: Any, i: int) -> Any:
    return None if xs is None else map_structure(lambda x: get_item(x, i), xs)


def _stacked(rows: list[Any]) -> Any:
    if not rows or rows[0] is None:
        return None
    columns = zip(*[flatten(r) for r in rows], strict=True)
    return pack_as(rows[0], [stack(list(c)) for c in columns])


@public
def scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: Any = 1,
) -> Any:
    """(last carried value, stacked outputs) of carried, y = f(carried, xs[i]) over axis 0."""
    count = _rows(xs, length)
    carried, outputs = init, []
    for i in reversed(range(count)) if reverse else range(count):
        carried, y = f(carried, _row(xs, i))
        outputs.append(y)
    return carried, _stacked(outputs[::-1] if reverse else outputs)


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
