"""Reads four digits in one strip of unknown places: convolutions, a recurrent layer over the
strip's columns, CTC; result: share of digits right, and of whole strips."""

import keras
import numpy as np
from keras import layers
from made_data import digits

COUNT, WIDTH = 4, 40
BLANK = 10


def strips(images, labels, count, seed):
    """(count, 8, WIDTH, 1) with COUNT digits each at gaps of 0 to 2, and their labels + 1."""
    rng = np.random.default_rng(seed)
    made = np.zeros((count, 8, WIDTH, 1), "float32")
    read = np.zeros((count, COUNT), "int32")
    for picture, said in zip(made, read):
        column = 0
        for i, chosen in enumerate(rng.integers(0, len(images), COUNT)):
            column += rng.integers(0, 3)
            picture[:, column : column + 8] = images[chosen]
            said[i] = labels[chosen] + 1
            column += 8
    return made, read


def build():
    inputs = keras.Input((8, WIDTH, 1))
    x = layers.Conv2D(24, 3, padding="same", activation="relu")(inputs)
    x = layers.MaxPooling2D((2, 2))(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.Permute((2, 1, 3))(x)
    x = layers.Reshape((WIDTH // 2, 4 * 32))(x)
    x = layers.Dense(48, activation="relu")(x)
    x = layers.Bidirectional(layers.GRU(32, return_sequences=True))(x)
    outputs = layers.Dense(BLANK + 1)(x)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(5e-3), keras.losses.CTC())
    return model


def decode(logits):
    """The likeliest letter of each column, repeats and the mask's class left out."""
    found = []
    for row in logits.argmax(-1):
        kept = [a for i, a in enumerate(row) if a != 0 and (i == 0 or a != row[i - 1])]
        found.append((kept + [0] * COUNT)[:COUNT])
    return np.array(found)


def main(fit=keras.Model.fit):
    x, y, test_x, test_y = digits()
    model = build()
    made, read = strips(x, y, 1500, 0)
    fit(model, made, read, batch_size=32, epochs=12, verbose=0)
    made, read = strips(test_x, test_y, 200, 1)
    right = decode(model.predict(made, verbose=0)) == read
    return {"digits": float(right.mean()), "strips": float(right.all(1).mean())}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
