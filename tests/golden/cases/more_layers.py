"""Layer cases beyond those of cases/layers.py, in the same form: recurrent convolutions, wrappers,
and layers that change images, whose random factors are narrowed to one value here."""

from __future__ import annotations

from typing import Any

from .layers import EVAL, TRAIN, Case, Ints, init, l1l2

CASES: list[Case] = []


def add(kind: str, label: str, *inputs: Any, call: dict | None = None, **kwargs: Any) -> None:
    CASES.append(Case(kind, label, list(inputs), kwargs, call or {}))


def wrapped(kind: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": f"inner_{kind.lower()}", **config}}


# ConvLSTM
MAPS = {"ConvLSTM1D": (2, 3, 7, 2), "ConvLSTM2D": (2, 3, 5, 6, 2), "ConvLSTM3D": (2, 2, 4, 3, 4, 2)}
FIRST = {"ConvLSTM1D": (2, 3, 2, 7), "ConvLSTM2D": (2, 3, 2, 5, 6)}
for name, shape in MAPS.items():
    base = {"filters": 3, "kernel_size": 2}
    add(name, "plain", shape, **base)
    add(name, "sequences", shape, padding="same", return_sequences=True, **base)
    add(name, "backwards", shape, go_backwards=True, return_sequences=True, **base)
    add(name, "strided", shape, strides=2, **base)
    add(name, "dilated_bias", shape, dilation_rate=2, unit_forget_bias=False, **base)
    add(
        name,
        "options",
        shape,
        use_bias=False,
        activation="relu",
        dropout=0.25,
        seed=7,
        recurrent_activation="hard_sigmoid",
        kernel_initializer=init("HeNormal", seed=3),
        kernel_regularizer=l1l2(0.01, 0.02),
        recurrent_regularizer=l1l2(0.0, 0.1),
        **base,
    )
for name, shape in FIRST.items():
    add(
        name,
        "channels_first",
        shape,
        filters=3,
        kernel_size=2,
        data_format="channels_first",
        return_sequences=True,
    )

# ReversibleEmbedding
for tied in (True, False):
    base = {"input_dim": 9, "output_dim": 4, "tie_weights": tied}
    add("ReversibleEmbedding", f"ids_{tied}", Ints((2, 5), 9), **base)

# Augmentation, with factors that leave one value to draw.
IMAGE = (2, 5, 6, 3)
HALF = {"value_range": [0, 1]}


def one(layer: str, label: str = "one", *inputs: Any, **kwargs: Any) -> None:
    add(layer, label, *(inputs or [IMAGE]), call=TRAIN, **kwargs)
    if label == "one":
        add(layer, "inference", *(inputs or [IMAGE]), call=EVAL, **kwargs)


one("RandomBrightness", factor=[0.3, 0.3], **HALF)
one("RandomBrightness", "bytes", factor=[-0.1, -0.1], seed=3)
one("RandomContrast", factor=[-0.4, 0.4], **HALF)
one("RandomContrast", "first", (2, 3, 5, 6), factor=[-0.4, 0.4], data_format="channels_first")
one("RandomHue", factor=[1, 1], **HALF)
one("RandomSaturation", factor=[0.3, 0.3])
one("RandomSharpness", factor=[0.8, 0.8], **HALF)
one("RandomSharpness", "first", (2, 3, 5, 6), factor=[0.2, 0.2], data_format="channels_first")
one("RandomColorDegeneration", factor=[0.6, 0.6], **HALF)
one("RandomPosterization", "one", Ints(IMAGE, 256), factor=[3, 3])
one("RandomInvert", factor=[1, 1], **HALF)
one("RandomInvert", "never", factor=[0, 0], **HALF)
one("RandomGrayscale", factor=1.0)
one("RandomColorJitter", brightness_factor=[0.2, 0.2], contrast_factor=[-0.3, 0.3], **HALF)
one("RandomColorJitter", "rest", saturation_factor=[0.3, 0.3], hue_factor=[1, 1], **HALF)
one("Solarization", addition_factor=0.0, threshold_factor=0.0, **HALF)
add("AutoContrast", "one", IMAGE, call=TRAIN, **HALF)
add("AutoContrast", "inference", IMAGE, call=EVAL)
one("Equalization", **HALF)
one("Equalization", "bins", bins=32, **HALF)
one("RandomGaussianBlur", factor=[1, 1], sigma=[0.7, 0.7], kernel_size=3, **HALF)
one("RandomGaussianBlur", "wide", factor=[1, 1], sigma=[0.9, 0.9], kernel_size=[3, 5], **HALF)
for mode in ("reflect", "wrap", "constant", "nearest"):
    for interpolation in ("nearest", "bilinear"):
        how = {"fill_mode": mode, "interpolation": interpolation, "fill_value": 0.3}
        label = f"{mode}_{interpolation}"
        one("RandomRotation", label, factor=[0.13, 0.13], **how)
        one("RandomZoom", label, height_factor=[0.4, 0.4], width_factor=[-0.3, -0.3], **how)
        one("RandomTranslation", label, height_factor=[0.3, 0.3], width_factor=[-0.4, -0.4], **how)
one("RandomRotation", factor=[-0.05, -0.05])
one("RandomRotation", "single", (5, 6, 3), factor=[0.1, 0.1])
one("RandomZoom", height_factor=[0.4, 0.4])
one("RandomTranslation", height_factor=[0.3, 0.3], width_factor=[0.2, 0.2])
one("RandomShear", x_factor=[0.0, 0.0], y_factor=0.0)
one("RandomPerspective", factor=[1, 1], scale=0.0)
one("RandomElasticTransform", factor=[1, 1], scale=0.0)
one("RandomErasing", factor=[1, 1], scale=[1, 1], fill_value=0.5, **HALF)
one("RandomErasing", "never", factor=[0, 0])
one("RandomCrop", "small", height=7, width=4, seed=1)
add("RandomFlip", "inference", IMAGE, call=EVAL, mode="vertical", seed=2)
add("MixUp", "inference", IMAGE, call=EVAL, alpha=0.3, seed=2)
add("CutMix", "inference", IMAGE, call=EVAL, factor=0.3, seed=2)
add("RandAugment", "inference", IMAGE, call=EVAL, factor=0.3, num_ops=3, seed=2)
add("AugMix", "inference", IMAGE, call=EVAL, factor=0.3, alpha=2.0, num_chains=2, seed=2)

# Spectrograms
for number, kwargs in enumerate((
    {}, {"power_to_db": False, "mag_exp": 1.0}, {"sequence_length": 40, "window": "hamming"},
    {"min_freq": 100.0, "max_freq": 3000.0, "top_db": 20.0, "ref_power": 0.5},
)):  # fmt: skip
    add("MelSpectrogram", f"case{number}", (2, 300), fft_length=64, sequence_stride=20,
        num_mel_bins=6, sampling_rate=8000, **kwargs)
for mode in ("log", "magnitude", "psd", "real", "imag", "stft"):
    add("STFTSpectrogram", mode, (2, 40, 2), mode=mode, frame_length=8, frame_step=3)
add("STFTSpectrogram", "options", (2, 40, 2), mode="real", frame_length=8, fft_length=16,
    window="blackman", periodic=True, scaling="spectrum", padding="same", expand_dims=True)

# Wrappers and the rest
add("SpectralNormalization", "dense", (4, 5), layer=wrapped("Dense", units=3, activation="tanh"))
add("SpectralNormalization", "training", (4, 5), layer=wrapped("Dense", units=3), call=TRAIN)
add("SpectralNormalization", "convolution", (2, 4, 5, 2), power_iterations=3, call=TRAIN,
    layer=wrapped("Conv2D", filters=3, kernel_size=2))
add("SpectralNormalization", "embedding", Ints((2, 5), 7), call=TRAIN,
    layer=wrapped("Embedding", input_dim=7, output_dim=4))
add("Masking", "plain", (3, 4, 2))
add("Masking", "value", Ints((2, 5, 2), 3), mask_value=1)
for _kwargs in ({"l1": 0.01}, {"l2": 0.02}, {"l1": 0.01, "l2": 0.02}):
    add("ActivityRegularization", "_".join(_kwargs), (3, 4), **_kwargs)
for _label, _shape, _more in (
    ("plain", (2, 20, 27, 3), {"tile_grid_size": [2, 3]}), ("one", (9, 12, 1), {"clip_limit": 0.0}),
    ("first", (2, 3, 8, 8), {"tile_grid_size": [3, 4], "data_format": "channels_first"}),
):  # fmt: skip
    add("ContrastLimitedAdaptiveHistogramEqualization", _label, _shape, value_range=[-3, 3],
        call=TRAIN, **_more)
