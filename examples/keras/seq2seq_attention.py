"""Turns a row of letters round: a GRU reads, a GRU with attention writes, first with the right
letters given, then by itself; result: share of letters right when it writes by itself."""

import keras
import numpy as np
from keras import layers

LETTERS, LENGTH, START = 8, 6, 0


def data(count, seed):
    """(letters, begun, wanted): what is read, what was written so far, what comes next."""
    letters = np.random.default_rng(seed).integers(1, LETTERS + 1, (count, LENGTH))
    wanted = letters[:, ::-1]
    begun = np.concatenate([np.full((count, 1), START), wanted[:, :-1]], axis=1)
    return letters.astype("int32"), begun.astype("int32"), wanted.astype("int32")


def build():
    letters = keras.Input((LENGTH,), dtype="int32", name="letters")
    begun = keras.Input((LENGTH,), dtype="int32", name="begun")
    embed = layers.Embedding(LETTERS + 1, 16)
    read, state = layers.GRU(48, return_sequences=True, return_state=True)(embed(letters))
    written = layers.GRU(48, return_sequences=True)(embed(begun), initial_state=state)
    looked_up = layers.Attention(use_scale=True)([written, read])
    x = layers.Dense(48, activation="relu")(layers.Concatenate()([written, looked_up]))
    outputs = layers.Dense(LETTERS + 1, activation="softmax")(x)
    model = keras.Model([letters, begun], outputs)
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    return model


def write(model, letters):
    """Letter after letter, each from all that was written before it."""
    begun = np.full((len(letters), LENGTH), START, "int32")
    for i in range(LENGTH):
        chosen = model.predict([letters, begun], verbose=0)[:, i].argmax(1)
        if i + 1 < LENGTH:
            begun[:, i + 1] = chosen
    return np.concatenate([begun[:, 1:], chosen[:, None]], axis=1)


def main(fit=keras.Model.fit):
    letters, begun, wanted = data(1500, 0)
    model = build()
    fit(model, [letters, begun], wanted, batch_size=64, epochs=12, verbose=0)
    letters, _, wanted = data(200, 1)
    return {"letters_right": float((write(model, letters) == wanted).mean())}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
