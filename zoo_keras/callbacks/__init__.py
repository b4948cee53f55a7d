"""zoo_keras.callbacks: the names of keras.callbacks."""

from typing import Any

from zoo_keras.callbacks.averages import SwapEMAWeights
from zoo_keras.callbacks.backup import BackupAndRestore
from zoo_keras.callbacks.callback import Callback, History
from zoo_keras.callbacks.callback_list import CallbackList
from zoo_keras.callbacks.library import (
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from zoo_keras.callbacks.progress import ProgbarLogger
from zoo_keras.callbacks.remote import RemoteMonitor
from zoo_keras.callbacks.tensorboard import TensorBoard
from zoo_keras.paths import alias

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]


def __getattr__(name: str) -> Any:
    return alias("zoo_keras.callbacks", name)
