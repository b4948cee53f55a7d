"""TensorBoard: what a fit measures, and what it trains, in files that TensorBoard shows.

In: logs, weights, the model's configuration. Out: event files in two folders, `train` and
`validation`. They are written by the package `tensorboard` alone, which is imported when the first
file is.
"""

from __future__ import annotations

import io
import os
import time
import warnings
from typing import Any

import numpy as np

from zoo_keras import config
from zoo_keras.callbacks.callback import Callback, Logs
from zoo_keras.callbacks.library import learning_rates
from zoo_keras.errors import ConfigError, UnsupportedError

_BUCKETS = 30  # of a histogram, as tf.summary has
_IMAGES = 3  # of a weight at most
_ONCE = ("start", "read")  # before the first epoch


class TensorBoard(Callback):
    """Write scalars, histograms of weights, and the graph of layers for TensorBoard.

    `tensorboard --logdir=logs` shows them. On a cluster the driver writes, also how many samples a
    second are trained (`epoch_samples_per_second`), and for each rank which shares of an epoch went
    into the exchange and into waiting (`rank_0/exchange`, `rank_0/wait`). Needs the extra
    `tensorboard` (`pip install zoo_keras[tensorboard]`), and for images `images`.

    Args:
        log_dir: a folder of the driver, for this callback alone.
        histogram_freq: after how many epochs histograms of all weights are written; 0: never.
        write_graph: fit writes the model's layers, if it is functional or a Sequential; one that
            cannot be serialised is a warning.
        write_images: weights as pictures beside the histograms.
        write_steps_per_second: how fast training is.
        update_freq: "epoch", "batch", or after how many batches losses and metrics are written,
            besides those of epochs.

    Raises UnsupportedError for `profile_batch` and `embeddings_freq`, and when the package is not
    installed. Source: https://keras.io/api/callbacks/tensorboard.

    Example:
        >>> model.fit(x, y, epochs=2, callbacks=[TensorBoard("logs", histogram_freq=1)])
    """

    def __init__(
        self,
        log_dir: Any = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: Any = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        super().__init__()
        for name, value in (("profile_batch", profile_batch), ("embeddings_freq", embeddings_freq)):
            if value:
                raise UnsupportedError(
                    f"TensorBoard: {name} is not supported. Received: {name}={value!r}. Leave it "
                    "out; model.summary(programs=True) shows what runs."
                )
        update_freq = 1 if update_freq == "batch" else update_freq
        whole = isinstance(update_freq, int) and not isinstance(update_freq, bool)
        if update_freq != "epoch" and not (whole and update_freq > 0):
            raise ConfigError(
                "TensorBoard: update_freq must be 'epoch', 'batch' or a number of batches. "
                f"Received: {update_freq!r}."
            )
        self.log_dir, self.update_freq = os.fspath(log_dir), update_freq
        self.histogram_freq, self.write_graph = histogram_freq, write_graph
        self.write_images, self.write_steps_per_second = write_images, write_steps_per_second
        self.embeddings_freq, self.embeddings_metadata = embeddings_freq, embeddings_metadata
        self._files: dict[str, _EventFile] = {}
        self._batches, self._training = 0, False
        self._epoch_began, self._steps_before, self._batch_began = 0.0, 0, 0.0
        self._seconds: list[dict[str, float]] = []  # of each rank, until the last epoch

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self._close()

    def _write_graph(self) -> None:
        if not self.write_graph or type(self.model).__name__ not in ("Functional", "Sequential"):
            return
        try:
            text = self.model.to_json()
        except Exception as error:  # of any get_config; what is trained does not depend on it
            warnings.warn(
                "TensorBoard: the graph is left out, for the model cannot be serialised. Received: "
                f"{error} Mend get_config of that layer, or pass write_graph=False.",
                stacklevel=5,
            )
        else:
            self._file("train").graph(text)

    def _file(self, kind: str) -> _EventFile:
        if kind not in self._files:
            self._files[kind] = _EventFile(os.path.join(self.log_dir, kind))
        return self._files[kind]

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files, self._training = {}, False

    # ---- hooks ---------------------------------------------------------------------------------

    def on_train_begin(self, logs: Logs = None) -> None:
        self._batches, self._training, self._seconds = 0, True, []
        self._write_graph()

    def on_train_end(self, logs: Logs = None) -> None:
        self._close()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch_began = time.monotonic()
        self._steps_before = self._iterations()

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self._batch_began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.update_freq == "epoch":
            return
        self._batches += 1
        if self._batches % self.update_freq:
            return
        values = {f"batch_{name}": value for name, value in (logs or {}).items()}
        if self.write_steps_per_second:
            seconds = max(time.monotonic() - self._batch_began, 1e-9)
            values["batch_steps_per_second"] = 1.0 / seconds
        self._file("train").scalars(values, self._batches)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = logs or {}
        values = {f"epoch_{k}": v for k, v in logs.items() if not k.startswith("val_")}
        tested = {f"epoch_{k[4:]}": v for k, v in logs.items() if k.startswith("val_")}
        if values or tested:
            self._train_values(epoch, values)
        if tested:
            self._file("validation").scalars(tested, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._weights(epoch)
        for file in self._files.values():
            file.flush()

    def _train_values(self, epoch: int, values: dict[str, Any]) -> None:
        rates = learning_rates(self.model.optimizer)
        values.update({f"epoch_{name}": rate for name, rate in rates.items()})
        if self.write_steps_per_second:
            seconds = max(time.monotonic() - self._epoch_began, 1e-9)
            values["epoch_steps_per_second"] = (self._iterations() - self._steps_before) / seconds
        values.update(self._of_ranks())
        self._file("train").scalars(values, epoch)

    def _of_ranks(self) -> dict[str, float]:
        """How fast several ranks were in this epoch, and what kept each of them."""
        history = getattr(self.model, "history", None)
        now = [dict(rank) for rank in getattr(history, "ranks", [])]
        before, self._seconds = self._seconds or [{}] * len(now), now
        if len(now) < 2 or len(now) != len(before):
            return {}
        found = {}
        samples, took = self.params.get("samples"), time.monotonic() - self._epoch_began
        if samples:
            found["epoch_samples_per_second"] = samples / max(took, 1e-9)
        for number, (rank, old) in enumerate(zip(now, before, strict=True)):
            spent = {part: rank[part] - old.get(part, 0.0) for part in rank if part not in _ONCE}
            whole = max(sum(spent.values()), 1e-9)
            found.update({f"rank_{number}/{p}": spent[p] / whole for p in ("exchange", "wait")})
        return found

    def on_test_end(self, logs: Logs = None) -> None:
        if self.model.optimizer is not None:
            named = {f"evaluation_{k}_vs_iterations": v for k, v in (logs or {}).items()}
            self._file("validation").scalars(named, self._iterations())
        if not self._training:
            self._close()

    def on_predict_end(self, logs: Logs = None) -> None:
        if not self._training:
            self._close()

    def _iterations(self) -> int:
        return int(self.model.optimizer.iterations)

    # ---- weights -------------------------------------------------------------------------------

    def _weights(self, epoch: int) -> None:
        file = self._file("train")
        for weight in (weight for layer in self.model.layers for weight in layer.weights):
            name, value = weight.path.replace(":", "_"), weight.numpy()
            file.histogram(f"{name}/histogram", value, epoch)
            pictures = _pictures(value) if self.write_images else None
            if pictures is not None:
                file.images(f"{name}/image", pictures, epoch)


def _pictures(value: np.ndarray) -> np.ndarray | None:
    """A weight as grey pictures (number, rows, columns); None if it has too many axes."""
    value = np.squeeze(value)
    if value.ndim == 1:
        return value.reshape(1, -1, 1)
    if value.ndim == 2:
        return (value.T if value.shape[0] > value.shape[1] else value)[None]
    if value.ndim != 3:
        return None
    return np.moveaxis(value, -1, 0) if config.image_data_format() == "channels_last" else value


class _EventFile:
    """One event file, in the form of tf.summary."""

    def __init__(self, folder: str) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
            from tensorboard.util import tensor_util
        except ImportError as error:
            raise UnsupportedError(
                "TensorBoard: event files are written by the package tensorboard. Received: "
                f"{error}. Install zoo_keras[tensorboard]."
            ) from None
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._tensor = tensor_util.make_tensor_proto
        self._writer = EventFileWriter(folder)

    def _write(self, plugin: str, values: dict[str, Any], step: int, content: bytes = b"") -> None:
        """Tensors by tag; the plugin shows them."""
        summary = self._summary()
        for tag, tensor in values.items():
            value = summary.value.add(tag=tag, tensor=self._tensor(tensor))
            value.metadata.plugin_data.plugin_name = plugin
            value.metadata.plugin_data.content = content
        event = self._event(wall_time=time.time(), step=step, summary=summary)
        self._writer.add_event(event)

    def scalars(self, values: dict[str, Any], step: int) -> None:
        """Numbers by name; what is no number stays out."""
        found = {name: np.asarray(value) for name, value in values.items()}
        numbers = {k: v.astype(np.float32) for k, v in found.items()
                   if v.shape == () and v.dtype.kind in "biuf"}  # fmt: skip
        self._write("scalars", numbers, step)

    def histogram(self, tag: str, value: np.ndarray, step: int) -> None:
        """How the numbers of a weight lie: (30, 3) of left, right, count."""
        self._write("histograms", {tag: _buckets(value)}, step)

    def images(self, tag: str, pictures: np.ndarray, step: int) -> None:
        """Grey pictures (number, rows, columns) of 0 to 1; what is beyond is cut off."""
        rows, columns = pictures.shape[1:]
        sizes = [str(columns).encode(), str(rows).encode()]
        made = np.array([*sizes, *map(_png, pictures[:_IMAGES])], dtype=object)
        self._write("images", {tag: made}, step)

    def graph(self, text: str) -> None:
        """A model's JSON, which TensorBoard draws as a graph of layers."""
        self._write("graph_keras_model", {"keras": np.array(text.encode(), object)}, 0, b"1")

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _buckets(value: np.ndarray) -> np.ndarray:
    numbers = value.astype(np.float64).ravel()
    numbers = numbers[np.isfinite(numbers)]
    low, high = (numbers.min(), numbers.max()) if numbers.size else (0.0, 0.0)
    if low == high:
        counts = np.zeros(_BUCKETS)
        counts[-1] = numbers.size
        return np.stack([np.full(_BUCKETS, low), np.full(_BUCKETS, low), counts], axis=1)
    counts, edges = np.histogram(numbers, _BUCKETS, (low, high))
    return np.stack([edges[:-1], edges[1:], counts.astype(np.float64)], axis=1)


def _png(picture: np.ndarray) -> bytes:
    from zoo_keras.primitives.images import pillow

    bytes_of = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    file = io.BytesIO()
    pillow().fromarray(bytes_of).save(file, "PNG")
    return file.getvalue()
