"""Who multiplies matrices: the user's choice for programs made from now on, and MKL's library.

In: a name. Out: the number that lowering writes into every product; MKL loaded into the process
when a program says so. Nothing here is read while a program runs.
"""

from __future__ import annotations

import importlib.metadata
import os
from contextlib import suppress
from typing import Any

from zoo_keras import native
from zoo_keras.errors import ConfigError

# What each choice writes into a product. "auto" may come to mean more, but never other bits on
# another machine.
CHOICES = {"auto": native.lib.ZK_OWN, "native": native.lib.ZK_OWN, "mkl": native.lib.ZK_MKL}

_choice = "auto"


def choice() -> str:
    """The present choice, as config.set_gemm made it."""
    return _choice


def choose(name: str) -> None:
    """Choose for all programs made from now on; see zoo_keras.config.set_gemm."""
    global _choice
    if CHOICES[name] == native.lib.ZK_MKL:
        require_mkl("set_gemm")
    _choice = name


def multiplier() -> int:
    """The number for a product that is compiled now: ZK_OWN or ZK_MKL."""
    return CHOICES[_choice]


def find_mkl() -> str | None:
    """The path of MKL's single library in the installed package `mkl`, or None."""
    with suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("mkl") or ():
            if file.name.startswith("libmkl_rt.so"):
                return os.path.normpath(str(file.locate()))
    return None


def load_mkl() -> bool:
    """Load MKL, once; whether it is loaded."""
    if native.lib.zk_mkl_loaded():
        return True
    path = find_mkl()
    if path is None or native.lib.zk_mkl_load(path.encode()):
        return False
    service = _mkl_service()
    if service:
        service.set_num_threads(1)  # MKL runs inside our own threads
    return True


def require_mkl(who: str) -> None:
    """Load MKL for `who`; ConfigError when this machine has none."""
    if not load_mkl():
        raise ConfigError(
            f"{who}: MKL is asked for and cannot be loaded on this machine. Received: library "
            f"{find_mkl()}. Install it here with `pip install mkl-service`, or make the program "
            "after config.set_gemm('auto')."
        )


def _mkl_service() -> Any:
    """The module of mkl-service, or None. Imported only after the library has been loaded, since
    its first call fixes the way MKL makes threads."""
    try:
        import mkl
    except ImportError:
        return None
    return mkl
