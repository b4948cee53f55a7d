"""Train a small CNN on scikit-learn's digits (1,797 real images of 8 x 8) on two executor
processes, save it as `.h5`, load it again and score a DataFrame with it.

    python examples/digits.py
"""

from __future__ import annotations

import os
import tempfile

import numpy as np
from sklearn.datasets import load_digits

import zoo_keras as keras
from zoo_keras.spark.cluster import init_session


def load() -> tuple[np.ndarray, np.ndarray]:
    """Images as float32 in [0, 1] with one channel, and labels, in a fixed random order."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = (digits.images / 16.0).astype(np.float32)[..., None]
    return images[order], digits.target.astype(np.int32)[order]


def make_model() -> keras.Model:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def confusion(truth: np.ndarray, guess: np.ndarray) -> str:
    """A table: one line for each digit, one column for each guess."""
    table = np.zeros((10, 10), int)
    np.add.at(table, (truth, guess), 1)
    lines = ["      " + "".join(f"{d:4d}" for d in range(10)) + "   <- predicted"]
    lines += [f"  {d}:  " + "".join(f"{n:4d}" for n in row) for d, row in enumerate(table)]
    return "\n".join(lines)


def main() -> None:
    keras.utils.set_random_seed(1)
    images, labels = load()
    held_out = len(images) // 5
    train_x, train_y = images[held_out:], labels[held_out:]
    test_x, test_y = images[:held_out], labels[:held_out]

    spark = init_session("local-cluster[2,1,2048]", "digits")
    rdd = spark.sparkContext.parallelize(list(zip(train_x, train_y, strict=True)), 2)
    model = make_model()
    model.summary()
    model.fit(rdd, batch_size=64, epochs=20, validation_data=(test_x, test_y))

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "digits.h5")
        model.save(path)
        loaded = keras.saving.load_model(path)
    rows = [(i, x.ravel().tolist(), int(y)) for i, (x, y) in enumerate(zip(test_x, test_y))]
    frame = spark.createDataFrame(rows, "id int, pixels array<float>, label int")
    scored = loaded.predict(frame, feature_cols="pixels").select("label", "prediction").collect()

    truth = np.array([row.label for row in scored])
    guess = np.array([np.argmax(row.prediction) for row in scored])
    accuracy = float((truth == guess).mean())
    print(f"\nHeld-out accuracy of the loaded model on a DataFrame: {accuracy:.4f}")
    print(confusion(truth, guess))
    spark.stop()
    if accuracy < 0.97:
        raise SystemExit("The accuracy is below 0.97.")


if __name__ == "__main__":
    main()
