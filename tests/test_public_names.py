"""Names of Keras beside layers and ops: settings, scopes, policies by path, pictures, wrappers."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import config, optimizers, visualization
from zoo_keras.dtype_policies import DTypePolicyMap
from zoo_keras.errors import ConfigError, DataError, ShapeError, UnsupportedError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(24, 4)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


def small():
    model = zk.Sequential([zk.Input((4,)), zk.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.fixture
def limits():
    yield
    config.set_max_epochs(None)
    config.set_max_steps_per_epoch(None)
    config.enable_interactive_logging()


def test_limits_cut_fits_short(limits):
    config.set_max_epochs(2)
    config.set_max_steps_per_epoch(3)
    model = small()
    history = model.fit(X, Y, epochs=9, batch_size=2, verbose=0).history
    assert len(history["loss"]) == 2 and int(model.optimizer.iterations) == 6
    assert model.predict(X, batch_size=2, verbose=0).shape == (6, 1)
    with pytest.raises(ConfigError, match="above 0"):
        config.set_max_epochs(0)


def test_without_interactive_logging_an_epoch_is_a_line(limits, capsys):
    config.disable_interactive_logging()
    assert not zk.utils.is_interactive_logging_enabled()
    small().fit(X, Y, epochs=2)
    assert capsys.readouterr().out.count("loss") == 2


def test_flags_say_what_was_said():
    for name in ("traceback_filtering", "flash_attention"):
        getattr(config, f"disable_{name}")()
        assert getattr(config, f"is_{name}_enabled")() is False
        getattr(config, f"enable_{name}")()
        assert getattr(config, f"is_{name}_enabled")() is True


def test_scopes_compute_what_is_inside():
    with zk.device("cpu:0"), zk.RematScope("larger_than"), zk.SymbolicScope():
        np.testing.assert_array_equal(zk.remat(lambda x: x + 1)(X), X + 1)
    with pytest.raises(UnsupportedError, match="CPUs"), zk.device("gpu:0"):
        pass
    with pytest.raises(ConfigError, match="mode"):
        zk.RematScope("some")


def test_a_layer_takes_the_policy_of_its_path():
    found = DTypePolicyMap("float32", {"narrow.*": "mixed_bfloat16"})
    assert zk.layers.Dense(2, dtype=found, name="narrow_1").dtype_policy.name == "mixed_bfloat16"
    assert zk.layers.Dense(2, dtype=found, name="wide").dtype_policy.name == "float32"
    again = zk.dtype_policies.get(found.serialize())
    assert dict(again) == dict(found) and again.name == "map_float32"
    found["narrow_1.*"] = "float32"
    with pytest.raises(ConfigError, match="multiple"):
        _ = found["narrow_12"]
    with pytest.raises(ConfigError, match="already exist"):
        found["narrow.*"] = "float32"
    with pytest.raises(ConfigError, match="Cannot interpret the assigned value"):
        found["other"] = 3


def test_a_map_without_a_default_follows_the_global_policy_where_it_is_read():
    found = DTypePolicyMap(policy_map={"a": "float64", "b": "int8_from_mixed_bfloat16"})
    config.set_dtype_policy("mixed_bfloat16")
    try:
        again = DTypePolicyMap.from_config(found.get_config())
    finally:
        config.set_dtype_policy("float32")
    assert [p.name for p in again.values()] == ["mixed_bfloat16", "int8_from_mixed_bfloat16"]


def test_policies_have_names_that_layers_may_refuse():
    policy = zk.dtype_policies.DTypePolicy("mixed_float16")
    assert (policy.compute_dtype, policy.variable_dtype) == ("float16", "float32")
    assert repr(policy) == '<DTypePolicy "mixed_float16">'
    with pytest.raises(UnsupportedError, match="mixed_float16"):
        zk.layers.Dense(1, dtype=policy)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda p: p.DTypePolicy("mixed_float15"), ValueError, "Cannot convert"),
        (lambda p: p.DTypePolicy(123), TypeError, "'name' must be a string"),
        (lambda p: p.get(123), ValueError, "Cannot interpret `dtype`"),
        (lambda p: p.get("int8_from_"), ValueError, "Cannot convert"),
        (lambda p: p.get("int8_abc_"), ValueError, "valid pair"),
        (lambda p: p.QuantizedDTypePolicy("int8", "float16"), ValueError, "doesn't work well"),
        (lambda p: p.QuantizedDTypePolicy("int7"), ValueError, "Invalid quantization mode"),
        (lambda p: config.set_dtype_policy(None), ValueError, "Invalid `policy`"),
    ],
)
def test_what_is_no_policy_is_refused(make, error, match):
    with pytest.raises(error, match=match):
        make(zk.dtype_policies)


def test_several_optimizers_are_saved_with_their_state(tmp_path):
    kinds = optimizers.OptimizerMap(optimizers.SGD(0.1), {".*first/.*": optimizers.Adam(0.1)})
    layers = [zk.layers.Dense(3, name="first"), zk.layers.Dense(1)]
    model = zk.Sequential([zk.Input((4,)), *layers])
    model.compile(optimizers.MultiOptimizer(kinds), "mse")
    model.fit(X, Y, epochs=2, verbose=0)
    model.save(tmp_path / "m.keras")
    again = zk.saving.load_model(tmp_path / "m.keras")
    for ours, theirs in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    with pytest.raises(AttributeError, match="individual"):
        _ = model.optimizer.learning_rate
    with pytest.raises(ConfigError, match="plain ones"):
        kinds["x"] = optimizers.MultiOptimizer(kinds)
    with pytest.raises(ConfigError, match="not there yet"):
        kinds[".*first/.*"] = optimizers.SGD()


def test_schedule_free_steps_are_those_of_the_paper():
    """z takes steps of Adam, x is the mean of all z, y = (1 - beta) z + beta x holds the weights.

    (Keras on TensorFlow and torch reads z after its step where the one before is meant.)
    """
    start, rate, beta, decay = np.float32([1.0, -2.0, 0.5]), 0.1, 0.9, 0.999
    variable = zk.Variable(start)
    optimizer = optimizers.ScheduleFreeAdamW(rate, beta_1=beta, beta_2=decay, warmup_steps=2)
    optimizer.build([variable])
    z, x, seen = start.astype("f8"), start.astype("f8"), np.zeros(3)
    for step, g in enumerate(RNG.normal(size=(4, 3)), 1):
        optimizer.apply([g.astype("float32")], [variable])
        seen = decay * seen + (1 - decay) * g**2
        z = z - rate * min(step / 2, 1) * g / (np.sqrt(seen / (1 - decay**step)) + 1e-8)
        x = (1 - 1 / step) * x + z / step
        np.testing.assert_allclose(variable, (1 - beta) * z + beta * x, rtol=1e-4)


def test_a_config_can_be_frozen():
    made = zk.utils.Config(rate=0.1)
    made.epochs = 3
    made.freeze()
    with pytest.raises(ConfigError, match="frozen"):
        made.epochs = 4
    assert made.to_json() == '{"rate": 0.1, "epochs": 3}' and "rate" in made
    assert made.as_dict() == {"rate": 0.1, "epochs": 3} and not hasattr(made, "other")


def test_boxes_are_drawn_where_they_are():
    pytest.importorskip("PIL")
    images = np.zeros((2, 20, 30, 3), "uint8")
    boxes = {"boxes": np.tile([2, 3, 10, 12], (2, 1, 1)), "labels": np.array([[1], [-1]])}
    made = visualization.draw_bounding_boxes(images, boxes, "xyxy", color=(255, 0, 0))
    assert made[0, 3, 2].tolist() == [255, 0, 0] and made[0, 7, 6].sum() == 0
    assert made[1].sum() == 0  # a label of -1 is no box
    with pytest.raises(ShapeError, match="4D"):
        visualization.draw_bounding_boxes(images[0], boxes, "xyxy")
    with pytest.raises(DataError, match="labels"):
        visualization.draw_bounding_boxes(images, {"boxes": []}, "xyxy")


def test_galleries_are_files(tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    images = RNG.integers(0, 255, (3, 8, 9, 3)).astype("uint8")
    masks = RNG.integers(0, 4, (3, 8, 9, 1))
    visualization.plot_segmentation_mask_gallery(images, 4, y_true=masks, path=tmp_path / "a.png")
    visualization.plot_image_gallery(
        images, y_true=[0, 1, 2], label_map={0: "cat"}, path=tmp_path / "b.png"
    )
    assert (tmp_path / "a.png").stat().st_size and (tmp_path / "b.png").stat().st_size
    with pytest.raises(ConfigError, match="label_map"):
        visualization.plot_image_gallery(images, y_true=[0, 1, 2], path=tmp_path / "c.png")


def network(X, y, width=8):
    layers = [zk.layers.Dense(width, activation="relu"), zk.layers.Dense(y.shape[1], "softmax")]
    model = zk.Sequential([zk.Input((X.shape[1],)), *layers])
    model.compile(optimizers.Adam(0.05), "categorical_crossentropy")
    return model


def test_models_are_estimators_of_scikit_learn():
    pytest.importorskip("sklearn")
    from sklearn.base import clone

    words = np.where(Y[:, 0] > 0, "yes", "no")
    made = zk.wrappers.SKLearnClassifier(
        network, model_kwargs={"width": 16}, fit_kwargs={"epochs": 30, "verbose": 0}
    )
    fitted = clone(made).fit(X, words)
    assert fitted.classes_.tolist() == ["no", "yes"] and fitted.score(X, words) > 0.8
    numbers = zk.wrappers.SKLearnRegressor(small()).fit(X, Y[:, 0], verbose=0)
    assert numbers.predict(X).shape == (24,)
    assert zk.wrappers.SKLearnTransformer(small()).fit(X, Y, verbose=0).transform(X).shape == (
        24,
        1,
    )


def test_the_wrappers_of_keras_2_pass_arguments_on():
    wrappers = zk.wrappers.scikit_learn
    made = wrappers.KerasClassifier(lambda width=4: network(X, np.eye(2), width), epochs=3,
                                    width=6, verbose=0)  # fmt: skip
    made.fit(X, np.where(Y[:, 0] > 0, "b", "a"))
    assert made.model.layers[0].units == 6 and set(made.predict(X)) <= {"a", "b"}
    assert made.predict_proba(X).shape == (24, 2) and 0 <= made.score(X, made.predict(X)) <= 1
    numbers = wrappers.KerasRegressor(small, epochs=1, verbose=0)
    numbers.fit(X, Y)
    assert numbers.predict(X).shape == (24,) and numbers.score(X, Y) < 0
    with pytest.raises(ConfigError, match="nonsense"):
        wrappers.KerasRegressor(small, nonsense=3)


def test_k_rnn_keeps_states_where_the_mask_is_false():
    x = RNG.normal(size=(2, 4, 3)).astype("float32")
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool)

    def step(row, states):
        total = states[0] + row
        return 2 * total, [total]

    last, outputs, states = zk.backend.rnn(step, x, [np.zeros((2, 3), "float32")], mask=mask)
    np.testing.assert_allclose(states[0][0], x[0, :2].sum(0), rtol=1e-5)
    np.testing.assert_allclose(outputs[0, 3], outputs[0, 1], rtol=1e-6)
    np.testing.assert_allclose(last[1], 2 * x[1].sum(0), rtol=1e-5)
    backwards = zk.backend.rnn(step, x, [np.zeros((2, 3), "float32")], go_backwards=True)
    np.testing.assert_allclose(backwards[0], 2 * x.sum(1), rtol=1e-5)


def test_a_feature_space_is_saved_and_names_what_it_lacks(tmp_path):
    kinds = zk.utils.FeatureSpace
    data = {"age": [20.0, 40.0], "city": ["Rome", "Oslo"]}
    space = kinds({"age": "float_normalized", "city": "string_categorical"})
    with pytest.raises(ConfigError, match="adapt"):
        space(data)
    space.adapt([{"age": np.float32([20.0]), "city": np.array(["Rome"])},
                 {"age": np.float32([40.0]), "city": np.array(["Oslo"])}])  # fmt: skip
    space.save(tmp_path / "s.keras")
    again = zk.saving.load_model(tmp_path / "s.keras")
    np.testing.assert_array_equal(again(data), space(data))
    model = zk.Model(space.get_inputs(), zk.layers.Dense(1)(space.get_encoded_features()))
    columns = {"age": np.float32([[20], [40]]), "city": np.array([["Rome"], ["Oslo"]])}
    model.compile("sgd", "mse")
    model.fit(columns, np.ones((2, 1)), verbose=0)
    with pytest.raises(DataError, match="'city'"):
        space({"age": [1.0]})
    with pytest.raises(DataError, match="dict"):
        space([1.0])
    for bad in ({}, {"a": "nonsense"}):
        with pytest.raises(ConfigError, match="Received"):
            kinds(bad)
    with pytest.raises(ConfigError, match="crosses"):
        kinds({"a": "float"}, crosses=[("a", "b")])
    with pytest.raises(ConfigError, match="encoded"):
        kinds({"a": kinds.integer_hashed(3, output_mode="int")})({"a": [1]})


def test_a_copied_multi_optimizer_goes_on_as_the_first_does():
    model = zk.Sequential([zk.Input((3,)), zk.layers.Dense(2), zk.layers.Dense(1)])
    each = {"kernel": zk.optimizers.SGD(0.1, momentum=0.9), "bias": zk.optimizers.Adam(0.1)}
    model.compile(zk.optimizers.MultiOptimizer(lambda v: each[v.name]), "mse")
    x, y = np.eye(3, dtype="float32"), np.ones((3, 1), "float32")
    model.fit(x, y, verbose=0)
    other = copy.deepcopy(model)
    assert other.fit(x, y, verbose=0).history == model.fit(x, y, verbose=0).history


def test_a_layer_is_made_again_with_its_map_of_policies():
    layer = zk.layers.Dense(2, name="wide")
    given = zk.dtype_policies.DTypePolicyMap("float32", {"wide": "bfloat16"})
    config = {**layer.get_config(), "dtype": given.serialize()}
    assert zk.layers.Dense.from_config(config).dtype_policy.name == "bfloat16"
