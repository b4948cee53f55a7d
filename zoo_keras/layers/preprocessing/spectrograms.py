"""Layers from sound to spectrograms: MelSpectrogram, and STFTSpectrogram with kernels that train.

In: (batch, samples), or (batch, samples, channels) for STFTSpectrogram. Out: frequencies and time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zoo_keras import config, initializers, ops
from zoo_keras.errors import ArgumentTypeError
from zoo_keras.layers.base.arguments import argument_error, data_format, one_of
from zoo_keras.layers.base.input_spec import InputSpec
from zoo_keras.layers.base.layer import Layer

MODES = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")


def _mel(hertz: Any) -> Any:
    return 1127 * np.log1p(np.asarray(hertz, np.float64) / 700)


class MelSpectrogram(Layer):
    """Power in bands of the mel scale: (batch, samples) -> (batch, num_mel_bins, frames).

    Fourier transforms are numpy's. https://keras.io/api/layers/preprocessing_layers/audio_preprocessing/mel_spectrogram/

    >>> MelSpectrogram(num_mel_bins=16)(np.ones((1, 16000))).shape
    (1, 16, 32)
    """

    _options = (
        "fft_length", "sequence_stride", "sequence_length", "window", "sampling_rate",
        "num_mel_bins", "min_freq", "max_freq", "power_to_db", "top_db", "mag_exp", "min_power",
        "ref_power",
    )  # fmt: skip

    def __init__(
        self,
        fft_length: int = 2048,
        sequence_stride: int = 512,
        sequence_length: int | None = None,
        window: Any = "hann",
        sampling_rate: int = 16000,
        num_mel_bins: int = 128,
        min_freq: float = 20.0,
        max_freq: float | None = None,
        power_to_db: bool = True,
        top_db: float = 80.0,
        mag_exp: float = 2.0,
        min_power: float = 1e-10,
        ref_power: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.fft_length, self.sequence_stride = fft_length, sequence_stride
        self.sequence_length = sequence_length or fft_length
        if self.fft_length < self.sequence_length:
            raise argument_error(
                self, "fft_length", f"at least sequence_length={sequence_length}", fft_length,
                "Use a longer transform.",
            )  # fmt: skip
        self.window, self.sampling_rate, self.num_mel_bins = window, sampling_rate, num_mel_bins
        self.min_freq, self.max_freq = min_freq, max_freq or int(sampling_rate / 2)
        self.power_to_db, self.top_db, self.mag_exp = power_to_db, top_db, mag_exp
        self.min_power, self.ref_power = min_power, ref_power

    def call(self, inputs: Any) -> Any:
        """The spectrogram, in decibels with power_to_db."""
        real, imaginary = ops.stft(
            ops.cast(inputs, "float32"), self.sequence_length, self.sequence_stride,
            self.fft_length, self.window,
        )  # fmt: skip
        power = ops.power(ops.sqrt(ops.square(real) + ops.square(imaginary)), self.mag_exp)
        bands = ops.tensordot(power, self._bands(), axes=1)
        bands = self._decibels(bands) if self.power_to_db else bands
        return ops.cast(ops.swapaxes(bands, -1, -2), self.compute_dtype)

    def _bands(self) -> np.ndarray:
        """(frequencies, num_mel_bins): triangles that overlap by half on the mel scale."""
        nyquist, count = self.sampling_rate / 2, self.fft_length // 2 + 1
        at = _mel(np.linspace(0, nyquist, count))[1:, None]
        edges = np.linspace(_mel(self.min_freq), _mel(self.max_freq), self.num_mel_bins + 2)
        low, middle, high = edges[:-2], edges[1:-1], edges[2:]
        shares = np.minimum((at - low) / (middle - low), (high - at) / (high - middle))
        return np.pad(np.maximum(shares, 0), ((1, 0), (0, 0))).astype(np.float32)

    def _decibels(self, power: Any) -> Any:
        reference = 10 * math.log10(max(abs(self.ref_power), self.min_power))
        made = 10 * ops.log10(ops.maximum(power, self.min_power)) - reference
        return ops.maximum(made, ops.max(made) - self.top_db)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **{name: getattr(self, name) for name in self._options}}


class STFTSpectrogram(Layer):
    """Fourier transforms of frames by convolutions: (batch, samples, channels) -> (batch, frames,
    frequencies of all channels).

    Their kernels are weights, and train. mode is "log", "magnitude", "psd", "real", "imag", "angle"
    or "stft". https://keras.io/api/layers/preprocessing_layers/audio_preprocessing/stft_spectrogram/

    >>> STFTSpectrogram(frame_length=8)(np.ones((1, 32, 1))).shape
    (1, 7, 5)
    """

    _options = (
        "mode", "frame_length", "frame_step", "fft_length", "window", "periodic", "scaling",
        "padding", "data_format", "expand_dims",
    )  # fmt: skip

    def __init__(
        self,
        mode: str = "log",
        frame_length: int = 256,
        frame_step: int | None = None,
        fft_length: int | None = None,
        window: Any = "hann",
        periodic: bool = False,
        scaling: str | None = "density",
        padding: str = "valid",
        expand_dims: bool = False,
        data_format_: Any = None,
        **kwargs: Any,
    ) -> None:
        data_format_ = kwargs.pop("data_format", data_format_)
        super().__init__(**kwargs)
        self.mode, self.frame_length = one_of(self, "mode", mode, MODES), frame_length
        if frame_step is not None and not 1 <= frame_step <= frame_length:
            raise argument_error(
                self, "frame_step", f"from 1 to frame_length={frame_length}", frame_step,
                "Frames must meet.",
            )  # fmt: skip
        if fft_length is not None and fft_length < frame_length:
            raise argument_error(
                self, "fft_length", f"at least frame_length={frame_length}", fft_length,
                "Use a longer transform.",
            )  # fmt: skip
        self.frame_step, self.fft_length = frame_step, fft_length
        self.window, self.periodic, self.scaling = window, periodic, scaling
        kernel = initializers.STFT("real", window, scaling)  # refuses unknown words
        if isinstance(window, str):
            kernel((4, 1, 3))
        self.padding = one_of(self, "padding", padding, ("valid", "same"))
        self.expand_dims, self.data_format = expand_dims, data_format(self, data_format_)
        self.input_spec = InputSpec(ndim=3)

    def build(self, input_shape: Any = None) -> None:
        """Make the kernels (frame_length, 1, frequencies)."""
        length = self.fft_length or 2 ** math.ceil(math.log2(self.frame_length))
        for side in ("real", "imag"):
            if self.mode != {"real": "imag", "imag": "real"}[side]:
                first = initializers.STFT(side, self.window, self.scaling, self.periodic)
                made = self.add_weight(
                    name=f"{side}_kernel", initializer=first,
                    shape=(self.frame_length, 1, length // 2 + 1),
                )  # fmt: skip
                setattr(self, f"{side}_kernel", made)

    def call(self, inputs: Any) -> Any:
        """The spectrogram. ArgumentTypeError for a signal of whole numbers."""
        if not str(inputs.dtype).startswith("float"):
            raise ArgumentTypeError(
                f'STFTSpectrogram "{self.name}": a signal must be float numbers. Received: dtype '
                f"{inputs.dtype}. Scale it, for example by Rescaling(1 / 32768)."
            )
        sides = [
            self._convolved(inputs, getattr(self, f"{side}_kernel"))
            for side in ("real", "imag")
            if hasattr(self, f"{side}_kernel")
        ]
        return self._arranged(self._as_mode(sides))

    def _convolved(self, x: Any, kernel: Any) -> Any:
        """(batch, channels, frames, frequencies)."""
        x = ops.transpose(x, (0, 2, 1)) if self.data_format == "channels_last" else x
        rows = ops.reshape(x, (-1, x.shape[-1], 1))
        step = self.frame_step or self.frame_length // 2
        made = ops.conv(rows, kernel, step, self.padding, "channels_last")
        return ops.reshape(made, (*x.shape[:2], *made.shape[1:]))

    def _as_mode(self, sides: list[Any]) -> Any:
        if self.mode in ("real", "imag"):
            return sides[0]
        real, imaginary = sides
        if self.mode == "angle":
            return ops.arctan2(imaginary, real)
        if self.mode == "stft":
            return ops.concatenate(sides, axis=-1)
        power = ops.square(real) + ops.square(imaginary)
        if self.mode == "psd":
            return power + ops.pad(power[..., 1:-1], ((0, 0), (0, 0), (0, 0), (1, 1)))
        size = ops.sqrt(ops.maximum(power, config.epsilon()))
        return size if self.mode == "magnitude" else ops.log(ops.maximum(size, config.epsilon()))

    def _arranged(self, x: Any) -> Any:
        last = self.data_format == "channels_last"
        if self.expand_dims:
            return ops.transpose(x, (0, 2, 3, 1)) if last else x
        batch, channels, frames, frequencies = x.shape
        x = ops.transpose(x, (0, 2, 1, 3) if last else (0, 1, 3, 2))
        shape = (frames, channels * frequencies) if last else (channels * frequencies, frames)
        return ops.reshape(x, (batch, *shape))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **{name: getattr(self, name) for name in self._options}}
