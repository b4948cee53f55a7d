"""Reviews by convolutions of several widths over word embeddings; result: held-out accuracy."""

import keras
from keras import layers
from made_data import reviews

LENGTH = 16


def build():
    inputs = keras.Input((LENGTH,), dtype="int64")
    x = layers.Embedding(200, 24)(inputs)
    parts = [
        layers.GlobalMaxPooling1D()(layers.Conv1D(24, width, activation="relu")(x))
        for width in (2, 3, 4)
    ]
    x = layers.Dropout(0.3)(layers.concatenate(parts))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def main(fit=keras.Model.fit):
    x, y, test_x, test_y = reviews()
    vectorize = layers.TextVectorization(max_tokens=200, output_sequence_length=LENGTH)
    vectorize.adapt(x)
    ids, test_ids = (keras.ops.convert_to_numpy(vectorize(part)) for part in (x, test_x))
    model = build()
    fit(model, ids, y[:, None], batch_size=32, epochs=8, verbose=0)
    return {"accuracy": model.evaluate(test_ids, test_y[:, None], verbose=0)[1]}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
