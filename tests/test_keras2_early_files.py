"""Files of Keras 2.0 and 2.1, before tf.keras: a GRU without reset_after, optimizers by order."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from golden.compare import OUTPUT, STEP, assert_all_close
from golden.store import DATA, series

import zoo_keras as zk
from zoo_keras.errors import FileError

FILES = DATA / "keras2_early"
CASES = [
    (path.stem, name) for path in sorted(FILES.glob("*.npz"))
    for name in ("words", "images", "nested")
]  # fmt: skip
every_case = pytest.mark.parametrize(("version", "name"), CASES)


def arrays_of(version, name):
    with np.load(FILES / f"{version}.npz") as stored:
        keys = [key for key in stored.files if key.startswith(f"{name}/")]
        return {key.partition("/")[2]: stored[key] for key in keys}


def joined(items):
    return items[0] if len(items) == 1 else list(items)


def as_list(value):
    return value if isinstance(value, list) else [value]


def assert_predicts(model, arrays, key="predicted", tolerance=OUTPUT):
    got = as_list(model.predict_on_batch(joined(series(arrays, "x"))))
    assert_all_close(got, series(arrays, key), tolerance, range(len(got)))


def loaded(version, name):
    return zk.saving.load_model(FILES / f"{version}_{name}.h5")


@every_case
def test_a_file_predicts_the_same(version, name):
    assert_predicts(loaded(version, name), arrays_of(version, name))


@every_case
def test_a_file_trains_on_with_its_optimizer(version, name):
    model, arrays = loaded(version, name), arrays_of(version, name)
    model.train_on_batch(joined(series(arrays, "x")), joined(series(arrays, "y")))
    assert_predicts(model, arrays, "continued", STEP)


@every_case
@pytest.mark.parametrize("by_name", [False, True])
def test_weights_alone_load(version, name, by_name):
    model = loaded(version, name)
    model.set_weights([w * 0 for w in model.get_weights()])
    model.load_weights(FILES / f"{version}_{name}_weights.h5", by_name=by_name)
    assert_predicts(model, arrays_of(version, name))


def test_the_gru_of_early_files_resets_before():
    assert loaded("209", "words").get_layer("gru_1").reset_after is False


def test_layers_that_do_not_fit_are_left_out_when_asked(tmp_path):
    path = FILES / "209_images_weights.h5"
    start = zk.Input((8, 8, 3))
    x = zk.layers.Conv2D(4, 3, padding="same", name="conv2d_1")(start)
    model = zk.Model(start, zk.layers.Dense(5, name="dense_3")(zk.layers.Flatten()(x)))
    with pytest.raises(FileError, match="dense_3"):
        model.load_weights(path, by_name=True)
    with pytest.warns(UserWarning, match="dense_3"):
        model.load_weights(path, by_name=True, skip_mismatch=True)
    want = loaded("209", "images").get_layer("conv2d_1").kernel.numpy()
    np.testing.assert_array_equal(model.get_layer("conv2d_1").kernel.numpy(), want)


def test_kernels_that_theano_wrote_are_turned_around(tmp_path):
    path = tmp_path / "theano.h5"
    path.write_bytes((FILES / "209_images_weights.h5").read_bytes())
    model = loaded("209", "images")
    want = {layer.name: layer.get_weights() for layer in model.layers}
    with h5py.File(path, "a") as file:
        file.attrs["backend"] = "theano"
    model.load_weights(path)
    for layer in model.layers:
        turned = type(layer).__name__ in ("Conv2D", "Conv2DTranspose")
        for i, (got, weight) in enumerate(zip(layer.get_weights(), want[layer.name], strict=True)):
            weight = weight[::-1, ::-1] if turned and i == 0 else weight
            np.testing.assert_array_equal(got, weight)
