"""Saving and loading: weights, training state, custom classes, the trees of groups in files."""

from __future__ import annotations

import io
import json
import os
import zipfile

import h5py
import numpy as np
import pytest
from golden.cases.models import MODELS, compile_arguments
from golden.store import DATA, Golden, series

import zoo_keras as zk
from zoo_keras import layers, ops
from zoo_keras.configs.registration import get_custom_objects, register_keras_serializable
from zoo_keras.errors import ClusterError, ConfigError, FileError
from zoo_keras.saving import files, hdf5

X = np.linspace(-1, 1, 24, dtype="float32").reshape(6, 4)
Y = np.linspace(0, 1, 12, dtype="float32").reshape(6, 2)
WHOLE = pytest.mark.parametrize("suffix", [".keras", ".h5"])
ANY = pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])


@pytest.fixture(autouse=True)
def forget_registrations():
    before = dict(get_custom_objects())
    yield
    get_custom_objects().clear()
    get_custom_objects().update(before)


def sequential(**arguments):
    model = zk.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(5, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(2),
        ]
    )
    model.compile(**({"optimizer": "adam", "loss": "mse"} | arguments))
    return model


def saved(model, path):
    (model.save_weights if str(path).endswith(".weights.h5") else model.save)(path)
    return path


def assert_same_weights(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_goes_on_the_same(one, other, x=X, y=Y):
    """Both models train to the same bits: weights, optimizer state and seeds are equal."""
    for model in (one, other):
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert_same_weights(one, other)


# ---- training goes on ------------------------------------------------------------------------


OPTIMIZERS = [
    "sgd", zk.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    zk.optimizers.Adam(0.01, amsgrad=True, use_ema=True, ema_overwrite_frequency=2),
    zk.optimizers.RMSprop(0.01, momentum=0.5, centered=True, clipnorm=1.0),
    zk.optimizers.Adam(zk.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5), weight_decay=0.1),
]  # fmt: skip


@WHOLE
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=range(len(OPTIMIZERS)))
def test_training_goes_on_bit_for_bit(optimizer, suffix, tmp_path):
    model = sequential(optimizer=zk.optimizers.get(_copy(optimizer)))
    model.fit(X, Y, batch_size=3, epochs=2, verbose=0)
    again = zk.saving.load_model(saved(model, tmp_path / f"model{suffix}"))
    assert_same_weights(model, again)
    assert_goes_on_the_same(model, again)


def _copy(optimizer):
    return optimizer if isinstance(optimizer, str) else zk.optimizers.serialize(optimizer)


def test_weights_file_brings_the_state_of_a_trained_optimizer(tmp_path):
    model = sequential()
    model.fit(X, Y, epochs=1, verbose=0)
    path = saved(model, tmp_path / "model.weights.h5")
    kept = model.get_weights()
    for _ in range(2):
        model.load_weights(path)
        for weight, want in zip(model.get_weights(), kept, strict=True):
            np.testing.assert_array_equal(weight, want)
        assert int(model.optimizer.iterations) == 1
        model.fit(X, Y, epochs=1, verbose=0)


def test_weights_load_without_compile_and_without_a_built_optimizer(tmp_path):
    model = sequential()
    model.fit(X, Y, epochs=1, verbose=0)
    path = saved(model, tmp_path / "model.weights.h5")
    fresh = zk.models.clone_model(model)
    fresh.load_weights(path)
    assert_same_weights(model, fresh)


@WHOLE
def test_learning_rate_that_a_callback_set_is_kept(suffix, tmp_path):
    model = sequential(optimizer=zk.optimizers.SGD(0.5))
    model.optimizer.learning_rate = 0.125
    model.fit(X, Y, epochs=1, verbose=0)
    again = zk.saving.load_model(saved(model, tmp_path / f"model{suffix}"))
    assert float(again.optimizer.learning_rate) == 0.125


def test_h5_may_leave_the_optimizer_out(tmp_path):
    model = sequential()
    model.fit(X, Y, epochs=1, verbose=0)
    model.save(tmp_path / "model.h5", include_optimizer=False)
    assert not zk.saving.load_model(tmp_path / "model.h5").compiled


# ---- compile ---------------------------------------------------------------------------------


@register_keras_serializable("tests")
def shifted(y_true, y_pred):
    return ops.mean(ops.square(y_pred - y_true - 1.0), axis=-1)


def unregistered(y_true, y_pred):
    return ops.mean(ops.abs(y_pred - y_true), axis=-1)


COMPILED = [
    lambda: {"loss": "mae", "metrics": ["mse", "accuracy"]},
    lambda: {"loss": zk.losses.BinaryCrossentropy(label_smoothing=0.3),
             "metrics": [zk.metrics.MeanAbsoluteError(name="m")]},
    lambda: {"loss": unregistered, "metrics": [unregistered], "weighted_metrics": ["mse"]},
    lambda: {"loss": ["mse"], "metrics": [["mae"]], "loss_weights": [0.5]},
]  # fmt: skip


@WHOLE
@pytest.mark.parametrize("arguments", COMPILED, ids=range(len(COMPILED)))
def test_compile_arguments_return(arguments, suffix, tmp_path):
    model = sequential(**arguments())
    want = model.evaluate(X, Y, verbose=0, return_dict=True)
    path = saved(model, tmp_path / f"model{suffix}")
    again = zk.saving.load_model(path, custom_objects={"unregistered": unregistered})
    assert again.evaluate(X, Y, verbose=0, return_dict=True) == want


def two_outputs():
    start = layers.Input((4,), name="start")
    middle = layers.Dense(3, name="middle")(start)
    outputs = {"a": layers.Dense(2, name="a")(middle), "b": layers.Dense(1, name="b")(middle)}
    return zk.Model(start, list(outputs.values()))


@WHOLE
def test_dicts_of_losses_and_metrics_by_output_return(suffix, tmp_path):
    model = two_outputs()
    model.compile(
        "sgd", loss={"a": "mse", "b": zk.losses.MeanAbsoluteError()},
        metrics={"a": ["mae"], "b": [zk.metrics.MeanSquaredError(name="s")]},
        loss_weights={"a": 0.25, "b": 2.0},
    )  # fmt: skip
    targets = [Y, Y[:, :1]]
    want = model.evaluate(X, targets, verbose=0, return_dict=True)
    again = zk.saving.load_model(saved(model, tmp_path / f"model{suffix}"))
    assert again.evaluate(X, targets, verbose=0, return_dict=True) == want


@WHOLE
def test_registered_loss_needs_no_custom_objects(suffix, tmp_path):
    register_keras_serializable("tests")(shifted)
    model = sequential(loss=shifted)
    again = zk.saving.load_model(saved(model, tmp_path / f"model{suffix}"))
    assert again.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)


# ---- custom classes --------------------------------------------------------------------------


class Scale(layers.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="normal", name="scale")
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

    def call(self, x):
        return x * self.scale * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class Block(layers.Layer):
    """Sublayers under attributes of every kind; the order in files is Keras' own."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self._steps = [layers.Dense(units) for _ in range(2)]
        self.by_name = {"z": layers.Dense(units), "more": [layers.Dense(units), Scale(2.0)]}
        self._norm = layers.LayerNormalization()
        self.Drop = layers.Dropout(0.5)

    def call(self, x):
        for step in [*self._steps, self.by_name["z"], *self.by_name["more"]]:
            x = step(x)
        return self.Drop(self._norm(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Small(zk.Model):
    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.zoom = Scale(3.0)
        self._hidden = [layers.Dense(units, activation="tanh"), layers.Dense(units)]
        self.block = Block(units)
        self.end = zk.Sequential([layers.Dense(units), layers.PReLU(), layers.Dense(2)])

    def call(self, x):
        for layer in self._hidden:
            x = layer(x)
        return self.end(self.block(self.zoom(x)))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


CUSTOM = {"Scale": Scale, "Block": Block, "Small": Small}


def functional():
    start = layers.Input((4,))
    shared = layers.Dense(3)
    inner_in = layers.Input((3,))
    inner = zk.Model(inner_in, Block(3)(layers.Dense(3)(inner_in)))
    left, right = inner(shared(start)), inner(shared(start * 2.0 + 1.0))
    joined = ops.concatenate([left - right, ops.relu(left)], axis=-1)
    return zk.Model(start, layers.Dense(2)(Scale(0.5)(joined)))


def subclassed():
    model = Small()
    model.build((None, 4))
    return model


@ANY
@pytest.mark.parametrize("make", [functional, subclassed])
def test_models_of_custom_layers_return(make, suffix, tmp_path):
    model = make()
    model.compile("adam", "mse")
    model.fit(X, Y, batch_size=4, epochs=1, verbose=0)
    path = saved(model, tmp_path / f"model{suffix}")
    if suffix == ".weights.h5":
        again = make()
        again.load_weights(path)
        assert_same_weights(model, again)
        return
    again = zk.saving.load_model(path, custom_objects=CUSTOM)
    np.testing.assert_array_equal(again.predict_on_batch(X), model.predict_on_batch(X))
    assert_goes_on_the_same(model, again)


def test_registered_layers_need_no_custom_objects(tmp_path):
    for cls in CUSTOM.values():
        register_keras_serializable("tests")(cls)
    model = subclassed()
    again = zk.saving.load_model(saved(model, tmp_path / "model.keras"))
    assert type(again) is Small
    assert_same_weights(model, again)


def test_layer_of_two_nested_models_stays_one_layer(tmp_path):
    start, shared = layers.Input((4,)), layers.Dense(4)
    one = zk.Model(start, layers.ReLU()(shared(start)))
    other_start = layers.Input((4,))
    other = zk.Model(other_start, shared(other_start))
    whole_start = layers.Input((4,))
    model = zk.Model(whole_start, one(whole_start) + other(whole_start))
    again = zk.saving.load_model(saved(model, tmp_path / "model.keras"))
    assert len(again.weights) == 2
    np.testing.assert_array_equal(again.predict_on_batch(X), model.predict_on_batch(X))


@WHOLE
def test_lambda_loads_only_when_the_file_is_trusted(suffix, tmp_path):
    model = zk.Sequential([layers.Input((4,)), layers.Lambda(lambda x: x * 2.0)])
    path = saved(model, tmp_path / f"model{suffix}")
    with pytest.raises(ConfigError, match="safe_mode=False"):
        zk.saving.load_model(path)
    again = zk.saving.load_model(path, safe_mode=False)
    np.testing.assert_array_equal(again.predict_on_batch(X), X * 2)


@WHOLE
def test_frozen_layers_stay_frozen(suffix, tmp_path):
    model = sequential()
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=1, verbose=0)
    again = zk.saving.load_model(saved(model, tmp_path / f"model{suffix}"))
    assert_same_weights(model, again)
    assert [w.name for w in again.trainable_weights] == [w.name for w in model.trainable_weights]
    assert_goes_on_the_same(model, again)


# ---- the layout of files ---------------------------------------------------------------------


def groups(path):
    """Path -> (shape, attributes) of everything in the file, without the two JSON texts."""
    data = path
    if str(path).endswith(".keras"):
        with zipfile.ZipFile(path) as archive:
            data = io.BytesIO(archive.read("model.weights.h5"))
    found = {}
    with h5py.File(data) as file:
        file.visititems(lambda name, item: found.update({name: described(item)}))
        found["/"] = described(file)
    return found


def described(item):
    attributes = {k: np.asarray(v).tolist() for k, v in item.attrs.items() if "config" not in k}
    return getattr(item, "shape", None), attributes


@ANY
@pytest.mark.parametrize("name", MODELS)
def test_tree_of_groups_is_that_of_keras(name, suffix, tmp_path):
    arrays = Golden("files").arrays(name)
    model = MODELS[name].build(zk)
    model.compile(**compile_arguments(zk, MODELS[name]))
    x, y = (series(arrays, key) for key in "xy")
    model.train_on_batch(x if len(x) > 1 else x[0], y if len(y) > 1 else y[0])
    ours = groups(saved(model, tmp_path / f"model{suffix}"))
    assert ours == groups(DATA / "files" / f"{name}{suffix}")


def test_sublayers_are_filed_where_keras_looks_for_them(tmp_path):
    model = subclassed()
    tree = groups(saved(model, tmp_path / "a.weights.h5"))
    found = {name for name, (shape, _) in tree.items() if shape is not None}
    block = "block/_norm block/_steps/dense block/_steps/dense_1 block/by_name/dense".split()
    nested = "block/by_name/container/dense end/layers/dense end/layers/dense_1".split()
    hidden = "layers/dense layers/dense_1".split()  # _hidden comes after `layers`
    two = {f"{path}/vars/{i}" for path in (*block, *nested, *hidden) for i in (0, 1)}
    seed = {"block/Drop/seed_generator/vars/0"}
    scales = "end/layers/p_re_lu layers/scale block/by_name/container/scale".split()
    assert found == two | seed | {f"{path}/vars/0" for path in scales} | {
        f"{path}/vars/1" for path in scales[1:]
    }


def test_long_lists_of_names_are_cut_in_pieces(tmp_path):
    names = [f"layer_{i:04d}_{'n' * 60}" for i in range(1100)]
    with h5py.File(tmp_path / "names.h5", "w") as file:
        for key, given in (("many", names), ("short", ["s"] * 5000), ("none", [])):
            hdf5.write_names(file, key, given)
            assert hdf5.read_names(file, key) == given
        assert "many1" in file.attrs and "many" not in file.attrs


def test_h5_of_many_layers_with_long_names_returns(tmp_path):
    stack = [layers.Dense(1, name=f"dense_{i}_{'long' * 400}") for i in range(45)]
    model = zk.Sequential([layers.Input((1,)), *stack])
    again = zk.saving.load_model(saved(model, tmp_path / "model.h5"))
    with h5py.File(tmp_path / "model.h5") as file:
        assert len(file.attrs["model_config"]) > 1 << 16
        assert "layer_names1" in file["model_weights"].attrs
    assert_same_weights(model, again)


# ---- weights alone ---------------------------------------------------------------------------


def test_weights_by_name_go_to_layers_of_that_name(tmp_path):
    first = zk.Sequential([layers.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2)])
    first.save(tmp_path / "model.h5")
    second = zk.Sequential([layers.Input((4,)), layers.Dense(3, name="a"), layers.Dense(5)])
    kept = second.layers[1].get_weights()
    second.load_weights(tmp_path / "model.h5", by_name=True)
    assert_same_weights(second.get_layer("a"), first.get_layer("a"))
    for a, b in zip(second.layers[1].get_weights(), kept, strict=True):
        np.testing.assert_array_equal(a, b)


@ANY
def test_skip_mismatch_loads_what_fits_and_says_what_does_not(suffix, tmp_path):
    first = zk.Sequential([layers.Input((4,)), layers.Dense(3), layers.Dense(2)], name="m")
    path = saved(first, tmp_path / f"model{suffix}")
    second = zk.Sequential([layers.Input((4,)), layers.Dense(3), layers.Dense(5)], name="m")
    before = second.get_weights()
    with pytest.raises(FileError, match="skip_mismatch"):
        second.load_weights(path)
    for a, b in zip(second.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.warns(UserWarning, match=r"kernel has shape \(3, 5\), in the file \(3, 2\)"):
        second.load_weights(path, skip_mismatch=True)
    assert_same_weights(second.layers[0], first.layers[0])


REFUSED = [
    (lambda m, p: m.save(p / "model.onnx"), ConfigError, "must be .keras or .h5"),
    (lambda m, p: m.save(p / "model.keras", zipped=False), ConfigError, "zipped=False"),
    (lambda m, p: m.save_weights(p / "model.h5"), ConfigError, r"\.weights\.h5"),
    (lambda m, p: m.save(None), FileError, "str or os.PathLike"),
    (lambda m, p: zk.Sequential([layers.Dense(3)]).save(p / "m.h5"), ConfigError, "never built"),
    (lambda m, p: zk.saving.load_model(p / "none.keras"), FileError, "not found. Received"),
    (lambda m, p: zk.saving.load_model(p), FileError, "a directory"),
    (lambda m, p: zk.saving.load_model(7), FileError, "Received: 7"),
    (lambda m, p: zk.saving.load_model(saved(m, p / "m.weights.h5")), FileError, "only weights"),
    (lambda m, p: m.load_weights(saved(m, p / "m.weights.h5"), by_name=True), FileError, "by_name"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_misuse_is_refused(call, error, message, tmp_path):
    with pytest.raises(error, match=message):
        call(sequential(), tmp_path)


def test_a_hadoop_path_needs_a_spark_session(monkeypatch):
    monkeypatch.setattr("pyspark.SparkContext._active_spark_context", None)
    with pytest.raises(ClusterError, match="Spark session"):
        sequential().save("s3a://bucket/model.keras")


NO_MODEL = [
    "[]", "3", "null", '"Sequential"', "{}", "not json", '{"class_name": "Sequential"}',
    '{"class_name": "Sequential", "config": null}', '{"class_name": "Dense", "config": {}}',
    json.dumps(zk.losses.serialize(zk.losses.Huber())), "[" * 100_000, None,
    '{"class_name": ["a"], "config": {}}', '{"class_name": "Model", "config": {"layers": [1]}}',
]  # fmt: skip


@pytest.mark.parametrize("text", NO_MODEL, ids=range(len(NO_MODEL)))
def test_json_that_describes_no_model_is_a_config_error(text):
    with pytest.raises(ConfigError):
        zk.models.model_from_json(text)


# ---- unknown names ---------------------------------------------------------------------------


@WHOLE
def test_all_unknown_names_are_told_at_once(suffix, tmp_path):
    start = layers.Input((4,))
    model = zk.Model(start, layers.Dense(2, activation=ops.relu)(Scale(1.0)(Block(4)(start))))
    model.compile("sgd", loss=unregistered, metrics=[shifted])
    path = saved(model, tmp_path / f"model{suffix}")
    with pytest.raises(ConfigError) as caught:
        zk.saving.load_model(path)
    for part in ("'Scale'", "'Block'", "'unregistered'", "custom_objects"):
        assert part in str(caught.value)


# ---- writing ---------------------------------------------------------------------------------


class Failing(layers.Dense):
    """A layer whose configuration cannot be had."""

    def get_config(self):
        raise RuntimeError("no configuration")


@WHOLE
def test_a_failing_save_leaves_the_old_file_and_no_draft(suffix, tmp_path):
    path = saved(sequential(), tmp_path / f"model{suffix}")
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="no configuration"):
        zk.Sequential([layers.Input((4,)), Failing(2)]).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@ANY
def test_overwrite_false_refuses(suffix, tmp_path):
    model = sequential()
    path = saved(model, tmp_path / f"model{suffix}")
    before = path.read_bytes()
    save = model.save_weights if suffix == ".weights.h5" else model.save
    with pytest.raises(FileError, match="overwrite=False"):
        save(path, overwrite=False)
    assert path.read_bytes() == before


def test_folders_are_made_and_links_followed(tmp_path):
    path = saved(sequential(), tmp_path / "new" / "folder" / "model.keras")
    link = tmp_path / "link.keras"
    link.symlink_to(path)
    before = path.read_bytes()
    saved(sequential(), link)
    assert link.is_symlink() and path.read_bytes() != before


def test_a_folder_that_cannot_be_made_is_a_file_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="could not be written"):
        sequential().save(tmp_path / "file" / "model.keras")
    with pytest.raises(FileError, match="a directory or device"):
        (tmp_path / "folder.keras").mkdir()
        sequential().save(tmp_path / "folder.keras")


def test_file_urls_need_no_session(tmp_path):
    model = sequential()
    model.save(f"file://{tmp_path}/model.keras")
    assert_same_weights(model, zk.saving.load_model(f"file:{tmp_path}/model.keras"))


def test_what_names_a_hadoop_file_system():
    remote = ["hdfs://host/a.h5", "s3a://b/a.h5", "file:///tmp/a.h5", "file:/tmp/a.h5"]
    local = ["/tmp/a.h5", "a.h5", "C:/a.h5", "strange:name.h5", "./x://y"]
    assert all(map(files.is_remote, remote)) and not any(map(files.is_remote, local))


def test_a_model_without_weights_is_saved_with_a_warning(tmp_path):
    path = tmp_path / "m.keras"
    with pytest.warns(UserWarning, match="not yet been built"):
        zk.Sequential([layers.Dense(3)]).save(path)
    again = zk.saving.load_model(path)
    assert not again.built
    assert again(np.ones((1, 2))).shape == (1, 3)


def test_save_format_is_taken_and_said_to_be_old(tmp_path):
    model = zk.Sequential([zk.Input((2,)), layers.Dense(3)])
    with pytest.warns(UserWarning, match="save_format"):
        model.save(tmp_path / "m.h5", save_format="h5")
    assert (tmp_path / "m.h5").exists()


def test_a_list_that_holds_itself_is_no_endless_tree():
    layer = layers.Dense(1)
    layer.blocks = [layers.Dense(1)]
    layer.blocks.append(layer.blocks)
    assert layer.weights == []


@zk.saving.register_keras_serializable("test_saving")
class Compiles(zk.Sequential):
    def compile(self, *args, **kwargs):
        super().compile(*args, **kwargs)


def test_a_compile_of_ones_own_is_not_called_by_loading(tmp_path):
    model = Compiles([zk.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match="was not called as part of model loading"):
        assert not zk.saving.load_model(tmp_path / "m.keras").compiled


def test_objects_to_skip_keep_their_weights(tmp_path):
    def made():
        return zk.Sequential([zk.Input((2,)), layers.Dense(3), layers.Dense(3)])

    model, path = made(), tmp_path / "m.weights.h5"
    model.save_weights(path, objects_to_skip=[model.layers[0]])
    again = made()
    before = again.layers[0].kernel.numpy()
    again.load_weights(path, objects_to_skip=[again.layers[0]])
    np.testing.assert_array_equal(again.layers[0].kernel.numpy(), before)
    np.testing.assert_array_equal(again.layers[1].kernel.numpy(), model.layers[1].kernel.numpy())
    model.save(tmp_path / "m.keras")
    with pytest.raises(ConfigError, match="only supports loading"):
        again.load_weights(tmp_path / "m.keras", objects_to_skip=[again.layers[0]])
