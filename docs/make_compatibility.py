"""Writes docs/compatibility.md: every public name of Keras, and whether zoo_keras has it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from zoo_keras.missing import keras_names, reason

PAGE = Path(__file__).with_name("compatibility.md")
HEAD = """# Compatibility

`make compatibility` writes this page: how many names of each module of Keras 3.15, and of what
Keras 2 had beyond it (module paths included), zoo_keras has, and each name that it lacks. Refused
names say why when they are asked for.
"""


def module(path: str) -> Any:
    """The module of zoo_keras at a path of Keras, or None."""
    try:
        return importlib.import_module(f"zoo_keras.{path}" if path else "zoo_keras")
    except ImportError:
        return None


def lacking(path: str, names: list[str]) -> list[str]:
    """The names that the module of zoo_keras does not have."""
    found = module(path)
    return [name for name in names if found is None or not hasattr(found, name)]


def table(version: str) -> tuple[str, int, int, int]:
    """A section of the page; names that are there, refused, and all."""
    rows, there, refused, total = [], 0, 0, 0
    for path, names in keras_names()[version].items():
        gone = lacking(path, names)
        why = {name: reason(f"{path}.{name}" if path else name) for name in gone}
        there, total = there + len(names) - len(gone), total + len(names)
        refused += sum(v is not None for v in why.values())
        told = ", ".join(f"`{n}`" + (f" (refused: {w})" if w else "") for n, w in why.items())
        name = f"`keras.{path}`" if path else "`keras`"
        rows.append(f"| {name} | {len(names) - len(gone)} of {len(names)} | {told} |")
    head = f"{there} of {total} names are there, {refused} are refused.\n"
    lines = [head, "| module | there | lacking |", "|---|---|---|", *rows]
    return "\n".join(lines) + "\n", there, refused, total


def main() -> None:
    of_3, *counts = table("3")
    of_2, *old = table("2")
    PAGE.write_text(f"{HEAD}\n## Keras 3.15\n\n{of_3}\n## Keras 2, beyond 3\n\n{of_2}")
    sys.stdout.write(f"Keras 3: {counts}, Keras 2: {old} (there, refused, all)\n")


if __name__ == "__main__":
    main()
