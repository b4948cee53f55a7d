"""Few pictures, changed a little each time they are seen: digits that are turned, moved and zoomed
inside the model, on the executors; result: the share of held-out digits, themselves turned and
moved, that is right with and without it.

    python examples/spark/image_augmentation.py
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.spark.cluster import init_session


def digits():
    """Pictures (n, 8, 8, 1) in [0, 1] and labels, in a fixed random order."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    return (found.images[order, ..., None] / 16).astype("float32"), found.target[order].tolist()


def changes(seed):
    return [
        layers.RandomRotation(0.06, fill_mode="constant", seed=seed),
        layers.RandomTranslation(0.12, 0.12, fill_mode="constant", seed=seed + 1),
        layers.RandomZoom(0.15, fill_mode="constant", seed=seed + 2),
    ]


def build(augmented):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            *(changes(1) if augmented else []),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    return model


def main(spark, rows=200, epochs=40):
    keras.utils.set_random_seed(0)
    images, labels = digits()
    moved = images[-600:]
    for layer in changes(11):
        moved = np.asarray(layer(moved, training=True))
    train = spark.sparkContext.parallelize(list(zip(images[:rows], labels[:rows])), 2)
    test = spark.sparkContext.parallelize(list(moved), 2)
    results = {}
    for name, augmented in (("augmented", True), ("plain", False)):
        model = build(augmented)
        model.fit(train, batch_size=32, epochs=epochs, verbose=0)
        guesses = np.argmax(model.predict(test).collect(), axis=1)
        results[name] = float((guesses == labels[-600:]).mean())
    return results


if __name__ == "__main__":
    print(main(init_session("local-cluster[2,1,1024]", "image augmentation")))
