"""Two squares fly over a field; a convolutional LSTM draws the next frame of each; result: cross-
entropy of the last frame, and of guessing that nothing moves."""

import keras
import numpy as np
from keras import layers

FRAMES, SIZE = 6, 12


def films(count, seed):
    """(count, FRAMES + 1, SIZE, SIZE, 1): squares of 3 x 3 that move by a step of their own."""
    rng = np.random.default_rng(seed)
    made = np.zeros((count, FRAMES + 1, SIZE, SIZE, 1), "float32")
    for film in made:
        for _ in range(2):
            place, step = rng.integers(0, SIZE, 2), rng.integers(-1, 2, 2)
            for t, frame in enumerate(film):
                rows, columns = ((place[i] + t * step[i] + np.arange(3)) % SIZE for i in (0, 1))
                frame[np.ix_(rows, columns)] = 1
    return made


def build():
    inputs = keras.Input((None, SIZE, SIZE, 1))
    x = layers.ConvLSTM2D(12, 3, padding="same", return_sequences=True)(inputs)
    outputs = layers.TimeDistributed(layers.Conv2D(1, 3, padding="same", activation="sigmoid"))(x)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(5e-3), "binary_crossentropy")
    return model


def main(fit=keras.Model.fit):
    shown = films(120, 0)
    model = build()
    fit(model, shown[:, :-1], shown[:, 1:], batch_size=12, epochs=8, verbose=0)
    shown = films(40, 1)
    drawn = model.predict(shown[:, :-1], verbose=0)[:, -1]

    def entropy(guess):
        guess = np.clip(guess, 0.01, 0.99)
        return float(-np.mean(np.where(shown[:, -1] > 0, np.log(guess), np.log(1 - guess))))

    return {"entropy": entropy(drawn), "entropy_of_last_frame": entropy(shown[:, -2])}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
