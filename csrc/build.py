"""Builds the C engine (zoo_keras/_zk.abi3.so) and the Java bridge (zoo_keras/spark/zoo_bridge.jar).

In: the .c and .h files below csrc, and csrc/jvm/**/*.java. Out: those two files, in the tree; only
what changed is made again. It is both a script (`python csrc/build.py --inplace`) and the build
backend that pyproject.toml names, which adds the two files to a wheel made by setuptools.
It must not know what the sources compute: kernel files and their tables are found by name.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

# Paths are relative to the project's root, where build frontends start us; nothing built holds
# the name of the folder it was built in.
CSRC, BUILD, PACKAGE = Path("csrc"), Path("build"), Path("zoo_keras")
LIBRARY = "_zk.abi3.so"
JAR = PACKAGE / "spark" / "zoo_bridge.jar"
SHORT_LIVED = ["-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"]  # javac in half the time
APT = "apt-get install gcc make openjdk-17-jdk-headless python3-venv python3-dev"

# These are compiled once; every other .c is a kernel file, compiled once per instruction set.
ONCE = ("program", "threads", "cpu", "mkl", "rows")
TARGETS = {
    "base": "",
    "avx2": "avx2,fma,f16c,bmi,bmi2",
    "avx512": "avx512f,avx512bw,avx512dq,avx512vl,fma,avx2,f16c,bmi,bmi2,prfchw",
}
# Instructions that a build can write out, with the same bits, for CPUs that lack them: name -> what
# the kernels of "avx512" are compiled for then. C sees ZK_EMULATE_<NAME>.
# AMX is reached by assembly, so its models need no other target.
EMULATED = {"avx512": TARGETS["avx2"], "amx": ""}
OPTIMIZE = ["-O3"]
# -O1, for the compiler's time, and the passes of -O2 that decide where a * b + c is fused: without
# them two ways to one sum may differ in a last bit.
FUSED = ["-O1", "-fexpensive-optimizations", "-ftree-pre", "-fcode-hoisting"]
EMULATE = [*FUSED, "-Wno-psabi"]
SANITIZE = [*FUSED, "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"]
SANITIZE += ["-fno-sanitize-recover=undefined"]
LANGUAGE = ["-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-fno-semantic-interposition"]
LANGUAGE += ["-fvisibility=hidden", "-fPIC", "-pthread"]
STRICT = ["-Wall", "-Wextra", "-Werror"]
LINK = ["-shared", "-pthread", "-lm", "-ldl"]


class Job(NamedTuple):
    """One compiler command; done again when it, or a file it read, is newer than its output."""

    output: Path
    command: list[str]
    inputs: list[Path]  # empty: the compiler's own list of what it read (.d) is used


def instruction_sets() -> dict[str, str]:
    """The builds of a kernel file on this machine: name -> gcc target."""
    if platform.machine() == "x86_64":
        return TARGETS
    return {"base": TARGETS["base"]}


def stop(message: str) -> NoReturn:
    """Ends the build with one plain message (no traceback)."""
    sys.exit(f"zoo_keras build: {message}")


def find_compiler() -> list[str]:
    """The C compiler's command, checked for its presence and for Python's headers."""
    if not sys.platform.startswith("linux"):
        stop(f"the C engine is written for Linux. Received: {sys.platform}. Build it on Linux.")
    command = shlex.split(os.environ.get("CC", "")) or ["gcc"]
    if not shutil.which(command[0]):
        stop(f"the C compiler {command[0]!r} is not installed. Install it with: {APT}")
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        stop(f"Python's C header {header} is not installed. Install it with: {APT}")
    return command


def write(path: Path, text: str) -> Path:
    """Writes a generated file unless it already holds the text (its age decides rebuilds)."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    return path


def c_files() -> dict[str, Path]:
    """The C files by name, which is unique; drafts such as conv.new.c are no C name and are left
    out."""
    return {path.stem: path for path in sorted(CSRC.rglob("*.c")) if path.stem.isidentifier()}


def kernel_files() -> list[str]:
    """Names of the kernel files."""
    return [name for name in c_files() if name not in ONCE]


def include_flags() -> list[str]:
    """Every folder of C sources is searched, so that a header is included by its name alone."""
    folders = {path.parent for path in CSRC.rglob("*.h")} | {
        path.parent for path in c_files().values()
    }
    return [f"-I{folder}" for folder in sorted(folders)]


def write_stub(folder: Path, name: str, isa: str, target: str) -> Path:
    """A C file that compiles kernel file `name` for one instruction set."""
    lines = [f"#define ZK_ISA {isa}", f"#define ZK_ISA_{isa.upper()} 1"]
    lines += [f'#pragma GCC target("{target}")'] if target else []
    lines += [f'#include "{name}.c"', ""]
    return write(folder / f"{name}_{isa}.c", "\n".join(lines))


def write_tables(folder: Path, names: list[str]) -> Path:
    """A C file that lists the kernel tables of all kernel files, per instruction set."""
    lines = ['#include "kernel.h"', '#define HIDDEN __attribute__((visibility("hidden")))']
    for isa in instruction_sets():
        tables = [f"zk_{name}_{isa}" for name in names]
        lines += [f"extern const zk_kernel {table}[] HIDDEN;" for table in tables]
        lines += [f"extern const zk_kernel *const zk_tables_{isa}[] HIDDEN;"]
        lines += [f"const zk_kernel *const zk_tables_{isa}[] = {{{', '.join([*tables, '0'])}}};"]
    return write(folder / "tables.c", "\n".join([*lines, ""]))


def write_identity(folder: Path, flags: list[str]) -> Path:
    """A C file that says what the library is made of, for processes that must agree on it."""
    sources = [*CSRC.rglob("*.h"), *c_files().values()]
    made_by = [platform.machine(), *flags, *instruction_sets().values()]
    found = digest(sorted(filter(Path.exists, sources)), made_by)
    lines = [f'const char *zk_build(void) {{ return "{found}"; }}']
    lines += ["const char *zk_compiler(void) { return __VERSION__; }", ""]
    return write(folder / "identity.c", "\n".join(lines))


def write_wrapper(folder: Path) -> Path:
    """The Python module's C file, made by cffi from zk.h without its preprocessor lines."""
    from cffi import FFI

    (path,) = CSRC.rglob("zk.h")
    header = path.read_text().splitlines()
    ffi = FFI()
    ffi.cdef("\n".join("" if line.startswith("#") else line for line in header))
    ffi.set_source("zoo_keras._zk", '#include "zk.h"')
    path = folder / "wrapper.c"
    with contextlib.redirect_stdout(None):  # cffi talks
        ffi.emit_c_code(str(path))  # leaves the file alone when nothing changed
    return path


def compile_job(folder: Path, source: Path, flags: list[str]) -> Job:
    """The job that compiles one C file into `folder`."""
    output = folder / f"{source.stem}.o"
    depends = ["-MMD", "-MF", str(output.with_suffix(".d"))]
    return Job(output, [*find_compiler(), *flags, *depends, "-c", str(source)], [])


def plain_flags(sanitize: bool, emulate: Sequence[str]) -> list[str]:
    """What every C file is compiled with, warnings apart."""
    optimize = SANITIZE if sanitize else EMULATE if emulate else OPTIMIZE
    emulated = [f"-DZK_EMULATE_{name.upper()}=1" for name in emulate]
    return LANGUAGE + include_flags() + optimize + emulated


def kernel_jobs(folder: Path, sanitize: bool, emulate: Sequence[str]) -> list[Job]:
    """The compile jobs of the kernel files. Sets that emulation leaves alone are the usual build's,
    so that they are compiled once."""
    jobs = []
    for isa, target in instruction_sets().items():
        alone = bool(emulate) and not sanitize and isa != "avx512"
        place = BUILD / "release" if alone else folder
        place.mkdir(parents=True, exist_ok=True)
        flags = plain_flags(sanitize, () if alone else emulate) + STRICT
        if isa == "avx512":
            target = next((EMULATED[name] for name in emulate if EMULATED[name]), target)
        stubs = [write_stub(place, name, isa, target) for name in kernel_files()]
        jobs += [compile_job(place, stub, flags) for stub in stubs]
    return jobs


def compile_jobs(folder: Path, sanitize: bool, emulate: Sequence[str] = ()) -> list[Job]:
    """All compile jobs; writes the generated C files they need."""
    plain = plain_flags(sanitize, emulate)
    sources = [path for name, path in c_files().items() if name in ONCE]
    sources += [write_tables(folder, kernel_files()), write_identity(folder, plain)]
    jobs = [compile_job(folder, source, plain + STRICT) for source in sources]
    jobs += kernel_jobs(folder, sanitize, emulate)
    python = ["-isystem", sysconfig.get_path("include"), "-DPy_LIMITED_API=0x030a0000"]
    return [*jobs, compile_job(folder, write_wrapper(folder), [*plain, "-Wall", *python])]


def files_read(job: Job) -> list[Path]:
    """The files the job's last run read."""
    if job.inputs:
        return job.inputs
    listing = job.output.with_suffix(".d").read_text().replace("\\\n", " ")
    return [Path(name) for name in listing.split(":", 1)[1].split()]


def is_current(job: Job) -> bool:
    """Whether the job's output was made by this command from the files as they are now."""
    try:
        if job.output.with_suffix(".cmd").read_text() != shlex.join(job.command):
            return False
        made = job.output.stat().st_mtime_ns
        return all(path.stat().st_mtime_ns <= made for path in files_read(job))
    except FileNotFoundError:
        return False


def run(job: Job, verbose: bool) -> str:
    """Runs the job. Returns the compiler's words if it failed, else an empty string."""
    new = job.output.with_suffix(".new")
    began = time.time_ns()
    command = [*job.command, "-o", str(new)]
    said = shlex.join(command) if verbose else f"  {job.output}"
    print(f"{said}\n", end="", flush=True)  # one write: other jobs print too
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        return done.stderr or f"{command[0]} ended with status {done.returncode}\n"
    sys.stderr.write(done.stderr)
    os.utime(new, ns=(began, began))  # a source saved while it was compiled is newer than this
    job.output.with_suffix(".cmd").write_text(shlex.join(job.command))
    new.replace(job.output)
    return ""


def run_all(jobs: list[Job], verbose: bool) -> None:
    """Runs the jobs that are due, one per core; stops the build if any of them fails."""
    due = [job for job in jobs if not is_current(job)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = list(filter(None, pool.map(lambda job: run(job, verbose), due)))
    if failures:
        stop("the C sources do not compile or link.\n" + "".join(failures))


def check_symbols(library: Path) -> None:
    """Stops the build if the library needs a function that nobody defines."""
    try:
        ctypes.CDLL(str(library.resolve()), os.RTLD_NOW)
    except OSError as error:
        library.unlink()
        stop(f"the library is incomplete: {error}")


def place(library: Path, package: Path) -> None:
    """Puts the library into the package by one rename: running programs keep the old one."""
    target = package / LIBRARY
    wanted = library.stat()
    with contextlib.suppress(FileNotFoundError):
        found = target.stat()
        if (found.st_mtime_ns, found.st_size) == (wanted.st_mtime_ns, wanted.st_size):
            return
    new = target.with_suffix(".new")
    shutil.copy2(library, new)
    new.replace(target)
    print(f"  {target}", flush=True)


def linked_package(folder: Path) -> Path:
    """A package of links to zoo_keras/ for a library of another kind, so that the usual one
    stays."""
    package = folder / PACKAGE
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir()
    for path in PACKAGE.iterdir():
        if path.name not in (LIBRARY, "__pycache__"):
            (package / path.name).symlink_to(path.resolve())
    return package


def build_c(sanitize: bool = False, verbose: bool = False, emulate: Sequence[str] = ()) -> None:
    """Builds the C library into zoo_keras/, or into build/KIND/zoo_keras/ when it is sanitized or
    emulates instructions."""
    words = [f"emulate-{name}" for name in emulate]
    kind = "-".join(["sanitize", *words] if sanitize else words)
    folder = BUILD / (kind or "release")
    folder.mkdir(parents=True, exist_ok=True)
    jobs = compile_jobs(folder, sanitize, emulate)
    run_all(jobs, verbose)
    objects = [job.output for job in jobs]
    flags = [*LINK, *(SANITIZE if sanitize else [])]
    library = folder / LIBRARY
    link = Job(library, [*find_compiler(), *map(str, objects), *flags], objects)
    was_current = is_current(link)
    run_all([link], verbose)
    if not sanitize and not was_current:
        check_symbols(library)
    place(library, linked_package(folder) if kind else PACKAGE)


def digest(sources: list[Path], words: list[str] | None = None) -> str:
    """A short fingerprint of sources' names and contents, and of some words."""
    text = b"".join(str(path).encode() + b"\0" + path.read_bytes() for path in sources)
    text += "\0".join(words or []).encode()
    return hashlib.sha256(text).hexdigest()[:32]


def find_javac() -> str:
    """The Java compiler, version 17 or newer."""
    home = os.environ.get("JAVA_HOME")
    javac = shutil.which("javac", path=str(Path(home, "bin"))) if home else None
    javac = javac or shutil.which("javac")
    if not javac:
        stop(f"the Java compiler 'javac' is not installed. Install it with: {APT}")
    version = subprocess.run([javac, "-version"], capture_output=True, text=True)
    found = re.search(r"javac (\d+)", version.stdout + version.stderr)
    if not found or int(found[1]) < 17:
        received = (version.stdout + version.stderr).strip()
        stop(f"Java 17 or newer is needed. Received: {received}. Install it with: {APT}")
    return str(javac)


def spark_classpath() -> str:
    """The jars of the installed pyspark, as javac's class path."""
    found = importlib.util.find_spec("pyspark")
    if not found or not found.origin:
        stop(
            "the Java bridge is compiled against pyspark's jars, and pyspark is not installed. "
            "Install it with: pip install 'pyspark>=3.5'"
        )
    return str(Path(found.origin).parent / "jars" / "*")


def write_jar(classes: Path, manifest: str) -> None:
    """Packs the classes with fixed order and dates, so that equal sources make equal jars."""
    new = JAR.with_suffix(".new")
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as jar:
        jar.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF"), manifest)
        for path in sorted(classes.rglob("*.class")):
            entry = zipfile.ZipInfo(path.relative_to(classes).as_posix())
            jar.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    new.replace(JAR)
    print(f"  {JAR}", flush=True)


def jar_manifest() -> str:
    """The manifest inside the present jar, or an empty string."""
    try:
        with zipfile.ZipFile(JAR) as jar:
            return jar.read("META-INF/MANIFEST.MF").decode()
    except (FileNotFoundError, KeyError, zipfile.BadZipFile):
        return ""


def build_jar(verbose: bool = False) -> None:
    """Builds the jar unless the present one was made from the same sources."""
    sources = sorted((CSRC / "jvm").rglob("*.java"))
    manifest = f"Manifest-Version: 1.0\r\nSources-Digest: {digest(sources)}\r\n\r\n"
    if jar_manifest() == manifest:
        return
    classes = BUILD / "jvm"
    shutil.rmtree(classes, ignore_errors=True)
    command = [find_javac(), *SHORT_LIVED, "--release", "17", "-proc:none", "-encoding", "UTF-8"]
    command += ["-Xlint:all,-classfile,-path", "-Werror", "-cp", spark_classpath()]
    command += ["-d", str(classes), *map(str, sources)]
    print(shlex.join(command) if verbose else f"  {classes}", flush=True)
    if subprocess.run(command).returncode:
        stop("the Java sources do not compile (javac's words are above).")
    JAR.parent.mkdir(exist_ok=True)
    write_jar(classes, manifest)


@contextlib.contextmanager
def one_build_at_a_time() -> Iterator[None]:
    """Makes concurrent builds of one tree wait for each other."""
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_tree() -> None:
    """Builds both files into the tree."""
    with one_build_at_a_time():
        build_c()
        build_jar()


def backend() -> Any:
    """setuptools' backend, told that the package holds compiled code."""
    from setuptools import build_meta
    from setuptools.dist import Distribution

    Distribution.has_ext_modules = lambda self: True
    return build_meta


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata: Any = None) -> str:
    """PEP 517: builds both files, then a cp310-abi3 wheel that holds them."""
    build_tree()
    for left_over in BUILD.glob("lib*"):  # setuptools would pack modules deleted since
        shutil.rmtree(left_over)
    settings = {**(config_settings or {}), "--build-option": "--py-limited-api=cp310"}
    return str(backend().build_wheel(wheel_directory, settings, metadata))


def build_editable(wheel_directory: str, config_settings: Any = None, metadata: Any = None) -> str:
    """PEP 660: builds both files, then a wheel that points at this tree."""
    build_tree()
    return str(backend().build_editable(wheel_directory, config_settings, metadata))


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """PEP 517: a source archive; MANIFEST.in lists what it holds."""
    return str(backend().build_sdist(sdist_directory, config_settings))


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Any = None) -> str:
    """PEP 517: the wheel's metadata, without building anything."""
    return str(backend().prepare_metadata_for_build_wheel(metadata_directory, config_settings))


def prepare_metadata_for_build_editable(
    metadata_directory: str, config_settings: Any = None
) -> str:
    """PEP 660: the editable wheel's metadata, without building anything."""
    return str(backend().prepare_metadata_for_build_editable(metadata_directory, config_settings))


def emulated_names(words: str) -> list[str]:
    """The names of `--emulate`, in the order of EMULATED."""
    wanted = set(words.split(","))
    if unknown := sorted(wanted - set(EMULATED)):
        stop(
            f"--emulate knows no {unknown[0]!r}. Received: {words}. Give names of "
            f"{', '.join(EMULATED)}, with commas between."
        )
    if platform.machine() != "x86_64":
        found = platform.machine()
        stop(f"--emulate writes out instructions of x86-64. Received: {found}. Leave it out here.")
    return [name for name in EMULATED if name in wanted]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Builds zoo_keras' C library and jar.")
    parser.add_argument("--inplace", action="store_true", required=True, help="build in the tree")
    parser.add_argument("--c-only", action="store_true", help="leave the jar alone")
    parser.add_argument("--jar-only", action="store_true", help="leave the C library alone")
    parser.add_argument(
        "--sanitize",
        action="store_true",
        help="address and undefined-behaviour checks; goes to build/sanitize",
    )
    parser.add_argument(
        "--emulate",
        type=emulated_names,
        default=[],
        metavar="NAME[,NAME]",
        help="write instructions out for CPUs that lack them; goes to build/emulate-NAME. "
        f"Names: {', '.join(EMULATED)}",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show every command")
    args = parser.parse_args()
    os.chdir(Path(__file__).resolve().parent.parent)
    with one_build_at_a_time():
        if not args.jar_only:
            build_c(args.sanitize, args.verbose, args.emulate)
        if not args.c_only:
            build_jar(args.verbose)


if __name__ == "__main__":
    main()
