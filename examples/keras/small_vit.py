"""A small vision transformer reads digits from sixteen patches; result: held-out accuracy."""

import keras
from keras import layers, ops
from made_data import digits

PATCH, WIDTH = 2, 32


@keras.saving.register_keras_serializable(package="small_vit")
class Patches(layers.Layer):
    def call(self, images):
        count, side = ops.shape(images)[0], 8 // PATCH
        x = ops.reshape(images, (count, side, PATCH, side, PATCH, 1))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (count, side**2, PATCH**2))


@keras.saving.register_keras_serializable(package="small_vit")
class Positions(layers.Layer):
    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="random_normal", name="table")

    def call(self, x):
        return x + self.table


def build():
    inputs = keras.Input((8, 8, 1))
    x = Positions()(layers.Dense(WIDTH)(Patches()(inputs)))
    for _ in range(2):
        normed = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([layers.MultiHeadAttention(4, WIDTH // 4, dropout=0.1)(normed, normed), x])
        normed = layers.LayerNormalization(epsilon=1e-6)(x)
        hidden = layers.Dense(2 * WIDTH, activation="gelu")(normed)
        x = layers.Add()([layers.Dense(WIDTH)(layers.Dropout(0.1)(hidden)), x])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(x))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    model.compile(
        keras.optimizers.AdamW(3e-3, weight_decay=1e-4),
        "sparse_categorical_crossentropy",
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
