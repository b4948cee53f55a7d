"""Where does a net look? Grad-CAM: the slopes of a class's score weigh the last feature maps;
result: accuracy, and the share of the heat that lies where the digit is."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from made_data import digits

SIZE = 20


def placed(images, seed):
    """Digits somewhere on a noisy field, and a mask of where."""
    rng = np.random.default_rng(seed)
    fields = rng.random((len(images), SIZE, SIZE, 1)).astype("float32") * 0.3
    masks = np.zeros((len(images), SIZE, SIZE), bool)
    for field, mask, image in zip(fields, masks, images):
        r, c = rng.integers(0, SIZE - 8, 2)
        field[r : r + 8, c : c + 8] += image
        mask[r : r + 8, c : c + 8] = True
    return fields, masks


def build():
    inputs = keras.Input((SIZE, SIZE, 1))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="last_maps")(x)
    x = layers.GlobalMaxPooling2D()(x)
    model = keras.Model(inputs, layers.Dense(10)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    return model


def heat(model, images):
    """(n, SIZE / 2, SIZE / 2): what spoke for the class that the model chose."""
    both = keras.Model(model.inputs, [model.get_layer("last_maps").output, model.output])
    with tf.GradientTape() as tape:
        maps, scores = both(images)
        tape.watch(maps)
        best = ops.max(model.layers[-1](model.layers[-2](maps)), axis=1)
    slopes = tape.gradient(best, maps)
    weights = ops.mean(slopes, axis=(1, 2), keepdims=True)
    return ops.convert_to_numpy(ops.relu(ops.sum(weights * maps, axis=-1)))


def main(fit=keras.Model.fit):
    x, y, test_x, test_y = digits()
    fields, _ = placed(x, 0)
    model = build()
    fit(model, fields, y, batch_size=32, epochs=8, verbose=0)
    fields, masks = placed(test_x, 1)
    warm = heat(model, fields[:64])
    inside = masks[:64].reshape(64, SIZE // 2, 2, SIZE // 2, 2).any(axis=(2, 4))
    return {
        "accuracy": model.evaluate(fields, test_y, verbose=0)[1],
        "heat_inside": float((warm * inside).sum() / warm.sum()),
    }


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
