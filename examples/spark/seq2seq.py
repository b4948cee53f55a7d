"""Dates as people write them become dates as machines do, letter by letter: a GRU reads, a GRU with
attention writes; result: the share of held-out dates that are right in every letter.

    python examples/spark/seq2seq.py
"""

from __future__ import annotations

import datetime

import numpy as np

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.spark.cluster import init_session

LETTERS = " ,-./0123456789abcdefghijklmnopqrstuvwxyz"
READ, WRITTEN = 12, 10
START = len(LETTERS)  # stands before the first letter that is written


def numbers(text, width):
    return [LETTERS.index(letter) for letter in text.ljust(width)]


def dates(count, seed):
    """Rows (read, begun, wanted): "3 mar 1987", what was written so far, "1987-03-03"."""
    rng = np.random.default_rng(seed)
    rows = []
    for days in rng.integers(0, 20_000, count):
        day = datetime.date(1970, 1, 1) + datetime.timedelta(int(days))
        style = rng.choice(["%d %b %Y", "%b %d, %Y", "%d.%m.%Y", "%d/%m/%Y"])
        wanted = numbers(day.isoformat(), WRITTEN)
        read = numbers(day.strftime(style).lower(), READ)
        rows.append((read, [START, *wanted[:-1]], wanted))
    return rows


def build():
    read = keras.Input((READ,), dtype="int32", name="read")
    begun = keras.Input((WRITTEN,), dtype="int32", name="begun")
    embed = layers.Embedding(len(LETTERS) + 1, 24)
    seen, state = layers.GRU(64, return_sequences=True, return_state=True)(embed(read))
    written = layers.GRU(64, return_sequences=True)(embed(begun), initial_state=state)
    looked_up = layers.Attention(use_scale=True)([written, seen])
    x = layers.Dense(64, activation="relu")(layers.Concatenate()([written, looked_up]))
    out = layers.Dense(len(LETTERS), activation="softmax")(x)
    model = keras.Model({"read": read, "begun": begun}, out)
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    return model


def write(model, spark, rows):
    """Letter after letter on the cluster, each from all that was written before it."""
    read = [row[0] for row in rows]
    begun = [[START] * WRITTEN for _ in rows]
    for place in range(WRITTEN):
        records = [{"read": np.int32(r), "begun": np.int32(b)} for r, b in zip(read, begun)]
        scored = model.predict(spark.sparkContext.parallelize(records, 2))
        chosen = scored.map(lambda p, at=place: int(p[at].argmax())).collect()
        begun = [[*b[: place + 1], c, *b[place + 2 :]] for b, c in zip(begun, chosen)]
    return [b[1 : WRITTEN + 1] for b in begun]


def main(spark, rows=6000, epochs=12, asked=200):
    keras.utils.set_random_seed(0)
    schema = "read array<int>, begun array<int>, wanted array<int>"
    frame = spark.createDataFrame(dates(rows, 0), schema).coalesce(2)
    model = build()
    columns = {"read": "read", "begun": "begun"}
    model.fit(
        frame, feature_cols=columns, label_cols="wanted", batch_size=64, epochs=epochs, verbose=0
    )
    held_out = dates(asked, 1)
    made = write(model, spark, held_out)
    right = [list(m) == list(row[2]) for m, row in zip(made, held_out)]
    letters = np.equal(made, [row[2] for row in held_out]).mean()
    return {"dates_right": float(np.mean(right)), "letters_right": float(letters)}


if __name__ == "__main__":
    print(main(init_session("local-cluster[2,1,1024]", "seq2seq")))
