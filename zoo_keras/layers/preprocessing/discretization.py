"""Discretization: numbers to the bins that they lie in, between boundaries given or learnt."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.errors import ConfigError
from zoo_keras.feed import quantiles
from zoo_keras.feed.states import Histogram
from zoo_keras.layers.base.arguments import argument_error, refuse
from zoo_keras.layers.base.layer import Layer
from zoo_keras.layers.preprocessing.adapting import is_spark, seen
from zoo_keras.layers.preprocessing.encoding import encode, output_mode
from zoo_keras.ops.symbolic import KerasTensor

FEW = 128  # boundaries: with so many, comparing with all of them is faster than searching


class Discretization(Layer):
    """The number of the bin that each number lies in: bin i holds b[i - 1] <= x < b[i].

    https://keras.io/api/layers/preprocessing_layers/numerical/discretization/

    >>> Discretization([0.0, 1.0])(np.array([-1.0, 0.5, 2.0]))
    array([0, 1, 2], dtype=int32)
    """

    def __init__(
        self,
        bin_boundaries: Any = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype, **kwargs)
        refuse(self, sparse=sparse)
        if (num_bins is None) == (bin_boundaries is None):
            raise argument_error(
                self, "num_bins", "given, or bin_boundaries, but not both", num_bins, "Give one."
            )
        if num_bins is not None and num_bins < 0:
            raise argument_error(self, "num_bins", "at least 0", num_bins, "Pass such a number.")
        self.bin_boundaries = None if bin_boundaries is None else [float(b) for b in bin_boundaries]
        self.num_bins, self.epsilon, self.sparse = num_bins, epsilon, False
        self.output_mode = _mode(self, output_mode)

    def adapt(self, data: Any, steps: int | None = None, feature_col: Any = None) -> None:
        """Learn boundaries that part the data into equal bins.

        Args:
            data: an array, an iterable (or list) of batches, an RDD of rows or a DataFrame.
            steps: how many batches of an iterable are taken.
            feature_col: the column of a DataFrame that has several.
        """
        if self.num_bins is None:
            raise ConfigError(
                f'Discretization "{self.name}": cannot adapt a layer that was made with '
                "bin_boundaries. Received: adapt(). Make it with num_bins."
            )
        if is_spark(data):
            summary = self._of_cluster(data, feature_col)
        else:
            state = seen(quantiles.Summary.maker(self.epsilon), data, np.asarray, steps,
                         lists_are_batches=True)  # fmt: skip
            summary = state.summary
        self.bin_boundaries = quantiles.boundaries(summary, self.num_bins)
        self._note_change()

    def _of_cluster(self, data: Any, column: Any) -> np.ndarray:
        """The summary of all rows together, found in two runs over them."""
        rough = seen(Histogram, data, np.asarray, column=column)
        ranks, step = quantiles.ranks_of(int(rough.counts.sum()), self.epsilon)
        buckets = np.unique(rough.bucket_of(ranks)).tolist()
        exact = seen(quantiles.Inside(buckets), data, np.asarray, column=column)
        return quantiles.compressed(quantiles.summary_of(exact.values(ranks), step), self.epsilon)

    def call(self, inputs: Any) -> Any:
        """Numbers of bins, or encodings of them."""
        if self.bin_boundaries is None:
            raise ConfigError(
                f'Discretization "{self.name}": has no boundaries. Received: a call. You need to '
                "call `adapt` before, or to pass bin_boundaries."
            )
        bins = _bins(ops.cast(inputs, "float32"), self.bin_boundaries)
        if self.output_mode == "int":
            return bins
        depth = len(self.bin_boundaries) + 1
        return encode(bins, self.output_mode, depth, self.compute_dtype)

    @property
    def output_dtype(self) -> str:
        """The dtype of the outputs."""
        return "int32" if self.output_mode == "int" else self.compute_dtype

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """The shape of the outputs; before `adapt` as many bins are expected as num_bins says."""
        shape = tuple(input_shape)
        learnt = self.bin_boundaries
        depth = self.num_bins if learnt is None else len(learnt) + 1
        if self.output_mode == "int":
            return shape
        if self.output_mode == "one_hot":
            return (*(shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape), depth)
        return (shape[0], *shape[2:], depth) if len(shape) > 1 else (depth,)

    def compute_output_spec(self, inputs: Any) -> KerasTensor:
        """A KerasTensor like the output."""
        return KerasTensor(self.compute_output_shape(inputs.shape), self.output_dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, and the boundaries that were learnt."""
        return {
            "bin_boundaries": self.bin_boundaries,
            "num_bins": self.num_bins,
            "epsilon": self.epsilon,
            "output_mode": self.output_mode,
            "sparse": self.sparse,
            "name": self.name,
            "dtype": self.dtype,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer with this configuration; learnt boundaries come beside num_bins."""
        config = dict(config)
        learnt = config.pop("bin_boundaries") if config.get("num_bins") is not None else None
        made = super().from_config(config)
        if learnt is not None:
            made.bin_boundaries = [float(b) for b in learnt]
        return made


def _bins(x: Any, boundaries: list[float]) -> Any:
    if len(boundaries) > FEW:
        return ops.digitize(x, np.asarray(boundaries, np.float32))
    # not below, rather than at least: NaN lies in the last bin, as in Keras
    below = ops.less(ops.expand_dims(x, -1), np.asarray(boundaries, np.float32))
    return ops.sum(ops.cast(ops.logical_not(below), "int32"), axis=-1)


def _mode(layer: Layer, value: Any) -> str:
    return output_mode(layer, value, ("int", "one_hot", "multi_hot", "count"))
