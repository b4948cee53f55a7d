"""Writes sentences letter by letter after reading some; result: the mean log-probability of the
next letter on held-out text, and the share of whole words it writes that are real words."""

import keras
import numpy as np
from keras import layers
from made_data import reviews

WIDTH = 24


def windows(text, letters):
    """(n, WIDTH) ids and the id of the letter that follows each."""
    ids = np.array([letters.index(letter) for letter in text], "int32")
    seen = np.lib.stride_tricks.sliding_window_view(ids, WIDTH + 1)[::3]
    return seen[:, :-1].copy(), seen[:, -1].copy()


def build(count):
    model = keras.Sequential(
        [
            keras.Input((WIDTH,), dtype="int32"),
            layers.Embedding(count, 16),
            layers.LSTM(64),
            layers.Dense(count, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    return model


def write(model, ids, length, rng):
    ids = list(ids)
    for _ in range(length):
        chances = model.predict(np.array([ids[-WIDTH:]], "int32"), verbose=0)[0].astype("float64")
        ids.append(int(rng.choice(len(chances), p=chances / chances.sum())))
    return ids[WIDTH:]


def main(fit=keras.Model.fit):
    x, _, test_x, _ = reviews(600)
    text, test_text = " ".join(x), " ".join(test_x)
    letters = sorted(set(text))
    model = build(len(letters))
    fit(model, *windows(text, letters), batch_size=128, epochs=8, verbose=0)
    ids, following = windows(test_text, letters)
    written = write(model, ids[0], 300, np.random.default_rng(0))
    words = "".join(letters[i] for i in written).split(" ")[1:-1]
    return {
        "log_probability": -float(model.evaluate(ids, following, verbose=0)),
        "real_words": float(np.mean([word in text.split(" ") for word in words])),
    }


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
