"""A net that learned the digits 0 to 4 keeps its convolutions and learns 5 to 9 with a new head on
shifted and turned pictures, first frozen, then whole; result: held-out accuracy of both stages."""

import keras
from keras import layers
from made_data import digits


def make_backbone():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(64, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x), name="backbone")


def compiled(model, rate):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def main(fit=keras.Model.fit):
    backbone = make_backbone()
    x, y, _, _ = digits(range(5))
    first = compiled(keras.Sequential([backbone, layers.Dense(5)]), 5e-3)
    fit(first, x, y, batch_size=32, epochs=10, verbose=0)

    x, y, test_x, test_y = digits(range(5, 10))
    backbone.trainable = False
    inputs = keras.Input((8, 8, 1))
    turned = layers.RandomRotation(0.03, seed=1)(inputs)
    turned = layers.RandomTranslation(0.1, 0.1, seed=2)(turned)
    model = keras.Model(inputs, layers.Dense(5)(backbone(turned, training=False)))
    fit(compiled(model, 1e-2), x, y, batch_size=16, epochs=15, verbose=0)
    frozen = model.evaluate(test_x, test_y, verbose=0)[1]

    backbone.trainable = True
    fit(compiled(model, 3e-3), x, y, batch_size=16, epochs=15, verbose=0)
    return {"frozen": frozen, "whole": model.evaluate(test_x, test_y, verbose=0)[1]}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
