"""Sequential: a plain stack of layers."""

from __future__ import annotations

from typing import Any

from zoo_keras import dtypes
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.errors import ConfigError, ZooKerasError
from zoo_keras.layers.base.functional import open_sizes
from zoo_keras.layers.base.layer import Layer, is_shape
from zoo_keras.layers.input_layer import Input, InputLayer
from zoo_keras.models.function_graph import FunctionGraph
from zoo_keras.models.model import Model
from zoo_keras.naming import auto_name
from zoo_keras.policies import dtype_policy


class Sequential(Model):
    """Layers one after the other, each with one input and one output.

    >>> model = Sequential([Input((784,)), Dense(10, activation="softmax")])

    Without an Input the weights are made when data first arrive. See
    https://keras.io/api/models/sequential/.
    """

    def __init__(self, layers: Any = None, trainable: bool = True, name: str | None = None) -> None:
        super().__init__(trainable=trainable, name=name or auto_name("sequential"))
        self._stack: list[Any] = []
        self._given_input = True  # else the first data stood in for an Input
        for layer in layers or []:
            self.add(layer, rebuild=False)
        self._rebuild()

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Put a layer on top."""
        history = getattr(layer, "history", None)
        if history is not None and isinstance(history[0].operation, InputLayer):
            layer = history[0].operation
        if not isinstance(layer, Layer):
            raise ConfigError(
                f'Sequential "{self.name}": Only instances of Layer can be added. Received: '
                f"{layer!r} of type {type(layer).__name__}. Wrap functions into Lambda."
            )
        if any(layer.name == other.name for other in self._stack):
            raise ConfigError(
                f'Sequential "{self.name}": layers should have unique names. Received: a second '
                f'layer named "{layer.name}". Pass another name=.'
            )
        if isinstance(layer, InputLayer) and self._stack:
            raise ConfigError(
                f'Sequential "{self.name}": it has already been configured to use an Input, or a '
                f"layer comes before it. Received: {layer!r}. An Input must come first."
            )
        shape = layer._input_shape_argument
        if not self._stack and not isinstance(layer, InputLayer):
            if shape is not None:
                self._stack.append(Input(shape).history[0].operation)
            elif (start := _input_of(layer)) is not None:
                self._stack.append(start)
        self._stack.append(layer)
        if rebuild:
            self._rebuild()

    def pop(self, rebuild: bool = True) -> Any:
        """Take the top layer off."""
        if not self._stack:
            raise ConfigError(f'Sequential "{self.name}" has no layers left to pop.')
        layer = self._stack.pop()
        self.built, self._function = False, None
        if rebuild:
            self._rebuild()
        return layer

    def _rebuild(self) -> None:
        self._sublayers = list(self._stack)
        self.built, self._function = False, None
        if len(self._stack) > 1 and isinstance(self._stack[0], InputLayer):
            self._connect(self._stack[0].batch_shape)

    def _prepare(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Text that comes to a stack without Input makes it one of text."""
        dtype = str(getattr(args[0], "dtype", "")) if args else ""
        if dtype in dtypes.TEXT and self._function is None and self._stack:
            self._connect((None, *args[0].shape[1:]), dtype)
        if not self._stack:
            raise ConfigError(
                f'Sequential "{self.name}": there are no layers. Received: a call. add() some.'
            )
        super()._prepare(args, kwargs)

    def _connect(self, batch_shape: Any, dtype: str | None = None) -> None:
        """Call the layers one after the other, so that the model becomes a functional graph."""
        if not isinstance(self._stack[0], InputLayer):
            self._given_input = False
            kind = dtype or self._stack[0].input_dtype
            start = InputLayer(batch_shape=tuple(batch_shape), dtype=kind)
            self._stack.insert(0, start)
            self._sublayers = list(self._stack)
        x = inputs = self._stack[0].output
        with self._own_scope():
            for layer in self._stack[1:]:
                x = layer(x)
        self._function = FunctionGraph(inputs, x, self.name, any_sizes=not self._given_input)
        self._build_shapes = tuple(self._stack[0].batch_shape)
        self.built = True

    @property
    def layers(self) -> list[Any]:
        """The layers, without the InputLayer."""
        return [layer for layer in self._stack if not isinstance(layer, InputLayer)]

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError(
            f'Sequential "{self.name}": `layers` attribute is reserved. Use `add()` and `pop()` to '
            "change the layers."
        )

    def build(self, input_shape: Any = None) -> None:
        """Make the weights for inputs of this shape (with the batch axis)."""
        if self._function is not None and self._given_input and is_shape(input_shape):
            self._check_shape(tuple(input_shape))
        if self._function is None:
            if input_shape is not None and self._stack and not is_shape(input_shape):
                return  # several inputs for the first layer: weights are made in the call
            if input_shape is None or not self._stack:
                raise ConfigError(
                    f'Sequential "{self.name}": its input shape is not known. Received: no Input '
                    "and no shape. Start with Input(...), or call build(input_shape)."
                )
            try:
                self._connect((None, *open_sizes(tuple(input_shape))[1:]))
            except NotImplementedError as error:
                if isinstance(error, ZooKerasError):
                    raise
                self._stack = self.layers  # a layer's output shape is not known before it runs
                self._sublayers = list(self._stack)

    def _check_shape(self, shape: tuple[int | None, ...]) -> None:
        own = self._stack[0].batch_shape
        same = zip(own, shape, strict=False)
        if len(own) != len(shape) or not all(a in (b, None) or b is None for a, b in same):
            raise ConfigError(
                f'Sequential "{self.name}": it has already been configured for inputs of shape '
                f"{own}. Received: build({shape}). Make another model for other inputs."
            )

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if self._function is not None:
            return super().call(inputs, training=training, mask=mask)
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs

    def get_config(self) -> dict[str, Any]:
        stack = self._stack if self._given_input else self.layers
        config: dict[str, Any] = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": dtype_policy(None).serialize(),
            "layers": [serialize_keras_object(layer) for layer in stack],
        }
        if self._function is not None:
            config["build_input_shape"] = tuple(self._build_shapes)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        made = cls(name=config.get("name"), trainable=config.get("trainable", True))
        for layer in config["layers"]:
            made.add(deserialize_keras_object(layer, custom_objects=custom_objects), rebuild=False)
        made._rebuild()
        shape = config.get("build_input_shape")
        if not made.built and shape:
            made.build(tuple(shape))
        return made


def _input_of(layer: Layer) -> InputLayer | None:
    """An InputLayer like the only input of a functional model, which may come first in a stack."""
    graph = layer._function if isinstance(layer, Model) else None
    if graph is None or len(graph.inputs) != 1 or getattr(layer, "_given_input", True) is False:
        return None
    return InputLayer(batch_shape=tuple(graph.inputs[0].shape), dtype=graph.inputs[0].dtype)
