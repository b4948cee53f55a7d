"""Sizes that files claim are read from headers first: refused before time or memory is taken."""

from __future__ import annotations

import io
import json
import zipfile

import h5py
import numpy as np
import pytest
from hostile import archive, assert_small, layer

import zoo_keras as zk
from zoo_keras import layers
from zoo_keras.errors import ConfigError, FileError


def dense():
    return zk.Sequential([layers.Input((4,)), layers.Dense(3, name="d")], name="m")


def stack(*entries, shape=(8, 4), **more):
    """The configuration of a Sequential of these (class name, arguments)."""
    start = layer("keras.layers", "InputLayer", {"batch_shape": [None, *shape]})
    made = [layer("keras.layers", name, config) for name, config in entries]
    return {**layer("keras", "Sequential", {"name": "s", "layers": [start, *made]}), **more}


HUGE = 10**8
# Layers whose weights alone would take more than a gigabyte.
ASKING = {
    "Dense": {"units": HUGE}, "Conv1D": {"filters": HUGE, "kernel_size": 1},
    "Conv1DTranspose": {"filters": 3, "kernel_size": HUGE, "padding": "same"},
    "DepthwiseConv1D": {"kernel_size": 1, "depth_multiplier": HUGE},
    "SeparableConv1D": {"filters": HUGE, "kernel_size": 1},
    "Embedding": {"input_dim": HUGE, "output_dim": 4}, "SimpleRNN": {"units": HUGE},
    "LSTM": {"units": HUGE}, "GRU": {"units": HUGE},
    "EinsumDense": {"equation": "abc,cd->abd", "output_shape": [None, HUGE]},
    "Bidirectional": {"layer": layer("keras.layers", "LSTM", {"units": HUGE})},
    "TimeDistributed": {"layer": layer("keras.layers", "Dense", {"units": HUGE})},
}  # fmt: skip


@pytest.mark.parametrize("name", ASKING)
def test_a_layer_may_ask_for_no_more_weights_than_the_file_holds(name, tmp_path):
    path = archive(tmp_path / "m.keras", stack((name, ASKING[name])), empty_hdf5())
    error = assert_small(lambda: zk.saving.load_model(path))
    assert isinstance(error, FileError) and "more weights than the file holds" in str(error)


def empty_hdf5():
    data = io.BytesIO()
    h5py.File(data, "w").close()
    return data.getvalue()


@pytest.mark.parametrize("chunks", [None, (4, 10**5)])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_arrays_that_were_never_written_hold_no_weights(suffix, chunks, tmp_path):
    path, config = tmp_path / f"m{suffix}", stack(("Dense", {"units": HUGE, "name": "dense"}))
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file.attrs["keras_version"], file.attrs["model_config"] = "3.15.1", json.dumps(config)
        for name in ("layers/dense/vars/0", "model_weights/dense/dense/kernel"):
            file.create_dataset(name, (4, HUGE), "f4", chunks=chunks)
        file["model_weights"].attrs["layer_names"] = [b"dense"]
        file["model_weights/dense"].attrs["weight_names"] = [b"dense/kernel"]
    if suffix == ".h5":
        path.write_bytes(data.getvalue())
    else:
        archive(path, config, data.getvalue())
    error = assert_small(lambda: zk.saving.load_model(path))
    assert isinstance(error, FileError) and "more weights than the file holds" in str(error)


def test_an_array_that_unpacks_to_far_more_is_refused(tmp_path):
    model = zk.Sequential([layers.Input((4000,)), layers.Dense(1000, name="dense")])
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file.create_dataset(
            "layers/dense/vars/0",
            data=np.zeros((4000, 1000), "f4"),
            compression="gzip",
            chunks=(400, 100),
        )
        file["layers/dense/vars/1"] = np.zeros(1000, "f4")
    with pytest.raises(FileError, match="Received: 16000000 bytes"):
        model.load_weights(tmp_path / "m.weights.h5")


@pytest.mark.parametrize("item", ["[]", "{}", "1"])
def test_a_json_of_very_many_values_is_refused_before_they_are_made(item, tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("config.json", "[" + f"{item}," * 200_000 + item + "]")
        made.writestr("model.weights.h5", b"")
    error = assert_small(lambda: zk.saving.load_model(tmp_path / "m.keras"))
    assert isinstance(error, FileError) and "200001 values" in str(error)


@pytest.mark.parametrize(
    "metric,config", [("AUC", {"num_thresholds": HUGE}), ("MeanIoU", {"num_classes": HUGE})]
)
def test_a_metric_of_a_file_keeps_no_million_numbers(metric, config, tmp_path):
    made = layer("keras.metrics", metric, config)
    compiled = {"optimizer": "adam", "loss": "mse", "metrics": [made]}
    config = stack(("Dense", {"units": 3}), compile_config=compiled)
    path = archive(tmp_path / "m.keras", config, empty_hdf5())
    error = assert_small(lambda: zk.saving.load_model(path))
    assert isinstance(error, ConfigError) and "at most" in str(error)


def test_a_compressed_archive_of_an_honest_model_opens(tmp_path):
    model = dense()
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as given:
        members = {name: given.read(name) for name in given.namelist()}
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    again = zk.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
