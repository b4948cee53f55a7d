"""Public ops on signals: Fourier transforms of short frames, and back.

In: (..., samples), or (real, imaginary) of (..., frames, frequencies). Out: the other one. Frames
are cut and added up in the engine, their Fourier transforms are numpy's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.errors import ArgumentTypeError, ConfigError, ShapeError
from zoo_keras.ops.convert import dtype_of, value
from zoo_keras.ops.convolution import extract_sequences
from zoo_keras.ops.products import irfft, pair_of, rfft
from zoo_keras.ops.shaping import pad, reshape
from zoo_keras.ops.symbolic import public

# Shares of 1, cos x, cos 2x, ... in a window; signs alternate.
_COSINES = {
    "boxcar": (1.0,),
    "rectangular": (1.0,),
    "hann": (0.5, 0.5),
    "hanning": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
}


def named_window(name: str, length: int, periodic: bool) -> np.ndarray:
    """A window (length,) of float64: of those that scipy knows the sums of cosines, and bartlett.

    Raises ConfigError for another name.
    """
    size = length if periodic else length - 1
    at = np.arange(length) / max(size, 1)
    if name == "bartlett":
        return 1 - np.abs(2 * at - 1)
    if name == "tukey":  # half of it flat, the quarters at its ends cosines
        rise = np.minimum(np.minimum(at, 1 - at) * 4, 1)
        return np.asarray(0.5 * (1 - np.cos(np.pi * rise)))
    if name not in _COSINES:
        raise ConfigError(
            f"Unknown window. Received: window={name!r}. Use one of {', '.join(_COSINES)}, "
            "bartlett, tukey, or pass the numbers of a window."
        )
    shares = _COSINES[name]
    return np.sum(
        [s * np.cos(2 * np.pi * k * at + np.pi * k) for k, s in enumerate(shares)], axis=0
    )


def _window(name: str, window: Any, sequence: int, stride: Any, fft: int) -> np.ndarray:
    """The window as float32 in the middle of a frame."""
    if not isinstance(stride, int) or stride < 1:
        raise ConfigError(
            f"{name}: `sequence_stride` must be a positive integer. Received: {stride}. Pass the "
            "number of samples from frame to frame."
        )
    if fft < sequence:
        raise ConfigError(
            f"{name}: `fft_length` must equal or exceed sequence_length. Received: "
            f"fft_length={fft}, "
            f"sequence_length={sequence}. Use a longer transform."
        )
    if window is None:
        return np.ones(fft, np.float32)
    if isinstance(window, str):
        if window not in ("hann", "hamming"):
            raise ConfigError(
                f"{name}: If a string is passed to `window`, it must be 'hann' or 'hamming'. "
                f"Received: window={window!r}. Pass the numbers of another."
            )
        window = named_window(window, sequence, periodic=True)
    made = np.asarray(window, np.float32)
    if made.shape != (sequence,):
        raise ShapeError(
            f"{name}: The shape of `window` must be equal to [sequence_length]. Received: shape "
            f"{made.shape}, sequence_length={sequence}. Change one of the two."
        )
    before = (fft - sequence) // 2
    return np.pad(made, (before, fft - sequence - before))


@public
def stft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> tuple[Any, Any]:
    """(real, imaginary) of the Fourier transforms of frames: (..., frames, fft_length // 2 + 1).

    window is "hann", "hamming", numbers, or None; with center, frames begin half a transform before
    the signal, which is reflected there. Source: keras.ops.stft.
    """
    x = value(x)
    if not dtypes.is_float(dtype_of(x)):
        raise ArgumentTypeError(
            "stft: a signal must have the dtype `float32` or `float64`. Received: dtype "
            f"{dtype_of(x)}. Cast it."
        )
    shape = _window("stft", window, sequence_length, sequence_stride, fft_length)
    if center:
        sides = [(0, 0)] * (len(x.shape) - 1) + [(fft_length // 2, fft_length // 2)]
        x = pad(x, sides, mode="reflect")
    frames = extract_sequences(x, fft_length, sequence_stride)
    made: tuple[Any, Any] = rfft(frames * shape, fft_length)
    return made


@public
def istft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> Any:
    """The signal of stft's (real, imaginary). Source: keras.ops.istft."""
    shape = _window("istft", window, sequence_length, sequence_stride, fft_length)
    x = pair_of("istft", x, 2)
    pieces = -(-fft_length // sequence_stride)
    rest = pieces * sequence_stride - fft_length
    if window is not None:
        squares = np.pad(shape**2, (0, rest)).reshape(pieces, -1).sum(0)
        shape = shape / np.tile(squares, pieces)[:fft_length]
    frames = irfft(x, fft_length) * shape
    whole = _added(frames, pieces, rest, sequence_stride)
    start = fft_length // 2 if center else 0
    if length is not None:
        return whole[..., start : start + length]
    end = fft_length + sequence_stride * (frames.shape[-2] - 1)
    return whole[..., start : end - start]


def _added(frames: Any, pieces: int, rest: int, stride: int) -> Any:
    """Frames (..., count, length) laid over each other, `stride` apart."""
    *outer, count, length = frames.shape
    same = [(0, 0)] * len(outer)
    cut = reshape(pad(frames, [*same, (0, 0), (0, rest)]), (*outer, count, pieces, stride))
    total: Any = 0
    for k in range(pieces):
        total = total + pad(cut[..., k, :], [*same, (k, pieces - 1 - k), (0, 0)])
    return reshape(total, (*outer, (count + pieces - 1) * stride))


__all__ = ["istft", "stft"]
