"""Writes zoo_keras/keras_names.txt: every public name of Keras 3, and of Keras 2 what 3 dropped.

Reads the source of both packages as text; nothing of them is run:

    python -m pip install --no-deps --target build/k3 keras==3.15.1
    python -m pip install --no-deps --target build/k2 keras==2.3.1
    python docs/names_of_keras.py build/k3/keras build/k2/keras
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

NAMES = Path(__file__).parent.parent / "zoo_keras" / "keras_names.txt"
PATHS_OF_2 = (
    "layers.advanced_activations layers.convolutional layers.convolutional_recurrent layers.core "
    "layers.embeddings layers.merge layers.noise layers.normalization layers.pooling "
    "layers.recurrent layers.wrappers utils.generic_utils utils.np_utils utils.vis_utils "
    "utils.data_utils wrappers.scikit_learn preprocessing.image preprocessing.sequence "
    "preprocessing.text"
).split()


def imported(file: Path) -> set[str]:
    """The public names that an `__init__.py` of Keras 3 gathers."""
    body = ast.parse(file.read_text()).body
    found = (a.asname or a.name for n in body if isinstance(n, ast.ImportFrom) for a in n.names)
    return {name for name in found if not name.startswith("_")}


def gathered(root: Path) -> dict[str, set[str]]:
    """Names by module, of every public folder below a root."""
    found = {}
    for file in sorted(root.rglob("__init__.py")):
        parts = file.parent.relative_to(root).parts
        if not parts or parts[0] not in ("src", "_tf_keras"):
            found[".".join(("keras", *parts))] = imported(file)
    return found


def defined(file: Path) -> set[str]:
    """What a module of Keras 2 defines or gives a second name."""
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.Name, ast.Attribute)):
            found |= {t.id for t in node.targets if isinstance(t, ast.Name)}
    return {name for name in found if not name.startswith("_")}


def paths_of_2(root: Path) -> dict[str, set[str]]:
    """Names by the module paths that scripts for Keras 2 import from."""
    folders = {path: root.joinpath(*path.split(".")) for path in PATHS_OF_2}
    found = {p: defined(f.with_suffix(".py")) for p, f in folders.items()}
    return {f"keras.{path}": names for path, names in found.items() if names}


def main() -> None:
    root, old = Path(sys.argv[1]), Path(sys.argv[2])
    of_3 = gathered(root)
    of_2 = paths_of_2(old)
    for path in of_2:
        if path.startswith("keras.utils."):  # the rest was never documented
            of_2[path] &= of_3["keras.utils"]
    for module, names in gathered(root / "_tf_keras" / "keras").items():
        of_2[module] = of_2.get(module, set()) | names
    of_2 = {m: names - of_3.get(m, set()) for m, names in of_2.items()}
    lines = []
    for version, table in (("3", of_3), ("2", of_2)):
        for module, names in sorted(table.items()):
            lines += [" ".join((version, module, *sorted(names)))] if names else []
    NAMES.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
