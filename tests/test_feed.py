"""Models that begin with text or files of images: the feed before their Programs."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers, ops
from zoo_keras.errors import ConfigError, DataError, FileError, ShapeError, UnsupportedError
from zoo_keras.feed.feed import Source, make_feed
from zoo_keras.feed.quantiles import ranks_of
from zoo_keras.feed.states import Histogram, Moments, TokenCounts
from zoo_keras.primitives.column import column_ops, rows_of
from zoo_keras.primitives.fed import OPEN
from zoo_keras.training.fed import feed_for

WORDS = np.array([["ant"], ["bee"], ["cat"], ["bee"]] * 6, object)
NUMBERS = np.random.default_rng(1).uniform(size=(24, 2)).astype(np.float32)
LABELS = (WORDS == "bee").astype(np.float32)
SAMPLES = [(op, i) for op in column_ops.values() for i in range(len(op.samples))]


def mixed_model() -> keras.Model:
    keras.utils.set_random_seed(1)
    lookup = layers.StringLookup(vocabulary=["ant", "bee"])
    word, numbers = keras.Input((1,), dtype="string", name="word"), keras.Input((2,), name="n")
    vector = layers.Flatten()(layers.Embedding(3, 2)(lookup(word)))
    model = keras.Model({"word": word, "n": numbers},
                        layers.Dense(1)(layers.Concatenate()([vector, numbers])))  # fmt: skip
    model.compile("sgd", "mse")
    return model


def png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("op, i", SAMPLES, ids=lambda v: getattr(v, "name", str(v)))
def test_shape_rules_of_column_ops(op, i):
    sample = op.samples[i]
    (x,) = sample.make(np.random.default_rng(0))
    result = op.reference(x, **sample.attrs)
    inner = x[0].shape if isinstance(x[0], np.ndarray) and x.ndim == 1 else ()
    shape = (*x.shape, *[OPEN] * (2 if len(inner) == 3 else isinstance(x[0], list)), *inner[2:])
    text = "string" if x.dtype == object else x.dtype.name
    dtype = x[0].dtype.name if inner else text
    (spec,) = op.infer(ops_spec(shape, dtype), **sample.attrs)
    assert len(result) == spec.shape[0]
    if OPEN not in spec.shape:
        assert result.shape == spec.shape
        assert op.compute([x], sample.attrs, [spec])[0].dtype == (
            object if spec.dtype == "string" else spec.dtype
        )


def ops_spec(shape, dtype):
    from zoo_keras.graph import Spec

    return Spec(tuple(shape), dtype)


def test_every_column_op_has_samples():
    assert [op.name for op in column_ops.values() if not op.samples] == []


def test_text_and_numbers_train_and_predict_together():
    model, x = mixed_model(), {"word": WORDS, "n": NUMBERS}
    before = model.evaluate(x, LABELS, verbose=0)
    model.fit(x, LABELS, epochs=3, batch_size=5, verbose=0)
    assert model.evaluate(x, LABELS, verbose=0) < before
    want = model.predict(x, verbose=0)
    np.testing.assert_array_equal(model(x), want)
    np.testing.assert_array_equal(model.predict_on_batch(x), want)
    for words in (WORDS.astype("U"), WORDS.astype("S"), WORDS.tolist(), WORDS[:, 0]):
        np.testing.assert_array_equal(model.predict({"word": words, "n": NUMBERS}, verbose=0), want)
    with pytest.raises(ConfigError, match=r"Pass a dict of \['n', 'word'\]"):
        model.predict([NUMBERS, WORDS], verbose=0)


def test_a_feed_travels_as_plain_data():
    model = mixed_model()
    feed = make_feed(model, [Source((2,), "float32"), Source((1,), "string")], {"n": 0, "word": 1})
    there = pickle.loads(pickle.dumps(feed))
    assert there.specs() == feed.specs()
    for rows in (0, 1, 24):
        for a, b in zip(feed.run([NUMBERS[:rows], WORDS[:rows]]),
                        there.run([NUMBERS[:rows], WORDS[:rows]]), strict=True):  # fmt: skip
            np.testing.assert_array_equal(a, b)


def test_a_model_of_numbers_has_no_feed():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    assert make_feed(model, [Source((2,), "float32")], 0) is None


def test_ops_that_know_the_number_of_rows_work_for_any():
    x = keras.Input((4,), dtype="string")
    pairs = ops.reshape(x, (-1, 2, 2))
    model = keras.Model(x, layers.StringLookup(vocabulary=["a"])(pairs))
    data = np.array([["a", "b", "c", "a"]] * 5, object)
    assert model.predict(data[:3], verbose=0).tolist() == [[[1, 0], [0, 1]]] * 3
    assert model.predict(data, verbose=0).shape == (5, 2, 2)


def test_a_new_vocabulary_is_used_at_once():
    lookup = layers.StringLookup()
    lookup.adapt(["a", "b", "b"])
    model = keras.Sequential([lookup])
    assert model.predict(["a", "b", "c"], verbose=0).tolist() == [2, 1, 0]
    lookup.adapt(["c", "a", "c"])
    assert model.predict(["a", "b", "c"], verbose=0).tolist() == [2, 0, 1]


def test_wide_numbers_are_looked_up_and_hashed_as_they_are():
    big = 2**40 + 1
    x = keras.Input((1,), dtype="int64")
    model = keras.Model(x, [layers.IntegerLookup(vocabulary=[5, big])(x), layers.Hashing(50)(x)])
    found = model.predict(np.array([[big], [5], [2]]), verbose=0)
    assert found[0].tolist() == [[2], [1], [0]]
    want = layers.Hashing(50)(np.array([[str(big)], ["5"], ["2"]], object))
    np.testing.assert_array_equal(found[1], want)
    with pytest.raises(DataError, match="32 bits"):
        keras.Sequential([layers.Dense(1)]).predict(np.array([[big]]), verbose=0)


def test_texts_of_a_batch_are_padded_to_its_longest():
    x = keras.Input((1,), dtype="string")
    numbers = layers.TextVectorization(vocabulary=["a", "b"])(x)
    assert numbers.shape == (None, None)
    model = keras.Model(x, numbers)
    assert model.predict(["a b a", "b"], verbose=0).tolist() == [[2, 3, 2], [3, 0, 0]]
    assert model.predict(["b"], verbose=0).tolist() == [[3]]
    feed = feed_for(model, [Source((), "string")], 0)
    with pytest.raises(UnsupportedError, match="output_sequence_length"):
        feed.check_travels()


def test_own_functions_work_here_and_do_not_travel():
    vector = layers.TextVectorization(
        standardize=np.char.upper, split=lambda x: [t.split("-") for t in x], vocabulary=["A", "B"],
        output_sequence_length=2,
    )  # fmt: skip
    assert vector(["a-b", "b"]).tolist() == [[2, 3], [3, 0]]
    model = keras.Sequential([keras.Input((1,), dtype="string"), vector])
    feed = feed_for(model, [Source((1,), "string")], 0)
    with pytest.raises(UnsupportedError, match=r"text_vectorization.*do not travel"):
        feed.check_travels()


def test_images_are_decoded_resized_and_trained_on(tmp_path):
    rng = np.random.default_rng(0)
    sizes = [(9, 7), (4, 12), (8, 8), (30, 3)]
    pixels = [rng.integers(0, 256, (*s, 3)).astype(np.uint8) for s in sizes]
    files = [png(p) for p in pixels]
    model = keras.Sequential([
        keras.Input((), dtype="string"), layers.DecodeImage(), layers.Resizing(6, 5),
        layers.CenterCrop(4, 4), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(1),
    ])  # fmt: skip
    model.compile("sgd", "mse")
    model.fit(files, np.ones(4), batch_size=2, epochs=2, verbose=0)
    small = np.stack([layers.Resizing(6, 5)(p) for p in pixels])
    rest = keras.Sequential(model.layers[2:])
    want = rest.predict(small, verbose=0)
    np.testing.assert_array_equal(model.predict(files, verbose=0), want)
    model.save(tmp_path / "images.keras")
    again = keras.models.load_model(tmp_path / "images.keras")
    np.testing.assert_array_equal(again.predict(np.array(files, object), verbose=0), want)


@pytest.mark.parametrize("kind, mode", [("JPEG", "RGB"), ("BMP", "L"), ("GIF", "P"),
                                        ("PNG", "RGBA"), ("PNG", "I;16")])  # fmt: skip
def test_kinds_of_image_files(kind, mode):
    from PIL import Image

    file, size = io.BytesIO(), (5, 4)
    Image.new(mode, size, 1 if mode in ("P", "L") else 0x4000 if mode == "I;16" else None).save(
        file, kind)  # fmt: skip
    for channels in (1, 3, 4):
        (image,) = layers.DecodeImage(channels)(np.array([file.getvalue()], object))
        assert (image.shape, image.dtype) == ((4, 5, channels), np.uint8)
    if mode == "I;16":
        assert image[0, 0].tolist() == [64, 64, 64, 255]


@pytest.mark.parametrize("file, message", [
    (b"no image", r"row 1: not a readable .* Received: 8 bytes"),
    ("text", "row 1: expected the bytes of a file"),
    (png(np.zeros((4, 4, 3), np.uint8))[:42], "row 1: not a readable"),
])  # fmt: skip
def test_a_broken_image_is_named(file, message):
    files = rows_of([png(np.zeros((2, 2, 3), np.uint8)), file])
    with pytest.raises(DataError, match=message):
        layers.DecodeImage()(files)


@pytest.mark.parametrize("make, error, message", [
    (lambda x: layers.Dense(1)(x), ConfigError, "Text and numbers do not mix"),
    (lambda x: layers.DecodeImage()(x), UnsupportedError, "must be numbers of one shape"),
])  # fmt: skip
def test_text_that_reaches_the_end_is_refused(make, error, message):
    x = keras.Input((1,), dtype="string")
    with pytest.raises(error, match=message):
        keras.Model(x, make(x)).predict(["a"], verbose=0)


def test_rows_of_many_sizes_need_a_layer_that_takes_them():
    x = keras.Input((), dtype="string")
    with pytest.raises(ShapeError, match=r"different sizes.*Resizing"):
        layers.Flatten()(layers.DecodeImage()(x))


def test_lookups_of_what_is_learnt_are_refused():
    x = keras.Input((3,))
    numbers = ops.argmax(layers.Dense(3, name="d")(x), axis=-1)
    model = keras.Model(x, layers.IntegerLookup(vocabulary=[1, 2])(numbers))
    with pytest.raises(UnsupportedError, match="depends on weights"):
        model.predict(np.zeros((1, 3), np.float32), verbose=0)


@pytest.mark.parametrize("data, error, message", [
    (np.array([["a"], [None]], object), DataError, r"x\[1\], row 1: .*null"),
    (np.array([["a"], [3]], object), DataError, r"x\[1\], row 1: .*Received: 3"),
    (np.zeros((2, 1), np.float32), ShapeError, "takes dtype string. Received: float32"),
])  # fmt: skip
def test_what_is_no_text_is_named(data, error, message):
    with pytest.raises(error, match=message):
        mixed_model().predict({"word": data, "n": NUMBERS[:2]}, verbose=0)


def test_text_for_a_model_of_numbers_is_refused():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    with pytest.raises(DataError, match=r"x\[0\]: expected numbers\. Received: text"):
        model.predict(WORDS, verbose=0)
    with pytest.raises(ShapeError, match=r"takes dtype float32\. Received: string"):
        model(WORDS)


def test_shapes_of_outputs_are_found_without_data():
    lookup = layers.StringLookup(vocabulary=["a"], output_mode="count")
    assert lookup.compute_output_shape((None, 4)) == (None, 2)
    vector = layers.TextVectorization(output_sequence_length=5)
    assert vector.compute_output_shape((None, 1)) == (None, 5)
    model = keras.Sequential([layers.StringLookup(vocabulary=["a"]), layers.Embedding(2, 3)])
    model.build((None, 1))
    assert model.predict(["a", "b"], verbose=0).shape == (2, 1, 3)


def test_models_within_models_and_bytes():
    inner = keras.Sequential([keras.Input((1,), dtype="string"), layers.Hashing(20),
                              layers.Embedding(20, 2)])  # fmt: skip
    a, b = keras.Input((1,), dtype="bytes", name="a"), keras.Input((1,), dtype="string", name="b")
    images = layers.Resizing(2, 2)(layers.DecodeImage()(a))
    model = keras.Model([a, b], [images, inner(b)])
    files = [png(np.full((3, 4, 3), 7, np.uint8))] * 2
    pixels, vectors = model.predict([np.array(files, object), ["x", "y"]], verbose=0)
    assert (pixels == 7).all()
    np.testing.assert_array_equal(vectors, inner.predict(["x", "y"], verbose=0))


def changed_archive(source, target, member, content):
    """The archive with another content of one member."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name == member else old.read(name))
    return target


@pytest.mark.parametrize("text", [b"-1\nx", b"-1\n5\n5", b"\xff\xfe"])
def test_a_damaged_vocabulary_is_named(tmp_path, text):
    lookup = layers.IntegerLookup()
    lookup.adapt([5, 6])
    model = keras.Sequential([keras.Input((1,), dtype="int64"), lookup])
    model.save(tmp_path / "a.keras")
    member = "assets/layers/integer_lookup/vocabulary.txt"
    bad = changed_archive(tmp_path / "a.keras", tmp_path / "b.keras", member, text)
    with pytest.raises(FileError, match="damaged"):
        keras.models.load_model(bad)


def test_padded_weights_of_documents_survive_a_file(tmp_path):
    lookup = layers.StringLookup(output_mode="tf_idf", max_tokens=9, pad_to_max_tokens=True)
    lookup.adapt(WORDS)
    model = keras.Sequential([keras.Input((1,), dtype="string"), lookup])
    model.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(again.predict(WORDS, verbose=0), model.predict(WORDS, verbose=0))


def test_tokens_with_line_breaks_do_not_fit_an_archive(tmp_path):
    lookup = layers.StringLookup()
    lookup.adapt(["a\nb", "c"])
    model = keras.Sequential([keras.Input((1,), dtype="string"), lookup])
    with pytest.raises(UnsupportedError, match="line breaks"):
        model.save(tmp_path / "a.keras")
    assert not (tmp_path / "a.keras").exists()


# ---- adapt ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [(), (1,), (5, 5, 11)])
def test_states_that_merge_have_seen_all_rows(cuts):
    rng = np.random.default_rng(2)
    words = rng.choice(["a", "b", "c", "dd"], (20, 3)).astype(object)
    values = rng.normal(size=(20, 3)).astype(np.float32)
    states = []
    for parts, make in ((words, lambda: TokenCounts(True)), (values, lambda: Moments([1])),
                        (values, Histogram)):  # fmt: skip
        found = make()
        for part in np.split(parts, cuts):
            one = make()
            one.update(part)
            found.merge(one)
        states.append(found)
    whole = TokenCounts(True)
    whole.update(words)
    assert (states[0].counts, states[0].rows_with) == (whole.counts, whole.rows_with)
    np.testing.assert_allclose(states[1].mean, values.mean(axis=0), 1e-6)
    np.testing.assert_allclose(states[1].variance, values.var(axis=0), 1e-5)
    assert states[2].counts.sum() == 60


def test_values_of_any_rank_are_found_in_two_runs():
    values = np.random.default_rng(3).normal(size=5000).astype(np.float32)
    values[:50] = values[50:100]
    ranks, _ = ranks_of(5000, 0.013)
    rough = Histogram()
    rough.update(values)
    exact = Histogram(np.unique(rough.bucket_of(ranks)).tolist())
    for part in np.array_split(values, 3):
        one = Histogram(list(exact.inside))
        one.update(part)
        exact.merge(one)
    np.testing.assert_array_equal(exact.values(ranks), np.sort(values)[ranks])


def test_adapt_takes_batches_one_after_the_other():
    whole, parts = layers.StringLookup(), layers.StringLookup()
    whole.adapt(WORDS)
    parts.adapt(iter([WORDS[:5], WORDS[5:]]))
    assert parts.get_vocabulary() == whole.get_vocabulary()
    few = layers.StringLookup()
    few.adapt((w for w in WORDS), steps=1)
    assert few.get_vocabulary() == ["[UNK]", "ant"]
    norm = layers.Normalization()
    norm.adapt([NUMBERS[:7], NUMBERS[7:]])
    np.testing.assert_allclose(norm.adapt_mean, NUMBERS.mean(axis=0), 1e-6)
    np.testing.assert_allclose(norm.adapt_variance, NUMBERS.var(axis=0), 1e-5)


def lookup(**arguments):
    return layers.StringLookup(**arguments)


@pytest.mark.parametrize("call, error, message", [
    (lambda: lookup(vocabulary=["a", "a"]), ConfigError, "repeats tokens"),
    (lambda: lookup(vocabulary=["a"]).adapt(["b"]), ConfigError, "cannot adapt"),
    (lambda: lookup(max_tokens=2, vocabulary=["a", "b"]), ConfigError, "larger than max_tokens"),
    (lambda: lookup(num_oov_indices=0, vocabulary=["a"])(["b"]), DataError, "Received: 'b'"),
    (lambda: lookup(output_mode="count")(["b"]), ConfigError, "needs the size"),
    (lambda: lookup(vocabulary=["a"])(np.ones((1, 1))), DataError, "expected text"),
    (lambda: lookup(vocabulary=["a"], sparse=True, output_mode="count"),
     UnsupportedError, "sparse is not supported"),
    (lambda: layers.Normalization(mean=1.0), ConfigError, "must be set"),
    (lambda: layers.Discretization(), ConfigError, "bin_boundaries"),
    (lambda: layers.TextVectorization(vocabulary=["a"])(np.array([["a", "b"]])),
     ShapeError, "must have the shape"),
    (lambda: lookup().adapt(iter([])), DataError, "no batch"),
])  # fmt: skip
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
