"""Optimizer steps as single ops over flat vectors: weights, gradient and slots in, new ones out.

In: w, g and slots of one shape; the learning rate and the step as float32 scalars (shape ()), the
other hyperparameters as attributes. Out: new weights first, then new slots; each may take over the
memory of the input it replaces (`inplace`: output i that of input inplace[i]).
The formulas are those of Keras 3 (https://keras.io/api/optimizers).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.ops.op import Sample, op
from zoo_keras.ops.shape import named


def _float32(*specs: Spec) -> bool:
    return all(s.dtype == "float32" for s in specs)


def _updates(slots: int) -> Any:
    """Shape rule: w, g and the slots have one shape, what follows are scalars; outputs w, slots."""

    def rule(*specs: Spec, **attrs: Any) -> tuple[Spec, ...]:
        vectors, scalars = specs[: slots + 2], specs[slots + 2 :]
        if any(v.shape != specs[0].shape for v in vectors):
            raise ShapeError("weights, gradient and slots must have one shape.")
        if any(s.shape != () for s in scalars):
            raise ShapeError("the learning rate and the step must be scalars.")
        return (specs[0], *vectors[2:])

    return rule


def _samples(slots: int, *settings: dict[str, Any], step: bool = False) -> list[Sample]:
    """Slots that hold positive numbers, a learning rate below 1, a whole step."""

    def make(rng: np.random.Generator, n: int) -> list[np.ndarray]:
        vectors = [rng.uniform(-1, 1, n), rng.uniform(-1, 1, n)]
        vectors += [rng.uniform(0.1, 1, n) for _ in range(slots)]
        scalars = [rng.uniform(0.01, 0.5), *([float(rng.integers(1, 9))] if step else [])]
        return [np.asarray(v, np.float32) for v in (*vectors, *scalars)]

    sizes = (37, 1, 0)
    return [
        Sample((), attrs, make=lambda rng, n=n: make(rng, n)) for attrs in settings for n in sizes
    ]


@op(
    kernel=True,
    shape=_updates(0),
    dtypes=_float32,
    inplace=(0,),
    samples=_samples(0, {}),
)
def sgd_update(w: np.ndarray, g: np.ndarray, lr: np.ndarray) -> np.ndarray:
    """w - lr * g."""
    return w - lr * g


def _rows_shape(w: Spec, ids: Spec, rows: Spec, lr: Spec) -> Spec:
    if len(ids.shape) != 1 or rows.shape != (*ids.shape, *w.shape[1:]) or lr.shape:
        raise ShapeError("there must be one row of w for each id, and a scalar learning rate.")
    return w


def _rows_sample(rng: np.random.Generator) -> list[np.ndarray]:
    ids = np.append(rng.permutation(9)[:5], [-1, -1]).astype(np.int32)
    arrays = rng.uniform(-1, 1, (9, 3)), rng.uniform(-1, 1, (7, 3)), 0.1
    w, rows, lr = (np.asarray(a, np.float32) for a in arrays)
    return [w, ids, rows, lr]


@op(
    kernel=True,
    shape=_rows_shape,
    dtypes=lambda w, ids, rows, lr: _float32(w, rows, lr) and ids.dtype == "int32",
    inplace=(0,),
    samples=[Sample((), make=_rows_sample)],
)
def sgd_rows_update(w: np.ndarray, ids: np.ndarray, rows: np.ndarray, lr: np.ndarray) -> np.ndarray:
    """sgd_update of the touched rows only, as gather_grad_rows gives them; ids of -1 are empty."""
    used, w = ids >= 0, w.copy()
    w[ids[used]] -= lr * rows[used]
    return w


@op(
    kernel=True,
    shape=_updates(1),
    attrs_to_c=named("momentum", "nesterov"),
    dtypes=_float32,
    inplace=(0, 2),
    samples=_samples(1, *({"momentum": 0.9, "nesterov": n} for n in (False, True))),
)
def momentum_update(
    w: np.ndarray, g: np.ndarray, m: np.ndarray, lr: np.ndarray, *, momentum: float, nesterov: bool
) -> tuple[np.ndarray, np.ndarray]:
    """SGD with momentum -> (w, m): m = momentum * m - lr * g; w + m, or Nesterov's look ahead."""
    m = momentum * m - lr * g
    return w + (momentum * m - lr * g if nesterov else m), m


def _adam_rate(lr: np.ndarray, step: np.ndarray, beta_1: float, beta_2: float) -> np.ndarray:
    """The learning rate with both bias corrections in it; `step` counts from 1."""
    count = float(step)
    return lr * np.asarray(np.sqrt(1 - beta_2**count) / (1 - beta_1**count), lr.dtype)


_ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}


@op(
    kernel=True,
    shape=_updates(2),
    attrs_to_c=named("beta_1", "beta_2", "epsilon"),
    dtypes=_float32,
    inplace=(0, 2, 3),
    samples=_samples(2, _ADAM, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1}, step=True),
)
def adam_update(
    w: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    lr: np.ndarray,
    step: np.ndarray,
    *,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Adam -> (w, m, v). `step` is 1 at the first update. Kingma and Ba, arXiv:1412.6980."""
    m = m + (g - m) * (1 - beta_1)
    v = v + (g * g - v) * (1 - beta_2)
    return w - m * _adam_rate(lr, step, beta_1, beta_2) / (np.sqrt(v) + epsilon), m, v


@op(
    kernel=True,
    shape=_updates(3),
    attrs_to_c=named("beta_1", "beta_2", "epsilon"),
    dtypes=_float32,
    inplace=(0, 2, 3, 4),
    samples=_samples(3, _ADAM, step=True),
)
def amsgrad_update(
    w: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    largest: np.ndarray,
    lr: np.ndarray,
    step: np.ndarray,
    *,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Adam that divides by the largest v so far -> (w, m, v, largest). Reddi et al. 2018."""
    m = m + (g - m) * (1 - beta_1)
    v = v + (g * g - v) * (1 - beta_2)
    largest = np.maximum(largest, v)
    rate = _adam_rate(lr, step, beta_1, beta_2)
    return w - m * rate / (np.sqrt(largest) + epsilon), m, v, largest


_RMSPROP = {"rho": 0.9, "epsilon": 1e-7}


@op(
    kernel=True,
    shape=_updates(1),
    attrs_to_c=named("rho", "epsilon"),
    dtypes=_float32,
    inplace=(0, 2),
    samples=_samples(1, _RMSPROP),
)
def rmsprop_update(
    w: np.ndarray, g: np.ndarray, v: np.ndarray, lr: np.ndarray, *, rho: float, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """RMSprop -> (w, v): the gradient over the root of its mean square v."""
    v = rho * v + (1 - rho) * g * g
    return w - lr * g / np.sqrt(v + epsilon), v


@op(
    kernel=True,
    shape=_updates(2),
    attrs_to_c=named("rho", "epsilon", "momentum"),
    dtypes=_float32,
    inplace=(0, 2, 3),
    samples=_samples(2, {**_RMSPROP, "momentum": 0.5}),
)
def rmsprop_momentum_update(
    w: np.ndarray,
    g: np.ndarray,
    v: np.ndarray,
    m: np.ndarray,
    lr: np.ndarray,
    *,
    rho: float,
    epsilon: float,
    momentum: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RMSprop with momentum m -> (w, v, m)."""
    v = rho * v + (1 - rho) * g * g
    m = momentum * m + lr * g / np.sqrt(v + epsilon)
    return w - m, v, m


def _centered_samples(slots: int, attrs: dict[str, Any]) -> list[Sample]:
    """The mean gradient is small against the mean square, as it is in training."""

    def make(sample: Sample, rng: np.random.Generator) -> list[np.ndarray]:
        arrays = sample.inputs(rng)
        arrays[3] = arrays[3] * np.sqrt(arrays[2]) * np.float32(0.9)
        return arrays

    return [Sample((), attrs, make=lambda rng, s=s: make(s, rng)) for s in _samples(slots, attrs)]


@op(
    kernel=True,
    shape=_updates(2),
    attrs_to_c=named("rho", "epsilon"),
    dtypes=_float32,
    inplace=(0, 2, 3),
    samples=_centered_samples(2, _RMSPROP),
)
def rmsprop_centered_update(
    w: np.ndarray,
    g: np.ndarray,
    v: np.ndarray,
    a: np.ndarray,
    lr: np.ndarray,
    *,
    rho: float,
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RMSprop that divides by the root of the gradient's variance; a is its mean -> (w, v, a)."""
    v = rho * v + (1 - rho) * g * g
    a = rho * a + (1 - rho) * g
    return w - lr * g / np.sqrt(v - a * a + epsilon), v, a


@op(
    kernel=True,
    shape=_updates(3),
    attrs_to_c=named("rho", "epsilon", "momentum"),
    dtypes=_float32,
    inplace=(0, 2, 3, 4),
    samples=_centered_samples(3, {**_RMSPROP, "momentum": 0.5}),
)
def rmsprop_centered_momentum_update(
    w: np.ndarray,
    g: np.ndarray,
    v: np.ndarray,
    a: np.ndarray,
    m: np.ndarray,
    lr: np.ndarray,
    *,
    rho: float,
    epsilon: float,
    momentum: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Centered RMSprop with momentum m -> (w, v, a, m)."""
    v = rho * v + (1 - rho) * g * g
    a = rho * a + (1 - rho) * g
    m = momentum * m + lr * g / np.sqrt(v - a * a + epsilon)
    return w - m, v, a, m
