"""Two towers with the same weights learn which digits are alike by a contrastive loss; result:
accuracy on pairs of held-out pictures."""

import keras
import numpy as np
from keras import layers, ops
from made_data import digits


def pairs(images, labels, seed):
    """Each picture beside one of its class and one of another: (left, right), 1 where alike."""
    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(labels == digit) for digit in range(10)]
    left, right, alike = [], [], []
    for i, label in enumerate(labels):
        other = (label + rng.integers(1, 10)) % 10
        left += [i, i]
        right += [rng.choice(places[label]), rng.choice(places[other])]
        alike += [1.0, 0.0]
    return [images[left], images[right]], np.array(alike, "float32")


class Distance(layers.Layer):
    def call(self, left, right):
        total = ops.sum(ops.square(left - right), axis=1, keepdims=True)
        return ops.sqrt(ops.maximum(total, 1e-7))


def contrastive(alike, distance):
    apart = ops.square(ops.maximum(1.0 - distance, 0.0))
    return ops.mean(alike * ops.square(distance) + (1.0 - alike) * apart)


def build():
    tower = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(16),
        ]
    )
    left, right = keras.Input((8, 8, 1), name="left"), keras.Input((8, 8, 1), name="right")
    model = keras.Model([left, right], Distance()(tower(left), tower(right)))
    model.compile("adam", contrastive)
    return model


def main(fit=keras.Model.fit):
    x, y, test_x, test_y = digits()
    model = build()
    both, alike = pairs(x, y, 0)
    fit(model, both, alike[:, None], batch_size=64, epochs=8, verbose=0)
    both, alike = pairs(test_x, test_y, 1)
    near = model.predict(both, verbose=0)[:, 0] < 0.5
    return {"accuracy": float(np.mean(near == (alike == 1)))}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
