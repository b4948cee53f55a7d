"""More short programs of the table in programs.py: layers in a layer, and numbers of boxes."""

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
