"""Random numbers of models and initializers: the names of `keras.random`, and the global seed.

In: shapes, and seeds (an int, a SeedGenerator, or None for the global generator). Out: arrays
from numpy's Philox generator, or, inside a trace, tensors of random ops, whose numbers depend on
the seed, the training step and the row only. Knows no layer.
"""

from __future__ import annotations

import math
import os
import random as python_random
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from zoo_keras import dtypes, ops
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.graph import Trace, current_trace, not_tracing
from zoo_keras.missing import missing
from zoo_keras.naming import auto_name
from zoo_keras.ops.convert import as_dtype, as_float, axis_in, known_ints, value
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives import random as random_ops
from zoo_keras.variables import Variable, updating

_MASK = 2**64 - 1
_global: SeedGenerator | None = None
# How often each generator was asked in each trace: a new trace of a model draws the same seeds.
_draws: weakref.WeakKeyDictionary[Trace, Counter[int]] = weakref.WeakKeyDictionary()


def mix(seed: int, count: int) -> int:
    """A seed for the count-th use of a generator, spread over 53 bits (splitmix64)."""
    z = (seed * 0x9E3779B97F4A7C15 + count * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) >> 11


def make_default_seed() -> int:
    """A seed from Python's own generator, which set_random_seed makes reproducible."""
    return python_random.randint(1, 10**9)


def set_random_seed(seed: int) -> None:
    """Seed Python's, numpy's and zoo_keras' generators: keras.utils.set_random_seed.

    Models made and trained after equal calls are equal to the last bit.
    """
    global _global
    if not isinstance(seed, int):
        raise ConfigError(
            f"set_random_seed: the seed must be an integer. Received: seed={seed!r}. "
            "Pass a whole number."
        )
    python_random.seed(seed)
    np.random.seed(seed % 2**32)
    _global = None


_turns = threading.Lock()


def _free_turns() -> None:
    """In a forked child: who was drawing does not live here."""
    global _turns
    _turns = threading.Lock()


os.register_at_fork(after_in_child=_free_turns)


@contextmanager
def drawing() -> Iterator[None]:
    """One thread at a time counts a draw. Weights are drawn while their layers are locked, so
    nothing inside waits for a layer."""
    with _turns:
        yield


class SeedGenerator:
    """A source of seeds with a state, as keras.random.SeedGenerator.

    Args:
        seed: an integer; None takes one from Python's generator.
    """

    keras_module = "keras.random"

    def __init__(self, seed: int | None = None, name: str | None = None, **kwargs: Any) -> None:
        kwargs.pop("backend", None)
        if kwargs:
            raise ConfigError(
                f"SeedGenerator: Unrecognized keyword arguments. Received: {sorted(kwargs)}. "
                "Use seed and name only."
            )
        self.name = name or auto_name(type(self).__name__)
        self._initial_seed = seed
        if seed is None:
            seed = make_default_seed()
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise ConfigError(
                f"SeedGenerator: Argument `seed` must be an integer. Received: seed={seed!r}. "
                "Pass a whole number or None."
            )
        self.state = Variable(
            np.array([seed, 0], "int64"), trainable=False, name="seed_generator_state"
        )
        self.state.path = f"{self.name}/seed_generator_state"

    def next(self, ordered: bool = True) -> np.ndarray:
        """The present state (seed, count) as an array; the count goes up by one."""
        trace = current_trace()
        if trace is None or trace.once:  # a layer called on arrays is traced at every call
            # A model's generators may wait for its training, which must not wait for them.
            with not_tracing(), drawing() if self is _global else updating([self.state]):
                seed, count = (int(v) for v in self.state.numpy())
                self.state.assign(np.array([seed, count + 1]))
            return np.array([seed, count], "int64")
        seed = int(self.state.numpy()[0])
        counts = _draws.setdefault(trace, Counter())
        counts[id(self)] += 1
        return np.array([seed, counts[id(self)] - 1], "int64")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return {"seed": self._initial_seed, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        """Makes one of what get_config gave."""
        return cls(**config)


def global_seed_generator() -> SeedGenerator:
    """The generator that is used when no seed is given."""
    global _global
    if _global is None:
        _global = SeedGenerator(name="global_seed_generator")
    return _global


def draw_seed(seed: Any) -> np.ndarray:
    """Two integers (seed, count) for one random function, from an int, generator or None."""
    if seed is None:
        return global_seed_generator().next()
    if isinstance(seed, SeedGenerator):
        return seed.next()
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        return np.array([seed, 0], "int64")
    if isinstance(seed, np.ndarray) and seed.shape == (2,):
        return seed
    raise ConfigError(
        "Argument `seed` must be either an integer, a SeedGenerator or None. Received: "
        f"seed={seed!r} of {type(seed)}. Pass one of these."
    )


def _seed_number(seed: Any) -> int:
    first, count = (int(v) for v in draw_seed(seed))
    return mix(first, count)


def numpy_generator(seed: Any) -> np.random.Generator:
    """A numpy generator for one use of the seed."""
    return np.random.Generator(np.random.Philox(_seed_number(seed)))


def _source(seed: Any) -> Any:
    """The (step, first row) pair that random ops read: that of the trace, but for a fixed int."""
    trace = current_trace()
    if trace is None or isinstance(seed, (int, np.integer)):
        return np.zeros(2, np.int64)
    return trace.random_source()


def source_and_seed(seed: Any) -> tuple[Any, int]:
    """For a layer whose op draws its own numbers: the op's `rng` input and its seed."""
    return _source(seed), _seed_number(seed)


def _traced(seed: Any) -> bool:
    """Whether random ops are needed: a fixed int gives the same numbers always, so a constant."""
    return current_trace() is not None and not isinstance(seed, (int, np.integer))


def _float_dtype(dtype: Any, name: str) -> str:
    found = dtypes.standardize(dtype)
    if not dtypes.is_float(found):
        raise ConfigError(
            f"`keras.random.{name}` requires a floating point `dtype`. Received: dtype={dtype!r}. "
            "Use random.randint for integers."
        )
    return found


@public
def normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """Normal numbers of a shape."""
    kind, shape = _float_dtype(dtype, "normal"), known_ints(shape, "shape")
    if _traced(seed):
        how = {"mean": float(mean), "stddev": float(stddev), "seed": _seed_number(seed)}
        return as_dtype(random_ops.random_normal(_source(seed), shape=shape, **how), kind)
    made = np.asarray(numpy_generator(seed).standard_normal(shape, np.float32))
    made *= np.float32(stddev)
    made += np.float32(mean)
    return in_dtype(made, kind)


@public
def uniform(
    shape: Sequence[int],
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """Evenly distributed numbers from minval to below maxval."""
    kind, shape = _float_dtype(dtype, "uniform"), known_ints(shape, "shape")
    if _traced(seed):
        how = {"low": float(minval), "high": float(maxval), "seed": _seed_number(seed)}
        return as_dtype(random_ops.random_uniform(_source(seed), shape=shape, **how), kind)
    made = np.asarray(numpy_generator(seed).random(shape, np.float32))
    made *= np.float32(maxval - minval)
    made += np.float32(minval)
    below = np.nextafter(np.float32(maxval), np.float32(minval))
    return in_dtype(np.minimum(made, below, out=made), kind)


@public
def truncated_normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    """Normal numbers, those beyond two standard deviations drawn again."""
    kind, shape = _float_dtype(dtype, "truncated_normal"), known_ints(shape, "shape")
    if _traced(seed):
        edge = math.erf(math.sqrt(2.0))
        made = ops.erfinv(uniform(shape, -edge, edge, seed=seed))
        return as_dtype(made * (stddev * math.sqrt(2.0)) + float(mean), kind)
    generator = numpy_generator(seed)
    flat = generator.standard_normal(math.prod(shape), np.float32)
    while (far := np.flatnonzero(np.abs(flat) > 2)).size:
        flat[far] = generator.standard_normal(far.size, np.float32)
    return in_dtype((flat * np.float32(stddev) + np.float32(mean)).reshape(shape), kind)


@public
def randint(
    shape: Sequence[int], minval: int, maxval: int, dtype: Any = "int32", seed: Any = None
) -> Any:
    """Whole numbers from minval to maxval - 1."""
    kind, shape = dtypes.standardize(dtype), known_ints(shape, "shape")
    if kind not in dtypes.INTEGERS:
        raise ConfigError(
            f"`keras.random.randint` requires an integer `dtype`. Received: dtype={dtype!r}. "
            "Use random.uniform for floating numbers."
        )
    if not _traced(seed):
        return numpy_generator(seed).integers(minval, maxval, shape).astype(kind)
    count = maxval - minval
    if count > 2**24:
        raise UnsupportedError(
            "random.randint in a trace: at most 2**24 different numbers. Received: minval="
            f"{minval}, maxval={maxval}. Use a smaller range."
        )
    drawn = ops.minimum(ops.floor(uniform(shape, seed=seed) * float(count)), float(count - 1))
    return as_dtype(drawn, "int32") + minval if kind == "int32" else as_dtype(drawn + minval, kind)


@public
def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Any:
    """(batch, num_samples) class numbers drawn by unnormalised log-probabilities (batch, n)."""
    logits = as_float(logits)
    if len(logits.shape) != 2:
        raise ShapeError(
            "random.categorical: logits must have the shape (batch, classes). Received: shape "
            f"{tuple(logits.shape)}. Reshape them."
        )
    batch, classes = logits.shape
    drawn = uniform((batch, num_samples, classes), 1e-7, 1.0, seed=seed)
    gumbel = ops.negative(ops.log(ops.negative(ops.log(drawn))))
    return as_dtype(ops.argmax(ops.expand_dims(logits, 1) + gumbel, axis=-1), dtype)


@public
def dropout(
    inputs: Any, rate: float, noise_shape: Sequence[int | None] | None = None, seed: Any = None
) -> Any:
    """The inputs with a share `rate` of them 0 and the others divided by 1 - rate.

    Along axes where noise_shape is 1 one draw serves all elements.
    """
    x = as_float(inputs)
    if not 0 <= rate <= 1:
        raise ConfigError(
            f"random.dropout: the rate must lie in 0..1. Received: rate={rate}. "
            "Pass the share of elements to drop."
        )
    if rate in (0, 1):
        return x if rate == 0 else ops.zeros_like(x)
    axes = _noise_axes(x.shape, noise_shape)
    number = _seed_number(seed)
    return random_ops.dropout(x, _source(seed), rate=float(rate), seed=number, noise_axes=axes)


def _noise_axes(shape: Sequence[int], noise: Sequence[int | None] | None) -> tuple[int, ...]:
    if noise is None:
        return ()
    wanted = [d if n is None else n for d, n in zip(shape, noise, strict=False)]
    fits = all(n in (1, d) for d, n in zip(shape, wanted, strict=False))
    if not fits or len(noise) != len(shape):
        raise ShapeError(
            f"random.dropout: noise_shape must have, for each axis of {tuple(shape)}, its size, 1 "
            f"or None. Received: noise_shape={tuple(noise)}. Use 1 where draws are shared."
        )
    return tuple(i for i, (d, n) in enumerate(zip(shape, wanted, strict=True)) if n != d)


@public
def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
    """The elements of an axis in random order."""
    x = value(x)
    axis = axis_in(axis, len(x.shape))
    return ops.take(x, ops.argsort(uniform((x.shape[axis],), seed=seed)), axis=axis)


def _outside_a_trace(name: str, seed: Any) -> np.random.Generator:
    if _traced(seed):
        raise UnsupportedError(
            f"random.{name} works outside a traced model only. Received: a call inside one. "
            "Use random.uniform or random.normal, or draw the numbers beforehand."
        )
    return numpy_generator(seed)


_TRIES = 8  # of which each is taken with a probability above 0.95


def log_gamma(shape: Sequence[int], alpha: Any, seed: Any = None) -> Any:
    """Logarithms of Gamma-distributed numbers, also in a trace. Marsaglia and Tsang 2000."""
    alpha = as_float(alpha)
    d = ops.expand_dims(alpha + 2 / 3, -1)  # that of alpha + 1; the last draw brings it down
    x = normal((*shape, _TRIES), seed=seed)
    v = ops.power(ops.maximum(x / ops.sqrt(9 * d) + 1, 1e-6), 3)
    u = uniform((*shape, _TRIES), 1e-7, 1.0, seed=seed)
    good = ops.log(u) < 0.5 * ops.square(x) + d * (1 - v + ops.log(v))
    taken = v[..., -1]
    for k in reversed(range(_TRIES - 1)):
        taken = ops.where(good[..., k], v[..., k], taken)
    down = ops.log(uniform(shape, 1e-7, 1.0, seed=seed)) / alpha
    return ops.log(taken * d[..., 0]) + down


@public
def gamma(shape: Sequence[int], alpha: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Gamma-distributed numbers with shape parameter alpha and scale 1."""
    if _traced(seed):
        return as_dtype(ops.exp(log_gamma(shape, alpha, seed)), dtypes.standardize(dtype))
    drawn = _outside_a_trace("gamma", seed).standard_gamma(np.asarray(alpha), tuple(shape))
    return in_dtype(drawn, dtypes.standardize(dtype))


@public
def binomial(
    shape: Sequence[int], counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None
) -> Any:
    """Numbers of successes in `counts` trials with the given probabilities."""
    trials = np.asarray(counts).astype("int64")
    generator = _outside_a_trace("binomial", seed)
    drawn = generator.binomial(trials, np.asarray(probabilities), tuple(shape))
    return in_dtype(drawn, dtypes.standardize(dtype))


@public
def beta(shape: Sequence[int], alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Beta-distributed numbers between 0 and 1."""
    if _traced(seed):
        apart = log_gamma(shape, alpha, seed) - log_gamma(shape, beta, seed)
        return as_dtype(ops.sigmoid(apart), dtypes.standardize(dtype))
    generator = _outside_a_trace("beta", seed)
    drawn = generator.beta(np.asarray(alpha), np.asarray(beta), tuple(shape))
    return in_dtype(drawn, dtypes.standardize(dtype))


__all__ = [
    "SeedGenerator", "beta", "binomial", "categorical", "dropout", "gamma", "normal", "randint",
    "set_random_seed", "shuffle", "truncated_normal", "uniform",
]  # fmt: skip


def __getattr__(name: str) -> NoReturn:
    raise missing("zoo_keras.random", name)
