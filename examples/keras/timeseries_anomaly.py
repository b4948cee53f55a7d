"""A convolutional autoencoder of quiet stretches finds the disturbed ones by what it can't redraw;
result: area under the ROC curve."""

import keras
import numpy as np
from keras import layers
from made_data import series, windows

WIDTH = 48


def build():
    model = keras.Sequential(
        [
            keras.Input((WIDTH, 1)),
            layers.Conv1D(16, 7, strides=2, padding="same", activation="relu"),
            layers.Conv1D(8, 7, strides=2, padding="same", activation="relu"),
            layers.Conv1DTranspose(8, 7, strides=2, padding="same", activation="relu"),
            layers.Conv1DTranspose(16, 7, strides=2, padding="same", activation="relu"),
            layers.Conv1D(1, 7, padding="same"),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), "mse")
    return model


def main(fit=keras.Model.fit):
    rng = np.random.default_rng(0)
    x = windows(series(), WIDTH)[..., None]
    x = x - x.mean(axis=1, keepdims=True)
    quiet, other = x[: len(x) // 2], x[len(x) // 2 :].copy()
    disturbed = rng.random(len(other)) < 0.3
    for stretch in other[disturbed]:
        at = rng.integers(0, WIDTH - 4)
        stretch[at : at + 4] += rng.choice([-0.8, 0.8])
    other[disturbed] = [
        stretch + 0.5 * (np.arange(WIDTH)[:, None] == rng.integers(0, WIDTH))
        for stretch in other[disturbed]
    ]
    model = build()
    fit(model, quiet, quiet, batch_size=64, epochs=40, verbose=0)
    error = np.abs(model.predict(other, verbose=0) - other).max(axis=(1, 2))
    auc = keras.metrics.AUC()
    auc.update_state(disturbed, error / error.max())
    return {"auc": float(auc.result())}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
