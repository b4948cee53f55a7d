"""Brings Keras' own unit tests into build/keras_suite, once.

In: the wheels of Keras, absl and ml_dtypes on PyPI. Out: the test files, the list of Keras'
modules, the two packages. Of Keras itself nothing is unpacked, so no test can meet it by accident.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

VERSION = "3.15.1"
FOLDER = Path(__file__).resolve().parents[2] / "build" / "keras_suite" / VERSION
MODULES = FOLDER / "modules.txt"
PACKAGES = FOLDER / "packages"
_NEEDED = ("absl-py==2.5.1", "ml_dtypes==0.6.0")  # by the test files themselves


def fetch() -> None:
    """Make FOLDER unless it is whole. Needs PyPI the first time."""
    if MODULES.exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    _pip("download", "--no-deps", "--dest", str(FOLDER), f"keras=={VERSION}")
    _pip("install", "--no-deps", "--target", str(PACKAGES), "--upgrade", *_NEEDED)
    wheel = next(FOLDER.glob("keras-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.startswith("keras/src/")]
        for name in names:
            if name.endswith("_test.py"):
                archive.extract(name, FOLDER)
    new = MODULES.with_suffix(".new")
    new.write_text("\n".join(sorted(n for n in names if n.endswith(".py"))) + "\n")
    new.rename(MODULES)


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True)


def test_files() -> list[str]:
    """The test files, as paths below keras/src."""
    below = len("keras/src/")
    return [n[below:] for n in MODULES.read_text().split() if n.endswith("_test.py")]
