"""Short programs, each a function of `keras` and a numpy generator that gives arrays. Real Keras
runs them when golden data are made, zoo_keras in the tests."""

from __future__ import annotations

from typing import Any

import numpy as np

Rng = np.random.Generator
PROGRAMS: dict[str, Any] = {}


def program(function: Any) -> Any:
    PROGRAMS[function.__name__] = function
    return function


def floats(rng: Rng, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype("float32")


def seeded(owner: Any, rng: Rng) -> Any:
    """The layer or model with weights of the generator."""
    owner.set_weights([floats(rng, *w.shape) for w in owner.get_weights()])
    return owner


def numbers(*values: Any) -> list[np.ndarray]:
    return [np.asarray(v) for v in values]


# ---- low rank ------------------------------------------------------------------------------------


def _low_rank(keras: Any, rng: Rng, layer: Any, x: np.ndarray) -> list[np.ndarray]:
    model = keras.Sequential([keras.Input(x.shape[1:], dtype=str(x.dtype)), layer])
    seeded(layer, rng)
    layer.enable_lora(2, lora_alpha=3.0)
    seeded(layer, rng)
    first = model.predict(x, verbose=0)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.fit(x, np.zeros_like(first), epochs=2, batch_size=4, shuffle=False, verbose=0)
    return [first, *layer.get_weights()]


@program
def low_rank_dense(keras: Any, rng: Rng) -> Any:
    layer = keras.layers.Dense(3, kernel_regularizer="l2")
    return _low_rank(keras, rng, layer, floats(rng, 8, 4))


@program
def low_rank_einsum(keras: Any, rng: Rng) -> Any:
    layer = keras.layers.EinsumDense("abc,cde->abde", (None, 3, 2), bias_axes="e")
    return _low_rank(keras, rng, layer, floats(rng, 8, 3, 4))


@program
def low_rank_convolution(keras: Any, rng: Rng) -> Any:
    layer = keras.layers.Conv2D(3, 3, padding="same")
    return _low_rank(keras, rng, layer, floats(rng, 8, 6, 6, 2))


@program
def low_rank_embedding(keras: Any, rng: Rng) -> Any:
    ids = rng.integers(0, 10, (8, 5)).astype("int32")
    return _low_rank(keras, rng, keras.layers.Embedding(10, 3), ids)


# ---- batch renormalization -----------------------------------------------------------------------


def _renormed(keras: Any, rng: Rng, **options: Any) -> list[np.ndarray]:
    layer = keras.layers.BatchNormalization(
        renorm=True, momentum=0.7, renorm_momentum=0.8, **options
    )
    found = [layer(3 * floats(rng, 8, 5, 4) + 2, training=True) for _ in range(3)]
    return numbers(*found, layer(floats(rng, 8, 5, 4)), *layer.get_weights())


@program
def renorm(keras: Any, rng: Rng) -> Any:
    return _renormed(keras, rng)


@program
def renorm_clipped(keras: Any, rng: Rng) -> Any:
    limits = {"rmin": 0.9, "rmax": 1.1, "dmax": 0.2}
    return _renormed(keras, rng, renorm_clipping=limits, scale=False, axis=1)


@program
def renorm_trains(keras: Any, rng: Rng) -> Any:
    layers, x = keras.layers, floats(rng, 8, 5, 4)
    x[2, 3:] = 0
    model = keras.Sequential(
        [
            keras.Input((5, 4)), layers.Masking(),
            layers.BatchNormalization(renorm=True, synchronized=True), layers.Dense(1),
        ]
    )  # fmt: skip
    model.layers[-1].set_weights([floats(rng, 4, 1), floats(rng, 1)])
    model.compile(keras.optimizers.SGD(0.001), "mse")
    history = model.fit(x, x[:, :, :1], epochs=3, batch_size=4, shuffle=False, verbose=0).history
    return numbers(history["loss"], *model.get_weights())


# ---- compile -------------------------------------------------------------------------------------


def _nested_model(keras: Any, rng: Rng) -> Any:
    inputs = keras.Input((4,))
    a, b, c, d = (keras.layers.Dense(1, name=n)(inputs) for n in "abcd")
    return seeded(keras.Model(inputs, {"p": a, "q": [b, c], "r": {"x": d}}), rng)


@program
def losses_of_nested_outputs(keras: Any, rng: Rng) -> Any:
    model = _nested_model(keras, rng)
    loss = {"p": ["mse"], "q": ["mse", "mae"], "r": {"x": "mae"}}
    weights = {"p": 1.0, "q": [2.0, 3.0], "r": {"x": 4.0}}
    model.compile(keras.optimizers.SGD(0.01), loss=loss, loss_weights=weights)
    x, y = floats(rng, 8, 4), floats(rng, 8, 1)
    targets = {"p": y, "q": [y, 2 * y], "r": {"x": 3 * y}}
    model.fit(x, targets, verbose=0)
    logs = model.evaluate(x, targets, verbose=0, return_dict=True)
    assert sorted(logs) == ["loss", "p_loss", "q/b_loss", "q/c_loss", "r/x_loss"]
    return numbers([logs[k] for k in sorted(logs)])


@program
def a_function_gives_the_rate(keras: Any, rng: Rng) -> Any:
    model = seeded(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), rng)
    optimizer = keras.optimizers.Adam(lambda: 0.03)
    model.compile(optimizer, "mse")
    model.fit(floats(rng, 8, 4), floats(rng, 8, 1), epochs=2, shuffle=False, verbose=0)
    assert len(optimizer.variables) == 5  # the rate is none of them
    return numbers(float(optimizer.learning_rate), *model.get_weights())


@program
def a_scaled_loss(keras: Any, rng: Rng) -> Any:
    optimizer = keras.optimizers.SGD(0.1, loss_scale_factor=4.0)
    variable = keras.Variable(floats(rng, 3))
    scaled = optimizer.scale_loss(np.float32(2.0))
    optimizer.apply([floats(rng, 3)], [variable])
    return numbers(scaled, variable)


@program
def a_scaled_loss_trains(keras: Any, rng: Rng) -> Any:
    model = seeded(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), rng)
    model.compile(keras.optimizers.Adam(0.03, loss_scale_factor=128.0), "mse")
    model.fit(floats(rng, 8, 4), floats(rng, 8, 1), epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


# ---- state handed in and out ---------------------------------------------------------------------


@program
def stateless_layer(keras: Any, rng: Rng) -> Any:
    layer = keras.layers.BatchNormalization()
    layer.build((None, 3))
    before = layer.get_weights()
    values = [floats(rng, 3), floats(rng, 3)]
    y, after = layer.stateless_call(
        values, [floats(rng, 3), np.ones(3, "float32")], floats(rng, 5, 3), training=True
    )
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True))
    return numbers(y, *after)


@program
def stateless_metric(keras: Any, rng: Rng) -> Any:
    metric = keras.metrics.MeanSquaredError()
    state = metric.stateless_update_state(metric.variables, floats(rng, 4), floats(rng, 4))
    state = metric.stateless_update_state(state, floats(rng, 4), floats(rng, 4))
    return numbers(metric.stateless_result(state), metric.result(), *state)


@program
def stateless_scope(keras: Any, rng: Rng) -> Any:
    one, two = keras.Variable(floats(rng, 3)), keras.Variable(floats(rng, 3))
    value, first = keras.ops.convert_to_tensor(floats(rng, 3)), np.array(two)
    with keras.StatelessScope(state_mapping=[(one, value)]) as scope:
        total = one + two
        two.assign(total * 2.0)
    assert np.array_equal(np.array(two), first)
    return numbers(total, scope.get_current_value(one), scope.get_current_value(two))
