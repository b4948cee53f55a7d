"""Models before training: building, calling, configurations, cloning, summaries, names."""

from __future__ import annotations

import json

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers, ops
from zoo_keras.errors import ConfigError, DataError, ShapeError, UnsupportedError

ONES = np.ones((2, 4), np.float32)


def two_layers():
    return zk.Sequential(
        [zk.Input((4,)), layers.Dense(3, activation="relu"), layers.Dense(2)], name="two"
    )


def branches():
    """Two inputs, a shared layer, an op, a nested model, two outputs."""
    left, right = zk.Input((4,), name="left"), zk.Input((4,), name="right")
    shared = layers.Dense(3, name="shared")
    inner_in = zk.Input((3,))
    inner = zk.Model(inner_in, layers.Dense(2, name="deep")(inner_in), name="inner")
    a, b = inner(shared(left)), inner(shared(right))
    both = layers.Concatenate(name="both")([a, b])
    return zk.Model([left, right], [both, ops.maximum(a, b * 2.0)[:, :1]], name="branches")


def same(first, second):
    pairs = zip(first, second, strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_a_sequential_computes_its_layers_one_after_the_other():
    model = two_layers()
    k0, b0, k1, b1 = model.get_weights()
    np.testing.assert_allclose(
        model(ONES), np.maximum(ONES @ k0 + b0, 0) @ k1 + b1, rtol=1e-5, atol=1e-6
    )
    assert (model.input_shape, model.output_shape) == ((None, 4), (None, 2))
    assert model.count_params() == 23


def test_a_sequential_without_input_is_built_by_its_first_data():
    model = zk.Sequential([layers.Dense(3), layers.Dense(1)])
    assert not model.built
    assert not model.weights
    model(ONES)
    assert model.built
    assert model.count_params() == 19
    assert model.input_shape == (None, 4)


def test_keras_2_style_input_shapes_make_an_input():
    model = zk.Sequential([layers.Dense(3, input_shape=(4,)), layers.Dense(1)])
    assert model.built
    assert zk.Sequential([layers.Dense(3, input_dim=4)]).input_shape == (None, 4)


def test_add_and_pop_change_a_sequential():
    model = two_layers()
    model.add(layers.Dense(5))
    assert model.output_shape == (None, 5)
    popped = model.pop()
    assert popped.units == 5
    assert model(ONES).shape == (2, 2)


SEQUENTIAL_ERRORS = [
    (lambda m: m.add(3), "Only instances of Layer"),
    (lambda m: m.add(layers.Dense(1, name=m.layers[0].name)), "unique names"),
    (lambda m: m.add(zk.Input((3,))), "Input must come first"),
    (lambda m: zk.Sequential([layers.Dense(2)]).build(), "input shape is not known"),
    (lambda m: zk.Sequential().pop(), "no layers left"),
]


@pytest.mark.parametrize(("act", "message"), SEQUENTIAL_ERRORS)
def test_errors_of_a_sequential_are_named(act, message):
    with pytest.raises(ConfigError, match=message):
        act(two_layers())


def test_shared_layers_and_nested_models_use_one_set_of_weights():
    model = branches()
    assert [w.path for w in model.weights] == [
        "shared/kernel", "shared/bias", "deep/kernel", "deep/bias",
    ]  # fmt: skip
    left, right = model([ONES, ONES])[0][:, :2], model([ONES, ONES])[0][:, 2:]
    np.testing.assert_array_equal(left, right)


def test_inputs_may_be_a_dict_by_name():
    model = branches()
    by_list = model([ONES, 2 * ONES])
    by_name = model({"right": 2 * ONES, "left": ONES, "unused": ONES})
    assert same(by_list, by_name)
    with pytest.raises(ConfigError, match=r"inputs \['right'\] are missing"):
        model({"left": ONES})


def test_inputs_and_outputs_may_be_dicts():
    inputs = {"b": zk.Input((4,), name="b"), "a": zk.Input((4,), name="a")}
    outputs = {"sum": inputs["a"] + inputs["b"], "gap": inputs["a"] - inputs["b"]}
    model = zk.Model(inputs, outputs)
    y = model({"a": 3 * ONES, "b": ONES})
    assert (y["sum"][0, 0], y["gap"][0, 0]) == (4.0, 2.0)
    again = zk.Model.from_config(model.get_config())
    assert again({"a": 3 * ONES, "b": ONES})["gap"][0, 0] == 2.0


FUNCTIONAL_ERRORS = [
    (lambda x: zk.Model(x, ONES), ConfigError, "`outputs` values must be KerasTensors"),
    (lambda x: zk.Model(zk.Input((3,)), layers.Dense(2)(x)), ConfigError, "not among `inputs`"),
    (
        lambda x: zk.Model(x, layers.Dense(2, name="d")(layers.Dense(2, name="d")(x))),
        ConfigError,
        "names must be unique",
    ),
    (lambda x: zk.Model([x, zk.Input((4,))], x * 1.0)(ONES), ShapeError, r"2 input.*in records"),
    (
        lambda x: zk.Model(x, layers.Flatten()(x), name="m")(np.ones((2, 5))),
        ShapeError,
        r'of model "m" has shape \(None, 4\).*Received.*\(2, 5\)',
    ),
    (lambda x: zk.Model(x, x * 1.0)(np.ones((2, 2, 4))), ShapeError, r"\(2, 2, 4\)"),
    (lambda x: zk.Model(x, x * 1.0).get_layer("nope"), ConfigError, "no such layer"),
    (lambda x: zk.Input(4), ConfigError, r"Write \(4,\)"),
    (lambda x: zk.Input(), ConfigError, "pass a `shape` argument"),
    (lambda x: zk.Input((4.5,)), ConfigError, "whole numbers or None"),
    (lambda x: x if x else None, TypeError, "cannot be used as a boolean"),
    (lambda x: np.exp(x), TypeError, "no values"),
    (lambda x: list(x), NotImplementedError, "Iterating"),
]


@pytest.mark.parametrize(("act", "error", "message"), FUNCTIONAL_ERRORS)
def test_errors_of_functional_models_are_named(act, error, message):
    with pytest.raises(error, match=message):
        act(zk.Input((4,)))


def test_a_sub_model_ends_at_any_tensor():
    model = two_layers()
    features = zk.Model(model.inputs, model.layers[0].output)
    assert features(ONES).shape == (2, 3)
    assert features.weights[0] is model.weights[0]


def test_to_json_and_back_keeps_the_computation():
    model = branches()
    again = zk.models.model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    assert same(model([ONES, 2 * ONES]), again([ONES, 2 * ONES]))
    assert again.to_json() == model.to_json()
    assert json.loads(model.to_json())["class_name"] == "Functional"


@pytest.mark.parametrize("text", ["", "[1"])
def test_text_that_is_no_json_is_refused(text):
    with pytest.raises(ConfigError, match="no JSON"):
        zk.models.model_from_json(text)


@pytest.mark.parametrize("make", [two_layers, branches])
def test_a_clone_computes_the_same_with_weights_of_its_own(make):
    model = make()
    clone = zk.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x = [ONES, 2 * ONES] if make is branches else ONES
    assert same(np.atleast_3d(model(x)[0]), np.atleast_3d(clone(x)[0]))
    clone.set_weights([w * 0 for w in clone.get_weights()])
    assert model.get_weights()[0].any()


def test_clone_functions_replace_layers_and_calls():
    def wider(layer):
        config = layer.get_config()
        return type(layer).from_config({**config, "units": 7} if "units" in config else config)

    model = zk.models.clone_model(two_layers(), clone_function=wider)
    assert model.output_shape == (None, 7)
    x = zk.Input((4,))
    model = zk.Model(x, layers.Dense(2, name="d")(x))
    doubled = zk.models.clone_model(model, call_function=lambda layer, y: layer(y) * 2.0)
    doubled.set_weights(model.get_weights())
    np.testing.assert_allclose(doubled(ONES), 2 * model(ONES), rtol=1e-6)


def test_models_of_a_class_of_their_own_are_not_cloned_with_functions():
    class Own(zk.Model):
        def call(self, x):
            return x

    with pytest.raises(ConfigError, match="subclassed model"):
        zk.models.clone_model(Own(), clone_function=lambda layer: layer)


SUMMARY = """\
Model: "two"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━┓
┃ Layer (type)                         ┃ Output Shape                 ┃         Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━┩
│ dense (Dense)                        │ (None, 3)                    │              15 │
├──────────────────────────────────────┼──────────────────────────────┼─────────────────┤
│ dense_1 (Dense)                      │ (None, 2)                    │               8 │
└──────────────────────────────────────┴──────────────────────────────┴─────────────────┘
 Total params: 23 (92.00 B)
 Trainable params: 15 (60.00 B)
 Non-trainable params: 8 (32.00 B)"""


def test_a_summary_lists_layers_shapes_and_parameters(capsys):
    zk.utils.clear_session()
    model = two_layers()
    model.layers[1].trainable = False
    model.summary()
    assert capsys.readouterr().out.strip() == SUMMARY


def test_a_summary_of_branches_shows_connections_and_nested_layers():
    zk.utils.clear_session()
    lines = []
    branches().summary(print_fn=lines.append, expand_nested=True, show_trainable=True)
    text = "\n".join(lines)
    for part in ("left[0][0]", "inner[0][0]", "└ deep (Dense)", "Trainable", "get_item (GetItem)"):
        assert part in text


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"line_length": 12}, "too narrow"),
        ({"positions": [0.5, 1.0]}, "3 entries"),
        ({"layer_range": ("dense", "nothing")}, "layer_range"),
    ],
)
def test_wrong_summary_arguments_are_named(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        two_layers().summary(print_fn=str, **kwargs)


def test_a_range_of_layers_limits_the_summary():
    lines = []
    model = two_layers()
    first = model.layers[0].name
    model.summary(print_fn=lines.append, layer_range=(f"{first}$", f"{first}$"))
    assert lines[0].count("(Dense)") == 1


class Own(zk.Model):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = layers.Dense(units, name="hidden")
        self.end = layers.Dense(1, name="end")

    def call(self, x, training=None):
        return self.end(self.hidden(x))


def test_a_subclassed_model_is_built_by_a_shape_or_by_data():
    by_shape, by_data = Own(3, name="own"), Own(3, name="own")
    by_shape.build((None, 4))
    by_data(ONES)
    paths = ["own/hidden/kernel", "own/hidden/bias", "own/end/kernel", "own/end/bias"]
    assert [w.path for w in by_shape.weights] == [w.path for w in by_data.weights] == paths
    assert by_shape.compute_output_shape((None, 4)) == (None, 1)
    text = []
    by_shape.summary(print_fn=text.append)
    assert "(None, 3)" in text[0]
    assert Own.from_config(by_shape.get_config()).units == 3


def test_a_subclassed_model_may_be_functional_inside():
    class Inside(zk.Model):
        def __init__(self):
            x = zk.Input((4,))
            super().__init__(x, layers.Dense(2)(x))

    assert Inside()(ONES).shape == (2, 2)


def test_a_model_without_call_says_what_to_define():
    class Empty(zk.Model):
        pass

    with pytest.raises(NotImplementedError, match="does not define `call`"):
        Empty()(ONES)


def test_layers_of_a_model_cannot_be_set():
    with pytest.raises(AttributeError):
        branches().layers = []


def test_a_missing_last_axis_of_size_1_is_added():
    x = zk.Input((1,))
    assert zk.Model(x, layers.Dense(2)(x))(np.ones(3, np.float32)).shape == (3, 2)


def test_integer_data_meet_a_float_input():
    x = zk.Input((2,))
    assert zk.Model(x, x * 0.5)(np.array([[1, 2]])).tolist() == [[0.5, 1.0]]


def test_the_package_offers_the_names_of_keras():
    for name in zk.__all__:
        assert getattr(zk, name) is not None, name
    assert zk.version() == zk.__version__
    with pytest.raises(UnsupportedError, match="zoo_keras has no 'distribution'"):
        _ = zk.distribution


def test_ops_of_keras_files_are_found_by_class_and_module():
    x = zk.Input((4, 3))
    model = zk.Model(x, ops.logsumexp(ops.cast(x > 0, "float32"), axis=-1))
    names = [(c["module"], c["class_name"]) for c in model.get_config()["layers"][1:]]
    assert names == [
        ("keras.src.ops.numpy", "Greater"),
        ("keras.src.ops.core", "Cast"),
        ("keras.src.ops.math", "Logsumexp"),
    ]


@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        ("to_categorical", ([[0], [2]],), [[1, 0, 0], [0, 0, 1]]),
        ("to_categorical", ([1], 2), [[0, 1]]),
        ("pad_sequences", ([[1], [2, 3, 4]], 2), [[0, 1], [3, 4]]),
        ("pad_sequences", ([[1], [2, 3, 4]], 2, "int32", "post", "post"), [[1, 0], [2, 3]]),
        ("normalize", (np.array([[3.0, 4.0], [0.0, 0.0]]),), [[0.6, 0.8], [0, 0]]),
    ],
)
def test_utils_convert_data_as_keras_does(function, args, expected):
    np.testing.assert_allclose(getattr(zk.utils, function)(*args), expected)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: zk.utils.to_categorical([3], 2), DataError, r"0\.\.1.*Received: 3"),
        (lambda: zk.utils.pad_sequences([[1]], padding="left"), ConfigError, "padding='left'"),
    ],
)
def test_utils_name_what_is_wrong(act, error, message):
    with pytest.raises(error, match=message):
        act()


def test_source_inputs_are_the_inputs_behind_a_tensor():
    left, right = zk.Input((2,)), zk.Input((2,))
    found = zk.utils.get_source_inputs(layers.Add()([left, right * 2.0]))
    assert len(found) == 2
    assert found[0] is left
    assert found[1] is right


def test_a_model_that_begins_in_the_midst_of_another_holds_only_its_own_layers():
    x = zk.Input((4,))
    first, second = layers.Dense(3, name="first"), layers.Dense(1, name="second")
    middle = first(x)
    model = zk.Model(middle, second(middle))
    assert [type(each) for each in model.layers] == [layers.InputLayer, layers.Dense]
    assert model.weights == second.weights


def test_a_model_takes_none_for_an_optional_input_only():
    x, more = zk.Input((2,)), zk.Input((2,), name="more", optional=True)

    class Sum(layers.Layer):
        def call(self, x, more=None):
            return x if more is None else x + more

        def compute_output_shape(self, x_shape):
            return x_shape

    model = zk.Model([x, more], Sum()(x, more))
    ones = np.ones((1, 2), "float32")
    np.testing.assert_array_equal(model([ones, None]), ones)
    with pytest.raises(ShapeError, match="is not optional"):
        model([None, ones])


def test_inputs_that_nobody_reads_are_named():
    a = zk.Input((2,), name="a")
    ones = np.ones((1, 2))
    with pytest.warns(UserWarning, match="doesn't match the expected structure"):
        zk.Model({"a": a}, a * 2)({"a": ones, "b": ones})


def test_a_sequential_takes_several_inputs_for_its_first_layer():
    model = zk.Sequential([layers.Add(), layers.Dense(2)])
    assert model([np.ones((1, 3)), np.ones((1, 3))]).shape == (1, 2)


def test_a_model_without_tensors_has_no_inputs():
    assert not hasattr(zk.Sequential(), "inputs")
    assert hasattr(zk.Sequential([zk.Input((2,)), layers.Dense(1)]), "input_shape")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"shape": (4,)}, "incompatible `shape`"),
        ({"batch_size": 5}, "incompatible `batch_size`"),
        ({"dtype": "int32"}, "incompatible `dtype`"),
    ],
)
def test_an_input_does_not_contradict_its_tensor(more, message):
    tensor = zk.KerasTensor((2, 3))
    assert zk.Input(tensor=tensor) is tensor
    with pytest.raises(ConfigError, match=message):
        zk.Input(tensor=zk.KerasTensor((2, 3)), **more)


def test_none_in_place_of_data_is_named():
    x = zk.Input((2,), name="x")
    with pytest.raises(DataError, match=r"x\[0\].*not optional"):
        zk.Model({"x": x}, layers.Dense(1)(x)).predict({"x": None})


def test_tensors_for_a_clone_nest_like_its_inputs():
    a, b = zk.Input((2,), name="a"), zk.Input((2,), name="b")
    model = zk.Model({"a": a, "b": b}, a + b)
    with pytest.raises(ConfigError, match=r"same structure as model\.input"):
        zk.models.clone_model(model, input_tensors=(a, b))


def test_a_model_may_begin_at_one_of_a_layer_s_outputs():
    x = zk.Input((1,))
    double, triple = layers.Lambda(lambda v: (2 * v, 3 * v))(x)
    model = zk.Model([double, x], layers.Add()([double, triple]))
    assert model.predict([np.zeros((1, 1)), np.ones((1, 1))], verbose=0).tolist() == [[3]]


def test_a_rule_of_one_s_own_for_relu_s_gradient_stands_behind_a_normalization():
    @ops.custom_gradient
    def guided(x):
        return ops.relu(x), lambda upstream: ops.relu(upstream)

    inputs = zk.Input((4,))
    normed = layers.BatchNormalization()(inputs)
    model = zk.Model(inputs, layers.Lambda(guided)(normed))
    model.compile("sgd", "mse")
    assert np.isfinite(model.train_on_batch(np.eye(4, dtype="float32"), ONES[:1].repeat(4, 0)))


def test_a_list_of_one_output_gives_arrays():
    x, y = np.ones((4, 3), "f4"), np.ones((4, 2), "f4")
    start = zk.Input((3,))
    model = zk.Model(start, [zk.layers.Dense(2)(start)])
    assert isinstance(model.output, list) and isinstance(model(start), list)
    for found in (model(x), model.predict(x, verbose=0), model.predict_on_batch(x)):
        assert found.shape == (4, 2)
    again = zk.Input((3,))
    outer = zk.Model(again, zk.layers.Dense(1)(model(again)[0]))
    assert outer.predict(x, verbose=0).shape == (4, 1)
    model.compile("sgd", ["mse"])
    model.fit(x, [y], verbose=0)
    assert model.evaluate(x, y, verbose=0) == model.evaluate(x, [y], verbose=0)


def test_outputs_may_be_numbers_that_no_input_changes():
    class Table(zk.Model):
        def call(self, x):
            return {"twice": 2 * x, "places": ops.arange(3.0)}

    found = Table().predict(np.ones((3, 2), "f4"), verbose=0)
    assert found["places"].tolist() == [0, 1, 2] and found["twice"].tolist() == [[2, 2]] * 3
