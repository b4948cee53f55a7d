"""Reviews from raw text in a DataFrame: a convolution, an LSTM and a transformer block; result: the
share of held-out reviews that each gets right.

    python examples/spark/text_classification.py
"""

from __future__ import annotations

import numpy as np

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.spark.cluster import init_session

LIKED = "good great lovely brilliant moving funny clever warm".split()
DISLIKED = "bad awful boring weak dull stupid cold tired".split()
THINGS = "film story acting music ending plot camera cast".split()
FILLERS = "the a this that its really quite very so rather".split()
LENGTH, WORDS, WIDTH = 16, 200, 32


def reviews(count, seed):
    """Rows (text, label), 1 where a film is praised; "not" turns what follows it."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        label, negated = rng.integers(0, 2, 2)
        words = LIKED if label != negated else DISLIKED
        said = [*rng.choice(FILLERS, rng.integers(1, 5)), rng.choice(THINGS), "is"]
        said += ["not"] * negated + [rng.choice(words), *rng.choice(FILLERS, rng.integers(0, 4))]
        rows.append((" ".join(said), int(label)))
    return rows


class Positions(layers.Layer):
    """Adds a learned vector for each place."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="uniform")

    def call(self, x):
        return x + self.table


def convolution(x):
    return layers.GlobalMaxPooling1D()(layers.Conv1D(64, 3, activation="relu")(x))


def lstm(x):
    return layers.Bidirectional(layers.LSTM(24))(x)


def transformer(x):
    x = Positions()(x)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, WIDTH // 2)(x, x))
    hidden = layers.Dense(WIDTH)(layers.Dense(2 * WIDTH, activation="relu")(x))
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x + hidden))


def build(body, vectorize):
    text = keras.Input((), dtype="string", name="text")
    x = layers.Embedding(WORDS, WIDTH)(vectorize(text))
    model = keras.Model(text, layers.Dense(2, activation="softmax")(body(x)))
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    return model


def main(spark, rows=2000, epochs=8, bodies=(convolution, lstm, transformer)):
    def frame(count, seed):
        return spark.createDataFrame(reviews(count, seed), "text string, label int").coalesce(2)

    train, test = frame(rows, 0).cache(), frame(500, 1).cache()
    vectorize = layers.TextVectorization(WORDS, output_sequence_length=LENGTH)
    vectorize.adapt(train, feature_col="text")
    results = {}
    for body in bodies:
        keras.utils.set_random_seed(0)
        model = build(body, vectorize)
        model.fit(
            train, feature_cols="text", label_cols="label", batch_size=32, epochs=epochs, verbose=0
        )
        scored = model.predict(test, feature_cols="text")
        right = scored.where("CAST(prediction[1] > 0.5 AS INT) = label").count()
        results[body.__name__] = right / 500
    return results


if __name__ == "__main__":
    print(main(init_session("local-cluster[2,1,1024]", "text classification")))
