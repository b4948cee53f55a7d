"""Rules about the source itself: who imports whom, how long files are.

The imports are read with ast; nothing of zoo_keras is run but for the last test.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "zoo_keras"
LONGEST_FILE = 600

# The floors of the house, the ground first. A module imports its own floor or lower ones. Names are
# the first part below zoo_keras, or two parts where a folder holds rooms on different floors.
FLOORS = (
    "errors missing paths values scopes switches dtypes bfloat16 naming nest native gemm guard "
    "recent graph interpret primitives ops passes engine feed policies policy_map dtype_policies "
    "config configs quantizers variables stateless random initializers regularizers constraints "
    "activations layers.base layers losses metrics optimizers callbacks training models saving "
    "spark spark.transport spark.data spark.fit spark.scoring spark.images spark.ml spark.doctor "
    "nnframes backend_defaults backend_graphs backend mixed_precision utils tree distillation "
    "preprocessing datasets visualization wrappers applications command __main__"
).split()
FLOOR_OF = {name: floor for floor, name in enumerate(FLOORS)}
# Doors up, each inside functions: fit(rdd), predict(df) and adapt(rdd), Model.save, backups, ops on
# arrays, public names of spark, noise of image.elastic_transform, ops.jvp, Variable("zeros", ...).
UPWARD = {
    ("training", "spark.fit"),
    ("training", "spark.scoring"),
    ("layers", "spark.scoring"),
    ("models", "saving"),
    ("layers", "saving"),
    ("callbacks", "saving"),
    ("primitives", "engine"),
    ("spark", "spark.scoring"),
    ("spark", "spark.fit"),
    ("ops", "random"),
    ("ops", "passes"),
    ("variables", "initializers"),
    ("config", "configs"),
}


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
    """The part for names below zoo_keras: two of them where FLOORS says so, else the first."""
    two = ".".join(names[:2])
    return two if two in FLOOR_OF else names[0]


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


def test_every_part_of_the_package_has_a_floor():
    parts = {part_of(path) for path in package_files()}
    parts |= {part for path in package_files() for _, part in parts_imported(path)}
    unknown = parts - set(FLOOR_OF)
    assert not unknown, f"add to FLOORS in {Path(__file__).name}: {sorted(unknown)}"


def test_imports_go_downwards():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {part_of(path)} imports {part}"
        for path in package_files()
        for line, part in parts_imported(path)
        if FLOOR_OF.get(part, 0) > FLOOR_OF.get(part_of(path), len(FLOORS))
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


def test_no_two_test_modules_share_a_name():
    """pytest imports them by their bare names, so one run can't collect both."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_import_loads_no_heavy_module():
    code = "import sys, zoo_keras; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=-1, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "zoo_keras" in loaded
    assert not loaded & {"pyspark", "py4j", "h5py", "tqdm", "pyarrow", "sklearn", "mkl"}
