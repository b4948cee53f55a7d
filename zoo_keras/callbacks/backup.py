"""BackupAndRestore: a fit that broke off goes on from its last backup.

In: a folder. Out: after a break the weights, the optimizer's state and the epoch to
begin with. Knows neither files of models nor the training loop.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from types import ModuleType
from typing import Any

from zoo_keras.callbacks.callback import Callback, Logs
from zoo_keras.errors import ClusterError, ConfigError, FileError
from zoo_keras.optimizers.restored import counts_first, restore_later


class BackupAndRestore(Callback):
    """Keep a backup of the training state, and begin the next fit with it.

    The folder holds `latest.weights.h5` and `training_metadata.json`, as Keras has them. A fit that
    was broken off in the middle of an epoch begins that epoch anew, with the weights of the backup.
    On Spark the next fit may be of another session and have another number of ranks.

    Args:
        backup_dir: a folder on the driver, or of any file system that Spark has (`hdfs://`,
            `s3a://`, ...) while a session runs; for this fit alone.
        save_freq: "epoch", or after how many batches.
        double_checkpoint: keep the backup before the last one too, for when the last cannot be
            read.
        delete_checkpoint: remove the folder when a fit has come to its end.

    Raises ConfigError for other arguments, and for a model that is not built when fit begins.
    Source: https://keras.io/api/callbacks/backup_and_restore.

    Example:
        >>> model.fit(x, y, epochs=10, callbacks=[BackupAndRestore("backup")])
    """

    def __init__(
        self,
        backup_dir: Any,
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        self.backup_dir = os.fspath(backup_dir or "").rstrip("/")
        if not self.backup_dir:
            raise ConfigError(
                f"BackupAndRestore: backup_dir must be a folder. Received: {backup_dir!r}. Name "
                "one for this fit alone."
            )
        whole = isinstance(save_freq, int) and not isinstance(save_freq, bool) and save_freq > 0
        if save_freq != "epoch" and not whole:
            raise ConfigError(
                "BackupAndRestore: save_freq must be 'epoch' or a number of batches. "
                f"Received: {save_freq!r}."
            )
        self.save_freq, self.double_checkpoint = save_freq, double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._weights = f"{self.backup_dir}/latest.weights.h5"
        self._metadata = f"{self.backup_dir}/training_metadata.json"
        self._epoch = self._seen = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        if not self.model.built:
            raise ConfigError(
                f'BackupAndRestore: model "{self.model.name}" must have its weights before fit '
                "begins. Received: a model that is not built. Give it an Input, or call it on a "
                "batch first."
            )
        try:
            self._load()
        except FileError:
            if not _files().exists(_before(self._weights)):
                raise
            for path in (self._weights, self._metadata):
                _copy(_before(path), path)
            self._load()

    def _load(self) -> None:
        if not _files().exists(self._metadata):
            return
        optimizer = self.model.optimizer
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        backup = self._described()
        self.model.load_weights(self._weights)
        self._restore_unbuilt()
        self._epoch = self._epoch_of(backup)
        self.model.begin_at(self._epoch)

    def _restore_unbuilt(self) -> None:
        """Further optimizers of the model's own steps are built in the first one."""
        from zoo_keras.saving import hdf5, weights_tree

        label = self._weights
        with _files().readable(label) as path, hdf5.open_for_reading(path, label) as file:
            found = list(weights_tree.unbuilt(file, self.model))
        for optimizer, store in found:
            restore_later(optimizer, store)

    def _steps(self) -> int:
        """What all optimizers have counted."""
        from zoo_keras.saving.weights_tree import optimizers

        first = self.model.optimizer
        rest = [each for each in optimizers(self.model) if each is not first and counts_first(each)]
        return int(first.steps_done) + sum(int(each.steps_done) for each in rest)

    def _epoch_of(self, backup: dict[str, Any]) -> int:
        """The epoch to begin with. The weights may be those that were about to be described when
        the process was killed: their optimizer has counted more steps."""
        steps = self._steps()
        for moment in (backup, backup.get("next", {})):
            if moment.get("iterations", steps) == steps and "epoch" in moment:
                return int(moment["epoch"])
        raise FileError(
            f"{self.backup_dir}: weights and metadata are of different moments. Received: an "
            f"optimizer of {steps} steps, and {backup}. Remove the folder to begin anew."
        )

    def _described(self) -> dict[str, Any]:
        try:
            with _files().readable(self._metadata) as path, open(path) as file:
                backup: dict[str, Any] = json.load(file)
            epoch = backup["epoch"]
            if not isinstance(epoch, int) or epoch < 0:
                raise ValueError(f"epoch {epoch!r}")
        except (ValueError, KeyError, TypeError) as error:
            raise FileError(
                f"{self._metadata}: this does not say in which epoch the backup was made. "
                f"Received: {error}. Remove the folder to begin anew."
            ) from None
        return backup

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch + 1
        if self.save_freq == "epoch":
            self._save()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if isinstance(self.save_freq, int):
            self._seen += 1
            if self._seen % self.save_freq == 0:
                self._save()

    def _save(self) -> None:
        """The weights are swapped in one step. What describes the old ones tells of the new ones
        too while that happens, so that a process may be killed at any moment."""
        steps = self._steps()
        moment = {"epoch": self._epoch, "batch": self._seen, "iterations": steps}
        if _files().exists(self._metadata):
            if self.double_checkpoint:
                for path in (self._weights, self._metadata):
                    _copy(path, _before(path))
            self._describe({**self._described(), "next": moment})
        self.model.save_weights(self._weights, overwrite=True)
        self._describe(moment)

    def _describe(self, backup: dict[str, Any]) -> None:
        with _files().writable(self._metadata) as draft, open(draft, "w") as file:
            json.dump(backup, file)

    def on_train_end(self, logs: Logs = None) -> None:
        if not self.delete_checkpoint:
            return
        try:
            _files().remove_folder(self.backup_dir)
        except (FileError, ClusterError) as error:  # the fit is done all the same
            warnings.warn(
                f"BackupAndRestore: {self.backup_dir} could not be removed, and the next fit would "
                f"go on from it. Received: {error} Remove it by hand.",
                stacklevel=4,
            )


def _files() -> ModuleType:
    from zoo_keras.saving import files

    return files


def _copy(path: str, to: str) -> None:
    with _files().readable(path) as source, _files().writable(to) as draft:
        shutil.copyfile(source, draft)


def _before(path: str) -> str:
    """Where the backup before the last one is."""
    return f"{path}.bkp"
