"""Low-rank adapters in `.h5` files, which keep a layer's kernel apart from what is added to it.

In: the names of a group's arrays, and the group. Out: the names as a model without adapters has
them, and each kernel with its adapter added: kernel + alpha / rank * A @ B.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import FileError
from zoo_keras.saving import config_json, hdf5
from zoo_keras.saving.precision import adapter_scales


def without_adapters(names: Sequence[str]) -> tuple[list[str], set[str]]:
    """The names without those of adapters, and which of them are kernels that have one.

    A kernel with an adapter is not trained and comes last in the file; it goes before its bias.
    """
    kernels = {n.removesuffix("_a").replace("/lora_", "/") for n in names if _is_adapter(n, "_a")}
    kept: list[str] = []
    for name in names:
        kernel = next((k for k in kernels if k.rpartition("/")[0] == name.rpartition("/")[0]), name)
        if kernel not in kept:
            kept.append(kernel)
        if name not in kept and not _is_adapter(name, "_a", "_b"):
            kept.append(name)
    return kept, kernels


def _is_adapter(name: str, *ends: str) -> bool:
    return name.rpartition("/")[2].startswith("lora_") and name.endswith(ends)


def merged(group: Any, name: str, kernel: np.ndarray) -> np.ndarray:
    """A kernel with its adapter added. FileError when the file does not say how strongly."""
    folder, _, kind = name.rpartition("/")
    layer = folder.rpartition("/")[2]
    scale = _scales(group.file).get(layer)
    names = [f"{folder}/lora_{kind}_{side}" for side in "ab"]
    shapes = [hdf5.child(group, n, "dataset").shape for n in names]
    rank = shapes[1][0] if shapes[1] else 0
    if scale is None or shapes != [(*kernel.shape[:-1], rank), (rank, kernel.shape[-1])]:
        raise FileError(
            f"{name} has an adapter that cannot be added to it. Received: arrays of shapes "
            f"{shapes}, and lora_alpha / lora_rank = {scale}. The file is damaged."
        )
    a, b = (hdf5.read_array(group, n, s) for n, s in zip(names, shapes, strict=True))
    return kernel + scale * np.matmul(a, b)


def _scales(file: Any) -> dict[str, float]:
    if "model_config" not in file.attrs:
        return {}
    config = config_json.parse(hdf5.read_text(file, "model_config"), file.filename, "model_config")
    return adapter_scales(config)
