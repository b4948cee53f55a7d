"""The reference of the site: every public name has its place and a docstring."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference.py"


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference_of_the_site", PAGE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found(reference):
    return reference.Reference()


def test_every_public_name_and_method_has_a_docstring(found):
    assert list(found.undocumented()) == []


def test_a_name_without_a_docstring_is_listed(reference, found):
    def bare():
        pass

    found.own["zoo_keras.spark"]["bare"] = bare
    try:
        assert list(found.undocumented()) == ["zoo_keras.spark.bare"]
    finally:
        del found.own["zoo_keras.spark"]["bare"]


def test_every_public_name_is_described_once_and_found_everywhere(found):
    assert found.own["zoo_keras.layers"].keys() >= {"Dense", "LSTM", "TextVectorization"}
    assert "Layer" in found.own["zoo_keras"]
    assert found.others["zoo_keras.layers"]["Layer"] == "zoo_keras.Layer"
    assert found.others["zoo_keras.ops.nn"]["relu"] == "zoo_keras.ops.relu"
    assert "KerasClassifier" in found.own["zoo_keras.spark.ml"]
    assert "fit" in found.methods(found.own["zoo_keras"]["Model"])
    assert "call" not in found.methods(found.own["zoo_keras.callbacks"]["EarlyStopping"])


def test_signatures_and_docstrings_are_python(found):
    for path in found.own:
        tree = ast.parse(found.stub(path))
        assert ast.get_docstring(tree), path
    dense = found.class_("Dense", found.own["zoo_keras.layers"]["Dense"])
    assert "class Dense(zoo_keras.Layer):" in dense and "units: int" in dense


def test_markdown_reads_prose_as_prose_and_examples_as_code(reference):
    text = "Product a * b of [x] and `a * b`.\n\n>>> f(1) * 2\n4"
    shown = ast.literal_eval(reference.literal(text))
    assert shown == "Product a \\* b of \\[x] and `a * b`.\n\n```pycon\n>>> f(1) * 2\n4\n```"
