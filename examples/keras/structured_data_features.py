"""A table of numbers and words through FeatureSpace: normalized, looked up, crossed; result: held-
out accuracy."""

import keras
import numpy as np
from keras import layers
from keras.utils import FeatureSpace

PLACES = ["city", "coast", "hills", "plain"]


def table(count, seed):
    """Columns by name, and 1 where a house was sold."""
    rng = np.random.default_rng(seed)
    size, rooms = rng.normal(100, 30, count), rng.integers(1, 6, count)
    place, age = rng.choice(PLACES, count), rng.integers(0, 80, count)
    wanted = (size - 100) / 30 + (place == "coast") * np.where(rooms > 2, 2.0, -1.0) - age / 40
    sold = (wanted + rng.normal(0, 0.5, count) > 0).astype("int32")
    columns = {"size": size.astype("float32"), "rooms": rooms, "place": place, "age": age}
    return columns, sold


def make_space():
    return FeatureSpace(
        features={
            "size": FeatureSpace.float_normalized(),
            "rooms": FeatureSpace.integer_categorical(num_oov_indices=0),
            "place": FeatureSpace.string_categorical(num_oov_indices=0),
            "age": FeatureSpace.float_discretized(num_bins=8),
        },
        crosses=[FeatureSpace.cross(("rooms", "place"), crossing_dim=32)],
        output_mode="concat",
    )


def build(width):
    model = keras.Sequential(
        [
            keras.Input((width,)),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.1),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def main(fit=keras.Model.fit):
    (columns, sold), (test_columns, test_sold) = table(1600, 0), table(400, 1)
    space = make_space()
    space.adapt(columns)
    x, test_x = (keras.ops.convert_to_numpy(space(part)) for part in (columns, test_columns))
    model = build(x.shape[1])
    fit(model, x, sold[:, None], batch_size=32, epochs=10, verbose=0)
    return {"accuracy": model.evaluate(test_x, test_sold[:, None], verbose=0)[1]}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
