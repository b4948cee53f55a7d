"""LSTM and SimpleRNN over whole sequences, one op each and one backwards, and what GRU shares.

In: inputs projected for all steps at once, (batch, steps, gates * units), the recurrent matrix
(units, gates * units), and the states before the first step. Out: states of all steps, the last
states, and what the backward ops need. A masked step keeps the state. With `reverse` the last step
in time runs first; outputs stay at their own place in time.

`activation` is that of candidates and states, `recurrent_activation` that of gates: names of
`recurrent_activations`. Every forward op has an attribute `kept`, one flag for each output: an
output that is not kept has no elements. `passes.unread` clears the flags of what nobody reads.
With `rounds` the products of states (backward, of gradients) with the recurrent matrix round both
to bfloat16 and sum in float32, in tile registers; `passes.tile_recurrent` decides that. Those of an
int8 matrix are in `recurrent_int8`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.native import attributes
from zoo_keras.primitives.arrays import reshape
from zoo_keras.primitives.int8 import rounded_rows
from zoo_keras.primitives.op import Sample, op
from zoo_keras.primitives.products import matmul
from zoo_keras.primitives.recurrent_activations import NAMES, activate, code, slope
from zoo_keras.primitives.rounding import nearest
from zoo_keras.primitives.row_rules import rows_in

Kept = tuple[bool, ...]

# Which input of each op is the recurrent matrix.
MATRICES = {
    "lstm": 1, "gru": 1, "gru_reset_first": 1, "simple_rnn": 1,
    "lstm_grad": 2, "gru_grad": 3, "gru_reset_first_grad": 2, "simple_rnn_grad": 1,
}  # fmt: skip


# ---- shapes --------------------------------------------------------------------------------------


def check(xp: Spec, u: Spec, states: Sequence[Spec], gates: int, masks: Sequence[Spec]) -> None:
    if len(xp.shape) != 3 or len(u.shape) != 2:
        raise ShapeError("the projected inputs need 3 dimensions, the recurrent matrix 2.")
    (batch, steps, width), units = xp.shape, u.shape[0]
    if u.shape[1] != gates * units or width != gates * units:
        raise ShapeError(
            f"a recurrent matrix with {units} rows needs {gates * units} columns, and the "
            "projected inputs a last axis as long."
        )
    if any(s.shape != (batch, units) for s in states):
        raise ShapeError(f"initial states must have the shape {(batch, units)}.")
    if any(m.shape != (batch, steps) or m.dtype != "bool" for m in masks):
        raise ShapeError(f"a mask must be bool and have the shape {(batch, steps)}.")


def only_kept(specs: Sequence[Spec], kept: Kept) -> tuple[Spec, ...]:
    return tuple(s if k else Spec((0,), s.dtype) for s, k in zip(specs, kept, strict=True))


def keep(arrays: Sequence[np.ndarray], kept: Kept) -> tuple[np.ndarray, ...]:
    return tuple(a if k else a[:0, ...].ravel()[:0] for a, k in zip(arrays, kept, strict=True))


def fits(*specs: Spec) -> bool:
    return all(s.dtype in ("float32", "bool") for s in specs)


def kernel_numbers(
    attrs: dict[str, Any], mask: bool, flags: Sequence[bool], rounds: int | None = None
) -> list[float]:
    """Attributes as C wants them; rounds: what products round to, unless the attribute says it."""
    return attributes(
        "RNN", reverse=attrs["reverse"], activation=code(attrs.get("activation", "tanh")),
        inner=code(attrs.get("recurrent_activation", "sigmoid")),
        rounds=attrs.get("rounds", False) if rounds is None else rounds, mask=mask,
        flags=tuple(flags),
    )  # fmt: skip


def flags(count: int) -> Callable[..., list[float]]:
    """Attributes for a forward kernel: a mask is its input number `count`."""

    def numbers(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
        return kernel_numbers(attrs, len(ins) > count, attrs["kept"])

    return numbers


def given_flags(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    """Attributes for a backward kernel: which optional inputs there are, the mask first."""
    return kernel_numbers(attrs, attrs["given"][0], attrs["given"][1:])


def optional_inputs(values: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[bool, ...]]:
    """The values that are not None, and which these are."""
    return tuple(v for v in values if v is not None), tuple(v is not None for v in values)


def filled(values: Sequence[Any], given: Sequence[bool]) -> Iterator[Any]:
    """Back from `optional_inputs`: None for what is not there."""
    rest = iter(values)
    return (next(rest) if g else None for g in given)


def weight_grad(states: Any, d: Any) -> Any:
    """The gradient of a matrix that every step multiplies: one product over all steps."""
    rows = d.shape[0] * d.shape[1]
    left, right = (reshape(x, shape=(rows, x.shape[2])) for x in (states, d))
    return matmul(left, right, transpose_a=True, transpose_b=False)


# ---- reference -----------------------------------------------------------------------------------


def times(steps: int, reverse: bool) -> Sequence[int]:
    return range(steps)[::-1] if reverse else range(steps)


def used_rows(mask: Any, t: int) -> Any:
    """(batch, 1), False where step t is masked; True without a mask."""
    return True if mask is None else mask[:, t, None]


def product(a: np.ndarray, b: np.ndarray, rounds: bool | str) -> np.ndarray:
    """a @ b; with `rounds` of the nearest bfloat16 numbers, or of a's rows in "int8"."""
    if rounds == "int8":
        q, scale = rounded_rows(a, 0.0)
        return (q @ b.astype(np.float64) / scale).astype(a.dtype)
    return nearest(a) @ nearest(b) if rounds else a @ b


def like(x: np.ndarray, units: int) -> np.ndarray:
    return np.zeros((*x.shape[:2], units), x.dtype)


# ---- LSTM ----------------------------------------------------------------------------------------


def _lstm_spec(
    xp: Spec, u: Spec, h0: Spec, c0: Spec, *mask: Spec, reverse: bool, kept: Kept, **how: Any
) -> tuple[Spec, ...]:
    check(xp, u, (h0, c0), 4, mask)
    sequence = Spec((*xp.shape[:2], u.shape[0]), xp.dtype)
    return only_kept([xp, sequence, sequence, sequence, h0, c0], kept)


def _lstm_grad_rule(
    g: Any,
    y: Any,
    xp: Any,
    u: Any,
    h0: Any,
    c0: Any,
    *mask: Any,
    reverse: bool,
    kept: Kept,
    **how: Any,
) -> tuple[Any, ...]:
    if not all(kept[:3]):
        y = lstm(xp, u, h0, c0, *mask, reverse=reverse, kept=(True,) * 6, **how)
    gates, cells, before = y[:3]
    optional, given = optional_inputs([*(mask or (None,)), *g[3:]])
    dz, dh0, dc0 = lstm_grad(gates, cells, u, c0, *optional, reverse=reverse, given=given, **how)
    return dz, weight_grad(before, dz), dh0, dc0, *[None for _ in mask]


# Without exponential, which some steps make infinite; and what gates usually have.
_TAME = [name for name in NAMES if name != "exponential"]
_GATES = ("hard_sigmoid", "softsign", "hard_sigmoid_fifth", "sparse_sigmoid", "hard_tanh")


def every_activation(samples: Callable[..., list[Sample]]) -> list[Sample]:
    """Samples for the usual activations, and one size for each other one."""
    one = [
        samples(activation=name, recurrent_activation=_GATES[i % len(_GATES)])[i % 3]
        for i, name in enumerate(_TAME)
    ]
    return [*samples(), *one]


def sequence_samples(gates: int, states: int, bias: bool = False, **attrs: Any) -> list[Sample]:
    """Batches, steps and units: odd, one, more than a tile, more than a panel, none."""
    sizes = [(3, 4, 5), (1, 1, 1), (2, 3, 16), (7, 5, 21), (19, 2, 33), (0, 3, 4), (2, 0, 3)]
    return [
        _sample(b, t, n, gates, states, bias, masked=i % 2 == 1, reverse=i % 3 == 1, **attrs)
        for i, (b, t, n) in enumerate(sizes)
    ]


def _sample(
    b: int, t: int, n: int, gates: int, states: int, bias: bool, *, masked: bool, **attrs: Any
) -> Sample:
    shapes = [(b, t, gates * n), (n, gates * n), *[(gates * n,)] * bias, *[(b, n)] * states]

    def make(rng: np.random.Generator) -> list[np.ndarray]:
        arrays = [rng.uniform(-1, 1, s).astype("f4") for s in shapes]
        return [*arrays, rng.uniform(size=(b, t)) < 0.6] if masked else arrays

    return Sample((), attrs, make=make)


def grad_samples(
    sequences: Sequence[int], gates: int, states: int, last: int = 1, **attrs: Any
) -> list[Sample]:
    """Inputs of a backward op: sequences of so many units each, u, states, optional inputs."""

    def make(rng: np.random.Generator, b: int, t: int, n: int, given: Kept) -> list[np.ndarray]:
        def some(*shape: int) -> np.ndarray:
            return rng.uniform(0.1, 0.9, shape).astype("f4")

        lasts = [some(b, n) for _ in range(last)]
        optional = [rng.uniform(size=(b, t)) < 0.6, some(b, t, n), *lasts]
        chosen = [x for x, g in zip(optional, given, strict=True) if g]
        first = [some(b, t, k * n) for k in sequences]
        return [*first, some(n, gates * n), *[some(b, n) for _ in range(states)], *chosen]

    cases = [
        (3, 4, 5, (False, True, False)), (20, 3, 17, (True, False, True)),
        (2, 5, 16, (True, True, True)), (1, 1, 1, (False, False, True)),
        (0, 2, 3, (False, True, True)), (2, 0, 3, (False, False, True)),
    ]  # fmt: skip
    return [
        Sample(
            (),
            {"reverse": bool(i % 2), "given": (*given, *[True] * (last - 1)), **attrs},
            make=lambda rng, a=(b, t, n, (*given, *[True] * (last - 1))): make(rng, *a),
        )
        for i, (b, t, n, given) in enumerate(cases)
    ]


@op(
    kernel=True,
    rows=rows_in(1, 0, 1, 1, rest=True),
    shape=_lstm_spec,
    grad=_lstm_grad_rule,
    attrs_to_c=flags(4),
    dtypes=fits,
    inplace=(0,),
    samples=every_activation(
        lambda **how: sequence_samples(4, 2, kept=(False, False, False, True, True, True), **how)
    ),
)
def lstm(
    xp: np.ndarray,
    u: np.ndarray,
    h0: np.ndarray,
    c0: np.ndarray,
    *mask: np.ndarray,
    reverse: bool,
    kept: Kept,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    rounds: bool = False,
) -> tuple[np.ndarray, ...]:
    """An LSTM over sequences. Hochreiter and Schmidhuber 1997, with a forget gate.

    xp (batch, steps, 4 * units) and u (units, 4 * units) hold the gates input, forget, candidate,
    output; h0 and c0 are (batch, units); mask is (batch, steps) bool. Returns gates (like xp),
    cells, states before each step, states (all batch, steps, units), last state, last cell.
    """
    units = u.shape[0]
    gates, cells, before, y = xp.copy(), like(xp, units), like(xp, units), like(xp, units)
    h, c = h0, c0
    for t in times(xp.shape[1], reverse):
        z = xp[:, t] + product(h, u, rounds)
        gate = [z[:, k * units : (k + 1) * units] for k in range(4)]
        i, f, o = (activate(gate[k], recurrent_activation) for k in (0, 1, 3))
        candidate = activate(gate[2], activation)
        used = used_rows(mask[0] if mask else None, t)
        before[:, t] = h
        c_new = f * c + i * candidate
        h, c = np.where(used, o * activate(c_new, activation), h), np.where(used, c_new, c)
        gates[:, t] = np.concatenate([i, f, candidate, o], 1)
        cells[:, t], y[:, t] = c, h
    return keep([gates, cells, before, y, h, c], kept)


def _lstm_grad_spec(
    gates: Spec,
    cells: Spec,
    u: Spec,
    c0: Spec,
    *optional: Spec,
    reverse: bool,
    given: Kept,
    **how: Any,
) -> tuple[Spec, ...]:
    return gates, c0, c0


@op(
    kernel=True,
    shape=_lstm_grad_spec,
    attrs_to_c=given_flags,
    dtypes=fits,
    inplace=(0,),
    samples=every_activation(lambda **how: grad_samples([4, 1], 4, 1, last=2, **how)),
)
def lstm_grad(
    gates: np.ndarray,
    cells: np.ndarray,
    u: np.ndarray,
    c0: np.ndarray,
    *optional: np.ndarray,
    reverse: bool,
    given: Kept,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    rounds: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of lstm by the projected inputs and the initial states.

    The optional inputs, present as `given` says: mask, and the gradients of all states, the last
    state and the last cell.
    """
    mask, dy, dh_last, dc_last = filled(optional, given)
    units, steps = u.shape[0], gates.shape[1]
    dh = np.zeros_like(c0) if dh_last is None else dh_last
    dc = np.zeros_like(c0) if dc_last is None else dc_last
    dz, order = np.zeros_like(gates), list(times(steps, reverse))
    for k, t in reversed(list(enumerate(order))):
        i, f, a, o = (gates[:, t, n * units : (n + 1) * units] for n in range(4))
        used, tc = used_rows(mask, t), activate(cells[:, t], activation)
        c_before = cells[:, order[k - 1]] if k else c0
        dh = dh if dy is None else dh + dy[:, t]
        d = dc + dh * o * slope(tc, activation)
        by_i, by_f, by_o = (slope(x, recurrent_activation) for x in (i, f, o))
        parts = [d * a * by_i, d * c_before * by_f, d * i * slope(a, activation), dh * tc * by_o]
        dz[:, t] = np.where(used, np.concatenate(parts, 1), 0)
        dh, dc = np.where(used, product(dz[:, t], u.T, rounds), dh), np.where(used, d * f, dc)
    return dz, dh, dc


# ---- SimpleRNN -----------------------------------------------------------------------------------


def _simple_spec(
    xp: Spec, u: Spec, h0: Spec, *mask: Spec, reverse: bool, kept: Kept, **how: Any
) -> tuple[Spec, ...]:
    check(xp, u, (h0,), 1, mask)
    code(how["activation"])
    return only_kept([xp, xp, h0], kept)


def _simple_grad_rule(
    g: Any, y: Any, xp: Any, u: Any, h0: Any, *mask: Any, reverse: bool, kept: Kept,
    **how: Any,
) -> tuple[Any, ...]:  # fmt: skip
    how["reverse"] = reverse
    if not all(kept[:2]):
        y = simple_rnn(xp, u, h0, *mask, kept=(True,) * 3, **how)
    before, states = y[:2]
    optional, given = optional_inputs([*(mask or (None,)), g[1], g[2]])
    dx, dh0 = simple_rnn_grad(states, u, *optional, given=given, **how)
    return dx, weight_grad(before, dx), dh0, *[None for _ in mask]


def _simple_samples() -> list[Sample]:
    kept = (False, True, True)
    return [
        sample
        for activation in _TAME
        for sample in sequence_samples(1, 1, kept=kept, activation=activation)
    ]


@op(
    kernel=True,
    rows=rows_in(1, 0, 1, rest=True),
    shape=_simple_spec,
    grad=_simple_grad_rule,
    attrs_to_c=flags(3),
    dtypes=fits,
    inplace=(0,),
    samples=_simple_samples(),
)
def simple_rnn(
    xp: np.ndarray,
    u: np.ndarray,
    h0: np.ndarray,
    *mask: np.ndarray,
    reverse: bool,
    kept: Kept,
    activation: str,
    rounds: bool = False,
) -> tuple[np.ndarray, ...]:
    """state = activation(xp + state u) over sequences. Elman 1990.

    xp is (batch, steps, units), u (units, units), h0 (batch, units), mask (batch, steps) bool.
    Returns the states before each step, the states (both batch, steps, units), and the last state.
    """
    y, before, h = np.zeros_like(xp), np.zeros_like(xp), h0
    for t in times(xp.shape[1], reverse):
        before[:, t] = h
        used = used_rows(mask[0] if mask else None, t)
        h = np.where(used, activate(xp[:, t] + product(h, u, rounds), activation), h)
        y[:, t] = h
    return keep([before, y, h], kept)


def _simple_grad_spec(
    y: Spec, u: Spec, *optional: Spec, reverse: bool, given: Kept, **how: Any
) -> tuple[Spec, ...]:
    return y, Spec((y.shape[0], y.shape[2]), y.dtype)


@op(
    kernel=True,
    shape=_simple_grad_spec,
    attrs_to_c=given_flags,
    dtypes=fits,
    samples=[s for a in NAMES for s in grad_samples([1], 1, 0, activation=a)],
)
def simple_rnn_grad(
    y: np.ndarray,
    u: np.ndarray,
    *optional: np.ndarray,
    reverse: bool,
    given: Kept,
    activation: str,
    rounds: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of simple_rnn by the projected inputs and the initial state.

    The optional inputs, present as `given` says: mask, and the gradients of all states and of the
    last state.
    """
    mask, dy, dh_last = filled(optional, given)
    steps = y.shape[1]
    dh = np.zeros((y.shape[0], y.shape[2]), y.dtype) if dh_last is None else dh_last
    dx = np.zeros_like(y)
    for t in reversed(times(steps, reverse)):
        used = used_rows(mask, t)
        dh = dh if dy is None else dh + dy[:, t]
        dx[:, t] = np.where(used, dh * slope(y[:, t], activation), 0)
        dh = np.where(used, product(dx[:, t], u.T, rounds), dh)
    return dx, dh
