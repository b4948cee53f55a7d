"""Files written by real Keras 3 and Keras 2 open here, predict the same and train on."""

from __future__ import annotations

import pytest
from golden.cases import models, recurrent_models, spatial_models
from golden.compare import OUTPUT, STEP, assert_all_close, assert_close
from golden.store import DATA, Golden, series

import zoo_keras as zk

# Keras 2 divides by n - 1 for the moving variance of images, Keras 3 and zoo_keras by n.
KERAS2_VARIANCE = 1e-2
MODELS = models.MODELS | spatial_models.MODELS | recurrent_models.MODELS
TORCH = Golden("torch")


def by_name(*areas):
    """Name -> the golden area that holds the file's numbers."""
    return {name: area for area in map(Golden, areas) for name in area.cases}


KERAS3 = by_name("files", "spatial_files", "recurrent_files")
KERAS2 = by_name("keras2", "spatial_keras2", "recurrent_keras2")
every_model = pytest.mark.parametrize("name", KERAS3)
every_old_model = pytest.mark.parametrize("name", KERAS2)
WHOLE = [f"{name}{suffix}" for name in KERAS3 for suffix in (".h5", ".keras")]


def joined(items):
    return items[0] if len(items) == 1 else list(items)


def as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def assert_predicts(model, arrays):
    predicted = as_list(model.predict_on_batch(joined(series(arrays, "x"))))
    assert_all_close(predicted, series(arrays, "predicted"), OUTPUT, range(len(predicted)))


def assert_trains_on(model, arrays, logs, variance=STEP):
    """One more step ends where Keras ended: the optimizer's state was in the file."""
    x, y = joined(series(arrays, "x")), joined(series(arrays, "y"))
    ours = model.train_on_batch(x, y, return_dict=True)
    assert ours["loss"] == pytest.approx(logs["loss"], rel=STEP)
    for weight, want in zip(model.weights, series(arrays, "continued"), strict=True):
        tolerance = variance if weight.name == "moving_variance" else STEP
        assert_close(weight.numpy(), want, tolerance, weight.path)


@pytest.mark.parametrize("file", WHOLE)
def test_whole_model_of_keras_3_predicts_the_same(file):
    name = file.partition(".")[0]
    arrays = KERAS3[name].arrays(name)
    model = zk.saving.load_model(DATA / "files" / file)
    want = series(arrays, "weight")
    assert_all_close(model.get_weights(), want, 0.0, [w.path for w in model.weights])
    assert_predicts(model, arrays)


@pytest.mark.parametrize("file", WHOLE)
def test_whole_model_of_keras_3_trains_on(file):
    name = file.partition(".")[0]
    model = zk.saving.load_model(DATA / "files" / file)
    assert_trains_on(model, KERAS3[name].arrays(name), KERAS3[name].cases[name]["continued"])


@pytest.mark.parametrize("file", WHOLE)
def test_model_loads_without_its_compile_state(file):
    name = file.partition(".")[0]
    model = zk.saving.load_model(DATA / "files" / file, compile=False)
    assert not model.compiled
    assert_predicts(model, KERAS3[name].arrays(name))


@every_model
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_weights_of_keras_3_load_into_the_same_model(name, suffix):
    arrays = KERAS3[name].arrays(name)
    model = MODELS[name].build(zk)
    model.load_weights(DATA / "files" / f"{name}{suffix}")
    want = series(arrays, "weight")
    assert_all_close(model.get_weights(), want, 0.0, [w.path for w in model.weights])
    assert_predicts(model, arrays)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_file_written_on_torch_opens_and_trains_on(suffix):
    arrays, logs = TORCH.arrays("mlp_torch"), TORCH.cases["mlp_torch"]["continued"]
    model = zk.saving.load_model(DATA / "files" / f"mlp_torch{suffix}")
    assert_predicts(model, arrays)
    assert_trains_on(model, arrays, logs)


@every_old_model
def test_whole_model_of_keras_2_predicts_the_same(name):
    model = zk.saving.load_model(DATA / "keras2" / f"{name}.h5")
    assert_predicts(model, KERAS2[name].arrays(name))


@every_old_model
def test_weights_of_keras_2_load_into_the_same_model(name):
    arrays = KERAS2[name].arrays(name)
    model = zk.saving.load_model(DATA / "keras2" / f"{name}.h5", compile=False)
    model.set_weights([w * 0 for w in model.get_weights()])
    model.load_weights(DATA / "keras2" / f"{name}_weights.h5")
    assert_predicts(model, arrays)


@every_old_model
def test_whole_model_of_keras_2_trains_on(name):
    model = zk.saving.load_model(DATA / "keras2" / f"{name}.h5")
    continued = KERAS2[name].cases[name]["continued"]
    assert_trains_on(model, KERAS2[name].arrays(name), continued, KERAS2_VARIANCE)


@every_model
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_what_is_saved_here_opens_here(name, suffix, tmp_path):
    arrays, logs = KERAS3[name].arrays(name), KERAS3[name].cases[name]["continued"]
    zk.saving.load_model(DATA / "files" / f"{name}.keras").save(tmp_path / f"again{suffix}")
    again = zk.saving.load_model(tmp_path / f"again{suffix}")
    assert_predicts(again, arrays)
    assert_trains_on(again, arrays, logs)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_bytecode_of_a_lambda_is_refused(suffix):
    with pytest.raises(ValueError, match="safe_mode"):
        zk.saving.load_model(DATA / "files" / f"with_lambda{suffix}")
