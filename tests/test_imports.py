"""Rules about the source itself: who imports whom, how long files are, what has a docstring.

The imports are read with ast; nothing of zoo_keras is run but for the last two tests.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "zoo_keras"
LONGEST_FILE = 600

# A module imports its own level or lower ones. Names are the first part below zoo_keras, or the
# first two where a package has modules on different levels.
LEVELS = (
    (
        "errors",
        "missing",
        "dtypes",
        "naming",
        "nest",
        "native",
        "gemm",
        "guard",
        "recent",
        "graph",
        "interpret",
        "ops",
    ),
    ("passes", "feed"),
    ("program", "execute", "eager"),
    (
        "saving.by_value",
        "saving.object_registration",
        "saving.serialization",
        "weights",
        "policies",
        "dtype_policies",
        "quantization",
        "quantizers",
        "registry",
        "initializers",
        "regularizers",
        "constraints",
        "activations",
        "random",
        "config",
        "layers",
        "losses",
        "metrics",
        "optimizers",
    ),
    ("callbacks", "training"),
    ("models",),
    ("saving",),
    ("spark",),
    ("backend", "utils", "applications"),
)
LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names}
# fit(rdd), adapt(rdd), Model.save and ops on arrays reach up, inside functions.
UPWARD = {("training", "spark"), ("models", "saving"), ("layers", "spark"), ("ops", "eager")}


def package_files() -> list[Path]:
    """The package's modules but its own __init__, which collects the public names of all."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def source_files() -> list[Path]:
    """Every file that people write and read."""
    folders = ("zoo_keras", "csrc", "tests", "benchmarks", "examples")
    kinds = (".py", ".c", ".h", ".java")
    found = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    return sorted(path for path in found if path.suffix in kinds)


def part_of(path: Path) -> str:
    """The part of the package that a file belongs to: zoo_keras/layers/dense.py -> layers."""
    return part_named(path.relative_to(PACKAGE).with_suffix("").parts)


def part_named(names: tuple[str, ...] | list[str]) -> str:
    """The part for names below zoo_keras: two of them where LEVELS says so, else the first."""
    two = ".".join(names[:2])
    return two if two in LEVEL_OF else names[0]


def run_code(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node` but those that only a type checker reads."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield from run_code(child)


def base_of(node: ast.ImportFrom, path: Path) -> str:
    """The absolute dotted name that a `from ... import` starts at."""
    if not node.level:
        return node.module or ""
    folder = path.parent.relative_to(ROOT).parts
    return ".".join([*folder[: len(folder) - node.level + 1], *filter(None, [node.module])])


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything the file imports, inside functions too."""
    for node in run_code(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = base_of(node, path)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def parts_imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and part of every import from zoo_keras."""
    for line, name in imported_names(path):
        if name.startswith("zoo_keras.") and not name.startswith("zoo_keras._"):
            yield line, part_named(name.split(".")[1:])


def test_every_part_of_the_package_has_a_level():
    parts = {part_of(path) for path in package_files()}
    parts |= {part for path in package_files() for _, part in parts_imported(path)}
    unknown = parts - set(LEVEL_OF)
    assert not unknown, f"add to LEVELS in {Path(__file__).name}: {sorted(unknown)}"


def test_imports_go_downwards():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {part_of(path)} imports {part}"
        for path in package_files()
        for line, part in parts_imported(path)
        if LEVEL_OF.get(part, 0) > LEVEL_OF.get(part_of(path), len(LEVELS))
        and (part_of(path), part) not in UPWARD
    ]
    assert not wrong, "\n".join(wrong)


def test_only_native_imports_the_c_module():
    importers = {
        part_of(path)
        for path in package_files()
        for _, name in imported_names(path)
        if name.startswith("zoo_keras._zk")
    }
    assert importers == {"native"}


@pytest.mark.parametrize("line", ["from ..layers import Dense", "import zoo_keras.spark.cluster"])
def test_an_import_in_a_function_is_seen(line, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "zoo_keras" / "ops" / "new.py"
    path.parent.mkdir(parents=True)
    path.write_text(f"def function():\n    {line}\n")
    assert list(parts_imported(path)) == [(2, "spark" if "spark" in line else "layers")]


def test_no_file_is_too_long():
    lengths = {path: len(path.read_text().splitlines()) for path in source_files()}
    long = [f"{p.relative_to(ROOT)}: {n}" for p, n in lengths.items() if n > LONGEST_FILE]
    assert not long, "\n".join(long)


def test_import_loads_no_heavy_module():
    code = "import sys, zoo_keras; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=-1, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "zoo_keras" in loaded
    assert not loaded & {"pyspark", "py4j", "h5py", "tqdm", "pyarrow", "sklearn", "mkl"}


def public_modules(module: types.ModuleType) -> Iterator[types.ModuleType]:
    """The module and the modules of zoo_keras that its __all__ names, all the way down."""
    yield module
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if isinstance(value, types.ModuleType) and value.__name__.startswith(module.__name__ + "."):
            yield from public_modules(value)


def test_every_public_name_has_a_docstring():
    missing = [
        f"{module.__name__}.{name}"
        for module in public_modules(import_module("zoo_keras"))
        for name in getattr(module, "__all__", ())
        if inspect.isroutine(value := getattr(module, name)) or inspect.isclass(value)
        if not value.__doc__
    ]
    assert not missing, "\n".join(missing)
