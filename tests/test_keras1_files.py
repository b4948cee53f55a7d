"""Files of real Keras 1, by TensorFlow and by Theano, open and compute as they did there."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from golden.compare import OUTPUT, assert_all_close
from golden.store import DATA, series

import zoo_keras as zk
from zoo_keras.errors import ConfigError, FileError, UnsupportedError
from zoo_keras.saving import keras1

FILES = DATA / "keras1"
# What Keras 1 marshals into the file has to be given by name: the layer's.
FUNCTIONS = {"double": lambda x: x * 2.0, "less": lambda xs: xs[0] - xs[1]}
# Where one more step need not be the same: Nadam's schedule is not in the file; moments of a bias
# before a normalisation are noise; the rest have gradients that Keras 1 gets in its own way.
STEP = 5e-4  # Keras 1 divides moving variances by n - 1
OTHER_STEP = ("nested", "towers", "highway", "batch_norm", "units", "merge_cos")


def read(maker):
    """Case -> arrays by their keys."""
    found = {}
    with np.load(FILES / f"{maker}.npz") as stored:
        for key in stored.files:
            case, _, name = key.partition("/")
            found.setdefault(case, {})[name] = stored[key]
    return found


ARRAYS = {path.stem: read(path.stem) for path in sorted(FILES.glob("*.npz"))}
CASES = [(maker, name) for maker, cases in ARRAYS.items() for name in cases]
every_case = pytest.mark.parametrize(("maker", "name"), CASES)
pytestmark = pytest.mark.filterwarnings("ignore:.*starts afresh")  # of Nadam, and Theano's
TEXTS = [
    (path.stem, name) for path in sorted(FILES.glob("*.json"))
    for name in json.loads(path.read_text())
]  # fmt: skip


def joined(items):
    return items[0] if len(items) == 1 else list(items)


def as_list(value):
    return value if isinstance(value, list) else [value]


def loaded(maker, name):
    return zk.saving.load_model(FILES / f"{maker}_{name}.h5", custom_objects=FUNCTIONS)


def assert_predicts(model, arrays, key="predicted", tolerance=OUTPUT):
    got = as_list(model.predict_on_batch(joined(series(arrays, "x"))))
    assert_all_close(got, series(arrays, key), tolerance, range(len(got)))


@every_case
def test_a_file_of_keras_1_predicts_the_same(maker, name):
    assert_predicts(loaded(maker, name), ARRAYS[maker][name])


@pytest.mark.parametrize(
    ("maker", "name"), [c for c in CASES if c[0] == "tensorflow" and c[1] not in OTHER_STEP]
)
def test_a_file_of_keras_1_trains_on_with_its_optimizer(maker, name):
    model, arrays = loaded(maker, name), ARRAYS[maker][name]
    model.train_on_batch(joined(series(arrays, "x")), joined(series(arrays, "y")))
    assert_predicts(model, arrays, "continued", STEP)


@every_case
def test_what_is_saved_here_opens_here(maker, name, tmp_path):
    if name == "lambdas":
        return  # its functions have no name to save
    loaded(maker, name).save(tmp_path / "again.keras")
    assert_predicts(zk.saving.load_model(tmp_path / "again.keras"), ARRAYS[maker][name])


@pytest.mark.parametrize(
    ("maker", "name"), [c for c in CASES if (FILES / "{}_{}_weights.h5".format(*c)).exists()]
)
@pytest.mark.parametrize("by_name", [False, True])
def test_weights_alone_load_by_order_and_by_name(maker, name, by_name):
    model = loaded(maker, name)
    model.set_weights([w * 0 for w in model.get_weights()])
    model.load_weights(FILES / f"{maker}_{name}_weights.h5", by_name=by_name)
    assert_predicts(model, ARRAYS[maker][name])


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize(("maker", "name"), TEXTS)
def test_json_and_yaml_of_keras_1_describe_the_model(maker, name, form):
    if form == "yaml":
        pytest.importorskip("yaml", reason="the package pyyaml reads YAML")
    text = json.loads((FILES / f"{maker}.json").read_text())[name][form == "yaml"]
    read_text = getattr(zk.saving, f"model_from_{form}")
    model = read_text(text)
    model.load_weights(FILES / f"{maker}_{name}.h5")
    assert_predicts(model, ARRAYS[maker][name])


def test_functions_of_lambdas_are_asked_for_by_the_layers_names():
    with pytest.raises(ConfigError, match=r"(?s)double.*less"):
        zk.saving.load_model(FILES / "tensorflow_lambdas.h5")


# ---- what no file above shows ----------------------------------------------------------------


def model_of(layer, config):
    return {
        "class_name": "Model", "config": {"layers": [{"class_name": layer, "config": config}]}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "config", "want"),
    [
        ("Convolution1D", {"nb_filter": 2, "filter_length": 3, "border_mode": "same"},
         ("Conv1D", {"filters": 2, "kernel_size": 3, "padding": "same"})),
        ("Convolution2D", {"nb_filter": 2, "nb_row": 3, "nb_col": 4, "dim_ordering": "th"},
         ("Conv2D", {"filters": 2, "kernel_size": [3, 4], "data_format": "channels_first"})),
        ("Dropout", {"p": 0.25}, ("Dropout", {"rate": 0.25})),
        ("GaussianNoise", {"sigma": 0.5}, ("GaussianNoise", {"stddev": 0.5})),
        ("ZeroPadding2D", {"padding": [1, 2, 3, 4]},
         ("ZeroPadding2D", {"padding": [[1, 2], [3, 4]]})),
        ("Embedding", {"input_dim": 5, "output_dim": 2, "init": "uniform"},
         ("Embedding", {"input_dim": 5, "output_dim": 2,
                        "embeddings_initializer": "random_uniform"})),
        ("LSTM", {"output_dim": 3, "inner_activation": "sigmoid", "forget_bias_init": "one"},
         ("LSTM", {"units": 3, "recurrent_activation": "sigmoid", "unit_forget_bias": True})),
        ("Dense", {"output_dim": 3, "W_regularizer": {"name": "L1L2Regularizer", "l1": 0.5}},
         ("Dense", {"units": 3, "kernel_regularizer":
                    {"class_name": "L1L2", "config": {"l1": 0.5, "l2": 0.0}}})),
        ("Convolution2D",
         {"dim_ordering": "th", "W_constraint": {"name": "MaxNorm", "m": 2, "axis": 0}},
         ("Conv2D", {"data_format": "channels_first", "kernel_constraint":
                     {"class_name": "MaxNorm", "config": {"max_value": 2, "axis": 3}}})),
        ("Merge", {"name": "m", "mode": "concat", "concat_axis": 1},
         ("Concatenate", {"name": "m", "trainable": True, "axis": 1})),
    ],
)  # fmt: skip
def test_arguments_of_keras_1_become_those_of_keras_2(layer, config, want):
    made = keras1.as_keras_2(model_of(layer, config))["config"]["layers"][0]
    assert (made["class_name"], made["config"]) == want


@pytest.mark.parametrize(
    ("layer", "config", "what"),
    [
        (
            "Embedding",
            {"input_dim": 5, "output_dim": 2, "dropout": 0.5, "name": "e"},
            "dropout=0.5",
        ),
        ("Dense", {"W_regularizer": {"name": "EigenvalueRegularizer"}}, "EigenvalueRegularizer"),
        ("Merge", {"mode": "outer", "name": "m"}, "outer"),
    ],
)
def test_what_no_later_keras_can_do_is_named(layer, config, what):
    with pytest.raises(UnsupportedError, match=what):
        keras1.as_keras_2(model_of(layer, config))


def numbered_file(path, **shapes):
    """Weights as Keras 0 and 1.0 wrote them: numbered layers and arrays, those without any too."""
    with h5py.File(path, "w") as file:
        file.attrs["nb_layers"] = len(shapes) + 1
        file.create_group("layer_0").attrs["nb_params"] = 0
        for i, arrays in enumerate(shapes.values(), 1):
            group = file.create_group(f"layer_{i}")
            group.attrs["nb_params"] = len(arrays)
            for j, array in enumerate(arrays):
                group[f"param_{j}"] = array


def test_numbered_weights_of_keras_0_load_with_kernels_turned_around(tmp_path):
    kernel = np.arange(36, dtype="f4").reshape(2, 3, 3, 2)  # filters, channels, rows, columns
    numbered_file(tmp_path / "old.h5", a=[kernel, np.ones(2, "f4")], b=[np.ones((2, 1), "f4")])
    model = zk.Sequential([
        zk.Input((4, 4, 3)), zk.layers.Conv2D(2, (3, 2)), zk.layers.GlobalMaxPooling2D(),
        zk.layers.Dense(1, use_bias=False)])  # fmt: skip
    model.load_weights(tmp_path / "old.h5")
    want = kernel.transpose(2, 3, 1, 0)[::-1, ::-1]
    np.testing.assert_array_equal(model.layers[0].kernel.numpy(), want)


def test_layers_that_theano_aligns_in_another_way_are_named(tmp_path):
    numbered_file(tmp_path / "old.h5", a=[np.ones((2, 3, 3, 3), "f4"), np.ones(2, "f4")])
    model = zk.Sequential([
        zk.Input((8, 8, 3)), zk.layers.Conv2D(2, 3, 2, "same", name="steps"),
        zk.layers.MaxPooling2D(padding="valid", name="pool")])  # fmt: skip
    with pytest.warns(UserWarning, match=r"Theano.*\['steps'\]"):
        model.load_weights(tmp_path / "old.h5")


def test_too_few_arrays_are_a_file_error(tmp_path):
    numbered_file(tmp_path / "old.h5", a=[np.ones((2, 1), "f4")])
    model = zk.Sequential([zk.Input((2,)), zk.layers.Dense(1)])
    with pytest.raises(FileError, match="needs 2 arrays"):
        model.load_weights(tmp_path / "old.h5")


@pytest.mark.parametrize(
    "text", ["a: !!python/object/apply:os.system [ls]", "[" * 50_000, "a: [b", "just text"]
)
def test_yaml_that_is_no_model_is_a_typed_error(text):
    pytest.importorskip("yaml", reason="the package pyyaml reads YAML")
    with pytest.raises(ConfigError, match="model_from_yaml"):
        zk.saving.model_from_yaml(text)


def test_yaml_that_grows_by_repetition_is_refused():
    pytest.importorskip("yaml", reason="the package pyyaml reads YAML")
    rows = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))
    with pytest.raises(ConfigError, match="by repetition"):
        zk.saving.model_from_yaml(f"a0: &a0 [1]\n{rows}")


def test_words_of_keras_1_in_a_model_of_keras_3_keep_their_meaning():
    blur = zk.layers.RandomGaussianBlur(sigma=0.7)
    model = zk.Sequential([zk.Input((4, 4, 1)), blur])
    assert zk.models.model_from_json(model.to_json()).layers[0].sigma == blur.sigma


def test_layers_of_an_old_file_with_too_few_arrays_may_be_skipped(tmp_path):
    zk.Sequential([zk.Input((3,)), zk.layers.Dense(2, use_bias=False)]).save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        del file.attrs["keras_version"], file.attrs["backend"]
        for key in ("keras_version", "backend"):
            file["model_weights"].attrs.pop(key, None)
    model = zk.Sequential([zk.Input((3,)), zk.layers.Dense(2)])
    with pytest.raises(FileError, match="needs 2 arrays"):
        model.load_weights(tmp_path / "m.h5")
    with pytest.warns(UserWarning, match="not loaded"):
        model.load_weights(tmp_path / "m.h5", skip_mismatch=True)
