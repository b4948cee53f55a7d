"""Results of ops have the dtypes that Keras gives them, for arrays and Python numbers."""

from __future__ import annotations

import json

from golden.cases.promotion import calls, dtype_of
from golden.store import DATA

import zoo_keras as zk

EXPECTED = {
    name: dtype
    for dtype, names in json.loads((DATA / "promotion.json").read_text()).items()
    for name in names
}


def differs_by_backend(name, dtype):
    """Where Keras on TensorFlow, which made the table, is alone: it turns a Python number into an
    array first in two ops, and has bools for products of bools and float64 for long integers."""
    op, *kinds = name.split()
    weak = op in ("mod", "bitwise_and") and not {"2", "2.5"}.isdisjoint(kinds)
    bools = op in ("matmul", "dot", "outer", "tensordot") and kinds == ["bool", "bool"]
    return weak or bools or (op == "hypot" and dtype == "float64")


def test_every_result_has_the_dtype_that_keras_gives():
    found = {name: dtype_of(zk, call) for name, call in calls(zk)}
    wrong = {
        name: (found[name], dtype)
        for name, dtype in EXPECTED.items()
        if found[name] != dtype and not differs_by_backend(name, dtype)
    }
    assert len(EXPECTED) > 3_500 and not wrong
