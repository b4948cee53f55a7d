"""Sublayers are saved wherever a layer keeps them, under whatever name."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import Input, Sequential, layers
from zoo_keras.errors import ConfigError


def two():
    return [layers.Dense(4, activation="relu"), layers.Dense(4)]


class Tower(layers.Layer):
    """Runs `parts()` one after the other; subclasses say where they are kept."""

    def call(self, x):
        for part in self.parts():
            x = part(x)
        return x


def kept_as(name, value, parts=None):
    """A Tower that keeps value() as an attribute of this name."""

    def init(self, **kwargs):
        Tower.__init__(self, **kwargs)
        setattr(self, name, value())

    found = parts or (lambda self: getattr(self, name))
    return type("Kept", (Tower,), {"__init__": init, "parts": found})


class Appended(Tower):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._layers = []
        self._layers += two()
        self.last = layers.Dense(4)

    def parts(self):
        assert len(self._layers) == 2
        return [*self._layers, self.last]


class BehindAProperty(Tower):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        for layer in two():
            self._track(layer)
        self.__dict__["hidden"] = None
        self.count = 0

    def parts(self):
        return self._sublayers

    @property
    def failing(self):
        raise RuntimeError("not now")


class OwnWeights(Tower):
    """Weights and metrics under the names that Keras uses inside."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._metrics = {"mean": zk.metrics.Mean()}
        self._variables, self._function, self._stack = [], None, two()

    def build(self, shape):
        self.first = self.add_weight(shape=(4,), initializer="normal")
        self._variables = [self.add_weight(shape=(4,), initializer="normal")]

    def parts(self):
        return [*self._stack, lambda x: x * self.first + self._variables[0]]


# how the sublayers are kept -> class
KEPT = {
    "_layers": kept_as("_layers", two),
    "_stack": kept_as("_stack", two),
    "_function": kept_as("_function", lambda: two()[0], lambda self: [self._function]),
    "_sublayers": kept_as("_sublayers", two),
    "layers": kept_as("layers", two),
    "a tuple": kept_as("blocks", lambda: tuple(two())),
    "a dict": kept_as("blocks", lambda: dict(zip("ba", two(), strict=True)),
                      lambda self: self.blocks.values()),
    "a dict of keys of two kinds": kept_as(
        "blocks", lambda: dict(zip((1, "a"), two(), strict=True)), lambda self: self.blocks.values()
    ),
    "a dict of lists in a list": kept_as(
        "blocks", lambda: [{"x": two()}, (layers.Dense(4),)],
        lambda self: [*self.blocks[0]["x"], *self.blocks[1]],
    ),
    "a private name": kept_as("_Kept__blocks", two),
    "appended later": Appended, "behind a property": BehindAProperty,
    "beside weights of its own": OwnWeights,
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
@pytest.mark.parametrize("name", KEPT)
def test_sublayers_are_saved_wherever_they_are(name, suffix, tmp_path):
    cls = KEPT[name]
    model = Sequential([Input((4,)), cls(name="tower")])
    x = np.random.default_rng(0).random((3, 4)).astype("float32")
    expected = model.predict_on_batch(x)
    path = tmp_path / f"m{suffix}"
    if suffix == ".weights.h5":
        model.save_weights(path)
        again = Sequential([Input((4,)), cls(name="tower")])
        again.load_weights(path)
    else:
        model.save(path)
        again = zk.saving.load_model(path, custom_objects={cls.__name__: cls})
    np.testing.assert_array_equal(again.predict_on_batch(x), expected)
    assert len(model.weights) >= 2


def test_layers_in_a_set_are_refused_when_they_are_put_there():
    with pytest.raises(ConfigError, match="no order"):
        kept_as("blocks", lambda: set(two()))()


def test_a_sublayer_taken_out_of_a_list_named_layers_has_no_weights_there():
    layer = Appended()
    Sequential([Input((4,)), layer])
    layer._layers.pop()
    assert len(layer.weights) == 4
