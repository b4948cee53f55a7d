"""The build of the C library, the jar and the wheel, tried on a tiny engine in a scratch tree."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    "README.md": "A scratch project.",
    "zoo_keras/__init__.py": "",
    "zoo_keras/spark/__init__.py": "",
    "csrc/engine/zk.h": """
#ifndef ZK_H
#define ZK_H
int zk_sum(void);
#endif
""",
    "csrc/engine/kernel.h": """
#include "zk.h"
typedef struct { const char *name; int value; } zk_kernel;
#define PASTE_(a, b) zk_##a##_##b
#define PASTE(a, b) PASTE_(a, b)
#define ZK_TABLE(file) PASTE(file, ZK_ISA)
""",
    "csrc/engine/program.c": """
#include "kernel.h"
extern const zk_kernel *const zk_tables_base[];
int zk_sum(void) {
    int sum = 0;
    for (int i = 0; zk_tables_base[i]; i++)
        for (const zk_kernel *k = zk_tables_base[i]; k->name; k++) sum += k->value;
    return sum;
}
""",
    "csrc/one.c": '#include "kernel.h"\nconst zk_kernel ZK_TABLE(one)[] = {{"a", 1}, {0}};\n',
    "csrc/two.c": '#include "kernel.h"\nconst zk_kernel ZK_TABLE(two)[] = {{"b", 2}, {0}};\n',
    "csrc/two.draft.c": "this is not C",
}


class Tree:
    """A scratch project and its build script."""

    def __init__(self, root: Path):
        self.root = root
        for name, text in SOURCES.items():
            self.write(name, text)
        for name in ("csrc/build.py", "pyproject.toml", "LICENSE"):
            shutil.copy(ROOT / name, root / name)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "csrc/build.py", "--inplace", *args]
        pipe = subprocess.PIPE
        environment = {**os.environ, **env}
        return subprocess.Popen(
            command, cwd=self.root, env=environment, stdout=pipe, stderr=pipe, text=True
        )

    def build(self, *args: str, **env: str) -> list[str]:
        """The names of the files that a build made."""
        process = self.start(*args, **env)
        out, err = process.communicate()
        assert process.returncode == 0, err
        return [Path(line).name for line in out.splitlines()]

    def failure(self, *args: str, **env: str) -> str:
        """What a build that must fail says."""
        process = self.start(*args, **env)
        _, err = process.communicate()
        assert process.returncode == 1
        assert "Traceback" not in err
        return err

    def python(self, code: str) -> str:
        command = [sys.executable, "-c", code]
        return subprocess.check_output(command, cwd=self.root, text=True).strip()


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A tree whose library is built; a test takes a copy."""
    tree = Tree(tmp_path_factory.mktemp("built"))
    tree.build("--c-only")
    return tree.root


@pytest.fixture
def copy(built, tmp_path):
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)  # keeps the files' ages
    tree = object.__new__(Tree)
    tree.root = tmp_path
    return tree


def test_library_holds_the_tables_of_all_kernel_files(copy):
    assert copy.python("from zoo_keras._zk import lib; print(lib.zk_sum())") == "3"


def test_library_exports_only_its_python_entry(copy):
    command = ["nm", "-D", "--defined-only", "zoo_keras/_zk.abi3.so"]
    names = subprocess.check_output(command, cwd=copy.root, text=True)
    assert [line.split()[-1] for line in names.splitlines()] == ["PyInit__zk"]


def test_second_build_makes_nothing(copy):
    assert copy.build("--c-only") == []


def test_a_changed_source_alone_is_compiled(copy):
    (copy.root / "csrc/two.c").touch()
    made = copy.build("--c-only")
    objects = [name for name in made if name.endswith(".o")]
    assert objects
    assert all(name.startswith("two_") for name in objects)
    assert made[-1] == "_zk.abi3.so"


def test_a_changed_header_compiles_what_includes_it(copy):
    (copy.root / "csrc/engine/kernel.h").touch()
    made = set(copy.build("--c-only"))
    assert {"one_base.o", "two_base.o", "program.o", "tables.o"} <= made
    assert "wrapper.o" not in made


def test_a_new_kernel_file_needs_no_other_change(copy):
    copy.write("csrc/six.c", SOURCES["csrc/one.c"].replace("one", "six").replace("1", "6"))
    copy.build("--c-only")
    assert copy.python("from zoo_keras._zk import lib; print(lib.zk_sum())") == "9"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("two", "int x = ;", "csrc/two.c:1:9: error"),
        ("two", "static int unused;", "unused"),
        ("two", "int nothing(void);", "zk_two_base"),
        ("program", "int f(void); int zk_sum(void) { return f(); }", "undefined symbol: f"),
    ],
)
def test_a_bad_source_stops_the_build_and_keeps_the_old_library(copy, name, text, says):
    before = (copy.root / "zoo_keras/_zk.abi3.so").read_bytes()
    copy.write(f"csrc/{name}.c", text)
    assert says in copy.failure("--c-only")
    assert (copy.root / "zoo_keras/_zk.abi3.so").read_bytes() == before


def test_builds_at_the_same_time_wait_for_each_other(tree):
    running = [tree.start("--c-only") for _ in range(3)]
    outputs = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], outputs
    assert sorted(bool(out) for out, _ in outputs) == [False, False, True]


def test_missing_c_compiler_is_named_with_the_line_that_brings_it(tree):
    message = tree.failure("--c-only", CC="no-such-cc")
    assert "'no-such-cc' is not installed" in message
    assert "apt-get install gcc make openjdk-17-jdk-headless" in message


def write_java(tree, number):
    text = "package zoo; /** Scratch. */ public class Hello { static int n = %d; Hello() {} }"
    tree.write("csrc/jvm/zoo/Hello.java", text % number)


def test_jar_depends_on_nothing_but_its_sources(tree):
    jar = tree.root / "zoo_keras/spark/zoo_bridge.jar"
    contents = []
    for number in (1, 2, 1):
        write_java(tree, number)
        assert "zoo_bridge.jar" in tree.build("--jar-only")
        contents.append(jar.read_bytes())
    assert tree.build("--jar-only") == []
    assert contents[0] != contents[1]
    assert contents[0] == contents[2]


def test_missing_jdk_is_named_with_the_line_that_brings_it(tree, tmp_path):
    write_java(tree, 1)
    message = tree.failure("--jar-only", PATH=str(tmp_path), JAVA_HOME=str(tmp_path))
    assert "'javac' is not installed" in message
    assert "apt-get install gcc make openjdk-17-jdk-headless" in message


def test_old_jdk_is_refused(tree, tmp_path):
    write_java(tree, 1)
    tree.write("bin/javac", "#!/bin/sh\necho javac 11.0.2\n")
    (tmp_path / "bin/javac").chmod(0o755)
    message = tree.failure("--jar-only", JAVA_HOME=str(tmp_path))
    assert "Java 17 or newer is needed. Received: javac 11.0.2" in message


def test_wheel_holds_library_and_jar_and_fits_every_python(copy):
    write_java(copy, 1)
    copy.write("build/lib.old/zoo_keras/deleted.py", "")
    copy.python("import sys; sys.path.insert(0, 'csrc'); import build; build.build_wheel('dist')")
    (wheel,) = copy.root.glob("dist/*.whl")
    assert wheel.name.startswith("zoo_keras-0.1.0-cp310-abi3-linux_")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"zoo_keras/_zk.abi3.so", "zoo_keras/spark/zoo_bridge.jar"} <= names
    assert "zoo_keras/deleted.py" not in names


@pytest.mark.skipif(platform.machine() != "x86_64", reason="emulates x86-64")
def test_an_emulated_build_stands_beside_the_usual_one_and_shares_its_objects(copy):
    before = (copy.root / "zoo_keras/_zk.abi3.so").read_bytes()
    made = copy.build("--c-only", "--emulate=avx512")
    assert {"one_avx512.o", "two_avx512.o", "program.o"} <= set(made)
    assert "one_avx2.o" not in made
    assert (copy.root / "zoo_keras/_zk.abi3.so").read_bytes() == before
    stub = (copy.root / "build/emulate-avx512/one_avx512.c").read_text()
    assert "#define ZK_ISA_AVX512 1" in stub
    assert "avx512f" not in stub
    built = copy.root / "build/emulate-avx512"
    code = f"import sys; sys.path.insert(0, {str(built)!r}); from zoo_keras._zk import lib; "
    assert copy.python(code + "print(lib.zk_sum())") == "3"


def test_an_unknown_emulation_is_refused_by_name(copy):
    said = copy.failure("--c-only", "--emulate=avx512,avx999")
    assert "--emulate knows no 'avx999'. Received: avx512,avx999." in said
