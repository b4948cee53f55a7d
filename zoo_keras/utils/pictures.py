"""Pictures between files, Pillow's images and arrays.

In: paths, Pillow's images, arrays (height, width, channels) or channels first. Out: the others.
Pillow is imported where it is needed.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from zoo_keras import config, ops
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.primitives.images import LARGEST, pillow
from zoo_keras.primitives.resampling import crop_box

_MODES = {"rgb": "RGB", "rgba": "RGBA", "grayscale": "L"}
_METHODS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def _first(data_format: Any) -> bool:
    return (data_format or config.image_data_format()) == "channels_first"


def array_to_img(x: Any, data_format: Any = None, scale: bool = True, dtype: Any = None) -> Any:
    """A Pillow image of an array; `scale` spreads its values over 0 to 255.

    Raises DataError for another shape than 1, 3 or 4 channels. Source: keras.utils.array_to_img.
    """
    x = np.asarray(x, dtype or config.floatx())
    x = np.moveaxis(x, 0, -1) if _first(data_format) and x.ndim == 3 else x
    if x.ndim != 3 or x.shape[-1] not in (1, 3, 4):
        raise DataError(
            "array_to_img: a picture is (height, width, channels) with 1, 3 or 4 channels. "
            f"Received: shape {x.shape}. Reshape it, or pass data_format."
        )
    if scale:
        x = x - x.min()
        x = x / (x.max() or 1) * 255
    wide = x.shape[-1] == 1 and x.max(initial=0) > 255
    x = x[..., 0] if x.shape[-1] == 1 else x
    return pillow().fromarray(x.astype("int32" if wide else "uint8"))


def img_to_array(img: Any, data_format: Any = None, dtype: Any = None) -> np.ndarray:
    """A Pillow image as an array of floats. Source: keras.utils.img_to_array."""
    x = np.asarray(img, dtype or config.floatx())
    if x.ndim not in (2, 3):
        raise DataError(
            f"img_to_array: expected a picture. Received: shape {x.shape}. Pass an image of Pillow."
        )
    x = x[..., None] if x.ndim == 2 else x
    return np.moveaxis(x, -1, 0) if _first(data_format) else x


def save_img(
    path: Any, x: Any, data_format: Any = None, file_format: Any = None, scale: bool = True,
    **kwargs: Any,
) -> None:  # fmt: skip
    """Write an array as a picture, in the format of the file's ending.

    Source: keras.utils.save_img.
    """
    img = array_to_img(x, data_format, scale)
    if file_format is None and isinstance(path, (str, Path)):
        file_format = Path(path).suffix[1:]
    file_format = "jpeg" if str(file_format).lower() == "jpg" else file_format
    if str(file_format).lower() == "jpeg" and img.mode == "RGBA":
        img = img.convert("RGB")
    img.save(path, format=file_format or None, **kwargs)


def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: Any = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """A picture of a file as a Pillow image, perhaps in another (height, width).

    color_mode is "rgb", "rgba" or "grayscale". Source: keras.utils.load_img.
    """
    for name, value, allowed in (
        ("color_mode", color_mode, tuple(_MODES)), ("interpolation", interpolation, _METHODS)
    ):  # fmt: skip
        if value not in allowed:
            raise ConfigError(
                f"load_img: unknown {name}. Received: {name}={value!r}. Use one of "
                f"{', '.join(allowed)}."
            )
    source = path if isinstance(path, io.BytesIO) else io.BytesIO(Path(_text(path)).read_bytes())
    img = pillow().open(source)
    if img.width * img.height > LARGEST:
        raise DataError(
            f"load_img: pictures may have {LARGEST} pixels. Received: {img.width} x {img.height} "
            f"in {path!r}. Make it smaller."
        )
    if not (color_mode == "grayscale" and img.mode in ("L", "I;16", "I")):
        img = img.convert(_MODES[color_mode])
    if target_size is None or img.size == (target_size[1], target_size[0]):
        img.load()
        return img
    method = getattr(pillow().Resampling, interpolation.upper())
    return img.resize((target_size[1], target_size[0]), method,
                      box=_box(img, target_size) if keep_aspect_ratio else None)  # fmt: skip


def _text(path: Any) -> Any:
    return path.decode() if isinstance(path, bytes) else path


def _box(img: Any, size: Any) -> tuple[int, int, int, int]:
    width, height = img.size
    down = min(height, width * size[0] // size[1])
    across = min(width, height * size[1] // size[0])
    top, left = (height - down) // 2, (width - across) // 2
    return left, top, left + across, top + down


def smart_resize(
    x: Any, size: Any, interpolation: str = "bilinear", data_format: str = "channels_last"
) -> Any:
    """Images cut to the proportions of a size, then resized.

    Source: keras.preprocessing.image.smart_resize.
    """
    first = data_format == "channels_first"
    height, width = x.shape[-2:] if first else x.shape[-3:-1]
    box = crop_box(height, width, tuple(size))
    x = ops.image.crop_images(
        x, box.top, box.left, target_height=box.height, target_width=box.width,
        data_format=data_format,
    )  # fmt: skip
    return ops.image.resize(x, size, interpolation, data_format=data_format)
