"""Three recommenders from tables: NeuralCF (users and films), Wide & Deep (words, crossed words and
numbers), and one of sessions (what is looked at next); results on held-out rows: areas under the
ROC curve, and the share of sessions whose next article is among the first three.

    python examples/spark/recommendation.py
"""

from __future__ import annotations

import numpy as np
from pyspark.ml.evaluation import BinaryClassificationEvaluator

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.spark.cluster import init_session

USERS, FILMS = 60, 40
CITIES = "Oslo Rome Lima Cairo Delhi Paris Quito Seoul".split()
ARTICLES, SEEN = 30, 5


def views(count, seed):
    """(user, film, liked): three hidden tastes decide."""
    rng, hidden = np.random.default_rng(seed), np.random.default_rng(7)
    tastes, kinds = hidden.normal(size=(USERS, 3)), hidden.normal(size=(FILMS, 3))
    user, film = rng.integers(0, USERS, count), rng.integers(0, FILMS, count)
    score = np.sum(tastes[user] * kinds[film], axis=1) + rng.normal(0, 0.3, count)
    return [(int(u), int(f), int(s > 0)) for u, f, s in zip(user, film, score)]


def visits(count, seed):
    """(city, weekday, price, bought): some cities like some days."""
    rng, hidden = np.random.default_rng(seed), np.random.default_rng(8)
    liking = hidden.normal(0, 2, (len(CITIES), 7))
    city, day = rng.integers(0, len(CITIES), count), rng.integers(0, 7, count)
    price = rng.normal(0, 1, count)
    bought = liking[city, day] - price + rng.normal(0, 0.3, count) > 0
    return [(CITIES[c], int(d), float(p), int(b)) for c, d, p, b in zip(city, day, price, bought)]


def sessions(count, seed):
    """(seen, next): each article leads to one of three others."""
    rng, hidden = np.random.default_rng(seed), np.random.default_rng(9)
    leads = np.array([hidden.choice(ARTICLES, 3, replace=False) for _ in range(ARTICLES)])
    rows = []
    for at in rng.integers(0, ARTICLES, count):
        path = [at]
        while len(path) <= SEEN:
            path.append(leads[path[-1], rng.integers(0, 3)])
        rows.append(([int(a) for a in path[:-1]], int(path[-1])))
    return rows


def neural_cf():
    """Products of embeddings beside layers on other embeddings."""
    user, film = (keras.Input((), dtype="int32", name=name) for name in ("user", "film"))
    tables = ((USERS, user), (FILMS, film))
    product = layers.Multiply()([layers.Embedding(size, 8)(ids) for size, ids in tables])
    x = layers.Concatenate()([layers.Embedding(size, 8)(ids) for size, ids in tables])
    for width in (32, 16):
        x = layers.Dense(width, activation="relu")(x)
    out = layers.Dense(1, activation="sigmoid")(layers.Concatenate()([product, x]))
    return keras.Model({"user": user, "film": film}, out)


def wide_and_deep(train):
    """Crossed words straight to the output, embeddings and numbers through layers."""
    city = keras.Input((1,), dtype="string", name="city")
    day = keras.Input((1,), dtype="int32", name="day")
    price = keras.Input((1,), name="price")
    names = layers.StringLookup()
    names.adapt(train, feature_col="city")
    place = names(city)
    wide = layers.Flatten()(layers.Embedding(512, 1)(layers.HashedCrossing(512)((place, day))))
    deep = [layers.Embedding(names.vocabulary_size(), 8)(place), layers.Embedding(7, 4)(day)]
    x = layers.Concatenate()([*map(layers.Flatten(), deep), price])
    for width in (32, 16):
        x = layers.Dense(width, activation="relu")(x)
    out = layers.Activation("sigmoid")(layers.Add()([wide, layers.Dense(1)(x)]))
    return keras.Model({"city": city, "day": day, "price": price}, out)


def of_sessions():
    seen = keras.Input((SEEN,), dtype="int32")
    x = layers.GRU(32)(layers.Embedding(ARTICLES, 16)(seen))
    return keras.Model(seen, layers.Dense(ARTICLES, activation="softmax")(x))


def fitted(model, frame, loss, features, label, epochs):
    model.compile(keras.optimizers.Adam(5e-3), loss)
    columns = {"feature_cols": features, "label_cols": label}
    model.fit(frame, **columns, batch_size=128, epochs=epochs, verbose=0)
    return model


def main(spark, rows=8000, epochs=8):
    keras.utils.set_random_seed(0)
    results = {}
    tables = {
        "neural_cf": (views, "user int, film int, label int", lambda _: neural_cf()),
        "wide_and_deep": (visits, "city string, day int, price float, label int", wide_and_deep),
    }
    auc = BinaryClassificationEvaluator(rawPredictionCol="prediction")
    for name, (make, schema, build) in tables.items():
        train = spark.createDataFrame(make(rows, 0), schema).coalesce(2).cache()
        test = spark.createDataFrame(make(2000, 1), schema)
        columns = {each: each for each in train.columns[:-1]}
        model = fitted(build(train), train, "binary_crossentropy", columns, "label", epochs)
        results[name] = auc.evaluate(model.predict(test, feature_cols=columns))
    schema = "seen array<int>, next int"
    train = spark.createDataFrame(sessions(rows, 0), schema).coalesce(2)
    test = spark.createDataFrame(sessions(1000, 1), schema)
    model = fitted(of_sessions(), train, "sparse_categorical_crossentropy", "seen", "next", epochs)
    scored = model.predict(test, feature_cols="seen")
    hits = scored.where("size(filter(prediction, p -> p > prediction[next])) < 3").count()
    return {**results, "next_in_first_three": hits / 1000}


if __name__ == "__main__":
    print(main(init_session("local-cluster[2,1,1024]", "recommendation")))
