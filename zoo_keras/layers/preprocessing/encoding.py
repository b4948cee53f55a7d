"""Category numbers as one-hot rows, sets or counts: CategoryEncoding, and what others share."""

from __future__ import annotations

from typing import Any

from zoo_keras import ops
from zoo_keras.errors import ConfigError
from zoo_keras.layers.base.arguments import argument_error, one_of, positive, refuse
from zoo_keras.layers.base.layer import Layer

MODES = ("one_hot", "multi_hot", "count")


def encode(ids: Any, mode: str, depth: int, dtype: str = "float32", weights: Any = None) -> Any:
    """Numbers 0 .. depth - 1 along the last axis as `mode` says; others count nowhere.

    one_hot encodes every number; multi_hot and count encode each row of axis 1 as one.
    """
    if mode == "one_hot":
        if len(ids.shape) > 1 and ids.shape[-1] == 1:
            ids = ops.squeeze(ids, -1)
        return ops.one_hot(ids, depth, dtype=dtype)
    if not ids.shape:
        ids = ops.expand_dims(ids, -1)
    each = ops.one_hot(ids, depth, dtype=dtype)
    axis = 1 if len(ids.shape) > 1 else 0
    if mode == "multi_hot":
        return ops.max(each, axis=axis)
    if weights is not None:
        each = ops.multiply(each, ops.expand_dims(ops.cast(weights, dtype), -1))
    return ops.sum(each, axis=axis)


def output_mode(layer: Layer, value: Any, allowed: tuple[str, ...]) -> str:
    """The mode under its present name."""
    old = {"binary": "multi_hot", "tf-idf": "tf_idf"}
    return one_of(layer, "output_mode", old.get(value, value), allowed)


class CategoryEncoding(Layer):
    """Whole numbers from 0 to num_tokens - 1 as one-hot rows, sets ("multi_hot") or counts.

    https://keras.io/api/layers/preprocessing_layers/categorical/category_encoding/

    >>> CategoryEncoding(4)(np.array([[0, 1], [3, 3]]))
    array([[1., 1., 0., 0.],
           [0., 0., 0., 1.]], dtype=float32)
    """

    def __init__(
        self,
        num_tokens: int | None = None,
        output_mode: str = "multi_hot",
        sparse: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        refuse(self, sparse=sparse)
        if num_tokens is None:
            raise argument_error(
                self, "num_tokens", "given", None, "Use IntegerLookup when it is not known."
            )
        self.num_tokens = positive(self, "num_tokens", num_tokens)
        self.output_mode = _mode(self, output_mode)
        self.sparse = False

    def call(self, inputs: Any, count_weights: Any = None) -> Any:
        """The encoded inputs; count_weights, in the shape of the inputs, say how much each counts.

        Numbers below 0 or from num_tokens on count nowhere (Keras raises for them on TensorFlow,
        and drops them elsewhere).
        """
        if count_weights is not None and self.output_mode != "count":
            raise ConfigError(
                f'CategoryEncoding "{self.name}": count_weights belong to output_mode="count". '
                f"Received: them with output_mode={self.output_mode!r}. Leave them out."
            )
        ids = ops.cast(inputs, "int32")
        return encode(ids, self.output_mode, self.num_tokens, self.compute_dtype, count_weights)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_tokens": self.num_tokens,
            "output_mode": self.output_mode,
        }


def _mode(layer: Layer, value: Any) -> str:
    return output_mode(layer, value, MODES)
