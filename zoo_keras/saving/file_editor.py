"""KerasFileEditor: look into a file of weights, compare it with a model, rename and change parts.

In: a `.keras` or `.weights.h5` file, read whole and as data only. Out: a new `.weights.h5`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, FileError
from zoo_keras.saving import files, hdf5, keras_archive, weights_tree

Weights = dict[str, np.ndarray]


class KerasFileEditor:
    """The weights of a file by the paths of the objects that have them, such as "layers/dense_1".

    Objects are named by their whole paths, or by the last part when it is that of one object.
    Nothing is written before `save`. Source: keras.saving.KerasFileEditor.

    Raises FileError for what is no such file, ConfigError for names that are not in it.

    >>> editor = KerasFileEditor("model.weights.h5")
    >>> editor.rename_object("layers/dense", "dense_1")
    >>> editor.save("renamed.weights.h5")
    """

    def __init__(self, filepath: Any) -> None:
        self.filepath = files.path_text(filepath)
        self._objects: dict[str, Weights] = {}
        self._names: dict[str, str] = {}
        self._seen: set[Any] = set()
        with files.readable(self.filepath) as path:
            if self.filepath.endswith(".keras"):
                with tempfile.NamedTemporaryFile(suffix=".weights.h5") as file:
                    file.write(keras_archive.weights_of(path, self.filepath))
                    file.flush()
                    self._open(file.name)
            else:
                self._open(path)

    def _open(self, path: str) -> None:
        with hdf5.open_for_reading(path, self.filepath) as file:
            self._read(file, "")

    def _read(self, group: Any, path: str) -> None:
        for name in group:
            inside = self._once(hdf5.find(group, name))
            if name == "vars":
                arrays = {k: self._once(hdf5.child(inside, k, "dataset")) for k in inside}
                found = {k: hdf5.read_array(inside, k, a.shape) for k, a in arrays.items()}
                self._objects[path] = found
                if "name" in inside.attrs:
                    self._names[path] = hdf5.read_text(inside, "name")
            elif hasattr(inside, "keys"):
                self._read(inside, f"{path}/{name}" if path else name)

    def _once(self, item: Any) -> Any:
        """The item; FileError when it was there before, under another name."""
        if (place := hdf5.place_of(item)) in self._seen:
            raise FileError(
                f"a file must hold each item once. Received: {item.name} twice. The file is "
                "hostile."
            )
        self._seen.add(place)
        return item

    @property
    def weights_dict(self) -> dict[str, Any]:
        """The arrays, nested as the objects are."""
        found: dict[str, Any] = {}
        for path, weights in self._objects.items():
            inner = found
            for part in filter(None, path.split("/")):
                inner = inner.setdefault(part, {})
            inner.update(weights)
        return found

    def summary(self) -> None:
        """Print the objects and the shapes of their weights."""
        print(f"Weights of {self.filepath}")
        for path, weights in self._objects.items():
            if weights:
                shapes = ", ".join(f"{name}: {w.shape} {w.dtype}" for name, w in weights.items())
                print(f"  {path or '(the model)'}  {shapes}")

    def compare(self, reference_model: Any) -> dict[str, Any]:
        """Print where the file differs from a model; returns status, error_count, match_count."""
        wanted = {
            path: weights_tree.stored(node) for path, node in weights_tree.walk(reference_model)
        }
        faults: list[str] = []
        matches = 0
        for path in sorted({*wanted, *self._objects}):
            have, want = self._objects.get(path, {}), wanted.get(path, {})
            if bool(have) != bool(want):
                faults.append(f"{path}: {'not in the model' if have else 'not in the file'}")
                continue
            found = [_difference(path, name, have, want) for name in sorted({*have, *want})]
            faults += [fault for fault in found if fault]
            matches += found.count("")
        print("\n".join(faults) or "The file fits the model.")
        status = "error" if faults else "success"
        return {"status": status, "error_count": len(faults), "match_count": matches}

    def rename_object(self, object_name: str, new_name: str) -> None:
        """Give an object, and with it those inside it, another name in the same place.

        Raises ConfigError where an object has that name.
        """
        old = self._path(object_name)
        new = "/".join([*old.split("/")[:-1], new_name])
        kept = [p for p in self._objects if _moved(p, old, new) == p]
        if old != new and any(_moved(p, new, "") != p for p in kept):
            raise ConfigError(
                f"rename_object: there is one at this path. Received: {new!r}. Delete it first, or "
                "take another name."
            )
        for table in (self._objects, self._names):
            moved = {_moved(path, old, new): value for path, value in table.items()}
            table.clear()
            table.update(moved)  # type: ignore[arg-type]

    def delete_object(self, object_name: str) -> None:
        """Take out an object and those inside it."""
        gone = self._path(object_name)
        for path in [p for p in self._objects if p == gone or p.startswith(f"{gone}/")]:
            del self._objects[path]
            self._names.pop(path, None)

    def add_object(self, object_path: str, weights: Mapping[str, Any]) -> None:
        """Put in an object with these weights."""
        if object_path in self._objects:
            raise ConfigError(
                f"add_object: there is one at this path. Received: {object_path!r}. "
                "Use add_weights."
            )
        self._objects[object_path] = {name: np.asarray(w) for name, w in weights.items()}

    def delete_weight(self, object_name: str, weight_name: str) -> None:
        """Take a weight out of an object."""
        weights = self._objects[self._path(object_name)]
        if weight_name not in weights:
            raise ConfigError(
                f"delete_weight: {object_name!r} has no such weight. Received: {weight_name!r}. "
                f"Use one of {sorted(weights)}."
            )
        del weights[weight_name]

    def add_weights(self, object_name: str, weights: Mapping[str, Any]) -> None:
        """Put weights into an object, in place of those with the same names."""
        arrays = {name: np.asarray(weight) for name, weight in weights.items()}
        self._objects[self._path(object_name)].update(arrays)

    def save(self, filepath: Any) -> None:
        """Write the weights as they are now, as `.weights.h5`."""
        path = files.path_text(filepath)
        if not path.endswith(".weights.h5"):
            raise ConfigError(
                f"save: the path must end in .weights.h5. Received: {path!r}. Rename it."
            )
        with files.writable(path) as local, hdf5.open_for_writing(local) as file:
            for place, weights in self._objects.items():
                group = file.create_group(f"{place}/vars" if place else "vars")
                if place in self._names:
                    group.attrs["name"] = self._names[place]
                for name, weight in weights.items():
                    group[name] = weight

    def _path(self, name: str) -> str:
        found = [p for p in self._objects if name in (p, p.rpartition("/")[2])]
        if name in found:
            return name
        if len(found) != 1:
            raise ConfigError(
                f"{self.filepath}: {len(found)} objects have this name. Received: {name!r}. "
                f"Use one of {sorted(self._objects)}."
            )
        return found[0]


def _moved(path: str, old: str, new: str) -> str:
    return new + path[len(old) :] if path == old or path.startswith(f"{old}/") else path


def _difference(path: str, name: str, have: Weights, want: Mapping[str, Any]) -> str:
    """What is wrong with a weight of the file; "" when nothing is."""
    if name not in want:
        return f"{path}/{name}: not in the model"
    if name not in have:
        return f"{path}/{name}: not in the file"
    shapes = np.shape(have[name]), np.shape(want[name])
    return (
        "" if shapes[0] == shapes[1] else f"{path}/{name}: {shapes[0]} in the file, not {shapes[1]}"
    )
