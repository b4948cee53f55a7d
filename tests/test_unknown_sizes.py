"""Axes of unknown size: output shapes are those of Keras 3, and only what fits no data is refused.

The shapes in the tables are what Keras 3.15 says of the same calls; where it says less than is
sure (None for an axis that must have 6 cells to fit), the sure size stands.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import Input, Model, Sequential, layers, ops
from zoo_keras.errors import ShapeError

STEPS, IMAGE, VOLUME = [(None, 4)], [(None, None, 3)], [(None, None, None, 2)]


class Positions(layers.Layer):
    """Adds one row for each of 12 steps: for inputs of 12 steps alone."""

    def build(self, shape):
        self.table = self.add_weight(shape=(1, 12, 4), initializer="normal")

    def call(self, *inputs):
        return sum(inputs[1:], inputs[0]) + self.table


class Patches(layers.Layer):
    """Rows of 8 patches, after a window of 251 steps: for inputs of 258 steps alone."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv, self.cut = layers.Conv1D(4, 251), layers.Reshape((8, 4))

    def call(self, x):
        return self.cut(self.conv(x))


def halved(x, times, padding):
    for _ in range(times):
        x = layers.Conv1D(4, 3, strides=2, padding=padding)(x)
    return x


# name -> (shapes of the Inputs, function, the shape that the output says)
TABLE = {
    "a long crop": (STEPS, lambda x: layers.Cropping1D((100, 100))(x), (None, None, 4)),
    "a very long crop": (STEPS, lambda x: layers.Cropping1D((9000, 0))(x), (None, None, 4)),
    "crops of images": (IMAGE, lambda x: layers.Cropping2D(((90, 20), (3, 300)))(x),
                        (None, None, None, 3)),
    "crops of volumes": (VOLUME, lambda x: layers.Cropping3D(60)(x), (None, None, None, None, 2)),
    "a long window": (STEPS, lambda x: layers.Conv1D(8, 251)(x), (None, None, 8)),
    "a dilated window": (STEPS, lambda x: layers.Conv1D(8, 25, dilation_rate=100)(x),
                         (None, None, 8)),
    "long strides": (STEPS, lambda x: layers.Conv1D(8, 400, strides=160, padding="same")(x),
                     (None, None, 8)),
    "long strides of whole windows": (STEPS, lambda x: layers.Conv1D(8, 400, strides=160)(x),
                                      (None, None, 8)),
    "ten halvings": (STEPS, lambda x: halved(x, 10, "same"), (None, None, 4)),
    "ten halvings of whole windows": (STEPS, lambda x: halved(x, 10, "valid"), (None, None, 4)),
    "a separable window": (STEPS, lambda x: layers.SeparableConv1D(8, 251)(x), (None, None, 8)),
    "a depthwise window": (IMAGE, lambda x: layers.DepthwiseConv2D((1, 120))(x),
                           (None, None, None, 3)),
    "transposed": (IMAGE, lambda x: layers.Conv2DTranspose(8, 5, strides=2)(x),
                   (None, None, None, 8)),
    "a large pool": (STEPS, lambda x: layers.MaxPooling1D(200)(x), (None, None, 4)),
    "a large padded pool": (STEPS, lambda x: layers.AveragePooling1D(200, padding="same")(x),
                            (None, None, 4)),
    "an adaptive pool": (STEPS, lambda x: layers.AdaptiveAveragePooling1D(200)(x), (None, 200, 4)),
    "windows in each step": ([(None, None, 4)],
                             lambda x: layers.TimeDistributed(layers.Conv1D(3, 251))(x),
                             (None, None, None, 3)),
    "zero padding": (IMAGE, lambda x: layers.ZeroPadding2D(3)(x), (None, None, None, 3)),
    "larger images": (IMAGE, lambda x: layers.UpSampling2D((2, 3))(x), (None, None, None, 3)),
    "whole rows": (STEPS, lambda x: layers.Reshape((8, 4))(x), (None, 8, 4)),
    "rows cut in two": (STEPS, lambda x: layers.Reshape((16, 2))(x), (None, 16, 2)),
    "rows of 64": (STEPS, lambda x: layers.Reshape((-1, 64))(x), (None, None, 64)),
    "rows of 37": (STEPS, lambda x: layers.Reshape((-1, 37))(x), (None, None, 37)),
    "an image of one size": (IMAGE, lambda x: layers.Reshape((8, 6, 3))(x), (None, 8, 6, 3)),
    "an op's rows": (STEPS, lambda x: ops.reshape(x, (-1, 8, 4)), (None, 8, 4)),
    "flat": (IMAGE, lambda x: layers.Flatten()(x), (None, None)),
    "states": (STEPS, lambda x: layers.LSTM(7)(x), (None, 7)),
    "sequences": (STEPS, lambda x: layers.Bidirectional(layers.GRU(7, return_sequences=True))(x),
                  (None, None, 14)),
    "attention": (STEPS, lambda x: layers.Attention()([x, x]), (None, None, 4)),
    "heads": (STEPS, lambda x: layers.MultiHeadAttention(2, 3)(x, x), (None, None, 4)),
    "dot": (STEPS * 2, lambda a, b: layers.Dot(axes=2)([a, b]), (None, None, None)),
    "a sum with six steps": ([*STEPS, (6, 4)], lambda a, b: a + b, (None, 6, 4)),
    "beside six steps": ([*STEPS, (6, 5)], lambda a, b: layers.Concatenate()([a, b]), (None, 6, 9)),
    "behind six steps": ([*STEPS, (6, 4)], lambda a, b: layers.Concatenate(axis=1)([a, b]),
                         (None, None, 4)),
    "a product with six rows": ([(None, None), (6, 4)], ops.matmul, (None, None, 4)),
    "windows and crops": (
        STEPS, lambda x: layers.Conv1D(4, 251)(x) + layers.Cropping1D((250, 0))(x), (None, None, 4)
    ),
    "all but the first": (STEPS, lambda x: x[:, 200:], (None, None, 4)),
    "all but very many": (STEPS, lambda x: x[:, 2000:], (None, None, 4)),
    "one far away": (STEPS, lambda x: x[:, 150], (None, 4)),
    "the best 150": ([(None,)], lambda x: ops.top_k(x, 150)[0], (None, 150)),
    "seven pieces": (STEPS, lambda x: ops.split(x, 7, axis=1)[0], (None, None, 4)),
    "a weight's length": (STEPS, lambda x: Positions()(x), (None, 12, 4)),
    "a weight's length, twice": (STEPS * 2, lambda a, b: Positions()(a, b), (None, 12, 4)),
    "within a layer": (STEPS, lambda x: Patches()(x), (None, 8, 4)),
    "within a Sequential": (
        STEPS, lambda x: Sequential([layers.Conv1D(8, 251), layers.MaxPooling1D(100)])(x),
        (None, None, 8),
    ),
    "a masked, cut sequence": (
        STEPS, lambda x: layers.LSTM(3)(layers.Cropping1D((300, 0))(layers.Masking()(x))), (None, 3)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_output_shapes_are_those_of_keras(name):
    shapes, function, expected = TABLE[name]
    assert tuple(function(*[Input(s) for s in shapes]).shape) == expected


# name in TABLE -> shapes of the data
DATA = {
    "a long crop": [(203, 4)], "a long window": [(260, 4)], "long strides": [(500, 4)],
    "rows cut in two": [(8, 4)], "rows of 37": [(37, 4)], "an op's rows": [(8, 4)],
    "one far away": [(151, 4)], "a weight's length": [(12, 4)], "within a layer": [(258, 4)],
    "a sum with six steps": [(6, 4), (6, 4)], "windows and crops": [(300, 4)],
    "all but the first": [(201, 4)], "an image of one size": [(6, 8, 3)],
}  # fmt: skip


@pytest.mark.parametrize("name", DATA)
def test_data_that_fit_are_computed(name):
    shapes, function, expected = TABLE[name]
    inputs = [Input(s) for s in shapes]
    model = Model(inputs, function(*inputs))
    given = [np.random.default_rng(0).random((2, *s)).astype("float32") for s in DATA[name]]
    found = model.predict_on_batch(given)
    assert all(d in (None, n) for d, n in zip(expected[1:], found.shape[1:], strict=True))
    if not model.weights:
        np.testing.assert_array_equal(found, np.asarray(function(*given)))


REFUSED = {
    "channels that differ": (STEPS, lambda x: x + ops.concatenate([x, x], 2)),
    "flat rows for weights": (STEPS, lambda x: layers.Dense(3)(layers.Flatten()(x))),
    "too few axes": (STEPS, lambda x: layers.Conv2D(3, 3)(x)),
    "rows that no size gives": (STEPS, lambda x: layers.Reshape((7, 5))(x)),
    "a crop of all": ([(9, 4)], lambda x: layers.Cropping1D((5, 5))(x)),
    "a constant of other channels": (STEPS, lambda x: x + np.ones((3, 5), "float32")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_size_fits_is_refused_at_once(name):
    shapes, function = REFUSED[name]
    with pytest.raises(ShapeError):
        function(*[Input(s) for s in shapes])


def test_an_error_says_which_of_its_numbers_are_tried_ones():
    with pytest.raises(ShapeError, match="not known yet were tried as 89, 97, 127, 1031"):
        ops.concatenate([Input((None, 4)), Input((None, 4, 4))], 1)


def test_weights_are_never_made_for_a_tried_size():
    class Flat(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = Sequential([layers.Flatten(), layers.Dense(2)])

        def call(self, x):
            return self.inner(x)

    with pytest.raises(ShapeError, match="tried as"):
        Flat()(Input((None, 4)))


def stack():
    return Sequential([layers.Conv1D(3, 2), layers.LSTM(2), layers.Dense(1)])


def test_a_stack_without_an_input_takes_every_length():
    model = stack()
    model.compile("sgd", "mse")
    for steps in (9, 30, 4):
        x = np.ones((6, steps, 4), "float32")
        model.fit(x, np.ones((6, 1)), verbose=0)
        assert model.predict(x, verbose=0).shape == (6, 1)
    with pytest.raises(ShapeError, match=r"\(None, 9, 4\)"):
        model.predict(np.ones((6, 9, 5)), verbose=0)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_stack_without_an_input_takes_every_length_after_loading(suffix, tmp_path):
    model = stack()
    model(np.ones((1, 9, 4), "float32"))
    model.save(tmp_path / f"m{suffix}")
    again = zk.saving.load_model(tmp_path / f"m{suffix}")
    x = np.random.default_rng(0).random((3, 20, 4)).astype("float32")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_files_name_no_tried_size():
    @zk.saving.register_keras_serializable("unknown_sizes")
    class Twice(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.first, self.stack = layers.Conv1D(4, 3), Sequential([layers.Conv1D(4, 3)])

        def call(self, x):
            return self.stack(x) + self.first(x)

        def get_config(self):
            shapes = [self.first.get_build_config(), self.stack.get_config()["build_input_shape"]]
            return {**super().get_config(), "shapes": shapes}

    made = Twice()
    made(Input((None, 4)))
    assert json.dumps(made.get_config()["shapes"]) == '[{"input_shape": [null, null, 4]}, ' \
        "[null, null, 4]]"  # fmt: skip
