"""MLP-Mixer: dense layers across patches and across channels in turn; result: held-out accuracy on
digits."""

import keras
from keras import layers
from made_data import digits

PATCHES, WIDTH = 16, 32


def mixer(x):
    y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
    y = layers.Dense(PATCHES)(layers.Dense(2 * PATCHES, activation="gelu")(y))
    x = layers.add([x, layers.Permute((2, 1))(y)])
    y = layers.Dense(2 * WIDTH, activation="gelu")(layers.LayerNormalization()(x))
    return layers.add([x, layers.Dense(WIDTH)(y)])


def build():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(WIDTH, 2, strides=2)(inputs)
    x = layers.Reshape((PATCHES, WIDTH))(x)
    for _ in range(2):
        x = mixer(x)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    model = keras.Model(inputs, layers.Dense(10)(layers.Dropout(0.1)(x)))
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, 345)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def main(fit=keras.Model.fit):
    x, y, test_x, test_y = digits()
    model = build()
    fit(model, x, y, batch_size=64, epochs=15, verbose=0)
    return {"accuracy": model.evaluate(test_x, test_y, verbose=0)[1]}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
