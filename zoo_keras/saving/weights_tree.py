"""The tree layout of Keras 3 weights (`.weights.h5`, and inside `.keras`): groups named after
attributes and class names, arrays `vars/0`, `vars/1`, ...

In: a model and an open HDF5 file. Out: the file filled, or a plan: the array for each variable,
read and checked before anything is set.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError
from zoo_keras.layers.base.layer import Layer
from zoo_keras.layers.input_layer import InputLayer
from zoo_keras.layers.quantized import Quantizable
from zoo_keras.models.model import Model
from zoo_keras.naming import to_snake_case
from zoo_keras.optimizers.optimizer import Optimizer
from zoo_keras.random import SeedGenerator
from zoo_keras.saving import hdf5
from zoo_keras.saving.layer_groups import Plan, report, top_level

# Attributes of models that are walked although all models have them.
_OF_MODELS = frozenset({"layers", "optimizer"})


def own_variables(node: Any) -> list[Any]:
    """Variables that a layer, optimizer or seed generator keeps itself, in file order."""
    if isinstance(node, Layer):
        quantised = isinstance(node, Quantizable) and node.built and node.quantization_mode
        return node.stored_variables() if quantised else top_level(node)  # type: ignore[attr-defined]
    return [node.state] if isinstance(node, SeedGenerator) else list(node.variables)


def walk(
    node: Any, path: str = "", seen: dict[int, Any] | None = None
) -> Iterator[tuple[str, Any]]:
    """(path, layer, optimizer or seed generator) of everything that is saved, each once.

    The order decides under which attribute a layer is filed: as in Keras the layers of functional
    and Sequential models first, then all attributes by name, those with an underscore last.
    """
    seen = {} if seen is None else seen  # by id; the objects stay alive, and their ids their own
    if id(node) in seen:
        return
    seen[id(node)] = node
    yield path, node
    for name, value in _children(node):
        yield from _walk_value(value, f"{path}/{name}" if path else name, seen)


def seed_generators(model: Model) -> list[tuple[str, Any]]:
    """(path, generator) of all seed generators of the layers."""
    return [(path, node) for path, node in walk(model) if isinstance(node, SeedGenerator)]


def optimizers(model: Model) -> list[Any]:
    """All optimizers that are saved with the model."""
    return [node for _, node in walk(model) if isinstance(node, Optimizer)]


def unbuilt(file: Any, model: Model) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The optimizers that are not built yet, each with what the file has of it."""
    for path, node in walk(model):
        group = None
        if isinstance(node, Optimizer) and not node.built:
            group = variables_group(file, path)
        if group is not None and len(group) > len(node.variables):
            yield node, _own_arrays(group)


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, Layer):
        return
    if _is_model(node) and getattr(node, "_function", None) is not None:
        yield "layers", node.layers  # type: ignore[attr-defined]
    names = set(dir(node)) - _base_attributes(_is_model(node))
    for name in sorted(names, key=lambda n: f"~{n}" if n.startswith("_") else n):
        if name.startswith("__"):
            continue
        try:
            value = getattr(node, name)
        except Exception:  # a property that cannot be had now; its layers follow below
            continue
        if _is_saveable(value) or isinstance(value, (list, tuple, dict)):
            yield name, value
    rest = [layer for layer in node._sublayers if not isinstance(layer, InputLayer)]
    yield "_sublayers", rest  # whatever no attribute has led to


def _is_model(node: Any) -> bool:
    return hasattr(node, "compiled") and hasattr(node, "layers")


@functools.cache
def _base_attributes(of_model: bool) -> frozenset[str]:
    """What every layer, or every model, has: none of it is a sublayer to be saved."""
    from zoo_keras.models import Sequential

    found = set(dir(Layer(name="layer")))
    if of_model:
        found |= set(dir(Sequential(name="model"))) - _OF_MODELS
    return frozenset(found)


def _is_saveable(value: Any) -> bool:
    return isinstance(value, (Layer, Optimizer, SeedGenerator))


def _walk_value(value: Any, path: str, seen: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, (list, tuple, dict)):
        yield from walk(value, path, seen)
        return
    if id(value) in seen:
        return
    seen[id(value)] = value
    used: dict[str, int] = {}
    for item in value.values() if isinstance(value, dict) else value:
        if _is_saveable(item):
            name = _unique(to_snake_case(type(item).__name__), used)
            yield from walk(item, f"{path}/{name}", seen)
        elif isinstance(item, (list, tuple, dict)):
            yield from _walk_value(item, f"{path}/{_unique('container', used)}", seen)


def _unique(name: str, used: dict[str, int]) -> str:
    used[name] = used.get(name, -1) + 1
    return f"{name}_{used[name]}" if used[name] else name


def without(objects: Sequence[Any]) -> dict[int, Any]:
    """What `walk` takes as seen, so that it leaves these objects out, and what lies in them."""
    return {id(each): each for each in objects}


def write(model: Model, file: Any, skip: Sequence[Any] = ()) -> None:
    """Write all variables but those of the objects in `skip`. UnsupportedError when one of the
    model's weights is out of reach."""
    nodes = list(walk(model, seen=without(skip)))
    for path, node in nodes:
        group = file.create_group(f"{path}/vars" if path else "vars")
        if not isinstance(node, SeedGenerator):
            group.attrs["name"] = node.name
        for name, array in stored(node).items():
            hdf5.write_array(group, name, np.asanyarray(array))


def stored(node: Any) -> dict[str, Any]:
    """The arrays that are kept of a layer, optimizer or seed generator, by their names."""
    if not _overrides(node, "save_own_variables"):
        return {str(i): v.numpy() for i, v in enumerate(own_variables(node))}
    store: dict[str, Any] = {}
    node.save_own_variables(store)
    if any(not isinstance(name, str) or not name or "/" in name for name in store):
        raise ConfigError(
            f'{type(node).__name__} "{node.name}": save_own_variables must name its arrays by '
            f"strings without '/'. Received: {list(store)}. Change the names."
        )
    return {name: np.asarray(value) for name, value in store.items()}


def _overrides(node: Any, method: str) -> bool:
    """Whether a layer or optimizer stores its Variables in its own way."""
    base = next((cls for cls in (Layer, Optimizer) if isinstance(node, cls)), None)
    return base is not None and getattr(type(node), method) is not getattr(base, method)


class _OwnLoader:
    """In place of a Variable: a layer or optimizer that reads its arrays itself."""

    guard = None

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def assign(self, store: dict[str, Any]) -> None:
        """Let the owner take its arrays."""
        self.owner.load_own_variables(store)


def _own_plan(group: Any, owner: Any) -> Plan:
    return [(_OwnLoader(owner), _own_arrays(group))]


def _own_arrays(group: Any) -> dict[str, Any]:
    names = [] if group is None else list(group)
    shapes = {name: hdf5.child(group, name, "dataset").shape or () for name in names}
    return {name: hdf5.read_array(group, name, shape) for name, shape in shapes.items()}


def plan(
    file: Any, model: Model, skip_mismatch: bool = False, state: bool = True,
    skip: Sequence[Any] = (),
) -> Plan:  # fmt: skip
    """The stored array for each variable.

    Args:
        skip: layers that keep their weights.
        skip_mismatch: leave out what does not fit, with a warning, instead of a FileError.
        state: also that of the optimizer, if the file has it, and of seed generators.
    """
    found: Plan = []
    problems: list[str] = []
    for path, node in walk(model, seen=without(skip)):
        group = variables_group(file, path)
        if isinstance(node, Layer):
            made, problem = _layer_plan(group, path, node)
            problems += problem
        else:
            made = _state_plan(group, node) if state and group is not None else []
        found += made
    report(problems, skip_mismatch)
    return found


def variables_group(file: Any, path: str) -> Any:
    """The group of a layer's own variables, or None."""
    folder, _, last = path.rpartition("/")
    private = f"{folder}/_{last}"  # as Keras 2.12 to 2.15 called the parts of attention
    for name in (path, private) if folder else (path,):
        for layers in ("layers/", "_layer_checkpoint_dependencies/"):
            place = f"{name.replace('layers/', layers)}/vars".removeprefix("/")
            if (found := hdf5.find(file, place)) is not None:
                return found
    return None


def _layer_plan(group: Any, path: str, layer: Any) -> tuple[Plan, list[str]]:
    if _overrides(layer, "load_own_variables"):
        return _own_plan(group, layer), []
    variables = own_variables(layer)
    count = 0 if group is None else len(group)
    if count != len(variables):
        where = f'layer "{layer.name}" ({path or "the model itself"})'
        return [], [f"{where} has {len(variables)} weights, the file {count}"]
    found: Plan = []
    problems = []
    for i, variable in enumerate(variables):
        shape = hdf5.child(group, str(i), "dataset").shape
        if shape == variable.shape:
            found.append((variable, hdf5.read_array(group, str(i), shape)))
        else:
            problems.append(f"{variable.path} has shape {variable.shape}, in the file {shape}")
    return found, problems


def _state_plan(group: Any, node: Any) -> Plan:
    """The state of an optimizer or seed generator. One that does not fit is left as it is."""
    if _overrides(node, "load_own_variables"):
        return _own_plan(group, node)
    variables = own_variables(node)
    stored = [hdf5.child(group, str(i), "dataset").shape for i in range(len(group))]
    if isinstance(node, Optimizer) and len(stored) <= NEVER_TRAINED:
        variables = variables[: len(stored)]
    if isinstance(node, Optimizer) and stored and len(stored) != len(variables):
        variables, stored = _by_keras_2(node, variables, stored)
    if stored != [v.shape for v in variables]:
        if isinstance(node, Optimizer) and node.built:
            warnings.warn(
                f"The stored optimizer state ({len(stored)} arrays) does not fit the optimizer "
                f"{node.name} ({len(variables)} variables), which stays as it is.",
                stacklevel=6,
            )
        return []
    return [(v, hdf5.read_array(group, str(i), v.shape)) for i, v in enumerate(variables)]


def _by_keras_2(optimizer: Any, variables: list[Any], stored: list[Any]) -> tuple[list, list]:
    """(variables, shapes): archives of Keras 2 have no learning rate, and momenta of 0 for SGD."""
    rest = [variables[1], getattr(optimizer, "_u_product", None)]
    kept = [v for v in variables if not any(v is other for other in rest)]
    return kept, stored if optimizer.slots() else stored[: len(kept)]


NEVER_TRAINED = 2  # arrays: the step and the learning rate
