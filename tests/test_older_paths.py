"""Paths and functions of Keras 2: modules, `import keras`, text and sequences, K that acts."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import OrderedDict, defaultdict, deque, namedtuple

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import backend as K
from zoo_keras.errors import ConfigError, DataError, ShapeError
from zoo_keras.missing import MissingNameError
from zoo_keras.preprocessing import sequence, text


@pytest.mark.parametrize(
    ("path", "name", "same"),
    [
        ("layers.convolutional", "Conv2D", zk.layers.Conv2D),
        ("layers.convolutional", "MaxPooling2D", zk.layers.MaxPooling2D),
        ("layers.core", "Dense", zk.layers.Dense),
        ("layers.core", "Lambda", zk.layers.Lambda),
        ("layers.embeddings", "Embedding", zk.layers.Embedding),
        ("layers.merge", "concatenate", zk.layers.concatenate),
        ("layers.recurrent", "LSTM", zk.layers.LSTM),
        ("layers.normalization", "BatchNormalization", zk.layers.BatchNormalization),
        ("layers.advanced_activations", "LeakyReLU", zk.layers.LeakyReLU),
        ("layers.wrappers", "Bidirectional", zk.layers.Bidirectional),
        ("utils.np_utils", "to_categorical", zk.utils.to_categorical),
        ("utils.generic_utils", "Progbar", zk.utils.Progbar),
        ("optimizers.legacy", "Adam", zk.optimizers.Adam),
        ("legacy.saving", "serialize_keras_object", zk.saving.serialize_keras_object),
        ("mixed_precision", "Policy", zk.dtype_policies.DTypePolicy),
        ("mixed_precision.experimental", "set_policy", zk.mixed_precision.set_dtype_policy),
        ("engine.topology", "Layer", zk.layers.Layer),
        ("engine.base_layer", "InputSpec", zk.layers.InputSpec),
        ("engine.training", "Model", zk.Model),
        ("layers.experimental", "EinsumDense", zk.layers.EinsumDense),
        ("layers.experimental.preprocessing", "RandomFlip", zk.layers.RandomFlip),
        ("layers.cudnn_recurrent", "CuDNNGRU", zk.layers.GRU),
        ("callbacks.experimental", "BackupAndRestore", zk.callbacks.BackupAndRestore),
        ("optimizers.experimental", "AdamW", zk.optimizers.AdamW),
        ("experimental", "CosineDecay", zk.optimizers.schedules.CosineDecay),
        ("objectives", "mean_squared_error", zk.losses.mean_squared_error),
    ],
)
def test_names_stand_at_their_older_paths(path, name, same):
    module = __import__(f"zoo_keras.{path}", fromlist=[name])
    assert getattr(module, name) is same
    found = zk
    for part in path.split("."):
        found = getattr(found, part)
    assert getattr(found, name) is same
    with pytest.raises(MissingNameError, match=f"zoo_keras.{path} has no 'Nothing'"):
        _ = module.Nothing


@pytest.mark.parametrize(
    ("family", "older", "today"),
    [("constraints", "maxnorm", "MaxNorm"), ("constraints", "nonneg", "NonNeg"),
     ("initializers", "normal", "RandomNormal"), ("initializers", "one", "Ones"),
     ("layers", "CuDNNLSTM", "LSTM"), ("losses", "cosine_proximity", "cosine_similarity"),
     ("engine", "Layer", None), ("engine", "InputSpec", None)],
)  # fmt: skip
def test_older_names_are_those_of_today(family, older, today):
    module = __import__(f"zoo_keras.{family}", fromlist=["x"])
    home = module if today else zk.layers
    assert getattr(module, older) is getattr(home, today or older)
    assert not hasattr(module, "Nothing")


def test_functions_of_k_have_the_defaults_of_keras_2():
    x = np.array([[1.0, -2.0, 8.0], [4.0, 3.0, -1.0]], "f4")
    for found, want in (
        (K.argmax(x), x.argmax(-1)), (K.argmin(x), x.argmin(-1)), (K.cumsum(x), x.cumsum(0)),
        (K.cumprod(x), x.cumprod(0)), (K.expand_dims(x), x[..., None]),
        (K.relu(x), np.maximum(x, 0)),
        (K.relu(x, alpha=0.5), np.where(x > 0, x, x / 2)), (K.relu(x, max_value=3), x.clip(0, 3)),
        (K.relu(x, threshold=2.0), np.where(x >= 2, x, 0)),
        (K.relu(x, 0.5, 6.0, 2.0), np.where(x >= 2, x.clip(None, 6), (x - 2) / 2)),
        (K.arange(3), np.arange(3)), (K.dropout(x, level=0.0, seed=1), x),
    ):  # fmt: skip
        np.testing.assert_allclose(np.asarray(found), want)
    assert np.asarray(K.arange(3)).dtype == "int32"


class Scaled(zk.layers.Layer):
    """A layer of the time before `training` was an argument."""

    def call(self, x):
        return K.in_train_phase(lambda: x * 3.0, x)


def test_the_learning_phase_is_that_of_the_call():
    x = np.ones((2, 1), "f4")
    model = zk.Sequential([zk.Input((1,)), Scaled(), zk.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    assert model.predict_on_batch(x).tolist() == [[1], [1]]
    assert model.train_on_batch(x, x) == pytest.approx(4.0)
    assert K.learning_phase() == 0 and K.in_test_phase("test", "train") == "test"
    K.set_learning_phase(1)
    try:
        assert K.learning_phase() == 1 and K.in_train_phase("train", "test") == "train"
    finally:
        K.set_learning_phase(0)
    with pytest.raises(ConfigError, match="expected 0 or 1"):
        K.set_learning_phase("training")


def test_orders_of_channels_have_the_words_of_keras_1():
    assert K.image_dim_ordering() == "tf"
    try:
        K.set_image_dim_ordering("th")
        assert K.image_data_format() == "channels_first" and K.image_dim_ordering() == "th"
    finally:
        K.set_image_dim_ordering("tf")
    with pytest.raises(ConfigError, match="'tf' or 'th'"):
        K.set_image_dim_ordering("channels_last")


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_zoo_keras_is_found_as_keras_and_as_tensorflow_keras():
    code = (
        "import zoo_keras; zoo_keras.install_as_keras(tensorflow=True)\n"
        "import keras, tensorflow as tf, tf_keras\n"
        "from keras.layers import Dense\n"
        "from keras.utils.np_utils import to_categorical\n"
        "from tensorflow.keras.models import Sequential\n"
        "from tensorflow.keras.preprocessing.text import Tokenizer\n"
        "from tensorflow.python.keras.layers import Dense as Second\n"
        "from keras.api.layers import Dense as Third\n"
        "from keras._tf_keras.keras.layers import Dense as Fourth\n"
        "from keras.engine.topology import Layer\n"
        "same = Dense is Second is Third is Fourth and issubclass(Dense, Layer)\n"
        "print(keras is zoo_keras is tf.keras is tf_keras, same)"
    )
    assert run(code) == "True True"


def test_a_keras_that_was_imported_before_is_not_replaced():
    code = (
        "import sys, types; sys.modules['keras'] = types.ModuleType('keras')\n"
        "import zoo_keras; zoo_keras.install_as_keras()"
    )
    assert run(code).startswith("ImportError: install_as_keras: keras was imported before")


@pytest.mark.parametrize(
    ("module", "name", "said"),
    [
        ("layers", "JaxLayer", "which Keras 3 has: it wraps another framework"),
        ("layers", "Konv", "and Keras 3 has no such name either"),
        ("callbacks", "OrbaxCheckpoint", "which Keras 3 has: it writes JAX's own files"),
        ("backend", "ctc_label_dense_to_sparse", "which Keras 2 has: there are no sparse tensors"),
        ("backend", "set_session", "which older Kerases had: nothing is run in sessions"),
        ("utils", "multi_gpu_model", "which older Kerases had: Spark distributes"),
    ],
)
def test_a_missing_name_says_whether_keras_has_it(module, name, said):
    with pytest.raises(AttributeError, match=said):
        getattr(getattr(zk, module), name)


# ---- text and sequences --------------------------------------------------------------------------

TEXTS = ["The cat, the DOG!", "a dog; a bird", "The cat sat"]


def test_words_get_numbers_by_frequency():
    tokenizer = text.Tokenizer(num_words=5, oov_token="?")
    tokenizer.fit_on_texts(TEXTS)
    assert tokenizer.word_index == {
        "?": 1,
        "the": 2,
        "cat": 3,
        "dog": 4,
        "a": 5,
        "bird": 6,
        "sat": 7,
    }
    assert tokenizer.texts_to_sequences(["the bird, a cat"]) == [[2, 1, 1, 3]]
    assert tokenizer.sequences_to_texts([[2, 6, 3]]) == ["the ? cat"]
    assert (tokenizer.document_count, tokenizer.word_docs["dog"]) == (3, 2)
    again = text.tokenizer_from_json(tokenizer.to_json())
    assert again.texts_to_sequences(TEXTS) == tokenizer.texts_to_sequences(TEXTS)
    assert again.index_word == tokenizer.index_word
    assert json.loads(tokenizer.to_json())["class_name"] == "Tokenizer"


def test_matrices_count_words():
    tokenizer = text.Tokenizer()
    tokenizer.fit_on_texts(TEXTS)
    count = tokenizer.texts_to_matrix(TEXTS, "count")
    assert count.shape == (3, 7) and count[0].tolist() == [0, 2, 1, 1, 0, 0, 0]
    np.testing.assert_array_equal(tokenizer.texts_to_matrix(TEXTS), count > 0)
    np.testing.assert_allclose(tokenizer.texts_to_matrix(TEXTS, "freq")[0], count[0] / 4)
    tfidf = tokenizer.texts_to_matrix(TEXTS, "tfidf")
    assert tfidf[0, 1] == pytest.approx((1 + np.log(2)) * np.log(1 + 3 / 3))
    with pytest.raises(ConfigError, match="unknown mode"):
        tokenizer.texts_to_matrix(TEXTS, "median")
    with pytest.raises(DataError, match="fit_on_texts first"):
        text.Tokenizer().sequences_to_matrix([[1]])


def test_characters_and_lists_are_words_too():
    letters = text.Tokenizer(char_level=True)
    letters.fit_on_texts(["abA", "b"])
    assert letters.texts_to_sequences(["ab"]) == [[1, 2]]
    assert text.one_hot("a b a", 9)[0] == text.one_hot("a b a", 9)[2]
    wanted = [int(hashlib.md5(word).hexdigest(), 16) % 49 + 1 for word in (b"the", b"cat")]
    assert text.hashing_trick("The cat!", 50, "md5") == wanted


def test_windows_of_a_series():
    data = np.arange(20).reshape(10, 2)
    made = sequence.TimeseriesGenerator(
        data, data[:, 0], 3, sampling_rate=2, stride=2, batch_size=2
    )
    assert len(made) == 2
    x, y = made[0]
    np.testing.assert_array_equal(x, [data[[0, 2]], data[[2, 4]]])
    np.testing.assert_array_equal(y, data[[3, 5], 0])
    model = zk.Sequential([zk.Input((2, 2)), zk.layers.Flatten(), zk.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(made, epochs=1, verbose=0)
    with pytest.raises(DataError, match="shorter length"):
        sequence.TimeseriesGenerator(data, data, 12)


def test_pairs_of_words():
    pairs, labels = sequence.skipgrams([1, 2, 0, 3], 9, window_size=1, negative_samples=0)
    assert sorted(pairs) == [[1, 2], [2, 1]] and labels == [1, 1]
    pairs, labels = sequence.skipgrams([1, 2, 3], 9, negative_samples=2.0, seed=3)
    assert labels.count(1) * 2 == labels.count(0) == 12
    assert sequence.skipgrams([1, 2, 3], 9, seed=3) == sequence.skipgrams([1, 2, 3], 9, seed=3)
    table = sequence.make_sampling_table(100)
    assert table.shape == (100,) and (np.diff(table[1:]) > 0).all()


# ---- K -------------------------------------------------------------------------------------------


def test_variables_are_read_and_written():
    v = K.variable([1.0, 2.0], name="v")
    K.set_value(v, [3.0, 4.0])
    K.update_add(v, np.ones(2, "f4"))
    K.update_sub(v, 0.5)
    K.moving_average_update(v, np.zeros(2, "f4"), 0.5)
    np.testing.assert_array_equal(K.get_value(v), [1.75, 2.25])
    assert (K.int_shape(v), K.ndim(v), K.dtype(v), K.count_params(v)) == ((2,), 1, "float32", 2)
    assert K.eval(K.zeros((2, 3))).shape == (2, 3)


def test_a_function_gives_inner_values_of_a_model():
    x = zk.Input((3,))
    inner = zk.layers.Dense(4, activation="relu")(x)
    model = zk.Model(x, zk.layers.Dense(2)(inner))
    peek = K.function([model.input], [inner, model.output])
    a = np.ones((5, 3), "f4")
    found = peek([a])
    assert [f.shape for f in found] == [(5, 4), (5, 2)]
    np.testing.assert_allclose(found[1], model.predict(a, verbose=0), 1e-5)


def test_own_layers_and_losses_are_written_with_k():
    def loss(y_true, y_pred):
        return K.mean(K.square(y_pred - y_true), axis=-1)

    model = zk.Sequential(
        [zk.Input((3,)), zk.layers.Lambda(lambda t: K.l2_normalize(t, axis=-1)), zk.layers.Dense(1)]
    )
    model.compile("sgd", loss)
    assert np.isfinite(model.train_on_batch(np.ones((4, 3), "f4"), np.ones((4, 1), "f4")))


def test_switch_takes_values_functions_and_a_condition_for_each_row():
    a, b = np.ones((2, 3), "f4"), np.zeros((2, 3), "f4")
    np.testing.assert_array_equal(K.switch(True, a, lambda: b), a)
    np.testing.assert_array_equal(K.switch(np.array([True, False]), a, b), [[1] * 3, [0] * 3])


def test_folds_run_over_rows():
    rows = np.array([1.0, 2.0, 3.0], "f4")
    assert K.foldl(lambda total, x: total * 2 + x, rows) == 11
    assert K.foldr(lambda total, x: total * 2 + x, rows) == 17
    np.testing.assert_array_equal(K.map_fn(lambda x: x * 2, rows), rows * 2)


# ---- tree ----------------------------------------------------------------------------------------


def test_structures_are_walked_compared_and_rebuilt():
    tree = zk.tree
    nest = {"b": [1, (2, None)], "a": 3}
    assert tree.flatten(nest) == [3, 1, 2, None]
    assert tree.flatten_with_path(nest)[1] == (("b", 0), 1)
    assert tree.pack_sequence_as(nest, "wxyz") == {"b": ["x", ("y", "z")], "a": "w"}
    assert tree.lists_to_tuples(nest)["b"] == (1, (2, None))
    assert tree.map_structure_up_to([0, 0], len, [[1, 2], [3]]) == [2, 1]
    assert tree.map_shape_structure(len, {"x": (1, 2), "y": [(3,)]}) == {"x": 2, "y": [1]}
    assert tree.traverse(lambda p: tree.MAP_TO_NONE if p == 1 else None, nest)["b"][0] is None
    tree.assert_same_structure([1, {"a": 2}], [3, {"a": 4}])
    tree.assert_same_paths([1, 2], (1, 2))
    for check in (tree.assert_same_structure, tree.assert_same_paths):
        with pytest.raises(ShapeError):
            check([1, [2]], [1, 2])
    with pytest.raises(ShapeError, match="expected: 4"):
        tree.pack_sequence_as(nest, [1])


def test_dicts_and_deques_stay_of_their_kind():
    tree, pair = zk.tree, namedtuple("pair", "x y")
    ordered, counts = OrderedDict(b=1, a=2), defaultdict(int, b=1, a=2)
    assert tree.flatten(ordered) == [1, 2] and tree.flatten(counts) == [2, 1]
    for nest in (ordered, counts, deque([1, 2], 5), pair(1, 2), (), deque()):
        made = tree.map_structure(lambda x: x * 10, nest)
        assert type(made) is type(nest) and tree.is_nested(nest)
        assert tree.flatten(made) == [x * 10 for x in tree.flatten(nest)]
    assert tree.map_structure(lambda *v: v, ordered, {"a": 3, "b": 4}) == {"b": (1, 4), "a": (2, 3)}
    for a, b in (((), []), ([1], [1, 2]), ({"a": 1}, {"b": 1}), (pair(1, 2), (1, 2)), (1, [1])):
        with pytest.raises(ShapeError):
            tree.map_structure(max, a, b)
