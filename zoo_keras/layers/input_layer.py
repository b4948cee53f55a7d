"""InputLayer and Input: where data enter a functional model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import dtypes
from zoo_keras.errors import ConfigError, UnsupportedError
from zoo_keras.layers.base.arguments import is_whole
from zoo_keras.layers.base.functional import CallNode
from zoo_keras.layers.base.layer import Layer
from zoo_keras.naming import auto_name
from zoo_keras.ops.symbolic import KerasTensor


class InputLayer(Layer):
    """The layer behind `Input`. Give `shape` without the batch axis, or `batch_shape` with it."""

    _computes = False

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: Any = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if sparse or ragged:
            raise UnsupportedError(
                "Input: sparse and ragged inputs are not supported. Received: "
                f"sparse={sparse}, ragged={ragged}. Pass dense arrays."
            )
        if input_tensor is not None:  # another place where data enter, of its shape and dtype
            batch_shape, dtype = batch_shape or input_tensor.shape, dtype or input_tensor.dtype
        kwargs.pop("input_shape", None)
        super().__init__(name=name or auto_name("input_layer"), **kwargs)
        self.batch_shape = _batch_shape(shape, batch_size, batch_shape)
        self._input_dtype = dtypes.standardize(dtype)
        self.optional = bool(optional)
        self.built = True
        CallNode(self, (), {}, KerasTensor(self.batch_shape, self._input_dtype, name=self.name))

    def call(self) -> None:
        """Never runs: its output is fed."""
        raise ConfigError(f'InputLayer "{self.name}" cannot be called; it stands for the data.')

    @property
    def dtype(self) -> str:
        return self._input_dtype

    def get_config(self) -> dict[str, Any]:
        return {
            "batch_shape": self.batch_shape,
            "dtype": self._input_dtype,
            "sparse": False,
            "ragged": False,
            "name": self.name,
            "optional": self.optional,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InputLayer:
        return cls(**config)


def _batch_shape(shape: Any, batch_size: int | None, batch_shape: Any) -> tuple[int | None, ...]:
    if (shape is None) == (batch_shape is None):
        raise ConfigError(
            "Input: give either `shape` or `batch_shape`. Received: "
            f"shape={shape}, batch_shape={batch_shape}."
        )
    full = _tuple(batch_shape) if batch_shape is not None else (batch_size, *_tuple(shape))
    if any(d is not None and (not is_whole(d) or d < 0) for d in full):
        raise ConfigError(
            f"Input: sizes must be whole numbers or None. Received: {full}. Check `shape`."
        )
    return tuple(None if d is None else int(d) for d in full)


def _tuple(shape: Any) -> tuple[Any, ...]:
    if is_whole(shape):
        raise ConfigError(f"Input: shape must be a tuple. Received: {shape}. Write ({shape},).")
    return tuple(shape)


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: Any = None,
    optional: bool = False,
) -> Any:
    """A KerasTensor to build a functional model from. https://keras.io/api/layers/core_layers/input

    >>> x = Input((28, 28, 1))
    """
    layer = InputLayer(
        shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional, name
    )
    return layer.output
