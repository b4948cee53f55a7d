"""Reviews from raw text: TextVectorization, an embedding, a bidirectional LSTM; result: held-out
accuracy. The saved model would take strings."""

import keras
from keras import layers
from made_data import reviews


def build(texts):
    vectorize = layers.TextVectorization(max_tokens=200, output_sequence_length=16)
    vectorize.adapt(texts)
    embed = layers.Embedding(200, 16, mask_zero=True)
    body = keras.Sequential(
        [
            keras.Input((16,), dtype="int64"),
            embed,
            layers.Bidirectional(layers.LSTM(16)),
            layers.Dropout(0.2),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    body.compile(keras.optimizers.Adam(1e-2), "binary_crossentropy", metrics=["accuracy"])
    return vectorize, body


def main(fit=keras.Model.fit):
    x, y, test_x, test_y = reviews()
    vectorize, model = build(x)
    ids, test_ids = (keras.ops.convert_to_numpy(vectorize(part)) for part in (x, test_x))
    fit(model, ids, y[:, None], batch_size=32, epochs=8, verbose=0)
    return {"accuracy": model.evaluate(test_ids, test_y[:, None], verbose=0)[1]}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
