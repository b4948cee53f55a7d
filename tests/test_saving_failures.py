"""Saving that cannot succeed: one clear error, the old file as it was, no layer lost in silence."""

from __future__ import annotations

import os
import resource

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers
from zoo_keras.errors import FileError


@pytest.mark.parametrize("name", ["m.weights.h5", "m.keras", "m.h5"])
@pytest.mark.parametrize("room", [1 << 16, 500_000])
def test_a_full_disk_is_one_clear_error_and_leaves_the_old_file(name, room, tmp_path):
    model = zk.Sequential([zk.Input((300,)), layers.Dense(300), layers.Dense(300)])
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 300)), np.ones((2, 300)))
    path = tmp_path / name
    path.write_text("the old file")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(FileError, match=r"Received: File too large\. What was there before"):
            (model.save_weights if "weights" in name else model.save)(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "the old file"
    assert os.listdir(tmp_path) == [name]


def test_a_property_that_fails_keeps_no_layer_out_of_a_file(tmp_path):
    class Shy(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self._inner = layers.Dense(2)

        @property
        def inner(self):
            raise RuntimeError("not now")

        @property
        def _own(self):
            raise RuntimeError("not now")

        def call(self, x):
            return self._inner(x)

    first, second = (zk.Sequential([zk.Input((3,)), Shy()]) for _ in range(2))
    first.save_weights(tmp_path / "m.weights.h5")
    second.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(first.get_weights()[0], second.get_weights()[0])


def test_weights_behind_a_property_that_fails_are_saved(tmp_path):
    store = {}

    class Hidden(layers.Layer):
        @property
        def inner(self):
            raise RuntimeError("not now")

        @inner.setter
        def inner(self, layer):
            store["inner"] = layer

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = layers.Dense(2, name="hidden_dense")

        def call(self, x):
            return store["inner"](x)

    first, second = (zk.Sequential([zk.Input((3,)), Hidden()]) for _ in range(2))
    first.save_weights(tmp_path / "m.weights.h5")
    second.load_weights(tmp_path / "m.weights.h5")
    for mine, want in zip(second.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, want)
