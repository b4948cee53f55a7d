"""Builder: from a traced computation to a Program, over spaces that one file names."""

import ast
from pathlib import Path

import numpy as np
import pytest

from zoo_keras import ops
from zoo_keras.engine import spaces
from zoo_keras.engine.build import Builder
from zoo_keras.engine.program import Place
from zoo_keras.engine.runner import Runner
from zoo_keras.graph import tracing
from zoo_keras.variables import Variable

PACKAGE = Path(__file__).resolve().parent.parent / "zoo_keras"


@pytest.mark.parametrize(
    ("kind", "space", "belongs"),
    [
        (spaces.W, "w0", True),
        (spaces.W, "weights", False),
        (spaces.ROWS, "rows12", True),
        (spaces.ROWS, "row_norms", False),
        (spaces.IN, "iterations", False),
        (spaces.IN, "in", False),
        (spaces.SLOT, "slot:momentum", True),
        (spaces.SLOT, "slot", False),
        (spaces.OUT, "output0", False),
    ],
)
def test_a_kind_knows_its_spaces(kind, space, belongs):
    assert (space in kind) is belongs


def test_leaves_of_a_batch_have_a_space_each():
    assert spaces.of_batch([["a", "b"], ["c"], []]) == {"x0": "a", "x1": "b", "y0": "c"}


def test_a_program_reads_and_writes_where_the_builder_says():
    variable = Variable(np.full(2, 3, np.float32), name="w")
    build = Builder(lambda v: Place(spaces.WEIGHTS, 4))
    with tracing() as trace:
        x = build.feed(spaces.X(0), (2,))
        variable.assign(variable + x)
        build.write_out([ops.multiply(x, 2)])
        build.assign(trace.updates.values())
    runner, flat, out = Runner(build.program()), np.ones(3, np.float32), np.zeros(2, np.float32)
    x = np.array([1, 2], np.float32)
    for space, array in {spaces.WEIGHTS: flat, spaces.X(0): x, spaces.OUT(0): out}.items():
        runner.set(space, array)
    runner.run()
    np.testing.assert_array_equal(out, [2, 4])
    np.testing.assert_array_equal(flat, [1, 2, 3])


def calls_of(name: str) -> set[str]:
    """The files of the package in which a function of that name is called."""
    return {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name
    }


def test_every_traced_program_goes_through_the_builder():
    # A loop's body is compiled while the program around it is lowered.
    assert calls_of("compile_graph") == {"engine/build.py", "engine/program.py"}
    assert calls_of("optimise") == {"engine/build.py", "engine/loop.py"}
