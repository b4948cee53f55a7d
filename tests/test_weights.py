"""Variables: values, assignment in and outside traces, and their packing into flat vectors."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from zoo_keras import ops
from zoo_keras import variables as weights
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.graph import Tensor, tracing
from zoo_keras.variables import FlatVector, Variable

MADE = [
    (lambda: Variable(3), (), "int32"), (lambda: Variable(3.5), (), "float32"),
    (lambda: Variable(True), (), "bool"), (lambda: Variable([[1, 2]]), (1, 2), "int32"),
    (lambda: Variable(np.zeros(3)), (3,), "float32"),
    (lambda: Variable(np.zeros(3), dtype="float64"), (3,), "float64"),
    (lambda: Variable(np.zeros(6), shape=(2, 3)), (2, 3), "float32"),
    (lambda: Variable(lambda shape, dtype: np.ones(shape, dtype), (2,)), (2,), "float32"),
    (lambda: Variable(lambda shape, dtype: np.ones(shape, dtype), (2,), "int32"), (2,), "int32"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "shape", "dtype"), MADE)
def test_shape_and_dtype_follow_the_initializer(make, shape, dtype):
    made = make()
    assert (made.shape, made.dtype, made.ndim) == (shape, dtype, len(shape))
    assert made.numpy().dtype == dtype


def test_an_initializer_function_needs_a_shape_and_a_known_dtype():
    with pytest.raises(ShapeError, match="the `shape` is needed"):
        Variable(lambda shape, dtype: np.ones(shape, dtype))
    with pytest.raises(ConfigError, match="float99"):
        Variable(1.0, dtype="float99")


def test_the_values_given_are_copied():
    array = np.zeros(3, np.float32)
    variable = Variable(array)
    array[:] = 1
    variable.numpy()[:] = 2
    assert variable.numpy().tolist() == [0, 0, 0]


def test_assignment_outside_a_trace_changes_the_values_at_once():
    variable = Variable([1.0, 2.0])
    variable.assign([3, 4])
    variable.assign_add([1, 1])
    variable.assign_sub(np.array([2.0, 0.0]))
    assert variable.numpy().tolist() == [2, 5]
    assert variable.dtype == "float32"


def test_operators_and_numpy_see_the_values():
    variable = Variable([1.0, 4.0])
    assert (variable * 2 + 1).tolist() == [3, 9]
    assert (1 - variable).tolist() == [0, -3]
    assert np.sqrt(variable).tolist() == [1, 2]
    assert ops.max(variable) == 4
    assert (variable[1], len(variable), float(Variable(2.5)), int(Variable(7))) == (4, 2, 2.5, 7)
    assert np.asarray(variable, dtype="int32").tolist() == [1, 4]


def test_variables_are_compared_by_identity():
    a, b = Variable(1.0), Variable(1.0)
    assert a == a
    assert a != b
    assert len({a, b}) == 2


def test_in_a_trace_a_variable_is_a_tensor_and_keeps_its_values():
    variable = Variable([1.0, 2.0])
    with tracing() as trace:
        assert isinstance(variable.value, Tensor)
        assert isinstance(variable + 1, Tensor)
        assert isinstance(ops.sum(variable), Tensor)
        variable.assign(variable * 2)
    assert variable.numpy().tolist() == [1, 2]
    assert list(trace.updates) == [id(variable)]


def test_pickles_and_copies_have_values_of_their_own():
    flat = FlatVector([Variable([1.0, 2.0], name="a")])
    for other in (pickle.loads(pickle.dumps(flat.variables[0])), copy.deepcopy(flat.variables[0])):
        other.assign([7, 8])
        assert (other.name, other.numpy().tolist()) == ("a", [7, 8])
    assert flat.array.tolist() == [1, 2]


def test_a_flat_vector_holds_the_variables_end_to_end():
    made = [Variable(np.full(s, i, np.float32)) for i, s in enumerate([(2, 3), (), (0, 4), (5,)])]
    flat = FlatVector(made)
    assert (flat.offsets, flat.size) == ([0, 6, 7, 7, 12], 12)
    assert flat.array.tolist() == [0] * 6 + [1] + [3] * 5
    assert flat.array.__array_interface__["data"][0] % 64 == 0


def test_variables_and_their_flat_vector_are_one_memory():
    kernel, bias = Variable(np.zeros((2, 2), np.float32)), Variable([5.0])
    flat = FlatVector([kernel, bias])
    kernel.assign([[1, 2], [3, 4]])
    flat.array[4] = 9
    assert (flat.array.tolist(), bias.numpy().tolist()) == ([1, 2, 3, 4, 9], [9])


def test_variables_may_move_from_one_vector_to_another():
    kernel, bias = Variable([1.0, 2.0]), Variable([3.0])
    first = FlatVector([kernel, bias])
    memory = np.zeros(3, np.float32)
    FlatVector([bias, kernel], allocate=lambda size: memory[:size])
    assert memory.tolist() == [3, 1, 2]
    kernel.assign([7, 8])
    assert (memory.tolist(), first.array.tolist()) == ([3, 7, 8], [1, 2, 3])


def test_an_empty_flat_vector_is_possible():
    assert (FlatVector([]).size, FlatVector([]).offsets) == (0, [0])


def test_the_version_grows_with_every_assignment():
    variable, seen = Variable(1.0), []
    for change in (lambda: variable.assign(2), lambda: variable.assign_add(1), weights.touch):
        seen.append(weights.version())
        change()
    seen.append(weights.version())
    assert sorted(set(seen)) == seen
    with tracing():
        variable.assign(5.0)
    assert weights.version() == seen[-1], "a trace assigns nothing yet"


def test_the_structure_changes_with_new_variables_and_where_they_are():
    seen = [weights.structure()]
    variable = Variable(1.0)
    seen.append(weights.structure())
    variable.move_to(np.zeros((), np.float32))
    seen.append(weights.structure())
    assert sorted(set(seen)) == seen
    variable.trainable = False
    assert (variable.trainable, variable.trainable_when_made) == (False, True)
