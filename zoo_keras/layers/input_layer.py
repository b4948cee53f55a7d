"""InputLayer and Input: where data enter a functional model."""

from __future__ import annotations

import warnings
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
        shape, batch_shape = _older_names(shape, batch_shape, kwargs)
        if input_tensor is not None:  # another place where data enter, of its shape and dtype
            given = {"shape": shape, "batch_shape": batch_shape, "batch_size": batch_size,
                     "dtype": dtype, "sparse": sparse}  # fmt: skip
            _check_tensor(input_tensor, given)
            shape, batch_size, batch_shape = None, None, input_tensor.shape
            dtype = input_tensor.dtype
        for name_, value in (("sparse", sparse), ("ragged", ragged)):
            if value:
                raise UnsupportedError(
                    f"Input: `{name_}=True` is not supported. Received: sparse={sparse}, "
                    f"ragged={ragged}. Pass dense arrays."
                )
        super().__init__(name=name or auto_name("input_layer"), **kwargs)
        self.batch_shape = _batch_shape(shape, batch_size, batch_shape)
        self._input_dtype = dtypes.standardize(dtype)
        self.optional = bool(optional)
        self.sparse = self.ragged = False
        self.built = True
        free = input_tensor is not None and input_tensor.history is None
        made = KerasTensor(self.batch_shape, self._input_dtype, name=self.name)
        CallNode(self, (), {}, input_tensor if free else made)

    def call(self) -> None:
        """Nothing: the output is fed."""

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
    for name, value in (("shape", shape), ("batch_size", batch_size)):
        if value is not None and batch_shape is not None:
            raise ConfigError(
                f"Input: you cannot pass both `{name}` and `batch_shape`. Received: "
                f"{name}={value}, batch_shape={batch_shape}. Leave one out."
            )
    if shape is None and batch_shape is None:
        raise ConfigError(
            "Input: you must pass a `shape` argument. Received: neither shape nor batch_shape. "
            "Give the sizes of one row, as in Input((28, 28, 1))."
        )
    full = _tuple(batch_shape) if batch_shape is not None else (batch_size, *_tuple(shape))
    if any(d is not None and (not is_whole(d) or d < 0) for d in full):
        raise ConfigError(
            f"Input: sizes must be whole numbers or None. Received: {full}. Check `shape`."
        )
    return tuple(None if d is None else int(d) for d in full)


def _older_names(shape: Any, batch_shape: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """The shapes, also when they come under the names of Keras 2."""
    if "input_shape" in kwargs:
        warnings.warn("Argument `input_shape` is deprecated. Use `shape` instead.", stacklevel=3)
        shape = kwargs.pop("input_shape") or shape
    return shape, kwargs.pop("batch_input_shape", None) or batch_shape


def _check_tensor(tensor: Any, given: dict[str, Any]) -> None:
    """ConfigError when an argument beside `input_tensor` says other than the tensor does."""
    if not isinstance(tensor, KerasTensor):
        raise ConfigError(
            "Input: Argument `input_tensor` must be a KerasTensor. Received: "
            f"{tensor!r} of {type(tensor)}. Make it with Input(...) and layer calls."
        )
    own = {"shape": tensor.shape[1:], "batch_shape": tensor.shape,
           "batch_size": tensor.shape[0] if tensor.shape else None, "dtype": tensor.dtype,
           "sparse": tensor.sparse}  # fmt: skip
    for name, value in given.items():
        value = tuple(value) if isinstance(value, list) else value
        value = dtypes.standardize(value) if name == "dtype" and value is not None else value
        if value is not None and value != own[name]:
            raise ConfigError(
                f"Input: with a tensor you cannot provide an incompatible `{name}` argument. "
                f"Received: {name}={value}, and a tensor with {own[name]}. Leave it out."
            )


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
