"""Ratings as products of embeddings, in a subclassed model; result: root mean squared error on
held-out ratings, and that of the mean."""

import keras
import numpy as np
from keras import layers, ops

USERS, FILMS, WIDTH = 60, 40, 8


class Recommender(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        calm = keras.regularizers.l2(1e-6)
        self.user = layers.Embedding(USERS, WIDTH, embeddings_regularizer=calm)
        self.film = layers.Embedding(FILMS, WIDTH, embeddings_regularizer=calm)
        self.user_bias = layers.Embedding(USERS, 1)
        self.film_bias = layers.Embedding(FILMS, 1)

    def call(self, inputs):
        user, film = inputs[:, 0], inputs[:, 1]
        product = ops.sum(self.user(user) * self.film(film), axis=1, keepdims=True)
        return ops.sigmoid(product + self.user_bias(user) + self.film_bias(film))


def ratings(count):
    """(count, 2) pairs of a user and a film, and ratings from 0 to 1."""
    rng = np.random.default_rng(4)
    users, films = rng.normal(0, 1, (USERS, 3)), rng.normal(0, 1, (FILMS, 3))
    pairs = np.stack([rng.integers(0, USERS, count), rng.integers(0, FILMS, count)], axis=1)
    score = np.sum(users[pairs[:, 0]] * films[pairs[:, 1]], axis=1)
    score = 1 / (1 + np.exp(-score)) + rng.normal(0, 0.05, count)
    return pairs.astype("int32"), np.clip(score, 0, 1).astype("float32")[:, None]


def main(fit=keras.Model.fit):
    pairs, scores = ratings(4000)
    model = Recommender()
    error = keras.metrics.RootMeanSquaredError(name="rmse")
    model.compile(keras.optimizers.Adam(1e-2), "mse", metrics=[error])
    fit(model, pairs[:3200], scores[:3200], batch_size=64, epochs=15, verbose=0)
    found = model.evaluate(pairs[3200:], scores[3200:], verbose=0, return_dict=True)
    return {"rmse": found["rmse"], "rmse_of_mean": float(scores[3200:].std())}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(main())
