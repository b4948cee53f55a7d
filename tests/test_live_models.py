"""from_keras and to_keras without Keras: what they say."""

from __future__ import annotations

import sys
import types

import pytest

import zoo_keras as zk
from zoo_keras.errors import ConfigError, UnsupportedError


def test_what_is_no_model_of_keras_is_named():
    for wrong in ("model.h5", zk.Sequential([zk.Input((2,)), zk.layers.Dense(1)])):
        with pytest.raises(ConfigError, match="takes a model of Keras"):
            zk.saving.from_keras(wrong)


def test_only_our_models_become_those_of_keras():
    with pytest.raises(ConfigError, match="takes a model of zoo_keras"):
        zk.saving.to_keras(object())


def test_an_old_keras_is_named(monkeypatch):
    old = types.SimpleNamespace(__version__="2.3.1")
    monkeypatch.setitem(sys.modules, "keras", old)
    with pytest.raises(UnsupportedError, match=r"2\.3\.1"):
        zk.saving.to_keras(zk.Sequential([zk.Input((2,)), zk.layers.Dense(1)]))


def test_a_model_of_a_package_called_keras_is_saved_by_itself(monkeypatch):
    """As Keras 2 does: `.h5`, and nothing of the package is imported here."""
    ours = zk.Sequential([zk.Input((2,)), zk.layers.Dense(1)])

    class Model:
        def save(self, path):
            assert path.endswith(".h5")
            ours.save(path)

    Model.__module__ = "keras.engine.training"
    monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(__version__="2.2.4"))
    made = zk.saving.from_keras(Model())
    assert [w.tolist() for w in made.get_weights()] == [w.tolist() for w in ours.get_weights()]
