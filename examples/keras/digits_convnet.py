"""A convolutional net reads handwritten digits; result: held-out accuracy."""

import keras
from keras import layers
from made_data import digits


def build():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main(fit=keras.Model.fit):
    x, y, test_x, test_y = digits()
    model = build()
    fit(model, x, y, batch_size=32, epochs=10, verbose=0)
    return {"accuracy": model.evaluate(test_x, test_y, verbose=0)[1]}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
