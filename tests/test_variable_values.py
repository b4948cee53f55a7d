"""What a Variable has handed out stays as it was, whatever the Variable becomes later."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as keras
from zoo_keras import layers, ops

WAYS = {
    "value": lambda v: v.value,
    "numpy": lambda v: v.numpy(),
    "asarray": np.asarray,
    "plus": lambda v: +v,
    "tensor": ops.convert_to_tensor,
    "reshape": lambda v: ops.reshape(v, (-1,)),
    "transpose": ops.transpose,
    "slice": lambda v: v[:1],
}


@pytest.mark.parametrize("way", list(WAYS))
def test_values_do_not_change_after_assign(way):
    variable = keras.Variable(np.ones((2, 2), np.float32))
    found = WAYS[way](variable)
    variable.assign(np.zeros((2, 2)))
    assert np.array(found).sum() == np.array(found).size


@pytest.mark.parametrize("way", list(WAYS))
def test_values_do_not_change_when_a_model_trains(way):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    x = np.ones((4, 2), np.float32)
    model.fit(x, 9 * x, verbose=0)
    kernel = model.layers[0].kernel
    found = WAYS[way](kernel)
    before = np.array(found)
    model.fit(x, 9 * x, verbose=0)
    np.testing.assert_array_equal(found, before)
    assert not np.array_equal(WAYS[way](kernel), before)
