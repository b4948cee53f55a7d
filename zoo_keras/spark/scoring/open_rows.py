"""Scoring of rows whose shapes no program of a Parcel is for: the model itself travels.

In (driver): a Model whose Inputs leave sizes open. In (executor): columns of rows of other shapes
than the first one had. Out: outputs for each row as it gives them alone.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import native
from zoo_keras.nest import pack_as
from zoo_keras.primitives.tile_choice import inference_dtype, inferring_in
from zoo_keras.training.data import ArrayData
from zoo_keras.training.ragged_rows import outputs_by_shape


class OpenModel(NamedTuple):
    """A pickled Model, the threads of a task, and the dtype in which the driver predicts."""

    pickled: bytes
    threads: int
    inference: str

    def load(self) -> Any:
        """The Model."""
        return pickle.loads(self.pickled)

    def predict(self, model: Any, columns: Sequence[Any], structure: Any, size: int) -> list[Any]:
        """Outputs for all rows, in order: arrays, or lists of rows that differ in shape."""
        data = ArrayData(pack_as(structure, columns), batch_size=size)
        with native.using_threads(self.threads), inferring_in(self.inference):
            return outputs_by_shape(model, data)


def open_model(model: Any, threads: int) -> OpenModel:
    """A model as it travels; classes and functions of the user's script go along."""
    from pyspark import cloudpickle

    return OpenModel(cloudpickle.dumps(model), threads, inference_dtype())


def differ(columns: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether a column has rows of other shapes than these."""
    return any(
        not isinstance(column, np.ndarray) or column.shape[1:] != shape
        for column, shape in zip(columns, shapes, strict=True)
    )
