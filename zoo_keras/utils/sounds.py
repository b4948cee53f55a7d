"""Sounds of WAV files as arrays, as Keras on TensorFlow reads them: 16-bit PCM, any channels.

In: a path. Out: float32 (samples, channels) between -1 and 1. Knows no folders and no batches.
"""

from __future__ import annotations

import wave
from typing import Any

import numpy as np

from zoo_keras.errors import DataError, UnsupportedError

_FULL = 32768.0  # what 16 bits stand for is divided by it


def load_wav(path: Any, length: int | None = None, rate: int | None = None) -> np.ndarray:
    """The samples of a file (samples, channels), float32.

    Args:
        length: longer sounds are cut to it, shorter ones end in zeros; None: all of the file.
        rate: samples a second that the file must have; None: any.

    Raises DataError for a file that is no WAV of 16-bit PCM, UnsupportedError for another rate.
    """
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, found = file.getsampwidth(), file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes() if length is None else length)
    except (wave.Error, EOFError) as error:
        raise DataError(
            f"load_wav: this is no WAV file of PCM numbers. Received: {path} ({error}). Save it as "
            "16-bit PCM WAV."
        ) from error
    if width != 2:
        raise DataError(
            f"load_wav: only 16 bits a sample are read, as in Keras. Received: {path} with "
            f"{8 * width} bits. Save it as 16-bit PCM WAV."
        )
    if rate is not None and found != rate:
        raise UnsupportedError(
            f"load_wav: sounds are not resampled. Received: sampling_rate={rate}, where {path} has "
            f"{found}. Resample the file first, or leave sampling_rate out."
        )
    whole = len(data) // (2 * channels) * 2 * channels
    samples = np.frombuffer(data[:whole], "<i2").reshape(-1, channels) / np.float32(_FULL)
    return samples if length is None else padded([samples], length)[0]


def padded(sounds: list[np.ndarray], length: int | None = None) -> np.ndarray:
    """Sounds (samples, channels) as one array, with zeros up to the length or the longest.

    Raises DataError for sounds of different channels.
    """
    channels = {sound.shape[1] for sound in sounds}
    if len(channels) > 1:
        raise DataError(
            "audio_dataset_from_directory: the sounds of a batch must have as many channels. "
            f"Received: {sorted(channels)}. Mix them down to one."
        )
    longest = length or max(len(sound) for sound in sounds)
    made = np.zeros((len(sounds), longest, channels.pop()), np.float32)
    for row, sound in zip(made, sounds):
        row[: len(sound)] = sound[:longest]
    return made
