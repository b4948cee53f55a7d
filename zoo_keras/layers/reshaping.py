"""Layers that move numbers without changing them: Flatten, Reshape, Permute, RepeatVector.

In and out: tensors with the batch on the first axis.
"""

from __future__ import annotations

import math
from typing import Any

from zoo_keras import ops
from zoo_keras.layers.base.arguments import argument_error, is_whole, positive
from zoo_keras.layers.base.arguments import data_format as standard_data_format
from zoo_keras.layers.base.channels import to_last
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer, shape_error


class Flatten(Layer):
    """(batch, ...) -> (batch, product of the rest), channels last.

    https://keras.io/api/layers/reshaping_layers/flatten/

    >>> Flatten()(np.ones((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standard_data_format(self, data_format)
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> Any:
        """One row for each sample."""
        x = to_last(inputs, self.data_format) if len(inputs.shape) > 1 else inputs
        return ops.reshape(x, (x.shape[0], math.prod(x.shape[1:])))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "data_format": self.data_format}


class Reshape(Layer):
    """(batch, ...) -> (batch, *target_shape); one size may be -1.

    Raises ShapeError when the sizes do not fit.
    https://keras.io/api/layers/reshaping_layers/reshape/

    >>> Reshape((-1, 2))(np.ones((5, 6))).shape
    (5, 3, 2)
    """

    def __init__(self, target_shape: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_shape = self._checked(target_shape)
        self.built = True

    def _checked(self, target: Any) -> tuple[int, ...]:
        sizes = (target,) if is_whole(target) else target
        good = isinstance(sizes, (list, tuple)) and all(is_whole(d) and d >= -1 for d in sizes)
        if not good or list(sizes).count(-1) > 1:
            raise argument_error(
                self, "target_shape", "a tuple of sizes, at most one of them -1", target,
                "Leave the batch size out.",
            )  # fmt: skip
        return tuple(int(d) for d in sizes)

    def call(self, inputs: Any) -> Any:
        """The same numbers in the other shape."""
        return ops.reshape(inputs, self.compute_output_shape(inputs.shape))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """(batch, *target_shape), with None for a -1 that sizes decide which are not known."""
        row = input_shape[1:]
        size, known = (
            math.prod(d for d in s if d not in (None, -1)) for s in (row, self.target_shape)
        )
        open_row, open_target = None in row, -1 in self.target_shape
        if open_row:
            fits = open_target or (size and known % size == 0)
        else:
            fits = known and size % known == 0 if open_target else size == known
        if not fits:
            raise shape_error(
                self, f"{self.target_shape} must hold as many numbers as a row of the inputs",
                f"an input of shape {tuple(input_shape)}", "Change target_shape.",
                [[d for d in s if d not in (None, -1)] for s in (row, self.target_shape)],
            )  # fmt: skip
        rest = None if open_row else size // (known or 1)
        return (input_shape[0], *(rest if d == -1 else d for d in self.target_shape))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "target_shape": self.target_shape}


class Permute(Layer):
    """Axes in another order; dims counts from 1 and leaves the batch out.

    https://keras.io/api/layers/reshaping_layers/permute/

    >>> Permute((2, 1))(np.ones((5, 3, 4))).shape
    (5, 4, 3)
    """

    def __init__(self, dims: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        whole = isinstance(dims, (list, tuple)) and all(is_whole(d) for d in dims)
        if not whole or sorted(dims) != list(range(1, len(dims) + 1)):
            raise argument_error(
                self, "dims", "the numbers from 1 up in some order", dims,
                "Leave the batch axis out.",
            )  # fmt: skip
        self.dims = tuple(dims)
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs: Any) -> Any:
        """The transposed inputs."""
        return ops.transpose(inputs, (0, *self.dims))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "dims": self.dims}


class RepeatVector(Layer):
    """(batch, features) -> (batch, n, features).

    https://keras.io/api/layers/reshaping_layers/repeat_vector/

    >>> RepeatVector(3)(np.ones((2, 4))).shape
    (2, 3, 4)
    """

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = positive(self, "n", n)
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs: Any) -> Any:
        """n times the same row."""
        batch, features = inputs.shape
        row = ops.reshape(inputs, (batch, 1, features))
        return ops.broadcast_to(row, (batch, self.n, features))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "n": self.n}
