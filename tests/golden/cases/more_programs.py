"""More short programs of the table in programs.py: layers in a layer, numbers of boxes, masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from .programs import PROGRAMS, Rng, floats, numbers, program, seeded

__all__ = ["PROGRAMS"]


@program
def a_pipeline(keras: Any, rng: Rng) -> Any:
    layers = keras.layers
    pipeline = layers.Pipeline(
        [layers.RandomBrightness([0.2, 0.2], value_range=(0, 1)), layers.CenterCrop(3, 4),
         layers.Rescaling(2.0, -1.0)], name="pipeline"
    )  # fmt: skip
    again = layers.deserialize(layers.serialize(pipeline))
    x = rng.uniform(size=(2, 6, 5, 3)).astype("float32")
    return numbers(pipeline(x), pipeline(x, training=False), again(x))


@program
def a_pipeline_that_learns(keras: Any, rng: Rng) -> Any:
    layers = keras.layers
    dense = layers.Dense(3, activation="tanh")
    model = keras.Sequential(
        [keras.Input((4,)), layers.Pipeline([dense, layers.Dropout(0.0)]), layers.Dense(1)]
    )
    seeded(dense, rng)
    model.layers[-1].set_weights([floats(rng, 3, 1), floats(rng, 1)])
    x, y = floats(rng, 8, 4), floats(rng, 8, 1)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    history = model.fit(x, y, epochs=2, batch_size=4, shuffle=False, verbose=0).history
    return numbers(history["loss"], model.predict(x, verbose=0), *dense.get_weights())


@program
def as_many_boxes(keras: Any, rng: Rng) -> Any:
    found = []
    for number in (2, 5):
        layer = keras.layers.MaxNumBoundingBoxes(number, bounding_box_format="xyxy")
        boxes = {"boxes": floats(rng, 2, 3, 4), "labels": rng.integers(0, 9, (2, 3))}
        made = layer({"images": floats(rng, 2, 4, 4, 3), "bounding_boxes": boxes})
        found += [made["bounding_boxes"][key] for key in ("boxes", "labels")]
    return [np.asarray(v, "float32") for v in found]


# ---- masks that layers hand on -------------------------------------------------------------------

STEPS = (5, 4)


def _seen(keras: Any) -> Any:
    """A layer whose output is the mask that it is given, or -1."""

    def call(self: Any, x: Any, mask: Any = None) -> Any:
        if mask is None:
            rows = keras.ops.reshape(x, (keras.ops.shape(x)[0], -1))
            return keras.ops.zeros_like(rows[:, :1]) - 1
        return keras.ops.cast(mask, "float32")

    members = {"call": call, "compute_output_shape": lambda self, shape: shape[:2]}
    return type("Seen", (keras.layers.Layer,), members)()


def _handed_on(keras: Any, rng: Rng, rows: list[tuple[str, dict[str, Any]]]) -> list[np.ndarray]:
    """The mask behind each layer, of sequences with zeros that Masking leaves out."""
    x = floats(rng, 3, *STEPS)
    x[0, 3:] = x[1, :2] = x[2, 1] = 0
    found = []
    for name, kwargs in rows:
        inputs = keras.Input(STEPS)
        made = getattr(keras.layers, name)(**kwargs)(keras.layers.Masking()(inputs))
        model = keras.Model(inputs, _seen(keras)(made))
        found.append(np.asarray(model.predict(x, verbose=0)))
    return found


@program
def masks_behind_layers_of_steps(keras: Any, rng: Rng) -> Any:
    rows: list[tuple[str, dict[str, Any]]] = [
        ("Activation", {"activation": "relu"}), ("Dense", {"units": 2}), ("Dropout", {"rate": 0.5}),
        ("LayerNormalization", {}), ("BatchNormalization", {}), ("UnitNormalization", {}),
        ("ReLU", {}), ("LeakyReLU", {}), ("ELU", {}), ("PReLU", {}),
        ("Identity", {}), ("Rescaling", {"scale": 2.0}), ("GaussianNoise", {"stddev": 1.0}),
        ("GaussianDropout", {"rate": 0.5}), ("AlphaDropout", {"rate": 0.5}),
        ("SpatialDropout1D", {"rate": 0.5}), ("ActivityRegularization", {"l1": 0.1}),
        ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": (None, 2)}),
    ]  # fmt: skip
    return _handed_on(keras, rng, rows)


@program
def masks_behind_recurrent_layers(keras: Any, rng: Rng) -> Any:
    rows: list[tuple[str, dict[str, Any]]] = []
    for name in ("LSTM", "GRU", "SimpleRNN"):
        rows += [(name, {"units": 2, "return_sequences": all_steps}) for all_steps in (True, False)]
    for all_steps in (True, False):
        inner = keras.layers.GRU(2, return_sequences=all_steps)
        rows.append(("Bidirectional", {"layer": inner}))
    rows.append(("TimeDistributed", {"layer": keras.layers.Dense(2)}))
    return _handed_on(keras, rng, rows)


@program
def masks_behind_merging_layers(keras: Any, rng: Rng) -> Any:
    x, y = floats(rng, 3, *STEPS), floats(rng, 3, *STEPS)
    x[0, 3:] = x[1, :2] = y[0, 4:] = y[2, 1] = 0
    found = []
    for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"):
        for both in (True, False):
            a, b = keras.Input(STEPS), keras.Input(STEPS)
            masked = keras.layers.Masking()(a)
            other = keras.layers.Masking()(b) if both else b
            made = getattr(keras.layers, name)()([masked, other])
            model = keras.Model([a, b], _seen(keras)(made))
            found.append(np.asarray(model.predict([x, y], verbose=0)))
    return found


@program
def masks_of_ids(keras: Any, rng: Rng) -> Any:
    ids = rng.integers(0, 3, (3, 5)).astype("int32")
    inputs = keras.Input((5,), dtype="int32")
    rows = keras.layers.Embedding(3, 4, mask_zero=True)(inputs)
    made = [rows, keras.layers.Dense(2)(rows), keras.layers.LSTM(3, return_sequences=True)(rows)]
    seen = keras.Model(inputs, [_seen(keras)(each) for each in made])
    return numbers(*seen.predict(ids, verbose=0))


@program
def outputs_that_no_input_reaches(keras: Any, rng: Rng) -> Any:
    def call(self: Any, x: Any) -> Any:
        return {"same": keras.ops.ones_like(x) * 3, "twice": x * 2}

    inputs = keras.Input((3,))
    model = keras.Model(inputs, type("Same", (keras.layers.Layer,), {"call": call})()(inputs))
    x = floats(rng, 5, 3)
    made = [model.predict(x, verbose=0), model.predict(x, batch_size=2, verbose=0)]
    return numbers(*[each[key] for each in (*made, model(x)) for key in ("same", "twice")])
