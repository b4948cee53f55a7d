"""Pictures changed one by one, as Keras 2 changes them."""

from __future__ import annotations

import numpy as np
import pytest
from golden.cases.picture_changes import calls
from golden.store import Golden

from zoo_keras.errors import ConfigError
from zoo_keras.preprocessing import image

GOLDEN = Golden("picture_changes")
X = np.zeros((3, 4, 4), np.float32)


def test_each_is_what_keras_2_gives():
    made = dict(calls(image))
    assert made.keys() == GOLDEN.cases.keys()
    for name, found in made.items():
        np.testing.assert_allclose(found, GOLDEN.arrays(name)["output"], 1e-4, 3e-4, err_msg=name)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: image.random_zoom(X, (0.5,)), r"zoom_range is two numbers.*Received: \(0.5,\)"),
        (lambda: image.random_brightness(X, [1, 2, 3]), "brightness_range is two numbers"),
        (lambda: image.random_shift(X, 0.1, 0.1, 1, 1, 0), r"three axes.*Received: \(1, 1, 0\)"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
