"""Models that begin with text, on RDDs and DataFrames: the same results as on arrays."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers
from zoo_keras.errors import DataError

WORDS = np.array(["ant", "bee", "cat", "bee", "dog", "ant", "bee", "zebu"] * 8, object)
NUMBERS = np.random.default_rng(0).uniform(size=(64, 2)).astype(np.float32)
LABELS = (WORDS == "bee").astype(np.float32)


def model_of_words() -> keras.Model:
    """A word and two numbers: StringLookup, Embedding and Dense."""
    keras.utils.set_random_seed(3)
    lookup = layers.StringLookup(num_oov_indices=2)
    lookup.adapt(WORDS[:-1])
    word, numbers = keras.Input((1,), dtype="string", name="word"), keras.Input((2,), name="n")
    vector = layers.Flatten()(layers.Embedding(lookup.vocabulary_size(), 3)(lookup(word)))
    out = layers.Dense(1, activation="sigmoid")(layers.Concatenate()([vector, numbers]))
    model = keras.Model({"word": word, "n": numbers}, out)
    model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy", metrics=["accuracy"])
    return model


def frame_of(sc):
    from pyspark.sql import SparkSession

    rows = [(w, float(a), float(b), float(y))
            for w, (a, b), y in zip(WORDS, NUMBERS, LABELS, strict=True)]  # fmt: skip
    session = SparkSession.builder.getOrCreate()
    frame = session.createDataFrame(rows, "word string, a float, b float, label float")
    return frame.coalesce(2)


COLUMNS = {"word": "word", "n": ["a", "b"]}


def test_a_frame_of_words_scores_as_arrays(cluster2):
    model, frame = model_of_words(), frame_of(cluster2)
    want = model.predict({"word": WORDS, "n": NUMBERS}, verbose=0)[:, 0]
    got = model.predict(frame, feature_cols=COLUMNS)
    np.testing.assert_array_equal([row.prediction for row in got.collect()], want)
    records = [{"word": w, "n": n} for w, n in zip(WORDS, NUMBERS, strict=True)]
    rows = model.predict(cluster2.parallelize(records, 3)).collect()
    np.testing.assert_array_equal(np.concatenate(rows), want)


def test_a_fit_on_words_is_the_same_on_arrays_frames_and_records(cluster2):
    frame = frame_of(cluster2)
    records = [({"word": w, "n": n}, y)
               for w, n, y in zip(WORDS, NUMBERS, LABELS, strict=True)]  # fmt: skip
    here, by_frame, by_rdd = model_of_words(), model_of_words(), model_of_words()
    x = {"word": WORDS, "n": NUMBERS}
    here.fit(x, LABELS, batch_size=64, epochs=3, shuffle=False, verbose=0)
    by_frame.fit(frame, feature_cols=COLUMNS, label_cols="label", batch_size=64, epochs=3,
                 shuffle=False, verbose=0, validation_data=(x, LABELS))  # fmt: skip
    by_rdd.fit(cluster2.parallelize(records, 2), batch_size=64, epochs=3, shuffle=False, verbose=0)
    for a, b, c in zip(*[m.get_weights() for m in (here, by_frame, by_rdd)], strict=True):
        np.testing.assert_allclose(b, a, 1e-5, 1e-6)
        np.testing.assert_allclose(c, a, 1e-5, 1e-6)
    want = here.evaluate(x, LABELS, verbose=0)
    got = by_frame.evaluate(frame, feature_cols=COLUMNS, label_cols="label")
    np.testing.assert_allclose(got, want, 1e-5)


REAL = np.random.default_rng(5).normal(3, 2, (64, 3)).astype(np.float32)
TEXTS = [f"{WORDS[i]} {WORDS[-i]}, The {i % 7}!" for i in range(64)]
LEARNERS = [
    (lambda: layers.StringLookup(max_tokens=4), WORDS[:, None]),
    (lambda: layers.IntegerLookup(), np.arange(64)[:, None] % 11 * 2**33),
    (lambda: layers.TextVectorization(output_mode="tf_idf", ngrams=2), np.array(TEXTS, object)),
    (lambda: layers.Normalization(), REAL),
    (lambda: layers.Normalization(axis=None), REAL),
    (lambda: layers.Discretization(num_bins=5, epsilon=0.02), REAL),
]


def learnt(layer):
    """What a layer has learnt."""
    if isinstance(layer, layers.Normalization):
        return [layer.adapt_mean, layer.adapt_variance]
    if isinstance(layer, layers.Discretization):
        return [np.array(layer.bin_boundaries, np.float32)]
    store: dict[str, np.ndarray] = {}
    layer.save_own_variables(store)
    return [np.array(layer.get_vocabulary()), *store.values()]


@pytest.mark.parametrize("make, data", LEARNERS, ids=lambda v: "")
def test_adapt_learns_the_same_from_arrays_records_and_frames(local2, make, data):
    from pyspark.sql import SparkSession

    session = SparkSession.builder.getOrCreate()
    here, by_rdd, by_frame = make(), make(), make()
    here.adapt(data)
    rows = [r.tolist() if isinstance(r, np.ndarray) else r for r in data]
    by_rdd.adapt(local2.parallelize(rows, 3))
    cells = [(r[0] if isinstance(r, list) and len(r) == 1 else r, 1) for r in rows]
    frame = session.createDataFrame(cells, ["value", "other"]).repartition(3)
    by_frame.adapt(frame, feature_col="value")
    for a, b, c in zip(learnt(here), learnt(by_rdd), learnt(by_frame), strict=True):
        if np.asarray(a).dtype.kind == "f":
            np.testing.assert_allclose(b, a, 1e-5, 1e-6)
            np.testing.assert_allclose(c, a, 1e-5, 1e-6)
        else:
            assert np.asarray(a).tolist() == np.asarray(b).tolist() == np.asarray(c).tolist()


def png(pixels):
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_frame_of_image_files_trains_and_scores_as_arrays(local2):
    from pyspark.sql import SparkSession

    rng = np.random.default_rng(0)
    sizes = rng.integers(3, 20, (16, 2))
    files = np.array([png(rng.integers(0, 256, (*s, 3)).astype(np.uint8)) for s in sizes], object)
    labels = rng.uniform(size=16).astype(np.float32)

    def make():
        keras.utils.set_random_seed(2)
        model = keras.Sequential([
            keras.Input((), dtype="string"), layers.DecodeImage(), layers.Resizing(6, 6),
            layers.Rescaling(1 / 255), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(1),
        ])  # fmt: skip
        model.compile("sgd", "mse")
        return model

    session = SparkSession.builder.getOrCreate()
    rows = [(bytearray(f), float(y)) for f, y in zip(files, labels, strict=True)]
    frame = session.createDataFrame(rows, "file binary, y float").coalesce(2)
    here, there = make(), make()
    here.fit(files, labels, batch_size=16, epochs=2, shuffle=False, verbose=0)
    there.fit(frame, feature_cols="file", label_cols="y", batch_size=16, epochs=2, shuffle=False,
              verbose=0)  # fmt: skip
    for a, b in zip(here.get_weights(), there.get_weights(), strict=True):
        np.testing.assert_allclose(b, a, 1e-5, 1e-6)
    want = here.predict(files, verbose=0)[:, 0]
    got = [row.prediction for row in here.predict(frame, feature_cols="file").collect()]
    np.testing.assert_array_equal(got, want)


def test_a_null_word_is_named(cluster2):
    from pyspark.sql import functions

    frame = frame_of(cluster2).withColumn(
        "word", functions.when(functions.col("word") != "zebu", functions.col("word"))
    )
    with pytest.raises(DataError, match=r"column word.*null"):
        model_of_words().evaluate(frame, feature_cols=COLUMNS, label_cols="label")
