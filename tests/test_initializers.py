"""Initializers, regularizers, constraints, activations: seeds, names, errors. Values against
Keras: test_golden_elementary.py."""

from __future__ import annotations

import numpy as np
import pytest

from zoo_keras import activations, constraints, initializers, ops, random, regularizers
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.graph import tracing
from zoo_keras.variables import Variable

RANDOM = [
    initializers.RandomNormal, initializers.RandomUniform, initializers.TruncatedNormal,
    initializers.VarianceScaling, initializers.GlorotNormal, initializers.GlorotUniform,
    initializers.HeNormal, initializers.HeUniform, initializers.LecunNormal,
    initializers.LecunUniform, initializers.Orthogonal,
]  # fmt: skip


@pytest.mark.parametrize("cls", RANDOM)
def test_values_follow_the_seed(cls):
    seeded = cls(seed=4)
    first = seeded((5, 3))
    assert first.dtype == "float32" and first.shape == (5, 3)
    np.testing.assert_array_equal(seeded((5, 3)), first)
    np.testing.assert_array_equal(cls.from_config(seeded.get_config())((5, 3)), first)
    assert not np.array_equal(cls(seed=5)((5, 3)), first)
    generator = random.SeedGenerator(4)
    again = cls(seed=generator)
    assert not np.array_equal(again((5, 3)), again((5, 3)))


@pytest.mark.parametrize("cls", RANDOM)
def test_set_random_seed_repeats_unseeded_values(cls):
    made = []
    for _ in range(2):
        random.set_random_seed(8)
        made.append(cls()((3, 4)))
    np.testing.assert_array_equal(*made)


def test_values_inside_a_trace_are_arrays():
    with tracing():
        values = initializers.GlorotUniform(seed=random.SeedGenerator(1))((3, 4))
        weight = Variable(initializers.HeNormal(), (3, 4), name="w")
    assert isinstance(values, np.ndarray) and weight.shape == (3, 4)


def test_fans_of_kernels():
    assert initializers.compute_fans((7,)) == (7, 7)
    assert initializers.compute_fans((3, 5, 4, 8)) == (60, 120)
    assert initializers.compute_fans((2, 3, 4), (0, 1), (2,)) == (6, 4)


def test_orthogonal_rows_or_columns():
    for shape in ((6, 4), (4, 6), (2, 3, 4)):
        matrix = initializers.Orthogonal(gain=2.0, seed=1)(shape).reshape(-1, shape[-1])
        small = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
        np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


@pytest.mark.parametrize(("name", "cls"), [
    ("zeros", initializers.Zeros), ("one", initializers.Ones),
    ("normal", initializers.RandomNormal), ("HeNormal", initializers.HeNormal),
    ("glorot_uniform", initializers.GlorotUniform),
    ("uniform", initializers.RandomUniform), ("identity", initializers.Identity),
])  # fmt: skip
def test_names_of_initializers(name, cls):
    assert type(initializers.get(name)) is cls


def test_arrays_and_functions_are_initializers():
    array = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(initializers.get(array)((2, 3), "float32"), array)
    with pytest.raises(ShapeError, match=r"\(3, 2\)"):
        initializers.get(array)((3, 2))
    function = lambda shape, dtype=None: np.ones(shape)  # noqa: E731
    assert initializers.get(function) is function
    config = initializers.serialize(initializers.Constant([1.0, 2.0]))
    np.testing.assert_array_equal(initializers.deserialize(config)((2,)), [1, 2])


def test_regularizers_penalise():
    x = np.float32([[1, -2], [3, 0]])
    assert float(regularizers.L1(0.5)(x)) == 3
    assert float(regularizers.get("l2")(x)) == pytest.approx(0.14)
    assert float(regularizers.L1L2(0.1, 0.2)(x)) == pytest.approx(0.6 + 2.8)
    assert float(regularizers.OrthogonalRegularizer()(np.eye(3, dtype="f4"))) == 0
    again = regularizers.deserialize(regularizers.serialize(regularizers.L1L2(0.1, 0.2)))
    assert again.get_config() == {"l1": 0.1, "l2": 0.2}


def test_constraints_hold_for_variables():
    w = Variable(np.float32([[3, -1], [4, 0]]), name="w")
    np.testing.assert_array_equal(constraints.NonNeg()(w), [[3, 0], [4, 0]])
    norms = np.linalg.norm(constraints.MaxNorm(2.0)(w), axis=0)
    np.testing.assert_allclose(norms, [2, 1], rtol=1e-5)
    assert constraints.get("unit_norm").get_config() == {"axis": 0}


def test_activations_by_name_and_back():
    assert activations.get(None) is activations.linear
    assert activations.get("swish") is activations.silu
    for name in ("relu", "softmax", "gelu", "linear"):
        assert activations.serialize(activations.get(name)) == name

    def mine(x):
        return ops.square(x)

    assert activations.get(mine) is mine and activations.serialize(mine)["config"] == "mine"


def test_relu_with_slope_threshold_and_limit():
    x = np.float32([-2, 0.5, 1.5, 9])
    y = activations.relu(x, negative_slope=0.1, max_value=4.0, threshold=1.0)
    np.testing.assert_allclose(y, [-0.3, -0.05, 1.5, 4], rtol=1e-6)


REFUSED = [
    (lambda: initializers.get("he_norml"), ConfigError, r"he_norml.*he_normal"),
    (lambda: initializers.HeNormal(seed="x"), ConfigError, "seed='x'"),
    (lambda: initializers.VarianceScaling(scale=0), ConfigError, "scale=0"),
    (lambda: initializers.VarianceScaling(mode="fan"), ConfigError, "fan_in"),
    (lambda: initializers.Identity()((2, 2, 2)), ShapeError, r"\(2, 2, 2\)"),
    (lambda: initializers.Orthogonal()((3,)), ShapeError, r"\(3,\)"),
    (lambda: regularizers.L2(-1.0), ConfigError, "-1.0"),
    (lambda: regularizers.get("l3"), ConfigError, r"l3.*l1_l2"),
    (lambda: regularizers.OrthogonalRegularizer()(np.ones(3)), ShapeError, "rank 2"),
    (lambda: constraints.get("positive"), ConfigError, r"positive.*non_neg"),
    (lambda: activations.get("rellu"), ConfigError, r"rellu.*relu"),
    (lambda: activations.get(initializers.Zeros), ConfigError, "instance"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_bad_names_and_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_variable_starts_as_an_initializer_of_this_name_says():
    assert Variable("ones", shape=(2,), dtype="int32").numpy().tolist() == [1, 1]
