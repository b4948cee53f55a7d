"""Models that test the corners of files, built by the public API of `k`: Keras or zoo_keras.

`MODELS` names functions f(k) -> a compiled model for inputs (6, 4) and targets (6, 2). The
classes are registered, so that either side finds its own when it reads the other's files.
"""

from __future__ import annotations

from typing import Any


def scale_layer(k: Any) -> Any:
    @k.saving.register_keras_serializable("oracle")
    class Scale(k.layers.Layer):
        def __init__(self, factor: float = 2.0, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.factor = factor

        def build(self, input_shape: Any) -> None:
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
            self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones")

        def call(self, x: Any) -> Any:
            return k.ops.tanh(x * self.scale) * self.factor

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "factor": self.factor}

    return Scale


def block_layer(k: Any) -> Any:
    Scale = scale_layer(k)

    @k.saving.register_keras_serializable("oracle")
    class Block(k.layers.Layer):
        def __init__(self, units: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = units
            self._steps = [k.layers.Dense(units) for _ in range(2)]
            self.by_name = {"a": k.layers.Dense(units), "z": [k.layers.Dense(units), Scale()]}
            self._norm = k.layers.LayerNormalization()
            self.Drop = k.layers.Dropout(0.5, seed=3)

        def build(self, input_shape: Any) -> None:
            shape = input_shape
            for layer in self._order():
                layer.build(shape)
                shape = (*tuple(shape)[:-1], self.units)

        def _order(self) -> list[Any]:
            return [*self._steps, self.by_name["a"], *self.by_name["z"], self._norm]

        def call(self, x: Any) -> Any:
            for layer in self._order():
                x = layer(x)
            return self.Drop(x, training=False)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    return Block


def subclassed(k: Any) -> Any:
    Block, Scale = block_layer(k), scale_layer(k)

    @k.saving.register_keras_serializable("oracle")
    class Small(k.Model):
        def __init__(self, units: int = 3, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = units
            self.zoom = Scale(3.0)
            self._hidden = [k.layers.Dense(units, activation="tanh"), k.layers.Dense(units)]
            self.block = Block(units)
            self.end = k.Sequential([k.layers.Dense(units), k.layers.PReLU(), k.layers.Dense(2)])

        def build(self, input_shape: Any) -> None:
            self.zoom.build(input_shape)
            self._hidden[0].build(input_shape)
            inner = (input_shape[0], self.units)
            for layer in (self._hidden[1], self.block, self.end):
                layer.build(inner)

        def call(self, x: Any) -> Any:
            x = self.zoom(x)
            for layer in self._hidden:
                x = layer(x)
            return self.end(self.block(x))

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    model = Small()
    model.build((None, 4))
    return model


def functional(k: Any) -> Any:
    layers, ops = k.layers, k.ops
    start = layers.Input((4,), name="start")
    shared = layers.Dense(3, name="shared")
    inner_in = layers.Input((3,), name="inner_in")
    inner = k.Model(inner_in, block_layer(k)(3)(layers.Dense(3)(inner_in)), name="inner")
    left, right = inner(shared(start)), inner(shared(start * 2.0 + 1.0))
    both = ops.concatenate(
        [left - right, ops.relu(left), layers.Multiply()([left, right])], axis=-1
    )
    both = layers.Subtract()([both, ops.mean(both, axis=-1, keepdims=True)])
    both = layers.PReLU()(layers.LayerNormalization()(both))
    return k.Model(start, layers.Dense(2, activation="hard_sigmoid")(scale_layer(k)()(both)))


def stack(k: Any) -> Any:
    layers = k.layers
    return k.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(6, kernel_regularizer="l2", bias_constraint="max_norm"),
            layers.BatchNormalization(),
            layers.Dropout(0.0),
            layers.ELU(0.5),
            layers.Reshape((3, 2)),
            layers.LayerNormalization(axis=[1, 2]),
            layers.Conv1D(4, 2, activation="gelu"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )


def frozen(k: Any) -> Any:
    model = stack(k)
    model.layers[0].trainable = False
    return model


def compiled(make: Any, **arguments: Any) -> Any:
    def model(k: Any) -> Any:
        made = make(k)
        schedule = arguments.get("schedule")
        rate = k.optimizers.schedules.ExponentialDecay(0.05, 2, 0.5) if schedule else 0.01
        optimizer = getattr(k.optimizers, arguments.get("optimizer", "Adam"))(rate)
        loss = getattr(k.losses, arguments.get("loss", "MeanSquaredError"))()
        metrics = [k.metrics.MeanAbsoluteError(name="distance")]
        made.compile(optimizer, "mse" if arguments.get("by_name") else loss, metrics=metrics)
        return made

    return model


MODELS = {
    "functional": compiled(functional),
    "subclassed": compiled(subclassed, optimizer="RMSprop"),
    "stack": compiled(stack, optimizer="SGD", schedule=True, loss="LogCosh"),
    "frozen": compiled(frozen, by_name=True),
}
