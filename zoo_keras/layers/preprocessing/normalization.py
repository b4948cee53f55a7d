"""Normalization: numbers shifted and scaled to mean 0 and variance 1, as learnt from data."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from zoo_keras import config, ops
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.errors import ArgumentTypeError, ConfigError, ShapeError
from zoo_keras.feed.states import Moments
from zoo_keras.layers.base.layer import Layer
from zoo_keras.layers.preprocessing.adapting import is_spark, seen


class Normalization(Layer):
    """(inputs - mean) / sqrt(variance), for each index of the axes that are kept.

    https://keras.io/api/layers/preprocessing_layers/numerical/normalization/

    >>> layer = Normalization()
    >>> layer.adapt(np.array([[1.0], [3.0]]))
    >>> layer(np.array([[3.0]]))
    array([[1.]], dtype=float32)
    """

    def __init__(
        self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.axis = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        if (mean is None) != (variance is None) or np.shape(mean) != np.shape(variance):
            raise ConfigError(
                f'Normalization "{self.name}": both `mean` and `variance` must be set, in one '
                f"shape, or none. Received: mean={mean}, variance={variance}. Pass both, or adapt "
                "the layer."
            )
        if np.ndim(mean) > len(self.axis):
            raise ConfigError(
                f'Normalization "{self.name}": mean may have no more axes than are kept. Received: '
                f"shape {np.shape(mean)} for axis={self.axis}. Give one number for each index."
            )
        self.input_mean, self.input_variance = mean, variance
        self.invert = bool(invert)
        self.supports_masking = True
        self._shape: tuple[int | None, ...] | None = None

    def build(self, input_shape: Any = None) -> None:
        """Make room for mean and variance."""
        shape = tuple(input_shape)
        self._keep = tuple(sorted(self._checked(a, shape) for a in self.axis))
        self._shape = shape
        if self.input_mean is None:
            kept = tuple(shape[a] for a in self._keep)
            options: dict[str, Any] = {"shape": kept, "trainable": False}
            self.adapt_mean = self.add_weight(name="mean", initializer="zeros", **options)
            self.adapt_variance = self.add_weight(name="variance", initializer="ones", **options)
            self.count = self.add_weight(name="count", shape=(), dtype="int32",
                                         initializer="zeros", trainable=False)  # fmt: skip
        self.built = True

    def _checked(self, axis: int, shape: tuple[Any, ...]) -> int:
        what = f'Normalization "{self.name}": All `axis` values'
        received = f"Received: axis={self.axis} for shape {shape}."
        if not -len(shape) <= axis < len(shape):
            raise ShapeError(
                f"{what} must be in the range of the inputs' axes. {received} Choose others."
            )
        if shape[axis] is None:
            raise ShapeError(
                f"{what} to be kept need a known size. {received} Give the Input a full shape."
            )
        return axis % len(shape)

    @property
    def mean(self) -> Any:
        """The mean, to broadcast over inputs; None until the layer is built."""
        return self._spread(len(self._shape))[0] if self._shape is not None else None

    @property
    def variance(self) -> Any:
        """The variance, to broadcast over inputs; None until the layer is built."""
        return self._spread(len(self._shape))[1] if self._shape is not None else None

    def adapt(self, data: Any, feature_col: Any = None) -> None:
        """Learn mean and variance.

        Args:
            data: an array, an iterable (or list) of batches, an RDD of rows or a DataFrame.
            feature_col: the column of a DataFrame that has several; or a list of them, which make
                one vector.
        """
        if self.input_mean is not None:
            raise ConfigError(
                f'Normalization "{self.name}": cannot adapt a layer that was made with a mean. '
                "Received: adapt(). Make one without."
            )
        shape, rest = _shape_of(data, feature_col)
        keep = tuple(sorted(self._checked(a, shape) for a in self.axis))
        if not self.built:
            self.build(shape if 0 in keep else (None, *shape[1:]))
        take = _Floats(keep, tuple((self._shape or shape)[a] for a in keep))
        state = seen(_MakeMoments(keep), rest, take, column=feature_col, lists_are_batches=True)
        self._learn(state)

    def _learn(self, state: Moments) -> None:
        self.adapt_mean.assign(state.mean)
        self.adapt_variance.assign(state.variance)

    def call(self, inputs: Any) -> Any:
        """The normalised inputs, or with invert=True the inputs that give these."""
        x = ops.cast(inputs, self.compute_dtype)
        mean, variance = self._spread(len(self._shape or x.shape))
        scale = ops.maximum(ops.sqrt(variance), config.epsilon())
        if self.invert:
            return ops.add(mean, ops.multiply(x, scale))
        return ops.divide(ops.subtract(x, mean), scale)

    def _spread(self, rank: int) -> list[Any]:
        """Mean and variance, with axes of size 1 where they are the same."""
        shape = self._shape or ()
        wide = [int(shape[a] or 1) if a in self._keep else 1 for a in range(rank)]
        if self.input_mean is None:
            return [ops.reshape(v, wide) for v in (self.adapt_mean, self.adapt_variance)]
        narrow = [1] * rank
        for i, size in enumerate(reversed(np.shape(self.input_mean)), 1):
            narrow[self._keep[-i]] = size
        given = [in_dtype(v, self.compute_dtype) for v in (self.input_mean, self.input_variance)]
        return [np.broadcast_to(v.reshape(narrow), wide, subok=True) for v in given]

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """That of the inputs."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; what was learnt are weights."""
        return {
            **super().get_config(),
            "axis": list(self.axis),
            "invert": self.invert,
            "mean": np.array(self.input_mean).tolist(),
            "variance": np.array(self.input_variance).tolist(),
        }


class _MakeMoments:
    """Makes Moments; plain data."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def __call__(self) -> Moments:
        return Moments(self.axes)


class _Floats:
    """A batch as an array, once its kept axes have the sizes of the layer; plain data."""

    def __init__(self, axes: tuple[int, ...], sizes: tuple[int | None, ...]) -> None:
        self.axes, self.sizes = axes, sizes

    def __call__(self, chunk: Any) -> np.ndarray:
        made = np.asarray(chunk, np.float32)
        if made.size and tuple(made.shape[a] for a in self.axes if a < made.ndim) != self.sizes:
            raise ShapeError(
                f"adapt: Normalization was built for sizes {self.sizes} of the axes {self.axes}. "
                f"Received: data with an incompatible shape {made.shape}. Use data of that shape, "
                "or a new layer."
            )
        return made


def _shape_of(data: Any, column: Any) -> tuple[tuple[int | None, ...], Any]:
    """(shape of a batch, the data, of which nothing is lost)."""
    if is_spark(data):
        from zoo_keras.spark.scoring.adapt import first_row

        return (None, *first_row(data, column).shape), data
    if hasattr(data, "to_numpy"):
        data = data.to_numpy()
    if isinstance(data, np.ndarray):
        return data.shape, data
    if not hasattr(data, "__iter__"):  # a PyDataset
        return _batch_shape(data[0]), data
    batches = iter(data)
    first = next(batches, None)
    if first is None:
        raise ConfigError("adapt: an empty iterable holds no batch. Received: no data. Pass some.")
    return _batch_shape(first), itertools.chain([first], batches)


def _batch_shape(batch: Any) -> tuple[int, ...]:
    rows = batch[0] if isinstance(batch, tuple) else batch
    if np.ndim(rows) == 0:
        raise ArgumentTypeError(
            "adapt: an iterable must yield batches, arrays with a `.shape`. Received: "
            f"{rows!r}. Give each batch an axis of rows."
        )
    return np.shape(rows)
