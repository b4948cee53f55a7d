"""First values of weights: every initializer of Keras, with its names, arguments and configs.

In: a shape and a dtype. Out: a numpy array. Values follow Keras' distributions, not its numbers;
they are reproducible by seed. Source: https://keras.io/api/layers/initializers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import dtypes, random
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.configs.serialization import (
    deserialize_keras_object,
    get_by_name,
    serialize_keras_object,
)
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.graph import not_tracing
from zoo_keras.naming import to_snake_case
from zoo_keras.ops.signals import named_window
from zoo_keras.paths import alias

# The standard deviation of a normal distribution cut off at two standard deviations.
_CUT_STDDEV = 0.8796256610342398


def _storage(dtype: Any) -> Any:
    return dtypes.storage(dtypes.standardize(dtype))


class Initializer:
    """Base of initializers: override `__call__(shape, dtype=None)` and `get_config`."""

    keras_module = "keras.initializers"

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """The first values, of this shape and dtype."""
        raise NotImplementedError(
            f"{type(self).__name__} must define __call__(self, shape, dtype=None)."
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """Makes one of what get_config gave."""
        return cls(**config)

    def clone(self) -> Initializer:
        """Another one with the same config."""
        return self.from_config(self.get_config())


class Zeros(Initializer):
    """Zeros."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        return in_dtype(np.zeros(tuple(shape), _storage(dtype)), dtypes.standardize(dtype))


class Ones(Initializer):
    """Ones."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        return in_dtype(np.ones(tuple(shape), _storage(dtype)), dtypes.standardize(dtype))


class Constant(Initializer):
    """One value everywhere, or an array that broadcasts to the shape."""

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        made = np.array(np.broadcast_to(self.value, tuple(shape)))
        return in_dtype(made, dtypes.standardize(dtype))

    def get_config(self) -> dict[str, Any]:
        return {"value": serialize_keras_object(self.value)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Constant:
        return cls(deserialize_keras_object(config["value"]))


class STFT(Initializer):
    """The real or imaginary parts of Fourier transforms of frames: (length, 1, frequencies).

    window is a name, numbers or None; scaling "density", "spectrum" or None says what their sum is.
    """

    def __init__(
        self, side: str = "real", window: Any = "hann", scaling: str | None = "density",
        periodic: bool = False,
    ) -> None:  # fmt: skip
        if side not in ("real", "imag") or scaling not in ("density", "spectrum", None):
            raise ConfigError(
                "STFT: side is 'real' or 'imag', scaling is 'density', 'spectrum' or None. "
                f"Received: side={side!r}, scaling={scaling!r}. Choose one of these."
            )
        self.side, self.window, self.scaling, self.periodic = side, window, scaling, periodic

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        length, _, frequencies = shape
        turn = -np.pi * np.outer(np.arange(length), np.arange(frequencies)) / (frequencies - 1)
        made = np.cos(turn) if self.side == "real" else np.sin(turn)
        if self.window is not None:
            named = isinstance(self.window, str)
            window = named_window(self.window, length, self.periodic) if named else self.window
            window = np.asarray(window, np.float64)
            total = {"density": np.sqrt(np.sum(window**2)), "spectrum": np.sum(np.abs(window))}
            made = made * window[:, None] / total.get(str(self.scaling), 1.0)
        return in_dtype(made[:, None], dtypes.standardize(dtype))

    def get_config(self) -> dict[str, Any]:
        return {
            "side": self.side, "window": self.window, "periodic": self.periodic,
            "scaling": self.scaling,
        }  # fmt: skip


class Identity(Initializer):
    """`gain` on the diagonal of a matrix, zeros elsewhere."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        if len(shape) != 2:
            raise ShapeError(
                f"Identity: only a matrix has a diagonal. Received: shape={tuple(shape)}. "
                "Use another initializer for this weight."
            )
        return in_dtype(self.gain * np.eye(shape[0], shape[1]), dtypes.standardize(dtype))

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}


class RandomInitializer(Initializer):
    """Base of random initializers. An int as seed gives the same values at each call; a
    SeedGenerator other ones each time; None draws a fixed int from the global generator."""

    def __init__(self, seed: Any = None) -> None:
        self._init_seed = seed
        if isinstance(seed, dict):
            seed = deserialize_keras_object(seed)
        elif seed is not None and not isinstance(seed, (int, random.SeedGenerator)):
            raise ConfigError(
                f"{type(self).__name__}: seed must be an integer, a SeedGenerator or None. "
                f"Received: seed={seed!r}. Pass one of these."
            )
        self.seed = random.make_default_seed() if seed is None else seed

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        with not_tracing():
            made: np.ndarray = self._draw(tuple(shape), dtypes.standardize(dtype))
        return made

    def _draw(self, shape: tuple[int, ...], dtype: str) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define _draw(shape, dtype).")

    def get_config(self) -> dict[str, Any]:
        return {"seed": serialize_keras_object(self._init_seed)}


class RandomNormal(RandomInitializer):
    """Normal numbers."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None) -> None:
        super().__init__(seed)
        self.mean, self.stddev = mean, stddev

    def _draw(self, shape: tuple[int, ...], dtype: str) -> Any:
        return random.normal(shape, self.mean, self.stddev, dtype, self.seed)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class TruncatedNormal(RandomNormal):
    """Normal numbers, those beyond two standard deviations drawn again."""

    def _draw(self, shape: tuple[int, ...], dtype: str) -> Any:
        return random.truncated_normal(shape, self.mean, self.stddev, dtype, self.seed)


class RandomUniform(RandomInitializer):
    """Evenly distributed numbers from minval to below maxval."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None) -> None:
        super().__init__(seed)
        self.minval, self.maxval = minval, maxval

    def _draw(self, shape: tuple[int, ...], dtype: str) -> Any:
        return random.uniform(shape, self.minval, self.maxval, dtype, self.seed)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}


def compute_fans(
    shape: Sequence[int],
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """How many numbers feed one output, and how many outputs one number feeds, in a kernel.

    Axes before the last two are the window of a convolution.
    """
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[a] for a in input_axes), math.prod(shape[a] for a in output_axes)
    if len(shape) < 2:
        return (shape[0], shape[0]) if len(shape) else (1, 1)
    window = math.prod(shape[:-2])
    return int(shape[-2] * window), int(shape[-1] * window)


def _one_of(name: str, argument: str, given: Any, allowed: Sequence[str]) -> str:
    if given not in allowed:
        raise ConfigError(
            f"{name}: Invalid `{argument}` argument: {given!r}. Received: {argument}={given!r}. "
            f"Use one of {', '.join(allowed)}."
        )
    return str(given)


class VarianceScaling(RandomInitializer):
    """Numbers whose variance is scale / n, n the number of inputs, outputs, or their mean.

    Source: https://keras.io/api/layers/initializers/#variancescaling-class.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(seed)
        name = type(self).__name__
        if scale <= 0:
            raise ConfigError(
                f"{name}: Argument `scale` must be positive float. Received: scale={scale}."
            )
        distribution = distribution.lower()
        distribution = "truncated_normal" if distribution == "normal" else distribution
        kinds = ("uniform", "truncated_normal", "untruncated_normal")
        self.scale = scale
        self.mode = _one_of(name, "mode", mode, ("fan_in", "fan_out", "fan_avg"))
        self.distribution = _one_of(name, "distribution", distribution, kinds)
        self.input_axes, self.output_axes = input_axes, output_axes

    def _draw(self, shape: tuple[int, ...], dtype: str) -> Any:
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return random.uniform(shape, -limit, limit, dtype, self.seed)
        if self.distribution == "truncated_normal":
            stddev = math.sqrt(variance) / _CUT_STDDEV
            return random.truncated_normal(shape, 0.0, stddev, dtype, self.seed)
        return random.normal(shape, 0.0, math.sqrt(variance), dtype, self.seed)

    def get_config(self) -> dict[str, Any]:
        own = ("scale", "mode", "distribution", "input_axes", "output_axes")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}


class _Scaled(VarianceScaling):
    """A VarianceScaling whose scale, mode and distribution are fixed by its class."""

    fixed: tuple[float, str, str]

    def __init__(
        self,
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self.fixed, seed, input_axes, output_axes)

    def get_config(self) -> dict[str, Any]:
        own = ("input_axes", "output_axes")
        config = RandomInitializer.get_config(self)
        return {**config, **{key: getattr(self, key) for key in own}}


class GlorotUniform(_Scaled):
    """Even numbers within sqrt(6 / (inputs + outputs)). Glorot and Bengio 2010."""

    fixed = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Scaled):
    """Truncated normal numbers of variance 2 / (inputs + outputs). Glorot and Bengio 2010."""

    fixed = (1.0, "fan_avg", "truncated_normal")


class LecunNormal(_Scaled):
    """Truncated normal numbers of variance 1 / inputs. Klambauer et al. 2017."""

    fixed = (1.0, "fan_in", "truncated_normal")


class LecunUniform(_Scaled):
    """Even numbers within sqrt(3 / inputs). Klambauer et al. 2017."""

    fixed = (1.0, "fan_in", "uniform")


class HeNormal(_Scaled):
    """Truncated normal numbers of variance 2 / inputs. He et al. 2015, arXiv:1502.01852."""

    fixed = (2.0, "fan_in", "truncated_normal")


class HeUniform(_Scaled):
    """Even numbers within sqrt(6 / inputs). He et al. 2015, arXiv:1502.01852."""

    fixed = (2.0, "fan_in", "uniform")


class Orthogonal(RandomInitializer):
    """A matrix with orthogonal rows or columns, times gain. Saxe et al. 2014, arXiv:1312.6120."""

    def __init__(self, gain: float = 1.0, seed: Any = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def _draw(self, shape: tuple[int, ...], dtype: str) -> Any:
        if len(shape) < 2:
            raise ShapeError(
                f"Orthogonal: the weight needs at least 2 axes. Received: shape={shape}. "
                "Use another initializer for this weight."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        long, short = max(rows, columns), min(rows, columns)
        q, r = np.linalg.qr(random.normal((long, short), seed=self.seed))
        q = q * np.sign(np.diag(r))
        q = q.T if rows < columns else q
        return in_dtype((self.gain * q).reshape(shape), dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gain": self.gain}


_CLASSES = (
    Initializer, Constant, Identity, Ones, Zeros, GlorotNormal, GlorotUniform, HeNormal, HeUniform,
    LecunNormal, LecunUniform, Orthogonal, RandomNormal, RandomUniform, TruncatedNormal,
    STFT, VarianceScaling,
)  # fmt: skip
_KNOWN: dict[str, Any] = {cls.__name__: cls for cls in _CLASSES}
_KNOWN |= {to_snake_case(cls.__name__): cls for cls in _CLASSES}
_KNOWN |= {
    "IdentityInitializer": Identity, "normal": RandomNormal, "one": Ones,
    "OrthogonalInitializer": Orthogonal, "STFTInitializer": STFT, "stft": STFT,
    "uniform": RandomUniform, "zero": Zeros,
}  # fmt: skip

constant, identity, ones, zeros = Constant, Identity, Ones, Zeros
glorot_normal, glorot_uniform = GlorotNormal, GlorotUniform
he_normal, he_uniform, lecun_normal, lecun_uniform = HeNormal, HeUniform, LecunNormal, LecunUniform
orthogonal, random_normal, random_uniform = Orthogonal, RandomNormal, RandomUniform
stft = STFTInitializer = STFT
truncated_normal, variance_scaling = TruncatedNormal, VarianceScaling
IdentityInitializer, OrthogonalInitializer = Identity, Orthogonal


def serialize(initializer: Any) -> Any:
    """The config of an initializer."""
    return serialize_keras_object(initializer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The initializer that a config describes."""
    return deserialize_keras_object(config, custom_objects, module_objects=_KNOWN)


def get(identifier: Any) -> Any:
    """The initializer that a name, config, class, function or array means; None for None.

    >>> get("he_normal")
    """
    if isinstance(identifier, (np.ndarray, np.generic)):
        return _from_array(np.asarray(identifier))
    return get_by_name(identifier, _KNOWN, "initializer")


def _from_array(array: np.ndarray) -> Any:
    def initializer(shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        """The given array, for a weight of its shape."""
        if tuple(shape) != array.shape:
            raise ShapeError(
                f"Expected `shape` to be {array.shape}, that of the array given as initializer. "
                f"Received: a weight of shape {tuple(shape)}. Pass an array of the weight's shape."
            )
        return in_dtype(array.copy(), dtypes.standardize(dtype))

    return initializer


__all__ = [
    "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity",
    "IdentityInitializer", "Initializer", "LecunNormal", "LecunUniform", "Ones", "Orthogonal",
    "OrthogonalInitializer", "RandomNormal", "RandomUniform", "STFT", "STFTInitializer",
    "TruncatedNormal",
    "VarianceScaling", "Zeros", "constant", "deserialize", "get", "glorot_normal",
    "glorot_uniform", "he_normal", "he_uniform", "identity", "lecun_normal", "lecun_uniform",
    "ones", "orthogonal", "random_normal", "random_uniform", "serialize", "stft",
    "truncated_normal", "variance_scaling", "zeros",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return alias("zoo_keras.initializers", name)
