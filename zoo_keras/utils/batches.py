"""Data sets of batches from arrays and folders: windows of series, pictures, texts, sounds, halves.

In: arrays, or a folder with one folder for each class. Out: Batches, a PyDataset that fit,
evaluate and predict take, and that can be walked through like a list.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo_keras import config
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.primitives.column import rows_of
from zoo_keras.primitives.images import decode_images, resize_images
from zoo_keras.training.data import PyDataset
from zoo_keras.utils.sounds import load_wav, padded

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
_LABEL_MODES = ("int", "binary", "categorical", None)


class Batches(PyDataset):
    """Batches made when they are asked for: make(rows) for a piece of the rows 0 ... count - 1.

    Attributes:
        class_names, file_paths: of a folder.
    """

    class_names: list[str] | None = None
    file_paths: list[str]

    def __init__(
        self, count: int, make: Callable[[np.ndarray], Any], batch_size: int | None,
        shuffle: bool = False, seed: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.count, self.make, self.batch_size = count, make, batch_size
        self._generator = np.random.default_rng(seed) if shuffle else None
        self._order = np.arange(count)
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        """Another order, if there is to be one."""
        if self._generator is not None:
            self._order = self._generator.permutation(self.count)

    def __len__(self) -> int:
        return -(-self.count // (self.batch_size or 1))

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self.batch_size is None:
            return _first(self.make(self._order[index : index + 1]))
        return self.make(self._order[index * self.batch_size : (index + 1) * self.batch_size])

    def __iter__(self) -> Iterator[Any]:
        for index in range(len(self)):
            yield self[index]
        self.on_epoch_end()

    def map(self, function: Callable[..., Any], num_parallel_calls: Any = None) -> Batches:
        """Batches changed by function(x) or function(x, y)."""
        del num_parallel_calls
        before = self.make

        def make(rows: np.ndarray) -> Any:
            batch = before(rows)
            return function(*batch) if isinstance(batch, tuple) else function(batch)

        return self._like(self._order, make)

    def take(self, count: int) -> Batches:
        """The first batches only."""
        return self._like(self._order[: count * (self.batch_size or 1)], self.make)

    def skip(self, count: int) -> Batches:
        """All but the first batches."""
        return self._like(self._order[count * (self.batch_size or 1) :], self.make)

    def _like(self, order: np.ndarray, make: Callable[[np.ndarray], Any]) -> Batches:
        made = Batches(len(order), lambda rows: make(order[rows]), self.batch_size)
        made._generator = self._generator
        made.class_names, made.file_paths = self.class_names, getattr(self, "file_paths", [])
        return made

    def cache(self, filename: str = "") -> Batches:
        """The same: batches are made when they are needed."""
        return self

    def prefetch(self, buffer_size: Any = None) -> Batches:
        """The same: the next batch is made while a step runs."""
        return self


def _first(batch: Any) -> Any:
    return tuple(part[0] for part in batch) if isinstance(batch, tuple) else batch[0]


# ---- arrays --------------------------------------------------------------------------------------


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Batches:
    """Windows of a series: (batch, sequence_length, ...), each with targets[its first step].

    Source: keras.utils.timeseries_dataset_from_array.

    >>> timeseries_dataset_from_array(np.arange(5), None, 3, batch_size=2)[0].tolist()
    [[0, 1, 2], [1, 2, 3]]
    """
    _known_format("timeseries_dataset_from_array", format)
    begin, end = start_index or 0, len(data) if end_index is None else end_index
    for argument, given, fits, rule in (
        ("start_index", begin, 0 <= begin < len(data), "0 or higher, and below the length"),
        ("end_index", end, begin < end <= len(data), "above start_index, and at most the length"),
        ("sampling_rate", sampling_rate, 0 < sampling_rate < len(data), "between 0 and the length"),
        ("sequence_stride", sequence_stride, 0 < sequence_stride < len(data),
         "between 0 and the length"),
    ):  # fmt: skip
        if not fits:
            raise ConfigError(
                f"timeseries_dataset_from_array: `{argument}` must be {rule} of the data. "
                "Received: "
                f"{argument}={given}, {len(data)} steps. Change it."
            )
    data = np.asarray(data)[begin:end]
    count = end - begin - (sequence_length - 1) * sampling_rate
    if targets is not None:
        targets = np.asarray(targets)
        count = min(count, len(targets))
        targets = targets[begin:]
    starts = np.arange(0, max(count, 0), sequence_stride)
    steps = np.arange(sequence_length) * sampling_rate

    def make(rows: np.ndarray) -> Any:
        x = data[starts[rows][:, None] + steps]
        return x if targets is None else (x, targets[starts[rows]])

    return Batches(len(starts), make, batch_size, shuffle, seed)


def _known_format(name: str, format: str) -> None:
    """Keras' two kinds of data sets, of TensorFlow and of Grain; here both are Batches."""
    if format not in ("tf", "grain"):
        raise ConfigError(
            f"{name}: `format` should be one of 'tf', 'grain'. Received: {format!r}. Leave it out."
        )


def split_dataset(
    dataset: Any,
    left_size: Any = None,
    right_size: Any = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: Any = None,
) -> tuple[Batches, Batches]:
    """Two data sets of rows: sizes are numbers of rows, or shares of all.

    dataset is an array, or a list or tuple of arrays. Source: keras.utils.split_dataset.
    """
    del preferred_backend
    arrays = tuple(map(np.asarray, dataset)) if isinstance(dataset, (list, tuple)) else dataset
    columns = arrays if isinstance(arrays, tuple) else (np.asarray(arrays),)
    total = len(columns[0])
    left, right = _sizes(total, left_size, right_size)
    order = np.random.default_rng(seed).permutation(total) if shuffle else np.arange(total)

    def part(rows: np.ndarray) -> Batches:
        def make(chosen: np.ndarray) -> Any:
            found = tuple(column[rows[chosen]] for column in columns)
            return found if isinstance(arrays, tuple) else found[0]

        return Batches(len(rows), make, None)

    return part(order[:left]), part(order[total - right :])


def _sizes(total: int, left: Any, right: Any) -> tuple[int, int]:
    counts = [round(s * total) if isinstance(s, float) else s for s in (left, right)]
    if counts == [None, None]:
        raise ConfigError(
            "split_dataset: no size. Received: left_size=None, right_size=None. Give one of them."
        )
    first = total - counts[1] if counts[0] is None else counts[0]
    last = total - first if counts[1] is None else counts[1]
    if min(first, last) < 0 or first + last > total:
        raise ConfigError(
            f"split_dataset: the sizes don't fit. Received: left_size={left}, right_size={right} "
            f"of {total} rows. Choose smaller ones."
        )
    return first, last


# ---- folders -------------------------------------------------------------------------------------


_KINDS = {"image": "images", "text": "text files", "audio": "audio files"}


class _Folder:
    """Files below a directory with their labels, split and shuffled as Keras does."""

    def __init__(
        self, name: str, directory: Any, labels: Any, label_mode: Any, class_names: Any,
        endings: Sequence[str], shuffle: bool, seed: int | None, follow_links: bool,
    ) -> None:  # fmt: skip
        _check_labels(name, labels, label_mode, class_names)
        self.name, self.label_mode = name, label_mode if labels is not None else None
        self.kind = _KINDS[name.partition("_")[0]]
        root = Path(directory)
        folders = [root]
        if labels == "inferred":
            found = sorted(p.name for p in root.iterdir() if p.is_dir() and p.name[0] != ".")
            if class_names is not None and set(class_names) != set(found):
                raise DataError(
                    f"{name}: the `class_names` passed did not match the folders of {directory}. "
                    f"Received: {class_names}, where there are {found}. Leave it out, or "
                    "rename the "
                    "folders."
                )
            self.class_names: Any = list(class_names or found)
            folders = [root / each for each in self.class_names]
        files = [files_below(folder, endings, follow_links) for folder in folders]
        self.paths = [str(path) for each in files for path in each]
        self.labels: Any = np.repeat(np.arange(len(files)), [len(each) for each in files])
        if labels != "inferred":
            self._given(labels)
        if label_mode == "binary" and self.label_mode and len(self.class_names) != 2:
            raise DataError(
                f"{name}: with label_mode='binary' there must be exactly 2 classes. Received: "
                f"{self.class_names}. Use 'int' or 'categorical'."
            )
        if shuffle:
            self._shuffled(np.random.randint(10**6) if seed is None else seed)

    def _given(self, labels: Any) -> None:
        self.class_names = None if labels is None else [str(v) for v in sorted(set(labels))]
        self.labels = None if labels is None else np.asarray(labels)
        if labels is not None and len(labels) != len(self.paths):
            raise DataError(
                f"{self.name}: Expected the lengths of `labels` to match the number of files. "
                f"Received: {len(labels)} labels for {len(self.paths)} files. Give them in the "
                "order of the sorted paths."
            )

    def _shuffled(self, seed: int) -> None:
        order = np.arange(len(self.paths))
        np.random.RandomState(seed).shuffle(order)
        self.paths = [self.paths[i] for i in order]
        self.labels = None if self.labels is None else self.labels[order]

    def split(self, share: Any, subset: Any) -> list[slice]:
        """The slices of the subset, or of both."""
        if not share:
            return [slice(None)]
        first = len(self.paths) - int(share * len(self.paths))
        parts = {"training": slice(0, first), "validation": slice(first, None)}
        return list(parts.values()) if subset == "both" else [parts[subset]]

    def batches(
        self, part: slice, load: Callable[[list[str]], Any], size: Any, *order: Any
    ) -> Batches:
        """The files of a slice, loaded batch by batch."""
        paths = self.paths[part]
        if not paths:
            raise DataError(
                f"{self.name}: No {self.kind} found. Received: {len(self.paths)} files in all. "
                "Check the directory, and the endings of the files."
            )
        labels = None if self.label_mode is None else self._encoded(self.labels[part])

        def make(rows: np.ndarray) -> Any:
            x = load([paths[i] for i in rows])
            return x if labels is None else (x, labels[rows])

        made = Batches(len(paths), make, size, *order)
        made.class_names, made.file_paths = self.class_names, paths
        return made

    def _encoded(self, labels: np.ndarray) -> np.ndarray:
        if self.label_mode == "categorical":
            return np.eye(len(self.class_names), dtype=np.float32)[labels]
        return labels.astype(np.float32)[:, None] if self.label_mode == "binary" else (
            labels.astype(np.int32))  # fmt: skip


def _check_labels(name: str, labels: Any, label_mode: Any, class_names: Any) -> None:
    if isinstance(labels, str) and labels != "inferred":
        raise ConfigError(
            f"{name}: `labels` argument should be 'inferred', None, or a list of whole numbers. "
            f"Received: {labels!r}. Use one of these."
        )
    if label_mode not in _LABEL_MODES:
        raise ConfigError(
            f"{name}: `label_mode` argument must be one of int, binary, categorical, None. "
            f"Received: {label_mode!r}. Use one of these."
        )
    if class_names is not None and labels != "inferred":
        raise ConfigError(
            f'{name}: you can only pass `class_names` if `labels="inferred"`. Received: '
            f"class_names={class_names}. Leave it out."
        )


def _check_split(name: str, share: Any, subset: Any, shuffle: bool, seed: Any) -> None:
    """ConfigError for halves that don't fit; without a seed two calls would share files."""
    given = f"Received: validation_split={share}, subset={subset!r}, seed={seed}."
    if share and not 0 < share < 1:
        raise ConfigError(f"{name}: `validation_split` must be between 0 and 1. {given} Use 0.2.")
    if bool(share) != bool(subset):
        raise ConfigError(
            f"{name}: `validation_split` must be set where `subset` is, and inversely. {given} "
            "Pass both or none."
        )
    if subset not in ("training", "validation", "both", None):
        raise ConfigError(
            f'{name}: `subset` must be either "training", "validation" or "both". {given} Use one '
            "of these."
        )
    if share and shuffle and seed is None:
        raise ConfigError(
            f"{name}: to split and shuffle you must provide a `seed`, or the halves may overlap. "
            f"{given} Pass the same one in both calls."
        )


def files_below(folder: Path, endings: Sequence[str], follow_links: bool) -> list[Path]:
    """Files with these endings, sorted."""
    walked = os.walk(folder, followlinks=follow_links)
    found = [Path(at) / name for at, _, names in walked for name in sorted(names)]
    return sorted(path for path in found if path.suffix.lower() in endings)


def image_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: Any = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: Any = None,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Pictures below a directory as float32 (batch, *image_size, channels), with their classes.

    A list of two for subset="both". Needs Pillow. Source: keras.utils.image_dataset_from_directory.
    """
    del verbose
    _known_format("image_dataset_from_directory", format)
    _check_split("image_dataset_from_directory", validation_split, subset, shuffle, seed)
    if color_mode not in _CHANNELS:
        raise ConfigError(
            "image_dataset_from_directory: `color_mode` must be one of "
            f"{', '.join(_CHANNELS)}. Received: {color_mode!r}. Use one of these."
        )
    folder = _Folder(
        "image_dataset_from_directory", directory, labels, label_mode, class_names, PICTURES,
        shuffle, seed, follow_links,
    )  # fmt: skip
    aspect = "crop" if crop_to_aspect_ratio else ("pad" if pad_to_aspect_ratio else None)
    first = (data_format or config.image_data_format()) == "channels_first"

    def load(paths: list[str]) -> np.ndarray:
        files = rows_of([Path(path).read_bytes() for path in paths])
        pixels = decode_images.reference(files, channels=_CHANNELS[color_mode])
        floats = rows_of([image.astype(np.float32) for image in pixels])
        made = resize_images.reference(
            floats, size=tuple(image_size), interpolation=interpolation, antialias=False,
            aspect=aspect, fill=0.0,
        )  # fmt: skip
        return np.moveaxis(made, -1, 1) if first else made

    parts = folder.split(validation_split, subset)
    made = [folder.batches(p, load, batch_size, shuffle and i == 0, seed)
            for i, p in enumerate(parts)]  # fmt: skip
    return made if subset == "both" else made[0]


def text_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Texts (.txt, UTF-8) below a directory as arrays of strings, with their classes.

    A list of two for subset="both". Source: keras.utils.text_dataset_from_directory.
    """
    del verbose
    _known_format("text_dataset_from_directory", format)
    _check_split("text_dataset_from_directory", validation_split, subset, shuffle, seed)
    folder = _Folder(
        "text_dataset_from_directory", directory, labels, label_mode, class_names, (".txt",),
        shuffle, seed, follow_links,
    )  # fmt: skip

    def load(paths: list[str]) -> np.ndarray:
        return rows_of([Path(path).read_text(encoding="utf-8")[:max_length] for path in paths])

    parts = folder.split(validation_split, subset)
    made = [folder.batches(p, load, batch_size, shuffle and i == 0, seed)
            for i, p in enumerate(parts)]  # fmt: skip
    return made if subset == "both" else made[0]


def audio_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    batch_size: int | None = 32,
    sampling_rate: int | None = None,
    output_sequence_length: int | None = None,
    ragged: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    verbose: bool = True,
) -> Any:
    """Sounds (.wav, 16-bit PCM) below a directory as float32 (batch, samples, channels), with
    their classes.

    Args:
        sampling_rate: that all files must have; they are not resampled.
        output_sequence_length: samples of every sound, cut or with zeros at its end; None: of the
            longest in its batch.
        ragged: batches are object arrays of sounds (samples, channels) as long as they are.

    A list of two for subset="both". Source: keras.utils.audio_dataset_from_directory.
    """
    del verbose
    _check_split("audio_dataset_from_directory", validation_split, subset, shuffle, seed)
    rate, length = sampling_rate, output_sequence_length
    if ragged and length is not None:
        raise ConfigError(
            "audio_dataset_from_directory: ragged sounds have lengths of their own. Received: "
            f"ragged=True, output_sequence_length={length}. Give one of them."
        )
    for name, value in (("sampling_rate", rate), ("output_sequence_length", length)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or value < 1
        ):
            raise ConfigError(
                f"audio_dataset_from_directory: {name} is a whole number above 0. Received: "
                f"{value!r}. Give one, or None."
            )
    folder = _Folder(
        "audio_dataset_from_directory", directory, labels, label_mode, class_names, (".wav",),
        shuffle, seed, follow_links,
    )  # fmt: skip

    def load(paths: list[str]) -> np.ndarray:
        sounds = [load_wav(path, length, rate) for path in paths]
        return rows_of(sounds) if ragged else padded(sounds)

    parts = folder.split(validation_split, subset)
    made = [folder.batches(p, load, batch_size, shuffle and i == 0, seed)
            for i, p in enumerate(parts)]  # fmt: skip
    return made if subset == "both" else made[0]
