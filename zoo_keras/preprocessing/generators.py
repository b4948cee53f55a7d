"""ImageDataGenerator: batches of pictures, changed at random by numpy, as scripts for Keras 2 ask.

In: arrays, folders or data frames of file names. Out: ImageBatches, data sets without an end for
`next` and with one for fit. New code uses the layers that change images, which train faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo_keras import config, ops
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.utils.batches import PICTURES, Batches, files_below
from zoo_keras.utils.pictures import img_to_array, load_img

_MODES = ("categorical", "binary", "sparse", "raw", "input", None)


class ImageBatches(Batches):
    """Batches of an ImageDataGenerator; `next` goes on with the next epoch after the last batch.

    Attributes:
        class_indices, classes, filenames: of a folder or data frame.
    """

    class_indices: dict[str, int]
    classes: Any = None
    filenames: Sequence[str] = ()
    _at = 0

    @property
    def samples(self) -> int:
        """The number of pictures."""
        return self.count

    n = samples

    def __next__(self) -> Any:
        """The next batch; after the last one the first of another epoch."""
        batch = self[self._at]
        self._at += 1
        if self._at == len(self):
            self.reset()
            self.on_epoch_end()
        return batch

    next = __next__

    def reset(self) -> None:
        """Begin with the first batch again."""
        self._at = 0


class ImageDataGenerator:
    """Changes pictures at random, then standardises them; see `flow` and its kin.

    Takes the arguments of keras.preprocessing.image.ImageDataGenerator. Ranges are drawn evenly,
    both ways; shifts below 1 are shares of the size.
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: Any = 0.0,
        height_shift_range: Any = 0.0,
        brightness_range: Any = None,
        shear_range: float = 0.0,
        zoom_range: Any = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[[Any], Any] | None = None,
        data_format: Any = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: Any = None,
    ) -> None:
        self.featurewise_std_normalization = featurewise_std_normalization and not zca_whitening
        self.featurewise_center = (
            featurewise_center or featurewise_std_normalization or zca_whitening
        )
        self.samplewise_std_normalization = samplewise_std_normalization
        self.samplewise_center = samplewise_center or samplewise_std_normalization
        self.zca_whitening, self.zca_epsilon = zca_whitening, zca_epsilon
        self.rotation_range, self.shear_range = rotation_range, shear_range
        self.width_shift_range, self.height_shift_range = width_shift_range, height_shift_range
        single = isinstance(zoom_range, (int, float))
        self.zoom_range = [1 - zoom_range, 1 + zoom_range] if single else list(zoom_range)
        self.brightness_range, self.channel_shift_range = brightness_range, channel_shift_range
        self.fill_mode, self.cval, self.interpolation_order = fill_mode, cval, interpolation_order
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.rescale, self.preprocessing_function = rescale, preprocessing_function
        self.data_format = data_format or config.image_data_format()
        self.dtype = dtype or config.floatx()
        if not 0 <= validation_split < 1 or len(self.zoom_range) != 2:
            raise ConfigError(
                "ImageDataGenerator: validation_split lies from 0 to below 1, zoom_range is one or "
                f"two numbers. Received: validation_split={validation_split}, zoom_range="
                f"{zoom_range}. Change these."
            )
        self._validation_split = validation_split
        self.mean: Any = None
        self.std: Any = None
        self.zca_whitening_matrix: Any = None

    # ---- one picture ---------------------------------------------------------------------------

    def get_random_transform(self, img_shape: Sequence[int], seed: Any = None) -> dict[str, Any]:
        """Parameters drawn for a picture of this shape; numpy's global generator draws."""
        draw: Any = np.random if seed is None else np.random.RandomState(seed)
        first = self.data_format == "channels_first"
        height, width = img_shape[1:] if first else img_shape[:2]

        def either_way(most: float) -> float:
            return float(draw.uniform(-most, most)) if most else 0.0

        def shift(most: Any, size: int) -> float:
            if isinstance(most, (list, tuple, np.ndarray)):
                moved = float(draw.choice(most) * draw.choice([-1, 1]))
            else:
                moved = either_way(most)
            return moved * size if np.max(most) < 1 else moved

        zoom = draw.uniform(*self.zoom_range, 2) if self.zoom_range != [1, 1] else (1, 1)
        bright = self.brightness_range
        return {
            "theta": either_way(self.rotation_range),
            "tx": shift(self.height_shift_range, height),
            "ty": shift(self.width_shift_range, width),
            "shear": either_way(self.shear_range),
            "zx": zoom[0],
            "zy": zoom[1],
            "flip_horizontal": bool(draw.random_sample() < 0.5) and self.horizontal_flip,
            "flip_vertical": bool(draw.random_sample() < 0.5) and self.vertical_flip,
            "channel_shift_intensity": either_way(self.channel_shift_range) or None,
            "brightness": None if bright is None else float(draw.uniform(*bright)),
        }

    def apply_transform(self, x: np.ndarray, transform_parameters: dict[str, Any]) -> np.ndarray:
        """The picture changed by parameters of get_random_transform."""
        given = transform_parameters
        first = self.data_format == "channels_first"
        x = np.moveaxis(x, 0, -1) if first else x
        names = ("theta", "tx", "ty", "shear", "zx", "zy")
        x = _moved(x, [given.get(n, 1 if n[0] == "z" else 0) for n in names], self)
        if given.get("channel_shift_intensity") is not None:
            x = np.clip(x + given["channel_shift_intensity"], x.min(), x.max())
        x = x[:, ::-1] if given.get("flip_horizontal") else x
        x = x[::-1] if given.get("flip_vertical") else x
        if given.get("brightness") is not None:
            x = np.floor(np.clip(np.floor(x) * given["brightness"], 0, 255))
        return np.moveaxis(x, -1, 0) if first else x

    def random_transform(self, x: np.ndarray, seed: Any = None) -> np.ndarray:
        """The picture changed at random."""
        return self.apply_transform(x, self.get_random_transform(x.shape, seed))

    def standardize(self, x: np.ndarray) -> np.ndarray:
        """The picture (or a batch) scaled, centred and whitened.

        Raises DataError where `fit` must come first.
        """
        x = self.preprocessing_function(x) if self.preprocessing_function else x
        x = x * self.rescale if self.rescale else x
        x = x - np.mean(x) if self.samplewise_center else x
        x = x / (np.std(x) + 1e-6) if self.samplewise_std_normalization else x
        if self.featurewise_center:
            if self.mean is None:
                raise DataError(
                    "ImageDataGenerator: centring by features needs their means. Received: a "
                    "picture before any data. Call fit(images) first."
                )
            x = x - self.mean
        x = x / (self.std + 1e-6) if self.featurewise_std_normalization else x
        if self.zca_whitening:
            flat = x.reshape(-1, self.zca_whitening_matrix.shape[0])
            x = (flat @ self.zca_whitening_matrix).reshape(x.shape)
        return np.asarray(x, self.dtype)

    def fit(self, x: Any, augment: bool = False, rounds: int = 1, seed: Any = None) -> None:
        """Learn means, deviations and the whitening matrix of pictures (batch, ...)."""
        x = np.array(x, self.dtype)
        if seed is not None:
            np.random.seed(seed)
        x = x * self.rescale if self.rescale else x
        if augment:
            x = np.stack([self.random_transform(each) for _ in range(rounds) for each in x])
        axes = (0, 2, 3) if self.data_format == "channels_first" else (0, 1, 2)
        if self.featurewise_center:
            self.mean = x.mean(axes, keepdims=True)[0]
            x = x - self.mean
        if self.featurewise_std_normalization:
            self.std = x.std(axes, keepdims=True)[0]
        if self.zca_whitening:
            u, s, _ = np.linalg.svd(x.reshape(len(x), -1).T, full_matrices=False)
            scale = np.sqrt(len(x)) / (s + self.zca_epsilon)
            self.zca_whitening_matrix = (u * scale) @ u.T

    # ---- batches -------------------------------------------------------------------------------

    def flow(
        self, x: Any, y: Any = None, batch_size: int = 32, shuffle: bool = True,
        sample_weight: Any = None, seed: Any = None, save_to_dir: Any = None,
        save_prefix: str = "", save_format: str = "png", ignore_class_split: bool = False,
        subset: str | None = None,
    ) -> ImageBatches:  # fmt: skip
        """Batches (x, y) of arrays, changed at random."""
        _no_saving(save_to_dir)
        images = np.asarray(x, self.dtype)
        others = [np.asarray(v) for v in (y, sample_weight) if v is not None]
        rows = np.arange(len(images))[self._part(len(images), subset)]

        def load(chosen: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
            return images[rows[chosen]], [other[rows[chosen]] for other in others]

        return self._batches(len(rows), load, batch_size, shuffle, seed)

    def flow_from_directory(
        self, directory: Any, target_size: Any = (256, 256), color_mode: str = "rgb",
        classes: Any = None, class_mode: Any = "categorical", batch_size: int = 32,
        shuffle: bool = True, seed: Any = None, save_to_dir: Any = None, save_prefix: str = "",
        save_format: str = "png", follow_links: bool = False, subset: str | None = None,
        interpolation: str = "nearest", keep_aspect_ratio: bool = False,
    ) -> ImageBatches:  # fmt: skip
        """Batches of pictures in one folder for each class."""
        _no_saving(save_to_dir)
        root = Path(directory)
        names = classes or sorted(p.name for p in root.iterdir() if p.is_dir())
        paths, labels = [], []
        for label, name in enumerate(names):
            found = files_below(root / name, PICTURES, follow_links)
            part = found[self._part(len(found), subset)]
            paths += part
            labels += [label] * len(part)
        how = (target_size, color_mode, interpolation, keep_aspect_ratio)
        made = self._of_files(paths, np.array(labels, int), names, class_mode, how,
                              batch_size, shuffle, seed)  # fmt: skip
        made.filenames = [str(path.relative_to(root)) for path in paths]
        return made

    def flow_from_dataframe(
        self, dataframe: Any, directory: Any = None, x_col: str = "filename", y_col: Any = "class",
        weight_col: Any = None, target_size: Any = (256, 256), color_mode: str = "rgb",
        classes: Any = None, class_mode: Any = "categorical", batch_size: int = 32,
        shuffle: bool = True, seed: Any = None, save_to_dir: Any = None, save_prefix: str = "",
        save_format: str = "png", subset: str | None = None, interpolation: str = "nearest",
        validate_filenames: bool = True, keep_aspect_ratio: bool = False,
    ) -> ImageBatches:  # fmt: skip
        """Batches of the pictures that a column names, with classes or numbers of another."""
        _no_saving(save_to_dir)
        rows = self._part(len(dataframe), subset)
        files = list(dataframe[x_col])[rows]
        paths = [Path(directory or "", str(name)) for name in files]
        values = None if class_mode in (None, "input") else np.asarray(dataframe[y_col])[rows]
        kept = [i for i, p in enumerate(paths) if not validate_filenames or p.is_file()]
        paths = [paths[i] for i in kept]
        labels, names = _numbered(values, kept, classes, class_mode)
        weights = None if weight_col is None else np.asarray(dataframe[weight_col])[rows][kept]
        how = (target_size, color_mode, interpolation, keep_aspect_ratio)
        made = self._of_files(paths, labels, names, class_mode, how, batch_size, shuffle, seed,
                              weights)  # fmt: skip
        made.filenames = [str(files[i]) for i in kept]
        return made

    def _part(self, count: int, subset: str | None) -> slice:
        """Of validation the first share, of training the rest, of None all."""
        if subset not in ("training", "validation", None):
            raise ConfigError(
                f"ImageDataGenerator: unknown subset. Received: {subset!r}. Use training or "
                "validation."
            )
        first = int(count * self._validation_split)
        return slice(None) if subset is None else (
            slice(0, first) if subset == "validation" else slice(first, None))  # fmt: skip

    def _of_files(
        self, paths: list[Path], labels: Any, names: Any, class_mode: Any, how: tuple[Any, ...],
        size: int, shuffle: bool, seed: Any, weights: Any = None,
    ) -> ImageBatches:  # fmt: skip
        if class_mode not in _MODES:
            raise ConfigError(
                f"ImageDataGenerator: unknown class_mode. Received: {class_mode!r}. Use one of "
                f"{', '.join(map(str, _MODES))}."
            )
        target, colours, method, keep = how
        encoded = labels
        if class_mode == "categorical":
            encoded = np.eye(len(names), dtype=self.dtype)[labels]
        elif class_mode == "binary":
            encoded = labels.astype(self.dtype)

        def load(chosen: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
            found = [load_img(paths[i], colours, target, method, keep) for i in chosen]
            x = np.stack([img_to_array(p, self.data_format, self.dtype) for p in found])
            others = [] if class_mode in (None, "input") else [encoded[chosen]]
            return x, others + ([] if weights is None else [weights[chosen]])

        made = self._batches(len(paths), load, size, shuffle, seed, class_mode == "input")
        made.classes, made.class_indices = labels, {n: i for i, n in enumerate(names or ())}
        return made

    def _batches(
        self, count: int, load: Callable[[np.ndarray], Any], size: int, shuffle: bool, seed: Any,
        itself: bool = False,
    ) -> ImageBatches:  # fmt: skip
        if seed is not None:
            np.random.seed(seed)

        def make(rows: np.ndarray) -> Any:
            images, others = load(rows)
            x = np.stack([self.standardize(self.random_transform(each)) for each in images])
            parts = [x, *([x] if itself else []), *others]
            return tuple(parts) if len(parts) > 1 else x

        return ImageBatches(count, make, size, shuffle, seed)


def _no_saving(folder: Any) -> None:
    if folder is not None:
        raise ConfigError(
            f"ImageDataGenerator: pictures are not written. Received: save_to_dir={folder!r}. Use "
            "utils.save_img on the batches."
        )


def _numbered(values: Any, kept: list[int], classes: Any, class_mode: Any) -> tuple[Any, Any]:
    """Class numbers and names, or the values themselves for "raw"."""
    if values is None or class_mode == "raw":
        return (None if values is None else values[kept]), ()
    names = list(classes or sorted(set(values.tolist())))
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[values[i]] for i in kept], int), names


def _moved(x: np.ndarray, turn: Sequence[float], how: ImageDataGenerator) -> np.ndarray:
    """(height, width, channels) by theta, tx, ty, shear, zx and zy as Keras does: the first
    coordinate is the column, though tx and the middle of it are made of the height."""
    if list(turn) == [0, 0, 0, 0, 1, 1]:
        return x
    theta, tx, ty, shear, zx, zy = turn
    t, s = math.radians(theta), math.radians(shear)
    turned = np.array([[math.cos(t), -math.sin(t), 0], [math.sin(t), math.cos(t), 0], [0, 0, 1.0]])
    shifted = np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
    sheared = np.array([[1, -math.sin(s), 0], [0, math.cos(s), 0], [0, 0, 1]])
    middle = np.eye(3)
    middle[:2, 2] = (x.shape[0] - 1) / 2, (x.shape[1] - 1) / 2
    m = middle @ turned @ shifted @ sheared @ np.diag([zx, zy, 1]) @ np.linalg.inv(middle)
    matrix = np.array([*m[0], *m[1], 0, 0], np.float32)
    method = "bilinear" if how.interpolation_order else "nearest"
    mode = "nearest" if how.fill_mode == "constant" else how.fill_mode
    made = np.asarray(ops.image.affine_transform(x, matrix, method, mode, 0, "channels_last"))
    if how.fill_mode != "constant":
        return made
    down, across = np.mgrid[: x.shape[0], : x.shape[1]]
    columns, rows = (r[0] * across + r[1] * down + r[2] for r in m[:2])
    inside = (rows >= 0) & (rows <= x.shape[0] - 1) & (columns >= 0) & (columns <= x.shape[1] - 1)
    return np.where(inside[..., None], made, how.cval)  # a pixel at the edge is not mixed with cval
