"""Small layers without weights: Identity, Lambda, Masking, Rescaling."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from zoo_keras import config as global_config
from zoo_keras import ops
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.configs.by_value import dump_function, load_function
from zoo_keras.configs.serialization import (
    deserialize_keras_object,
    in_safe_mode,
    serialize_keras_object,
)
from zoo_keras.errors import ConfigError
from zoo_keras.layers.base.arguments import argument_error
from zoo_keras.layers.base.layer import Layer, is_shape
from zoo_keras.ops.symbolic import KerasTensor
from zoo_keras.primitives.fed import OPEN
from zoo_keras.primitives.images import rescale_images


class Identity(Layer):
    """Its inputs. https://keras.io/api/layers/core_layers/identity/

    >>> Identity()(np.ones((1, 2)))
    array([[1., 1.]], dtype=float32)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The inputs."""
        return inputs


class Masking(Layer):
    """Masks the steps of (batch, steps, features) whose features all equal mask_value.

    https://keras.io/api/layers/core_layers/masking/

    >>> Masking()(np.zeros((1, 2, 3))).shape
    (1, 2, 3)
    """

    def __init__(self, mask_value: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(mask_value, dict):
            mask_value = deserialize_keras_object(mask_value)
        self.mask_value = mask_value
        self.supports_masking = True
        self.built = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """(batch, steps), False where a step is to be skipped."""
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)

    def call(self, inputs: Any) -> Any:
        """The inputs, 0 in masked steps."""
        kept = ops.any(ops.not_equal(inputs, self.mask_value), axis=-1, keepdims=True)
        return ops.where(kept, inputs, 0.0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "mask_value": self.mask_value}


class Rescaling(Layer):
    """inputs * scale + offset, in floating point; both are numbers or one number per channel.

    https://keras.io/api/layers/preprocessing_layers/image_preprocessing/rescaling/

    >>> Rescaling(1 / 255)(np.array([[255.0]]))
    array([[1.]], dtype=float32)
    """

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset
        for name, value in (("scale", scale), ("offset", offset)):
            if not np.issubdtype(np.asarray(value).dtype, np.number):
                raise argument_error(
                    self, name, "a number or a list of them", value, "Pass such a number."
                )
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """The rescaled inputs."""
        scale = _channelwise(self.scale, self.compute_dtype)
        offset = in_dtype(self.offset, self.compute_dtype)
        if OPEN in inputs.shape:  # images of different sizes, before they are resized
            return rescale_images(inputs, scale=scale, offset=offset)
        return ops.add(ops.multiply(ops.cast(inputs, self.compute_dtype), scale), offset)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "scale": serialize_keras_object(self.scale),
            "offset": serialize_keras_object(self.offset),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Rescaling:
        """A layer with this configuration."""
        config = dict(config)
        for name in ("scale", "offset"):
            config[name] = deserialize_keras_object(config[name], custom_objects=custom_objects)
        made: Rescaling = super().from_config(config)
        return made


def _channelwise(scale: Any, dtype: str) -> np.ndarray:
    made = in_dtype(scale, dtype)
    if made.ndim and global_config.image_data_format() == "channels_first":
        return made.reshape(made.shape + (1,) * (3 - made.ndim))
    return made


class Lambda(Layer):
    """Any function of tensors, written in zoo_keras.ops, as a layer.

    function(inputs, **arguments) may also take `mask` and `training`. A named function is saved by
    its name, a lambda by its bytecode, which is loaded with safe_mode=False only.
    https://keras.io/api/layers/core_layers/lambda/

    >>> Lambda(lambda x: x * 2.0)(np.ones((1, 2)))
    array([[2., 2.]], dtype=float32)
    """

    def __init__(
        self,
        function: Any,
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not callable(function):
            raise argument_error(
                self, "function", "a function of tensors", function, "Pass a function."
            )
        self.function, self.arguments = function, arguments or {}
        self.mask, self._output_shape = mask, output_shape
        self.supports_masking = mask is not None
        names = inspect.signature(function).parameters
        self._passed_on = [n for n in ("mask", "training") if n in names]

    def call(self, inputs: Any, mask: Any = None, training: Any = None) -> Any:
        """function(inputs, **arguments)."""
        known = {"mask": mask, "training": training}
        return self.function(inputs, **self.arguments, **{n: known[n] for n in self._passed_on})

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The `mask` argument, called when it is a function."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """KerasTensors of the shape that was given, or that tracing the function finds."""
        if self._output_shape is None:
            return Layer.compute_output_spec(self, *args, **kwargs)
        shape = self.compute_output_shape(_shape_of(args[0]))
        return KerasTensor(shape, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The output_shape argument (without the batch), or what tracing the function finds."""
        if self._output_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self._output_shape):
            return tuple(self._output_shape(input_shape))
        batch = input_shape[0] if is_shape(input_shape) else input_shape[0][0]
        return (batch, *self._output_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; functions by name, lambdas as bytecode."""
        config = {**super().get_config(), "function": _function_config(self.function)}
        for key, value in (("output_shape", self._output_shape), ("mask", self.mask)):
            if value is not None:
                made = _function_config if callable(value) else serialize_keras_object
                config[key] = made(value)
        return {**config, "arguments": serialize_keras_object(self.arguments)}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None, safe_mode: bool | None = None
    ) -> Lambda:
        """A layer with this configuration. ConfigError for a lambda in safe mode."""
        safe = in_safe_mode() if safe_mode is None else safe_mode
        config = dict(config)
        for key in ("function", "output_shape", "mask", "arguments"):
            if config.get(key) is not None:
                config[key] = _revived(config[key], safe is not False, custom_objects)
        if isinstance(config.get("output_shape"), list):
            config["output_shape"] = tuple(config["output_shape"])
        made: Lambda = super().from_config(config)
        return made


def _shape_of(inputs: Any) -> Any:
    return [_shape_of(x) for x in inputs] if isinstance(inputs, (list, tuple)) else inputs.shape


def _function_config(function: Any) -> Any:
    if getattr(function, "__name__", "") != "<lambda>":
        return serialize_keras_object(function)
    code, defaults, closure = dump_function(function)
    inner = {"code": code, "defaults": defaults, "closure": closure}
    return {"class_name": "__lambda__", "config": inner}


def _revived(value: Any, safe: bool, custom_objects: Any) -> Any:
    if not isinstance(value, dict) or value.get("class_name") != "__lambda__":
        return deserialize_keras_object(value, custom_objects=custom_objects)
    if safe:
        raise ConfigError(
            "Lambda: the configuration holds Python bytecode, which allows arbitrary code "
            "execution. Received: a lambda with safe_mode=True. Load with safe_mode=False if you "
            "trust the file."
        )
    inner = value["config"]
    return load_function((inner["code"], inner.get("defaults"), inner.get("closure")))
