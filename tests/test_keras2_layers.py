"""Every layer's config as Keras 2.0 to 2.15 wrote it: the layer computes what it did in Keras 2."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from golden.cases.keras2_layers import CASES, NOT_HERE, inputs
from golden.store import Golden, series

import zoo_keras as zk
from zoo_keras.configs.serialization import UnknownObjectError
from zoo_keras.errors import ConfigError, ShapeError

AREA = Golden("keras2_layers")
TEXT = ("text", "words")

# When an argument came into the configs, by layer or for all of them.
SINCE = {
    "groups": 2.4, "time_major": 2.3, "zero_output_for_mask": 2.12, "keepdims": 2.6, "sparse": 2.15,
    "synchronized": 2.12, "score_mode": 2.6, "seed": 2.9, "negative_slope": 2.2, "threshold": 2.2,
    "interpolation": 2.2, "output_padding": 2.2, "reset_after": 2.1, "return_state": 2.1,
    "noise_shape": 2.1, "flash_attention": 2.15, "query_shape": 2.5, "key_shape": 2.5,
    "value_shape": 2.5, "dtype": 2.3,
    **{(name, "seed"): 2.1 for name in ("Dropout", "Attention", "AdditiveAttention")},
    **{(f"{kind}Pooling1D", "data_format"): 2.2
       for kind in ("Average", "Max", "GlobalAverage", "GlobalMax")},
    ("Conv1D", "data_format"): 2.2, ("SeparableConv1D", "data_format"): 2.2,
    ("Flatten", "data_format"): 2.2, ("UpSampling1D", "data_format"): 2.2,
    ("Conv2DTranspose", "dilation_rate"): 2.2, ("Conv3DTranspose", "dilation_rate"): 2.2,
    ("Dropout", "dtype"): 2.3, ("RNN", "num_constants"): 2.2,
}  # fmt: skip
# When a layer came; those not named were there in 2.0.
LAYER_SINCE = {
    **dict.fromkeys(["SeparableConv1D", "RNN"], 2.1), **dict.fromkeys(["ReLU", "Softmax"], 2.2),
    **dict.fromkeys(["Attention", "AdditiveAttention", "LayerNormalization", "Identity"], 2.3),
    **dict.fromkeys(["Conv1DTranspose", "MultiHeadAttention"], 2.4), "EinsumDense": 2.4,
    **dict.fromkeys(["DepthwiseConv1D", "GroupNormalization", "UnitNormalization"], 2.11),
    **dict.fromkeys(["CategoryEncoding", "CenterCrop", "Discretization", "Hashing", "IntegerLookup",
                     "Normalization", "Rescaling", "Resizing", "StringLookup",
                     "TextVectorization"], 2.6),
    "AlphaDropout": 2.1, "ActivityRegularization": 2.0, "DepthwiseConv2D": 2.2,
}  # fmt: skip
VARIANCE = {  # initializers that Keras 2.0 to 2.2 wrote as VarianceScaling: mode, kind, scale
    "GlorotUniform": ("fan_avg", "uniform", 1.0), "GlorotNormal": ("fan_avg", "normal", 1.0),
    "HeNormal": ("fan_in", "normal", 2.0), "HeUniform": ("fan_in", "uniform", 2.0),
    "LecunUniform": ("fan_in", "uniform", 1.0), "LecunNormal": ("fan_in", "normal", 1.0),
}  # fmt: skip
ERAS = (2.0, 2.1, 2.2, 2.3, 2.4, 2.6, 2.11, 2.15)


def number(version):
    """2.11 comes after 2.9."""
    return int(str(version).split(".")[1])


def later(version, era):
    return number(version) > number(era)


def at(era, name, config):
    """A layer's config with the words that it had in that version."""
    kept = {key: _value(era, v) for key, v in config.items()
            if not later(SINCE.get((name, key), SINCE.get(key, 2.0)), era)}  # fmt: skip
    if name in ("LSTM", "GRU", "SimpleRNN") and later(2.3, era):
        kept["implementation"] = 0
    if name == "LeakyReLU" and era == 2.1:
        kept["alpha"] = {"type": "ndarray", "value": config["alpha"]}
    if name in ("BatchNormalization", "LayerNormalization") and later(2.3, era):
        axis = kept["axis"]
        kept["axis"] = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if name == "Embedding":
        kept["input_length"] = 5
    return kept


def _value(era, value):
    if isinstance(value, list):
        return [_value(era, v) for v in value]
    if not isinstance(value, dict):
        return value
    if "class_name" not in value:
        return {key: _value(era, v) for key, v in value.items()}
    name = value["class_name"]
    if later(2.4, era) and name in VARIANCE:
        mode, kind, scale = VARIANCE[name]
        made = {"scale": scale, "mode": mode, "distribution": kind, "seed": None}
        return {"class_name": "VarianceScaling", "config": made}
    made = {"class_name": name, "config": at(era, name, value["config"])}
    if not later(2.12, era):  # from then on with modules
        made |= {key: v for key, v in value.items() if key not in made}
    return made


def graph(era, name, config, given):
    """The model around the layer, as that version wrote models."""
    ends = [f"x{i}" for i in range(len(given))]
    if name != "MultiHeadAttention":
        called = [[[end, 0, 0, {}] for end in ends]]
    else:
        called = [["x0", 0, 0, {"value": ["x1", 0, 0]}]]
    layers = [
        {"class_name": "InputLayer", "name": end, "inbound_nodes": [], "config": {
            "batch_input_shape": [None, *x.shape[1:]], "name": end, "sparse": False,
            "dtype": "string" if x.dtype.kind == "U" else str(x.dtype)}}
        for end, x in zip(ends, given)
    ]  # fmt: skip
    layers.append({"class_name": name, "name": "layer", "config": config, "inbound_nodes": called})
    inner = {"name": "m", "layers": layers, "input_layers": [[end, 0, 0] for end in ends],
             "output_layers": [["layer", 0, 0]]}  # fmt: skip
    return {"class_name": "Model" if later(2.4, era) else "Functional", "config": inner}


def stack(era, name, config, given):
    """A Sequential of the layer alone: a bare list up to Keras 2.2.2, and no InputLayer."""
    first = {**config, "batch_input_shape": [None, *given[0].shape[1:]]}
    first.setdefault("dtype", "float32")  # of ids also
    layers = [{"class_name": name, "config": first}]
    inner = layers if later(2.2, era) else {"name": "m", "layers": layers}
    return {"class_name": "Sequential", "config": inner}


def write(path, era, model, names, weights):
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = f"{era}.0"
        file.attrs["backend"] = "tensorflow"
        file.attrs["model_config"] = json.dumps(model)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = ["layer"]
        layer = group.create_group("layer")
        layer.attrs["weight_names"] = np.array([n.encode() for n in names] or np.zeros(0, "S1"))
        for weight, values in zip(names, weights, strict=True):
            layer[weight] = values


def spoken(era, name):
    return not later(LAYER_SINCE.get(name, 2.0), era) and not _needs_later(era, name)


def _needs_later(era, name):
    """Whether the case sets an argument that the version did not have to say."""
    asked = {key: v for key, v in CASES[name][0].items() if key not in ("dropout", "seed")}
    return any(later(SINCE.get((name, key), SINCE.get(key, 2.0)), era) for key in asked)


ROWS = [(name, era) for name in CASES for era in ERAS if spoken(era, name)]


def data_of(name):
    arrays = AREA.arrays(name)
    kinds = AREA.cases[name]["inputs"]
    if set(kinds) & set(TEXT):
        return arrays, inputs(kinds, None)
    return arrays, series(arrays, "x")


@pytest.mark.parametrize(("name", "era"), ROWS)
def test_a_layer_computes_what_it_did_in_keras_2(name, era, tmp_path):
    arrays, given = data_of(name)
    config = at(era, name, AREA.cases[name]["config"])
    alone = later(2.3, era) and len(given) == 1
    model = (stack if alone else graph)(era, name, config, given)
    write(tmp_path / "m.h5", era, model, AREA.cases[name]["names"], series(arrays, "w"))
    found = zk.saving.load_model(tmp_path / "m.h5").predict_on_batch(
        given if len(given) > 1 else given[0]
    )
    np.testing.assert_allclose(found, arrays["y"], rtol=2e-5, atol=2e-6)


def test_what_is_not_here_is_said_by_name():
    assert not [name for name in NOT_HERE if name in vars(zk.layers)]
    for name in (*NOT_HERE, "CuDNNLSTM"):
        layer = {"class_name": name, "config": {"name": "l", "batch_input_shape": [None, 4, 3]}}
        text = json.dumps({"class_name": "Sequential", "config": [layer], "keras_version": "2.2.4"})
        with pytest.raises(UnknownObjectError, match=f"'{name}'"):
            zk.models.model_from_json(text)


@pytest.mark.parametrize(("rank", "sizes"), [(1, (5,)), (2, (5, 4))])
def test_weights_by_places_with_channels_first_are_the_same_products(rank, sizes):
    """Windows then lie with their channels first, in files, too."""
    kind = getattr(zk.layers, f"LocallyConnected{rank}D")
    x = np.random.default_rng(0).normal(size=(2, *sizes, 3)).astype("f4")
    last = kind(4, 2, activation="relu", bias_initializer="ones")
    first = kind(4, 2, activation="relu", bias_initializer="ones", data_format="channels_first")
    want, turned = last(x), np.moveaxis(x, -1, 1)
    first.build(turned.shape)
    kernel = np.reshape(last.kernel.numpy(), (-1, 2**rank, 3, 4))
    first.set_weights([np.reshape(kernel.swapaxes(1, 2), first.kernel.shape), last.bias.numpy()])
    found = first(turned)
    assert first.compute_output_shape(turned.shape) == found.shape
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), want, rtol=1e-5, atol=1e-6)


def test_weights_by_places_are_trained_and_what_cannot_be_is_refused(tmp_path):
    kind = zk.layers.LocallyConnected1D
    model = zk.Sequential([zk.Input((4, 2)), kind(1, 4, kernel_initializer="zeros")])
    model.compile("sgd", "mse")
    x = np.ones((3, 4, 2), "f4")
    model.fit(x, np.ones((3, 1, 1)), verbose=0)
    np.testing.assert_allclose(model.layers[0].kernel.numpy(), np.full((1, 8, 1), 0.02), rtol=1e-5)
    model.save(tmp_path / "m.keras")
    again = zk.saving.load_model(tmp_path / "m.keras").predict_on_batch(x)
    np.testing.assert_array_equal(again, model.predict_on_batch(x))
    for options in ({"padding": "same"}, {"implementation": 2}, {"kernel_size": (2, 2)}):
        with pytest.raises(ConfigError, match=r"LocallyConnected1D: .*Received"):
            kind(**{"filters": 1, "kernel_size": 2, **options})
    with pytest.raises(ShapeError, match=r"a window does not fit\. Received: windows of"):
        kind(1, 5)(x)


def test_what_is_both_a_loss_and_a_metric_is_told_by_its_place(tmp_path):
    """A file of Keras 2 says `MeanSquaredError` and no module."""
    given = [np.ones((3, 6), "f4")]
    model = stack(2.3, "Dense", {"name": "layer", "units": 1, "use_bias": False}, given)
    write(tmp_path / "m.h5", 2.3, model, ["layer/kernel:0"], [np.ones((6, 1), "f4")])
    both = {"class_name": "MeanSquaredError", "config": {"name": "squares"}}
    training = {"loss": both, "metrics": [both], "optimizer_config": {
        "class_name": "SGD", "config": {"lr": 0.1, "name": "SGD"}}}  # fmt: skip
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file.attrs["training_config"] = json.dumps(training)
    found = zk.saving.load_model(tmp_path / "m.h5")
    assert isinstance(found.loss, zk.losses.MeanSquaredError)
    logs = found.evaluate(given[0], np.zeros((3, 1)), verbose=0, return_dict=True)
    assert logs == {"loss": 36.0, "squares": 36.0}
    assert isinstance(found.metrics[1], zk.metrics.MeanSquaredError)
