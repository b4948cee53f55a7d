"""The tree layout of Keras 3 weights (`.weights.h5`, and inside `.keras`): groups named after
attributes and class names, arrays `vars/0`, `vars/1`, ...

In: a model and an open HDF5 file. Out: the file filled, or the model's variables set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo_keras.errors import FileError
from zoo_keras.layers.tracking import Tracked
from zoo_keras.naming import to_snake_case
from zoo_keras.saving import hdf5


def own_variables(node: Any) -> list[Any]:
    """Variables that a layer, optimizer or metric keeps itself, in file order."""
    if isinstance(node, Tracked):
        own = node._variables
        return [v for v in own if v.trainable_when_made] + [
            v for v in own if not v.trainable_when_made
        ]
    return list(node.variables)


def walk(node: Any, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """(path, layer, optimizer or seed generator) of everything that is saved, each once."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    yield path, node
    for name, value in _children(node):
        yield from _walk_value(value, f"{path}/{name}" if path else name, seen)


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    if hasattr(node, "layers") and hasattr(node, "compiled") and node._function is not None:
        yield "layers", _all_layers(node)
    if not isinstance(node, Tracked):
        return
    attributes = {k: v for k, v in node.__dict__.items() if not k.startswith("__")}
    optimizer = attributes.get("optimizer")
    for name in sorted(attributes, key=lambda k: k.lstrip("_").lower()):
        if name.startswith("_") and name not in _PRIVATE_CHILDREN:
            continue
        value = attributes[name]
        if value is optimizer and name == "optimizer":
            if value is not None and value.built:
                yield name, value
        elif _is_saveable(value) or isinstance(value, (list, tuple, dict)):
            yield name, value


# Attributes that begin with an underscore and hold sublayers all the same.
_PRIVATE_CHILDREN = frozenset(
    "_query_dense _key_dense _value_dense _output_dense _softmax _dropout_layer".split()
)


def _all_layers(model: Any) -> list[Any]:
    if type(model).__name__ == "Sequential":
        return list(model.layers)
    return [layer for layer in model._layers if isinstance(layer, Tracked)]


def _is_saveable(value: Any) -> bool:
    return isinstance(value, Tracked) or type(value).__name__ == "SeedGenerator"


def _walk_value(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, (list, tuple, dict)):
        yield from walk(value, path, seen)
        return
    used: dict[str, int] = {}
    for item in value.values() if isinstance(value, dict) else value:
        if _is_saveable(item):
            yield from walk(item, f"{path}/{_unique(to_snake_case(_class_name(item)), used)}", seen)
        elif isinstance(item, (list, tuple, dict)):
            yield from _walk_value(item, f"{path}/{_unique('container', used)}", seen)


def _class_name(item: Any) -> str:
    return str(getattr(item, "class_name", None) or type(item).__name__)


def _unique(name: str, used: dict[str, int]) -> str:
    used[name] = used.get(name, -1) + 1
    return f"{name}_{used[name]}" if used[name] else name


def write(model: Any, file: Any) -> None:
    """Write all variables."""
    for path, node in walk(model):
        variables = own_variables(node)
        named = isinstance(getattr(node, "name", None), str)
        if not variables and not named:
            continue
        group = file.create_group(f"{path}/vars" if path else "vars")
        if named:
            group.attrs["name"] = node.name
        for i, variable in enumerate(variables):
            group[str(i)] = np.asarray(variable.numpy())


def read(model: Any, file: Any, skip_mismatch: bool = False, weights_only: bool = True) -> None:
    """Set all variables; everything is checked before anything is set."""
    plans = []
    for path, node in walk(model):
        variables = own_variables(node)
        is_layer = isinstance(node, Tracked)
        if not variables or (weights_only and not is_layer):
            continue
        group = _group(file, path)
        if group is None or len(group) != len(variables):
            if skip_mismatch or not is_layer:
                continue
            raise FileError(_mismatch(file, path, node, variables, group))
        plans += _checked(file, group, variables, skip_mismatch)
    for group, name, variable in plans:
        variable.assign(hdf5.read_array(group, name, variable.shape))


def _group(file: Any, path: str) -> Any:
    name = f"{path}/vars" if path else "vars"
    if name not in file:
        older = name.replace("layers/", "_layer_checkpoint_dependencies/")
        return hdf5.child(file, older, "group") if older in file else None
    return hdf5.child(file, name, "group")


def _checked(file: Any, group: Any, variables: list[Any], skip: bool) -> list[tuple]:
    plans = []
    for i, variable in enumerate(variables):
        stored = tuple(hdf5.child(group, str(i), "dataset").shape)
        if stored == tuple(variable.shape):
            plans.append((group, str(i), variable))
        elif not skip:
            raise FileError(
                f"{file.filename}: {group.name}/{i} has shape {stored}, "
                f'"{variable.path}" has {variable.shape}. The file belongs to another model.'
            )
    return plans


def _mismatch(file: Any, path: str, node: Any, variables: list[Any], group: Any) -> str:
    held = "nothing" if group is None else f"{len(group)} arrays"
    return (
        f"{file.filename}: expected {len(variables)} arrays for layer "
        f'"{getattr(node, "name", path)}" under {path or "/"}/vars. Received: {held}. '
        "The file belongs to another model."
    )
