"""An LSTM foretells a series five steps ahead; result: mean absolute error, and that of saying the
last value again."""

import keras
import numpy as np
from keras import layers
from made_data import series, windows

WIDTH, AHEAD = 32, 5


def build(values):
    normalize = layers.Normalization(axis=None)
    normalize.adapt(values)
    inputs = keras.Input((WIDTH, 1))
    x = layers.LSTM(24)(normalize(inputs))
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile(keras.optimizers.Adam(5e-3), "mse", metrics=["mae"])
    return model


def main(fit=keras.Model.fit):
    seen = windows(series(), WIDTH + AHEAD)
    x, y = seen[:, :WIDTH, None], seen[:, -1:]
    cut = len(x) * 3 // 4
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:cut], order[cut:]
    model = build(x[train])
    fit(model, x[train], y[train], batch_size=64, epochs=10, verbose=0)
    return {
        "error": float(model.evaluate(x[test], y[test], verbose=0)[1]),
        "error_of_last_value": float(np.abs(x[test][:, -1] - y[test]).mean()),
    }


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
