"""An optimizer's step as one op over flat vectors: weights, gradient and slots in, new ones out.

In: w, g and slots of one shape; learning rate, step (1 at the first update) and the gradient's
scale as float32 scalars (shape ()); the optimizer's kind and numbers as attributes. Out: the new
weights, then the new slots; each may take over the memory of the input it replaces.
The formulas are those of Keras 3 (https://keras.io/api/optimizers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.native import lib
from zoo_keras.primitives.op import Sample, all_float32, op

Arrays = tuple[np.ndarray, ...]


class Kind(NamedTuple):
    """An optimizer: how many slots it has, the names of its numbers, and its step as
    `formula(w, g, slots, lr, step, numbers) -> (w, *slots)`. C knows it as ZK_<NAME>."""

    slots: int
    fields: tuple[str, ...]
    formula: Callable[..., Arrays]


def _sgd(w: Any, g: Any, s: Arrays, lr: Any, t: float, k: Sequence[float]) -> Arrays:
    return (w - lr * g,)


def _momentum(w: Any, g: Any, s: Arrays, lr: Any, t: float, k: Sequence[float]) -> Arrays:
    momentum, nesterov = k
    m = momentum * s[0] - lr * g
    return w + (momentum * m - lr * g if nesterov else m), m


def _moments(g: Any, s: Arrays, k: Sequence[float]) -> Arrays:
    return s[0] + (g - s[0]) * (1 - k[0]), s[1] + (g * g - s[1]) * (1 - k[1])


def _adam_rate(lr: Any, t: float, k: Sequence[float]) -> Any:
    """The learning rate with both bias corrections in it."""
    return lr * np.asarray(np.sqrt(1 - k[1] ** t) / (1 - k[0] ** t), lr.dtype)


def _adam(w: Any, g: Any, s: Arrays, lr: Any, t: float, k: Sequence[float]) -> Arrays:
    m, v = _moments(g, s, k)
    return w - m * _adam_rate(lr, t, k) / (np.sqrt(v) + k[2]), m, v


def _amsgrad(w: Any, g: Any, s: Arrays, lr: Any, t: float, k: Sequence[float]) -> Arrays:
    m, v = _moments(g, s, k)
    largest = np.maximum(s[2], v)
    return w - m * _adam_rate(lr, t, k) / (np.sqrt(largest) + k[2]), m, v, largest


def _adamax(w: Any, g: Any, s: Arrays, lr: Any, t: float, k: Sequence[float]) -> Arrays:
    m = s[0] + (g - s[0]) * (1 - k[0])
    u = np.maximum(k[1] * s[1], np.abs(g))
    rate = lr / np.asarray(1 - k[0] ** t, lr.dtype)
    return w - m * rate / (u + k[2]), m, u


def nadam_beta(beta_1: float, step: Any) -> Any:
    """Nadam's momentum of a step (from 1), or of an array of steps."""
    return beta_1 * (1 - 0.5 * 0.96**step)


def _nadam(w: Any, g: Any, s: Arrays, lr: Any, t: float, k: Sequence[float]) -> Arrays:
    m, v = _moments(g, s, k)
    now, after = nadam_beta(k[0], t), nadam_beta(k[0], t + 1)
    product = float(np.prod(nadam_beta(k[0], np.arange(1, t + 1))))
    mean = m * (after / (1 - product * after)) + g * ((1 - now) / (1 - product))
    return w - lr * mean / (np.sqrt(v / (1 - k[1] ** t)) + k[2]), m, v


def _rmsprop(
    w: Any, g: Any, s: Arrays, lr: Any, k: Sequence[float], centered: bool, momentum: bool
) -> Arrays:
    rho, epsilon = k[:2]
    new = [rho * s[0] + (1 - rho) * g * g]
    spread = new[0]
    if centered:
        new.append(rho * s[1] + (1 - rho) * g)
        spread = spread - new[1] * new[1]
    down = lr * g / np.sqrt(spread + epsilon)
    if momentum:
        down = k[2] * s[-1] + down
        new.append(down)
    return w - down, *new


def _adagrad(w: Any, g: Any, s: Arrays, lr: Any, t: float, k: Sequence[float]) -> Arrays:
    total = s[0] + g * g
    return w - lr * g / np.sqrt(total + k[0]), total


def _adadelta(w: Any, g: Any, s: Arrays, lr: Any, t: float, k: Sequence[float]) -> Arrays:
    rho, epsilon = k
    squares = rho * s[0] + (1 - rho) * g * g
    by = np.sqrt(s[1] + epsilon) * g / np.sqrt(squares + epsilon)
    return w - lr * by, squares, rho * s[1] + (1 - rho) * by * by


def _lion(w: Any, g: Any, s: Arrays, lr: Any, t: float, k: Sequence[float]) -> Arrays:
    mixed = k[0] * s[0] + (1 - k[0]) * g
    return w - lr * np.sign(mixed), k[1] * s[0] + (1 - k[1]) * g


def _ftrl(w: Any, g: Any, s: Arrays, lr: Any, t: float, k: Sequence[float]) -> Arrays:
    l1, l2, beta, shrinkage = k
    total = s[0] + g * g
    root = np.sqrt(total)
    linear = s[1] + g + 2 * shrinkage * w - (root - np.sqrt(s[0])) / lr * w
    below = root / lr + 2 * (l2 + beta / 2 / lr)
    return (np.clip(linear, -l1, l1) - linear) / below, total, linear


def _rms(slots: int, centered: bool, momentum: bool) -> Kind:
    fields = ("rho", "epsilon", "momentum") if momentum else ("rho", "epsilon")
    return Kind(slots, fields,
                lambda w, g, s, lr, t, k: _rmsprop(w, g, s, lr, k, centered, momentum))  # fmt: skip


_ADAM = ("beta_1", "beta_2", "epsilon")
KINDS = {
    "sgd": Kind(0, (), _sgd),
    "momentum": Kind(1, ("momentum", "nesterov"), _momentum),
    "adam": Kind(2, _ADAM, _adam),
    "amsgrad": Kind(3, _ADAM, _amsgrad),
    "adamax": Kind(2, _ADAM, _adamax),
    "nadam": Kind(2, _ADAM, _nadam),
    "rmsprop": _rms(1, False, False),
    "rmsprop_momentum": _rms(2, False, True),
    "rmsprop_centered": _rms(2, True, False),
    "rmsprop_centered_momentum": _rms(3, True, True),
    "adagrad": Kind(1, ("epsilon",), _adagrad),
    "adadelta": Kind(2, ("rho", "epsilon"), _adadelta),
    "lion": Kind(1, ("beta_1", "beta_2"), _lion),
    "ftrl": Kind(2, ("l1", "l2", "beta", "shrinkage"), _ftrl),
}


def _shape(*specs: Spec, kind: str, ema: float | None = None, **attrs: Any) -> tuple[Spec, ...]:
    count = 2 + KINDS[kind].slots + (ema is not None)
    vectors, scalars = specs[:count], specs[count:]
    if any(v.shape != specs[0].shape for v in vectors):
        raise ShapeError("weights, gradient and slots must have one shape.")
    if any(s.shape != () for s in scalars) or len(scalars) != 3:
        raise ShapeError("the learning rate, the step and the scale must be scalars.")
    return (specs[0], *vectors[2:])


def kind_numbers(kind: str, how: Sequence[float]) -> list[float]:
    """The attribute numbers by which C knows an optimizer."""
    return [float(getattr(lib, f"ZK_{kind.upper()}")), *[float(h) for h in how]]


def _to_c(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    ema = attrs.get("ema")
    rest = [attrs.get("clip", 0.0), attrs.get("decay", 0.0), -1.0 if ema is None else ema]
    return [*kind_numbers(attrs["kind"], attrs["how"]), *rest]


# Usual numbers of each kind, for tests.
HOW: dict[str, tuple[float, ...]] = {
    "sgd": (), "momentum": (0.9, 1), "adam": (0.9, 0.999, 1e-7), "amsgrad": (0.5, 0.9, 0.1),
    "adamax": (0.9, 0.999, 1e-7), "nadam": (0.9, 0.999, 1e-7), "rmsprop": (0.9, 1e-7),
    "rmsprop_momentum": (0.9, 1e-7, 0.5), "rmsprop_centered": (0.9, 1e-3),
    "rmsprop_centered_momentum": (0.9, 1e-3, 0.5), "adagrad": (1e-7,), "adadelta": (0.95, 1e-7),
    "lion": (0.9, 0.99), "ftrl": (0.01, 0.02, 0.1, 0.05),
}  # fmt: skip
_EXTRAS: tuple[dict[str, Any], ...] = (
    {}, {"clip": 0.4, "decay": 0.1}, {"ema": 0.9}, {"decay": 0.2, "ema": 0.5},
)  # fmt: skip


def update_inputs(rng: np.random.Generator, kind: str, n: int, ema: bool) -> list[np.ndarray]:
    """Weights, gradients and slots of a training that goes on, and the scalars; for tests."""
    w, g = rng.uniform(-1, 1, n), rng.uniform(-1, 1, n)
    slots = [rng.uniform(0.1, 1, n) for _ in range(KINDS[kind].slots)]
    if "centered" in kind:  # the mean gradient is small against the mean square
        slots[1] *= np.sqrt(slots[0]) * 0.9
    vectors = [w, g, *slots, *([rng.uniform(-1, 1, n)] if ema else [])]
    scalars = [rng.uniform(0.01, 0.5), float(rng.integers(1, 9)), 0.75]
    return [np.asarray(v, np.float32) for v in (*vectors, *scalars)]


def _samples() -> list[Sample]:
    found = []
    for kind, how in HOW.items():
        for extra, n in zip(_EXTRAS, (37, 1, 0, 19), strict=True):
            make = lambda rng, k=kind, n=n, e="ema" in extra: update_inputs(rng, k, n, e)  # noqa: E731
            found.append(Sample((), {"kind": kind, "how": how, **extra}, make=make))
    return found


@op(
    kernel=True,
    shape=_shape,
    attrs_to_c=_to_c,
    dtypes=all_float32,
    inplace=(0, 2, 3, 4, 5),
    samples=_samples(),
)
def optimizer_update(
    w: np.ndarray,
    g: np.ndarray,
    *rest: np.ndarray,
    kind: str,
    how: Sequence[float],
    clip: float = 0.0,
    decay: float = 0.0,
    ema: float | None = None,
) -> Arrays:
    """(w, g, *slots, [average], lr, step, scale) -> (w, *slots, [average]) after one step.

    Args:
        kind, how: a name in KINDS and the optimizer's numbers, in the order of its fields.
        clip: entries of the scaled gradient are cut to -clip..clip; 0: they are not.
        decay: this share of w, times the learning rate, is taken off before the step.
        ema: momentum of the moving average of the weights; None: there is no such vector. At step
            1 the average becomes the weights.
    """
    *vectors, lr, step, scale = rest
    slots, average = vectors[: KINDS[kind].slots], vectors[KINDS[kind].slots :]
    g = g * scale
    g = np.clip(g, -clip, clip) if clip else g
    w = w - w * (decay * lr) if decay else w
    new = KINDS[kind].formula(w, g, tuple(slots), lr, float(step), how)
    if ema is None:
        return new
    keep = 0.0 if step == 1 else ema
    return *new, keep * average[0] + (1 - keep) * new[0]
