"""StackedRNNCells: several cells as one, each fed with the output of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import ops
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.layers.base.arguments import argument_error
from zoo_keras.layers.base.layer import Layer


def output_size(cell: Any) -> int:
    """The width of a cell's output: its own word, or the size of its first state."""
    own = getattr(cell, "output_size", None)
    if own is not None:
        return int(own)
    size = cell.state_size
    return int(size[0] if isinstance(size, (list, tuple)) else size)


def initial_state(cell: Any, batch: int) -> Any:
    """A cell's own initial state, or zeros."""
    own = getattr(cell, "get_initial_state", None)
    if own is not None:
        return own(batch_size=batch)
    dtype = getattr(cell, "compute_dtype", "float32")
    size = cell.state_size
    if isinstance(size, (list, tuple)):
        return [ops.zeros((batch, n), dtype=dtype) for n in size]
    return ops.zeros((batch, size), dtype=dtype)


class StackedRNNCells(Layer):
    """Cells on top of each other, for use in RNN. Its states are a list of each cell's states.

    https://keras.io/api/layers/recurrent_layers/stacked_rnn_cell/

    >>> RNN(StackedRNNCells([LSTMCell(4), GRUCell(3)]))(np.ones((2, 3, 5))).shape
    (2, 3)
    """

    def __init__(self, cells: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for cell in cells:
            if not hasattr(cell, "call") or not hasattr(cell, "state_size"):
                raise argument_error(
                    self, "cells", "cells with `call` and `state_size`", cell,
                    "Pass layers such as LSTMCell(4).",
                )  # fmt: skip
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the states of each cell."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """The width of the last cell's output."""
        return output_size(self.cells[-1])

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """The initial states of each cell."""
        return [initial_state(cell, batch_size or 0) for cell in self.cells]

    def build(self, input_shape: Any = None) -> None:
        """Build each cell for the output of the one before."""
        shape = tuple(input_shape)
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                cell.build(shape)
            shape = (shape[0], output_size(cell))

    def call(self, inputs: Any, states: Any, training: Any = False, **kwargs: Any) -> Any:
        """One step through all cells: (output of the last, states of all)."""
        after = []
        for cell, own in zip(self.cells, states, strict=True):
            listed = list(own) if isinstance(own, (list, tuple)) else [own]
            inputs, new = cell(inputs, listed, **kwargs)
            single = not isinstance(own, (list, tuple)) and isinstance(new, (list, tuple))
            after.append(new[0] if single else new)
        return inputs, after

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        cells = [serialize_keras_object(cell) for cell in self.cells]
        return {**super().get_config(), "cells": cells}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> StackedRNNCells:
        """A stack with this configuration."""
        config = dict(config)
        cells = [
            deserialize_keras_object(c, custom_objects=custom_objects) for c in config.pop("cells")
        ]
        return cls(cells, **config)
