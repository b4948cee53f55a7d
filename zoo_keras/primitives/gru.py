"""GRU over whole sequences, the reset gate after or before the recurrent product, forward and back.

In and out as in `ops.rnn`, which says what masks, `reverse` and `kept` mean. Gates lie in the order
update, reset, candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.primitives.arrays import concatenate, strided_slice
from zoo_keras.primitives.op import op
from zoo_keras.primitives.recurrent import (
    Kept,
    check,
    every_activation,
    filled,
    fits,
    flags,
    given_flags,
    grad_samples,
    keep,
    like,
    only_kept,
    optional_inputs,
    product,
    sequence_samples,
    times,
    used_rows,
    weight_grad,
)
from zoo_keras.primitives.recurrent_activations import activate, slope
from zoo_keras.primitives.reduce import reduce_sum
from zoo_keras.primitives.row_rules import rows_in

_LIGHT = (False, False, False, True, True)


def _three(z: np.ndarray) -> Sequence[np.ndarray]:
    return np.split(z, 3, axis=-1)


def _outputs(xp: Spec, h0: Spec, kept: Kept) -> tuple[Spec, ...]:
    sequence = Spec((*xp.shape[:2], h0.shape[1]), xp.dtype)
    return only_kept([xp, sequence, sequence, sequence, h0], kept)


# ---- reset after ---------------------------------------------------------------------------------


def _gru_spec(
    xp: Spec, u: Spec, bias: Spec, h0: Spec, *mask: Spec, reverse: bool, kept: Kept, **how: Any
) -> tuple[Spec, ...]:
    check(xp, u, (h0,), 3, mask)
    if bias.shape != u.shape[1:]:
        raise ShapeError(f"the recurrent bias must have the shape {u.shape[1:]}.")
    return _outputs(xp, h0, kept)


def _gru_grad_rule(
    g: Any,
    y: Any,
    xp: Any,
    u: Any,
    bias: Any,
    h0: Any,
    *mask: Any,
    reverse: bool,
    kept: Kept,
    **how: Any,
) -> tuple[Any, ...]:
    if not all(kept[:3]):
        y = gru(xp, u, bias, h0, *mask, reverse=reverse, kept=(True,) * 5, **how)
    gates, inner, before = y[:3]
    optional, given = optional_inputs([*(mask or (None,)), *g[3:]])
    dx, dp, dh0 = gru_grad(gates, inner, before, u, *optional, reverse=reverse, given=given, **how)
    db = reduce_sum(dp, axes=(0, 1), keepdims=False)
    return dx, weight_grad(before, dp), db, dh0, *[None for _ in mask]


@op(
    kernel=True,
    rows=rows_in(1, 0, 0, 1, rest=True),
    shape=_gru_spec,
    grad=_gru_grad_rule,
    attrs_to_c=flags(4),
    dtypes=fits,
    inplace=(0,),
    samples=every_activation(lambda **how: sequence_samples(3, 1, bias=True, kept=_LIGHT, **how)),
)
def gru(
    xp: np.ndarray,
    u: np.ndarray,
    bias: np.ndarray,
    h0: np.ndarray,
    *mask: np.ndarray,
    reverse: bool,
    kept: Kept,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    rounds: bool = False,
) -> tuple[np.ndarray, ...]:
    """A GRU over sequences, its reset gate applied to state u + bias.

    xp (batch, steps, 3 * units), u (units, 3 * units), bias (3 * units,), h0 (batch, units), mask
    (batch, steps) bool. Returns gates (like xp), the candidate's recurrent product, states before
    each step, states (all batch, steps, units), and the last state. Cho et al. 2014,
    arXiv:1406.1078.
    """
    units = u.shape[0]
    gates, inner, before, y = xp.copy(), like(xp, units), like(xp, units), like(xp, units)
    h = h0
    for t in times(xp.shape[1], reverse):
        x, p = _three(xp[:, t]), _three(product(h, u, rounds) + bias)
        z, r = (activate(x[i] + p[i], recurrent_activation) for i in (0, 1))
        candidate = activate(x[2] + r * p[2], activation)
        gates[:, t] = np.concatenate([z, r, candidate], 1)
        inner[:, t], before[:, t] = p[2], h
        used = used_rows(mask[0] if mask else None, t)
        h = np.where(used, z * h + (1 - z) * candidate, h)
        y[:, t] = h
    return keep([gates, inner, before, y, h], kept)


def _gru_grad_spec(
    gates: Spec,
    inner: Spec,
    before: Spec,
    u: Spec,
    *optional: Spec,
    reverse: bool,
    given: Kept,
    **how: Any,
) -> tuple[Spec, ...]:
    return gates, gates, Spec((gates.shape[0], u.shape[0]), gates.dtype)


@op(
    kernel=True,
    shape=_gru_grad_spec,
    attrs_to_c=given_flags,
    dtypes=fits,
    inplace=(0,),
    samples=every_activation(lambda **how: grad_samples([3, 1, 1], 3, 0, **how)),
)
def gru_grad(
    gates: np.ndarray,
    inner: np.ndarray,
    before: np.ndarray,
    u: np.ndarray,
    *optional: np.ndarray,
    reverse: bool,
    given: Kept,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    rounds: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of gru by the projected inputs, by the recurrent product, and by the first state.

    The optional inputs, present as `given` says: mask, and the gradients of all states and of the
    last state.
    """
    mask, dy, dh_last = filled(optional, given)
    dh = np.zeros((gates.shape[0], u.shape[0]), gates.dtype) if dh_last is None else dh_last
    dx, dp = np.zeros_like(gates), np.zeros_like(gates)
    for t in reversed(times(gates.shape[1], reverse)):
        z, r, a = _three(gates[:, t])
        used = used_rows(mask, t)
        dh = dh if dy is None else dh + dy[:, t]
        by_z, by_r = slope(z, recurrent_activation), slope(r, recurrent_activation)
        da = dh * (1 - z) * slope(a, activation)
        dz, dr = dh * (before[:, t] - a) * by_z, da * inner[:, t] * by_r
        dx[:, t] = np.where(used, np.concatenate([dz, dr, da], 1), 0)
        dp[:, t] = np.where(used, np.concatenate([dz, dr, da * r], 1), 0)
        dh = np.where(used, dh * z + product(dp[:, t], u.T, rounds), dh)
    return dx, dp, dh


# ---- reset before --------------------------------------------------------------------------------


def _first_spec(
    xp: Spec, u: Spec, h0: Spec, *mask: Spec, reverse: bool, kept: Kept, **how: Any
) -> tuple[Spec, ...]:
    check(xp, u, (h0,), 3, mask)
    return _outputs(xp, h0, kept)


def _first_grad_rule(
    g: Any, y: Any, xp: Any, u: Any, h0: Any, *mask: Any, reverse: bool, kept: Kept, **how: Any
) -> tuple[Any, ...]:
    if not all(kept[:3]):
        y = gru_reset_first(xp, u, h0, *mask, reverse=reverse, kept=(True,) * 5, **how)
    gates, opened, before = y[:3]
    optional, given = optional_inputs([*(mask or (None,)), *g[3:]])
    dx, dh0 = gru_reset_first_grad(gates, before, u, *optional, reverse=reverse, given=given, **how)
    units = u.shape[0]
    open_grad = weight_grad(before, _columns(dx, 0, 2 * units))
    candidate_grad = weight_grad(opened, _columns(dx, 2 * units, 3 * units))
    du = concatenate(open_grad, candidate_grad, axis=1)
    return dx, du, dh0, *[None for _ in mask]


def _columns(x: Any, begin: int, end: int) -> Any:
    return strided_slice(x, begin=(0, 0, begin), end=(*x.shape[:2], end), strides=(1, 1, 1))


@op(
    kernel=True,
    rows=rows_in(1, 0, 1, rest=True),
    shape=_first_spec,
    grad=_first_grad_rule,
    attrs_to_c=flags(3),
    dtypes=fits,
    inplace=(0,),
    samples=every_activation(lambda **how: sequence_samples(3, 1, kept=_LIGHT, **how)),
)
def gru_reset_first(
    xp: np.ndarray,
    u: np.ndarray,
    h0: np.ndarray,
    *mask: np.ndarray,
    reverse: bool,
    kept: Kept,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    rounds: bool = False,
) -> tuple[np.ndarray, ...]:
    """A GRU over sequences, its reset gate applied to the state before the recurrent product.

    Arguments and results as of `gru`, without recurrent bias; the second result is reset gate *
    state.
    """
    units = u.shape[0]
    gates, opened, before, y = xp.copy(), like(xp, units), like(xp, units), like(xp, units)
    h = h0
    for t in times(xp.shape[1], reverse):
        x, p = _three(xp[:, t]), product(h, u[:, : 2 * units], rounds)
        z = activate(x[0] + p[:, :units], recurrent_activation)
        r = activate(x[1] + p[:, units:], recurrent_activation)
        candidate = activate(x[2] + product(r * h, u[:, 2 * units :], rounds), activation)
        gates[:, t] = np.concatenate([z, r, candidate], 1)
        opened[:, t], before[:, t] = r * h, h
        used = used_rows(mask[0] if mask else None, t)
        h = np.where(used, z * h + (1 - z) * candidate, h)
        y[:, t] = h
    return keep([gates, opened, before, y, h], kept)


def _first_back_spec(
    gates: Spec, before: Spec, u: Spec, *optional: Spec, reverse: bool, given: Kept, **how: Any
) -> tuple[Spec, ...]:
    return gates, Spec((gates.shape[0], u.shape[0]), gates.dtype)


@op(
    kernel=True,
    shape=_first_back_spec,
    attrs_to_c=given_flags,
    dtypes=fits,
    inplace=(0,),
    samples=every_activation(lambda **how: grad_samples([3, 1], 3, 0, **how)),
)
def gru_reset_first_grad(
    gates: np.ndarray,
    before: np.ndarray,
    u: np.ndarray,
    *optional: np.ndarray,
    reverse: bool,
    given: Kept,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    rounds: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of gru_reset_first by the projected inputs and the first state.

    The optional inputs are those of `gru_grad`.
    """
    mask, dy, dh_last = filled(optional, given)
    units = u.shape[0]
    dh = np.zeros((gates.shape[0], units), gates.dtype) if dh_last is None else dh_last
    dx = np.zeros_like(gates)
    for t in reversed(times(gates.shape[1], reverse)):
        (z, r, a), h = _three(gates[:, t]), before[:, t]
        used = used_rows(mask, t)
        dh = dh if dy is None else dh + dy[:, t]
        da = dh * (1 - z) * slope(a, activation)
        dz = dh * (h - a) * slope(z, recurrent_activation)
        by_state = product(da, u[:, 2 * units :].T, rounds)
        dr = by_state * h * slope(r, recurrent_activation)
        dx[:, t] = np.where(used, np.concatenate([dz, dr, da], 1), 0)
        back = product(np.concatenate([dz, dr], 1), u[:, : 2 * units].T, rounds)
        dh = np.where(used, dh * z + by_state * r + back, dh)
    return dx, dh
