"""Settings of the whole process: Keras' own (floatx, epsilon, image layout), and which library
multiplies matrices. In: names and numbers. Knows no model; nothing is loaded at import."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from contextlib import suppress
from typing import Any

from zoo_keras import native, policies
from zoo_keras.dtypes import FLOATS
from zoo_keras.errors import ConfigError
from zoo_keras.ops import conv_choice, convert

_GEMM = {"auto": 0, "mkl": 1, "native": 2}  # the numbers of zk_set_gemm
_FORMATS = ("channels_last", "channels_first")

_floatx = "float32"
_image_data_format = "channels_last"
_gemm = "auto"


def _one_of(function: str, value: Any, allowed: Any) -> str:
    if value not in tuple(allowed):
        names = ", ".join(repr(name) for name in allowed)
        raise ConfigError(f"{function}: unknown value. Received: {value!r}. Use one of {names}.")
    return str(value)


def backend() -> str:
    """The name of the engine: always "zoo_keras". Source: keras.io/api/config."""
    return "zoo_keras"


def floatx() -> str:
    """The default dtype of layers and weights, "float32" unless set. Source: keras.io/api/config.

    >>> floatx()
    'float32'
    """
    return _floatx


def set_floatx(value: str) -> None:
    """Set the default dtype: "float16", "float32" or "float64".

    Raises ConfigError for another name. Source: keras.io/api/config.
    """
    global _floatx
    _floatx = _one_of("set_floatx", value, FLOATS)
    policies.set_default(policies.DTypePolicy(_floatx))


def dtype_policy() -> policies.DTypePolicy:
    """The policy of layers made without a dtype. Source: keras.io/api/mixed_precision."""
    return policies.dtype_policy()


def set_dtype_policy(policy: Any) -> None:
    """Set the default policy, by name ("mixed_bfloat16") or as a DTypePolicy.

    Raises UnsupportedError or ConfigError for another name. Source: keras.io/api/mixed_precision.
    """
    policies.set_default(policies.dtype_policy(policy))


def epsilon() -> float:
    """The small number that keeps divisions and logarithms finite, 1e-7 unless set.

    Source: keras.io/api/config.
    """
    return convert.fuzz_factor()


def set_epsilon(value: float) -> None:
    """Set the small number that `epsilon` returns: losses, metrics, constraints and ops computed
    or compiled from now on use it. Source: keras.io/api/config."""
    convert.set_fuzz_factor(float(value))


def image_data_format() -> str:
    """The default order of image axes: "channels_last" or "channels_first".

    Source: keras.io/api/config.
    """
    return _image_data_format


def set_image_data_format(data_format: str) -> None:
    """Set the default order of image axes: "channels_last" or "channels_first".

    Raises ConfigError for another name. Source: keras.io/api/config.
    """
    global _image_data_format
    _image_data_format = _one_of("set_image_data_format", data_format, _FORMATS)


def gemm() -> str:
    """Who multiplies matrices: "auto", "mkl" or "native", as `set_gemm` chose."""
    return _gemm


def set_gemm(choice: str) -> None:
    """Choose who multiplies matrices; takes effect from the next run of any program.

    "auto": MKL where a fixed table of CPU, instruction set and shape says that it is quicker, own
    kernels elsewhere. "mkl": MKL for every product but those with packed weights. "native": own
    kernels only. Results differ between the choices by rounding.

    Raises ConfigError for another name, or when "mkl" is asked for and cannot be loaded.

    >>> set_gemm("native")
    """
    global _gemm
    before = _gemm
    _gemm = _one_of("set_gemm", choice, _GEMM)
    native.lib.zk_set_gemm(_GEMM[_gemm])
    if _gemm == "native":
        _free_buffers()
    elif not load_mkl() and _gemm == "mkl":
        set_gemm(before)
        raise ConfigError(
            f"set_gemm: MKL cannot be loaded (library found: {find_mkl()}). Received: 'mkl'. "
            "Install it with `pip install mkl-service`, or use 'auto' or 'native'."
        )


def exact() -> bool:
    """Whether convolutions are computed as sums of their products only; False unless set."""
    return conv_choice.exact()


def set_exact(value: bool) -> None:
    """Choose how 3 x 3 convolutions of stride 1 are computed, in programs made from now on.

    False: where it is quicker, by Winograd's F(4x4, 3x3) (from 16 channels and 16 filters on), with
    a quarter of the multiplications. Its rounding error, relative to the spread of the results, was
    measured with 64 channels as 0.7e-6 (root mean square) and at most 8e-6, where the float32 sum
    of products has 0.3e-6 and 3e-6. A NaN or infinity in the input reaches up to 5 cells further.
    True: sums of products everywhere.

    A model that has been compiled or has predicted keeps its programs until `compile` is called
    again. The choice travels with the programs to executors.

    Raises ConfigError for anything but True and False.

    >>> set_exact(False)
    """
    _one_of("set_exact", value, (True, False))
    conv_choice.set_exact(value)


def find_mkl() -> str | None:
    """The path of MKL's single library in the installed package `mkl`, or None."""
    with suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("mkl") or ():
            if file.name.startswith("libmkl_rt.so"):
                return os.path.normpath(str(file.locate()))
    return None


def load_mkl() -> bool:
    """Load MKL if the present choice gives it any product on this CPU; whether it is loaded.

    Called before a first program is run; later calls cost nothing.
    """
    if native.lib.zk_mkl_loaded():
        return True
    path = find_mkl() if _gemm != "native" else None
    if path is None or native.lib.zk_mkl_load(path.encode()):
        return False
    service = _mkl_service()
    if service:
        service.set_num_threads(1)  # MKL runs inside our own threads
    return True


def _mkl_service() -> Any:
    """The module of mkl-service, or None. Imported only after the library has been loaded, since
    its first call fixes the way MKL makes threads."""
    try:
        import mkl
    except ImportError:
        return None
    return mkl


def _free_buffers() -> None:
    if native.lib.zk_mkl_loaded() and (service := _mkl_service()):
        service.free_buffers()


def _gemm_reason() -> str:
    if _gemm == "native":
        return "own kernels, as chosen by set_gemm"
    if native.lib.zk_mkl_loaded():
        rule = "wherever it can" if _gemm == "mkl" else "where the table of shapes says so"
        return f"MKL {rule}, own kernels elsewhere"
    path = find_mkl()
    if path is None:
        return "own kernels, MKL is not installed (pip install mkl-service)"
    return f"own kernels; MKL ({path}) is quicker for no shape on this CPU"


def show_config() -> None:
    """Print the engine's settings: instruction set, threads, and who multiplies matrices and why.

    >>> show_config()  # doctest: +SKIP
    instruction set  avx2
    threads          8
    gemm             auto: own kernels, MKL is not installed (pip install mkl-service)
    """
    lines = {
        "machine": platform.machine(),
        "instruction set": native.instruction_set(),
        "threads": native.threads(),
        "gemm": f"{_gemm}: {_gemm_reason()}",
        "convolution": "sums of products"
        if exact()
        else "Winograd's algorithm where it is quicker",
        "floatx": _floatx,
        "image data format": _image_data_format,
    }
    for name, value in lines.items():
        print(f"{name:<17} {value}")
