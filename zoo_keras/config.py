"""Settings of the whole process: Keras' own (floatx, epsilon, image layout), and which library
multiplies matrices. In: names and numbers. Knows no model; nothing is loaded at import."""

from __future__ import annotations

import platform
import warnings
from typing import Any

from zoo_keras import gemm as _gemm
from zoo_keras import native, policies
from zoo_keras.dtypes import FLOATS
from zoo_keras.errors import ConfigError
from zoo_keras.missing import missing
from zoo_keras.ops import convert
from zoo_keras.primitives import conv_choice, tile_choice
from zoo_keras.switches import (
    choose_image_data_format,
    disable_flash_attention,
    disable_interactive_logging,
    disable_traceback_filtering,
    enable_flash_attention,
    enable_interactive_logging,
    enable_traceback_filtering,
    image_data_format,
    is_flash_attention_enabled,
    is_interactive_logging_enabled,
    is_traceback_filtering_enabled,
    max_epochs,
    max_steps_per_epoch,
    set_max_epochs,
    set_max_steps_per_epoch,
)

_FORMATS = ("channels_last", "channels_first")

_floatx = "float32"


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

    Layers refuse to be made with one that they cannot compute in. Raises ConfigError for what is no
    policy. Source: keras.io/api/mixed_precision.
    """
    if not isinstance(policy, (str, policies.DTypePolicy)):
        raise ConfigError(
            f"set_dtype_policy: Invalid `policy` argument. Received: {policy!r}. Pass a policy or "
            "its name, such as 'mixed_bfloat16'."
        )
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


def set_image_data_format(data_format: str) -> None:
    """Set the default order of image axes: "channels_last" or "channels_first".

    Raises ConfigError for another name. Source: keras.io/api/config.
    """
    choose_image_data_format(_one_of("set_image_data_format", data_format, _FORMATS))


def gemm() -> str:
    """Who multiplies matrices: "auto", "mkl" or "native", as `set_gemm` chose."""
    return _gemm.choice()


def set_gemm(choice: str) -> None:
    """Choose who multiplies matrices, in programs made from now on.

    "auto", as it is unless set, and "native": the engine's own kernels, on every CPU. A row then
    has the same bits alone, in any batch and with any number of threads. "mkl": Intel's MKL for
    every product but those with packed weights (inference). With it that promise is withdrawn:
    MKL's sums depend on the sizes of a product, so a row may differ by rounding from the same row
    in another batch, and results from those of the engine's own kernels.

    A model that has been compiled or has predicted keeps its programs until `compile` is called
    again. The choice is part of a program: where it runs on an executor without MKL, that is an
    error by name.

    Raises ConfigError for another name, or when "mkl" is asked for and cannot be loaded.

    >>> set_gemm("native")
    """
    _gemm.choose(_one_of("set_gemm", choice, _gemm.CHOICES))


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


def inference_dtype() -> str:
    """The dtype to which predictions round the inputs of products, "float32" unless set."""
    return tile_choice.inference_dtype()


def set_inference_dtype(name: str) -> None:
    """Choose how `predict` multiplies: "float32", or "bfloat16" on CPUs that have AMX.

    With "bfloat16" the inputs and weights of Dense, EinsumDense and other products with one matrix
    are rounded to 8 significant bits; sums, activations and everything else stay float32. Weights,
    files and policies do not change, and training and `evaluate` are not touched. It holds from the
    next prediction on, here and on Spark, where all executors then need AMX. Without AMX the choice
    changes nothing, and is warned of.

    Raises ConfigError for another name.

    >>> set_inference_dtype("float32")
    """
    name = _one_of("set_inference_dtype", name, tile_choice.INFERENCE)
    if name == "bfloat16" and not native.has_tiles():
        warnings.warn(
            "set_inference_dtype: this process computes in float32, since it has no AMX "
            f"(instruction set {native.instruction_set()}, AMX {native.amx_state()}).",
            stacklevel=2,
        )
    tile_choice.set_inference_dtype(name)


def _gemm_reason() -> str:
    if gemm() == "mkl":
        return f"MKL ({_gemm.find_mkl()}), own kernels where weights are packed"
    return "own kernels"


def _amx_reason() -> str:
    if native.has_tiles():
        return f"{native.amx_state()}: products of bfloat16 and int8 use it"
    if native.amx_state() == "refused":
        return "refused by the system (arch_prctl), so it is not used"
    return "not used" if native.amx_state() == "present" else native.amx_state()


def show_config() -> None:
    """Print the engine's settings: instruction set, threads, and who multiplies matrices and why.

    >>> show_config()  # doctest: +SKIP
    instruction set  avx2
    threads          8
    gemm             auto: own kernels
    """
    lines = {
        "machine": platform.machine(),
        "instruction set": native.instruction_set(),
        "AMX": _amx_reason(),
        "threads": native.threads(),
        "gemm": f"{gemm()}: {_gemm_reason()}",
        "convolution": "sums of products"
        if exact()
        else "Winograd's algorithm where it is quicker",
        "inference": inference_dtype(),
        "floatx": _floatx,
        "image data format": image_data_format(),
    }
    for name, value in lines.items():
        print(f"{name:<17} {value}")


def enable_unsafe_deserialization() -> None:
    """Let files run code of their own (Lambda layers) when they are loaded, in this thread.

    Source: keras.config.
    """
    from zoo_keras.configs import serialization

    serialization.enable_unsafe_deserialization()


__all__ = [
    "backend", "disable_flash_attention", "disable_interactive_logging",
    "disable_traceback_filtering", "dtype_policy", "enable_flash_attention",
    "enable_interactive_logging", "enable_traceback_filtering",
    "enable_unsafe_deserialization", "epsilon", "exact", "floatx", "gemm",
    "image_data_format", "inference_dtype", "is_flash_attention_enabled",
    "is_interactive_logging_enabled", "is_traceback_filtering_enabled", "max_epochs",
    "max_steps_per_epoch", "set_dtype_policy", "set_epsilon", "set_exact", "set_floatx",
    "set_gemm", "set_image_data_format", "set_inference_dtype", "set_max_epochs",
    "set_max_steps_per_epoch", "show_config",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.config", name)
