"""The Layer base class: building, weights, names, masks, losses, configuration, tracking."""

from __future__ import annotations

import numpy as np
import pytest

import zoo_keras as zk
from zoo_keras import layers, ops
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.ops.masks import mask_of


class Scale(layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")
        self.counter = self.add_weight(shape=(), initializer="zeros", trainable=False, name="n")

    def call(self, x):
        return x * self.scale


class Stack(layers.Layer):
    def __init__(self, count, **kwargs):
        super().__init__(**kwargs)
        self.blocks = []
        self.count = count
        self.last = layers.Dense(1, name="last")
        for i in range(count):
            self.blocks.append(layers.Dense(2, name=f"block_{i}"))

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.last(x)


def test_a_layer_is_built_once_with_the_shape_of_its_first_inputs():
    layer = Scale()
    assert not layer.built
    layer(np.ones((2, 3)))
    first = layer.scale
    layer(np.ones((5, 3)))
    assert layer.scale is first
    assert layer.get_build_config() == {"input_shape": (2, 3)}


def test_build_from_config_makes_the_weights():
    layer = Scale()
    layer.build_from_config({"input_shape": [None, 3]})
    assert layer.built
    assert layer.scale.shape == (3,)


def test_weight_paths_start_with_the_layers_around_them():
    outer = Stack(2, name="outer")
    outer(np.ones((1, 3)))
    assert [w.path for w in outer.blocks[0].weights] == [
        "outer/block_0/kernel",
        "outer/block_0/bias",
    ]


def test_a_direct_build_names_the_layer():
    layer = layers.Dense(2, name="alone")
    layer.build((None, 3))
    assert layer.kernel.path == "alone/kernel"


def test_sublayers_in_lists_are_found_also_when_appended_later():
    outer = Stack(2)
    outer(np.ones((1, 3)))
    assert len(outer.weights) == 6
    outer.blocks.extend([layers.Dense(2)])
    outer.blocks += [layers.Dense(2)]
    outer.by_name = {}
    outer.by_name["x"] = layers.Dense(2)
    assert len(list(outer._flatten_layers())) == 1 + 3 + 3


def test_trainable_weights_come_first_and_freezing_reaches_sublayers():
    layer = Scale()
    layer(np.ones((2, 3)))
    assert [w.name for w in layer.weights] == ["scale", "n"]
    assert [w.name for w in layer.trainable_weights] == ["scale"]
    outer = Stack(1)
    outer(np.ones((1, 3)))
    outer.trainable = False
    assert not outer.trainable_weights
    assert not outer.blocks[0].trainable
    outer.trainable = True
    assert len(outer.trainable_weights) == 4


def test_set_weights_checks_every_array_before_setting_any():
    layer = layers.Dense(2)
    layer.build((None, 3))
    before = layer.get_weights()
    with pytest.raises(ShapeError, match=r"bias.*shape \(2,\).*Received.*\(3,\)"):
        layer.set_weights([np.zeros((3, 2)), np.zeros(3)])
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])
    with pytest.raises(ShapeError, match=r"expected 2 arrays. Received: 1"):
        layer.set_weights(before[:1])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.Dense(2, units_=3), ConfigError, "unrecognized keyword.*units_"),
        (lambda: layers.Dense(2, name="a/b"), ConfigError, "cannot contain character `/`"),
        (lambda: layers.Dense(2, dtype="float31"), ConfigError, "float31"),
        (lambda: layers.Layer()(np.ones((1, 2))), NotImplementedError, "does not have a `call`"),
    ],
)
def test_wrong_base_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_forgotten_base_constructor_is_named():
    class Forgetful(layers.Layer):
        def __init__(self):
            self.size = 3

        def call(self, x):
            return x

    with pytest.raises(ConfigError, match=r"super\(\).__init__"):
        Forgetful()(np.ones((1, 2)))


def test_input_spec_is_checked_on_every_call():
    layer = layers.Dense(2, name="fc")
    layer(np.ones((1, 3)))
    with pytest.raises(ShapeError, match=r'"fc".*axis -1 to have size 3.*Received.*\(1, 4\)'):
        layer(np.ones((1, 4)))


def test_names_count_up_and_clear_session_starts_afresh():
    zk.utils.clear_session()
    assert [layers.ReLU().name for _ in range(2)] == ["re_lu", "re_lu_1"]
    zk.utils.clear_session()
    assert layers.MaxPooling2D().name == "max_pooling2d"


def test_training_reaches_inner_layers_and_an_argument_wins():
    class Probe(layers.Layer):
        def call(self, x, training=None):
            return x + (1.0 if training else 0.0)

    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = Probe()

        def call(self, x, training=None):
            return self.inner(x) + 10.0 * self.inner(x, training=False)

    x = np.zeros((1, 1), np.float32)
    assert Outer()(x, training=True).item() == 1.0
    assert Outer()(x).item() == 0.0


class UseMask(layers.Layer):
    def call(self, x, mask=None):
        return ops.cast(mask, "float32") if mask is not None else x[..., 0] * 0.0 - 1.0


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        (layers.Dense(2), [[1, 0, 1]]),
        (layers.Dropout(0.3), [[1, 0, 1]]),
        (Scale(), [[-1, -1, -1]]),
    ],
)
def test_masks_travel_through_layers_that_support_them(between, expected):
    words = zk.Input((3,), dtype="int32")
    x = layers.Embedding(5, 4, mask_zero=True)(words)
    model = zk.Model(words, UseMask()(between(x)))
    np.testing.assert_array_equal(model(np.array([[2, 0, 3]])), expected)


def test_compute_output_shape_keeps_unknown_sizes():
    assert layers.Conv1D(4, 3).compute_output_shape((None, None, 2)) == (None, None, 4)
    assert layers.Dense(4).compute_output_shape((None, 7, 2)) == (None, 7, 4)
    shapes = [(None, 3, 2), (None, 5, 2)]
    assert layers.Concatenate(axis=1).compute_output_shape(shapes) == (None, 8, 2)


def test_losses_hold_one_penalty_for_each_regularized_weight():
    layer = layers.Dense(2, kernel_regularizer=zk.regularizers.L2(0.5), kernel_initializer="ones")
    layer.build((None, 3))
    assert [float(loss) for loss in layer.losses] == [3.0]
    layer.trainable = False
    assert layer.losses == []


class Plain(layers.Layer):
    def __init__(self, size, factors=(1, 2)):
        super().__init__()
        self.size, self.factors = size, factors

    def call(self, x):
        return x * self.size


def test_a_class_without_get_config_is_remade_from_its_plain_arguments():
    again = Plain.from_config(Plain(3, factors=[4]).get_config())
    assert (again.size, again.factors) == (3, [4])


def test_arguments_that_are_no_plain_values_need_a_get_config():
    layer = Plain(np.ones(2))
    with pytest.raises(NotImplementedError, match=r"Plain does not define get_config.*size"):
        layer.get_config()


def test_a_configuration_that_does_not_fit_names_the_class():
    with pytest.raises(ConfigError, match=r"Plain: cannot be made.*bogus"):
        Plain.from_config({"size": 3, "bogus": 1})


def test_input_and_output_are_those_of_the_first_call():
    x = zk.Input((3,))
    layer = layers.Dense(2)
    assert not hasattr(layer, "output")
    y = layer(x)
    layer(zk.Input((3,)))
    assert layer.input is x
    assert layer.output is y


def test_a_mask_goes_from_layer_to_layer_with_an_array():
    x = np.array([[[0, 0], [-1, -2], [0, 0]]], "float32")
    masked = layers.Masking()(x)
    np.testing.assert_array_equal(mask_of(masked), [[False, True, False]])
    largest = layers.Maximum()([masked, np.full_like(x, -5)])
    np.testing.assert_array_equal(largest[0, :, 0], [-5, -1, -5])


def test_a_mask_given_as_an_argument_goes_on():
    given = np.array([[True, False]])

    class Same(layers.Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = True

        def call(self, x, mask=None):
            return x

    np.testing.assert_array_equal(mask_of(Same()(np.ones((1, 2)), mask=given)), given)


class Noisy(layers.Layer):
    def __init__(self):
        super().__init__()
        self.seed = zk.random.SeedGenerator(1)
        self.mean = zk.metrics.Mean()
        self.scale = self.add_weight(shape=(), trainable=False)


def test_seeds_are_variables_and_metrics_are_counted_apart():
    layer = Noisy()
    assert layer.non_trainable_variables == [layer.scale, layer.seed.state]
    assert layer.weights == [layer.scale]
    assert layer.metrics_variables == layer.mean.variables


class Late(layers.Layer):
    def call(self, x):
        return x + self.add_weight(shape=())


class TwoShapes(layers.Layer):
    def build(self, x_shape, z_shape):
        pass

    def call(self, x, y):
        return x


def test_state_is_not_made_in_a_call():
    with pytest.raises(ConfigError, match="cannot add new elements of state"):
        Late()(np.ones((1, 2)))


def test_a_build_with_several_arguments_names_those_of_call():
    with pytest.raises(ConfigError, match="does not have argument `z`"):
        TwoShapes()(np.ones((1, 2)), np.ones((1, 2)))


def test_a_policy_is_set_by_its_name():
    layer = layers.Dense(2)
    layer.dtype_policy = "mixed_bfloat16"
    assert layer.rounds
    with pytest.raises(ConfigError, match="to be a boolean"):
        layers.Dense(2, trainable="yes")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_give_float32_results(dtype):
    assert layers.Dense(2)(np.ones((1, 3), dtype)).dtype == np.float32


def test_lists_of_numbers_are_arrays():
    assert layers.ReLU()([[-1.0, 2.0]]).tolist() == [[0.0, 2.0]]


def test_mixed_float16_is_refused_by_name():
    with pytest.raises(NotImplementedError, match="mixed_float16"):
        layers.Dense(2, dtype="mixed_float16")
