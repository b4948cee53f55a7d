"""Configs of objects: the layout of Keras 3, custom objects, code by value, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from zoo_keras import activations, initializers, losses, optimizers, regularizers
from zoo_keras.configs import serialization as s
from zoo_keras.configs.registration import (
    CustomObjectScope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from zoo_keras.errors import ConfigError, UnsupportedError


@pytest.fixture(autouse=True)
def forget_registrations():
    before = dict(get_custom_objects())
    yield
    get_custom_objects().clear()
    get_custom_objects().update(before)


def round_trip(obj, **kwargs):
    config = json.loads(json.dumps(s.serialize_keras_object(obj)))
    return s.deserialize_keras_object(config, **kwargs)


class Plain:
    """A class of a user, neither registered nor built in."""

    def __init__(self, size=1, inner=None):
        self.size, self.inner = size, inner

    def get_config(self):
        return {"size": self.size, "inner": self.inner}

    @classmethod
    def from_config(cls, config):
        config["inner"] = s.deserialize_keras_object(config["inner"])
        return cls(**config)


def double(x):
    return x * 2


def test_layout_is_that_of_keras():
    assert s.serialize_keras_object(regularizers.L2(0.5)) == {
        "module": "keras.regularizers", "class_name": "L2", "config": {"l2": 0.5},
        "registered_name": None,
    }  # fmt: skip
    assert s.serialize_keras_object(double) == {
        "module": "builtins", "class_name": "function", "config": "double",
        "registered_name": "function",
    }  # fmt: skip
    assert s.serialize_keras_object(Plain(3)) == {
        "module": __name__, "class_name": "Plain", "config": {"size": 3, "inner": None},
        "registered_name": "Plain",
    }  # fmt: skip


@pytest.mark.parametrize("value", [
    None, 3, 2.5, True, "text", [1, [2, "x"]], {"a": {"b": None}}, b"bytes", slice(1, None, 2),
    Ellipsis,
])  # fmt: skip
def test_plain_values_return_unchanged(value):
    assert round_trip(value) == value


def test_arrays_and_numbers_of_numpy_return():
    array = np.arange(6, dtype="int16").reshape(2, 3)
    again = round_trip(array)
    np.testing.assert_array_equal(again, array)
    assert again.dtype == "int16"
    assert round_trip(np.float32(1.5)) == 1.5 and round_trip(np.dtype("float32")) == "float32"


@pytest.mark.parametrize("obj", [
    losses.Huber(delta=2.0), initializers.HeNormal(seed=3), optimizers.Adam(0.5),
    optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)), regularizers.L1L2(0.1, 0.2),
])  # fmt: skip
def test_built_in_objects_return_with_their_config(obj):
    again = round_trip(obj)
    assert type(again) is type(obj) and again.get_config() == obj.get_config()


def test_names_inside_the_source_of_keras_are_found():
    for module in ("keras.src.losses.losses", "keras.losses", "keras.src.losses"):
        config = {"module": module, "class_name": "Huber", "config": {}, "registered_name": None}
        assert isinstance(s.deserialize_keras_object(config), losses.Huber)
    config = {"module": "builtins", "class_name": "function", "config": "gelu",
              "registered_name": "function"}  # fmt: skip
    assert s.deserialize_keras_object(config) is activations.gelu


def test_registered_objects_are_found_by_package_and_name():
    @register_keras_serializable("pack", "twice")
    def mine(x):
        return x + x

    made = register_keras_serializable("pack")(type("Mine", (Plain,), {}))
    assert get_registered_name(made) == "pack>Mine"
    assert get_registered_object("pack>twice") is mine and round_trip(mine) is mine
    again = round_trip(made(5))
    assert type(again) is made and again.size == 5


def test_custom_objects_come_from_the_argument_or_a_scope():
    nested = Plain(2, Plain(7))
    assert round_trip(nested, custom_objects={"Plain": Plain}).inner.size == 7
    with CustomObjectScope({"Plain": Plain, "double": double}):
        assert round_trip(nested).inner.size == 7
        assert round_trip(double) is double
        assert losses.get("double") is double
    with pytest.raises(ConfigError, match="Plain"):
        round_trip(nested)


def test_all_unknown_names_are_in_one_message():
    config = s.serialize_keras_object([Plain(1), double, losses.Huber(), {"x": Plain(2)}])
    config[3]["x"]["class_name"] = config[3]["x"]["registered_name"] = "Other"
    config.append({"module": "keras.layers", "class_name": "NoSuchLayer", "config": {},
                   "registered_name": None})  # fmt: skip
    with pytest.raises(s.UnknownObjectError) as caught:
        s.deserialize_keras_object(config)
    for part in ("'Plain'", "'double'", "'Other'", "'NoSuchLayer'", "custom_objects"):
        assert part in str(caught.value)
    assert isinstance(caught.value, TypeError) and isinstance(caught.value, ValueError)


HOSTILE = [
    ("os", "system"), ("subprocess", "Popen"), ("builtins", "eval"), ("keras.utils", "get_file"),
    ("keras.saving", "load_model"), ("zoo_keras.native", "aligned"), ("keras.losses", "np"),
    ("keras.src.losses.losses", "importlib"), ("keras...", "x"), ("keras.layers", "importlib"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "name"), HOSTILE)
def test_a_config_reaches_nothing_but_public_objects(module, name):
    for config in (
        {"module": module, "class_name": name, "config": {}, "registered_name": name},
        {"module": module, "class_name": "function", "config": name, "registered_name": name},
    ):
        with pytest.raises(s.UnknownObjectError):
            s.deserialize_keras_object(config)


def test_code_by_value_is_refused_unless_safe_mode_is_off():
    factor = 3
    config = json.loads(json.dumps(s.serialize_keras_object(lambda x, y=4: x * factor + y)))
    with pytest.raises(ConfigError, match="safe_mode=False"):
        s.deserialize_keras_object(config)
    assert s.deserialize_keras_object(config, safe_mode=False)(2) == 10
    with s.safe_mode_scope(True), pytest.raises(ConfigError, match="lambda"):
        s.deserialize_keras_object(config, safe_mode=False)
    config["config"]["value"] = ["bm90IGNvZGU=", None, None]
    with pytest.raises(ConfigError, match="cannot be read"):
        s.deserialize_keras_object(config, safe_mode=False)


def test_an_object_met_twice_stays_one_object():
    shared = Plain(4)
    with s.object_sharing():
        config = s.serialize_keras_object([shared, Plain(5), shared])
    assert "shared_object_id" in config[0] and "shared_object_id" not in config[1]
    with s.object_sharing():
        first, other, second = s.deserialize_keras_object(config, {"Plain": Plain})
    assert first is second and other.size == 5


def test_build_and_compile_configs_are_handed_over():
    class Built(Plain):
        built = False

        def get_build_config(self):
            return {"input_shape": [None, 3]}

        def build_from_config(self, config):
            self.shape = config["input_shape"]

        def get_compile_config(self):
            return {"loss": "mse"}

        def compile_from_config(self, config):
            self.loss = config["loss"]

    again = round_trip(Built(1), custom_objects={"Built": Built})
    assert (again.shape, again.built, again.loss) == ([None, 3], True, "mse")


REFUSED = [
    (lambda: register_keras_serializable()(type("NoConfig", (), {})), ConfigError, "get_config"),
    (lambda: s.serialize_keras_object(object()), ConfigError, "get_config"),
    (lambda: s.deserialize_keras_object(object()), ConfigError, "cannot be read"),
    (lambda: s.deserialize_keras_object(
        {"module": "keras.losses", "class_name": "Huber", "config": 3}), ConfigError, "a dict"),
    (lambda: s.deserialize_keras_object(
        {"module": "keras.losses", "class_name": "Huber", "config": {"x": 1}}),
     ConfigError, "from_config failed"),
    (lambda: s.deserialize_keras_object({"class_name": "__typespec__", "config": []}),
     UnsupportedError, "__typespec__"),
    (lambda: s.deserialize_keras_object(
        {"module": None, "class_name": "function", "config": {}}), ConfigError, "non-null str"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_malformed_configs_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
