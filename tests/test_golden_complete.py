"""Every public name of Keras' layers, losses and their kin is used by a golden case of real Keras.

In: Keras' names, and the tables tests/golden/data/*.json, which name classes by area, in serialized
objects, or as the names that a program asked for. A name without a case stands in OTHERS.
"""

from __future__ import annotations

import json
from importlib import import_module

import pytest
from golden.store import DATA

from zoo_keras.missing import keras_names

MODULES = (
    "activations", "callbacks", "constraints", "initializers", "layers", "losses", "metrics",
    "optimizers", "optimizers.schedules", "regularizers",
)  # fmt: skip
# Areas whose rows name a class of one module.
AREAS = {
    "attention": "layers", "layers": "layers", "losses": "losses", "metrics": "metrics",
    "more_layers": "layers", "more_optimizers": "optimizers", "optimizers": "optimizers",
    "preprocessing": "layers", "recurrent": "layers", "spatial": "layers",
}  # fmt: skip
KINDS = {
    "activation": "activations", "constraint": "constraints", "initializer": "initializers",
    "regularizer": "regularizers", "schedule": "optimizers.schedules",
}  # fmt: skip
ABSTRACT = "a base class without numbers of its own"
WORDS = "test_golden_identifiers.py calls it with every word"
OTHERS = {
    "constraints.Constraint": ABSTRACT,
    "initializers.Initializer": ABSTRACT,
    "layers.InputSpec": "what a layer says of its inputs: it computes nothing",
    "layers.Wrapper": ABSTRACT,
    "losses.Loss": ABSTRACT,
    "metrics.Metric": ABSTRACT,
    "optimizers.Optimizer": ABSTRACT,
    "optimizers.ScheduleFreeAdamW": "on TensorFlow Keras reads a momentum after the step that is "
    "meant before; tests/test_public_names.py has the steps of the paper",
    "optimizers.legacy": "a module of names that only refuse",
    "optimizers.schedules": "a module",
    "optimizers.schedules.LearningRateSchedule": ABSTRACT,
    "regularizers.Regularizer": ABSTRACT,
    "callbacks.BackupAndRestore": "files of ours: tests/test_backup.py",
    "callbacks.ModelCheckpoint": "files, which tests/oracle opens with real Keras",
    "callbacks.ProgbarLogger": "text: tests/test_callbacks.py",
    "callbacks.RemoteMonitor": "a server: tests/test_rates_and_monitors.py",
    "callbacks.TensorBoard": "files: tests/test_event_files.py",
}
for _module in {*MODULES} - {"layers"}:
    for _function in {"get", "serialize", "deserialize"} & {*keras_names()["3"][_module]}:
        OTHERS[f"{_module}.{_function}"] = WORDS


def of_a_row(area, row):
    if not isinstance(row, dict):
        return []
    if area in AREAS and "class" in row:
        return [(AREAS[area], row["class"])]
    if area == "elementary":
        return [(KINDS[row["kind"]], row["name"])]
    if area == "functions":
        return [(row["module"], row["name"])]
    return [tuple(name.rpartition(".")[::2]) for name in row.get("names", ())]


def of_serialized(value):
    """The classes in serialized objects, however deep, and the activations by name."""
    if isinstance(value, list):
        return [pair for item in value for pair in of_serialized(item)]
    if not isinstance(value, dict):
        return []
    found = [pair for item in value.values() for pair in of_serialized(item)]
    module = str(value.get("module"))
    if module.startswith("keras.") and "class_name" in value:
        found.append((module[6:], value["class_name"]))
    return found


def used():
    """The (module, name) of all that golden cases use."""
    found = set()
    for path in DATA.glob("*.json"):
        if path.stem == "identifiers":  # it names everything
            continue
        for row in json.loads(path.read_text()).values():
            found |= {*of_a_row(path.stem, row), *of_serialized(row)}
    return {pair for pair in found if pair[0] in (*MODULES, "")}  # "" is keras itself


def public(module, name):
    return getattr(import_module(f"zoo_keras.{module}".rstrip(".")), name, None)


USED = used()
OBJECTS = {id(public(*pair)) for pair in USED}  # some have a name in two modules
NAMES = [f"{m}.{n}" for m in MODULES for n in keras_names()["3"][m] if public(m, n) is not None]


@pytest.mark.parametrize("path", NAMES)
def test_a_public_name_has_a_golden_case_or_a_reason(path):
    module, _, name = path.rpartition(".")
    is_used = (module, name) in USED or id(public(module, name)) in OBJECTS
    assert is_used != (path in OTHERS)


def test_reasons_are_given_for_public_names_alone():
    assert set(OTHERS) - set(NAMES) == set()
