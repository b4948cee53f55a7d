"""A convolutional autoencoder takes noise out of pictures; result: mean squared error left over,
and that of the noisy pictures themselves."""

import keras
import numpy as np
from keras import layers
from made_data import digits


def build():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(inputs)
    x = layers.MaxPooling2D(padding="same")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu")(x)
    outputs = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x)
    model = keras.Model(inputs, outputs)
    model.compile("adam", "binary_crossentropy")
    return model


def main(fit=keras.Model.fit):
    x, _, test_x, _ = digits()
    rng = np.random.default_rng(0)
    noisy, test_noisy = (
        np.clip(part + rng.normal(0, 0.3, part.shape), 0, 1).astype("float32")
        for part in (x, test_x)
    )
    model = build()
    fit(model, noisy, x, batch_size=64, epochs=15, verbose=0)
    cleaned = model.predict(test_noisy, verbose=0)
    return {
        "error": float(np.mean((cleaned - test_x) ** 2)),
        "error_before": float(np.mean((test_noisy - test_x) ** 2)),
    }


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
