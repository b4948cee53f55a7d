"""What layers.py sweeps: layers and ops by name, with a counterpart in torch where it has one.

A case makes the same computation three times: of Keras' names (ours and Keras' own) by
`make(keras)`, of torch's by `torch(t, c)`, t being torch and c the number of channels. Both give a
function of one array. Shapes are those of Keras; torch gets images with channels first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from op_cases import RANDOM, ROWS

SHAPES = {
    "vector": {"small": (32, 64), "medium": (128, 1024)},
    "sequence": {"small": (8, 16, 32), "medium": (32, 64, 128)},
    "signal": {"small": (8, 32, 8), "medium": (16, 256, 32)},
    "image": {"small": (4, 16, 16, 8), "medium": (16, 32, 32, 32)},
    "volume": {"small": (2, 6, 6, 6, 4), "medium": (4, 12, 12, 12, 16)},
    "clip": {"small": (2, 4, 8, 8, 4), "medium": (4, 8, 16, 16, 8)},
    "matrix": {"small": (8, 8, 8), "medium": (8, 64, 64)},
    "ids": {"small": (8, 16), "medium": (64, 128)},
    "wide": {"small": (2, 1024), "medium": (16, 8192)},
    "wave": {"small": (2, 1024, 1), "medium": (16, 8192, 1)},
    "heads": {"small": (4, 16, 2, 16), "medium": (8, 128, 4, 32)},
    "photo": {"small": (2, 32, 32, 3), "medium": (8, 96, 96, 3)},
    "film": {"small": (2, 4, 6, 6, 6, 2), "medium": (2, 4, 8, 8, 8, 8)},
}
CHANNELS_FIRST = ("signal", "image", "volume", "photo")  # for torch


class Case(NamedTuple):
    name: str
    kind: str
    make: Callable[[Any], Callable[[Any], Any]]
    torch: Callable[[Any, int], Callable[[Any], Any]] | None = None
    train: bool = True


def cases() -> dict[str, Case]:
    found = [
        *layers(),
        *recurrent(),
        *merging(),
        *of_columns(),
        *augmenting(),
        *unary(),
        *binary(),
        *reductions(),
        *of_tables(),
    ]
    return {case.name: case for case in found}


# ---- layers --------------------------------------------------------------------------------------


def layers() -> Iterator[Case]:
    """Layers of one input: the name, how Keras makes it, how torch does."""
    rows: list[tuple[str, str, Any, Any]] = [
        ("Dense", "vector", {"units": 256}, lambda t, c: t.nn.Linear(c, 256)),
        ("EinsumDense", "sequence", {"equation": "abc,cd->abd", "output_shape": (None, 64)},
         lambda t, c: t.nn.Linear(c, 64, bias=False)),
        ("Embedding", "ids", {"input_dim": 5000, "output_dim": 64},
         lambda t, c: t.nn.Embedding(5000, 64)),
        ("Dropout", "vector", {"rate": 0.3}, lambda t, c: t.nn.Dropout(0.3)),
        ("SpatialDropout2D", "image", {"rate": 0.3}, lambda t, c: t.nn.Dropout2d(0.3)),
        ("AlphaDropout", "vector", {"rate": 0.3}, lambda t, c: t.nn.AlphaDropout(0.3)),
        ("GaussianDropout", "vector", {"rate": 0.3}, None),
        ("GaussianNoise", "vector", {"stddev": 0.3}, None),
        ("ReLU", "image", {}, lambda t, c: t.nn.ReLU()),
        ("LeakyReLU", "image", {}, lambda t, c: t.nn.LeakyReLU(0.3)),
        ("ELU", "image", {}, lambda t, c: t.nn.ELU()),
        ("PReLU", "image", {"shared_axes": (1, 2)}, lambda t, c: t.nn.PReLU(c)),
        ("Softmax", "vector", {}, lambda t, c: t.nn.Softmax(-1)),
        ("Flatten", "image", {}, lambda t, c: t.nn.Flatten()),
        ("Permute", "image", {"dims": (3, 1, 2)}, lambda t, c: lambda x: x.permute(0, 3, 1, 2) * 1),
        ("RepeatVector", "vector", {"n": 8}, lambda t, c: lambda x: x[:, None].repeat(1, 8, 1)),
        ("Rescaling", "image", {"scale": 0.5, "offset": 1.0}, lambda t, c: lambda x: x * 0.5 + 1.0),
        ("BatchNormalization", "image", {}, lambda t, c: t.nn.BatchNorm2d(c)),
        ("LayerNormalization", "sequence", {}, lambda t, c: t.nn.LayerNorm(c)),
        ("RMSNormalization", "sequence", {}, lambda t, c: t.nn.RMSNorm(c)),
        ("GroupNormalization", "image", {"groups": 4}, lambda t, c: t.nn.GroupNorm(4, c)),
        ("UnitNormalization", "vector", {}, lambda t, c: t.nn.functional.normalize),
        ("Conv1D", "signal", {"filters": 32, "kernel_size": 3},
         lambda t, c: t.nn.Conv1d(c, 32, 3)),
        ("Conv2D", "image", {"filters": 32, "kernel_size": 3}, lambda t, c: t.nn.Conv2d(c, 32, 3)),
        ("Conv3D", "volume", {"filters": 16, "kernel_size": 3},
         lambda t, c: t.nn.Conv3d(c, 16, 3)),
        ("Conv1DTranspose", "signal", {"filters": 32, "kernel_size": 3, "strides": 2},
         lambda t, c: t.nn.ConvTranspose1d(c, 32, 3, 2)),
        ("Conv2DTranspose", "image", {"filters": 32, "kernel_size": 3, "strides": 2},
         lambda t, c: t.nn.ConvTranspose2d(c, 32, 3, 2)),
        ("Conv3DTranspose", "volume", {"filters": 16, "kernel_size": 3, "strides": 2},
         lambda t, c: t.nn.ConvTranspose3d(c, 16, 3, 2)),
        ("DepthwiseConv1D", "signal", {"kernel_size": 3},
         lambda t, c: t.nn.Conv1d(c, c, 3, groups=c)),
        ("DepthwiseConv2D", "image", {"kernel_size": 3},
         lambda t, c: t.nn.Conv2d(c, c, 3, groups=c)),
        ("SeparableConv1D", "signal", {"filters": 32, "kernel_size": 3},
         lambda t, c: t.nn.Sequential(t.nn.Conv1d(c, c, 3, groups=c), t.nn.Conv1d(c, 32, 1))),
        ("SeparableConv2D", "image", {"filters": 32, "kernel_size": 3},
         lambda t, c: t.nn.Sequential(t.nn.Conv2d(c, c, 3, groups=c), t.nn.Conv2d(c, 32, 1))),
    ]  # fmt: skip
    for n, kind in ((1, "signal"), (2, "image"), (3, "volume")):
        rows += _windows(n, kind)
    for name, kind, arguments, torch in rows:
        yield Case(name, kind, _layer(name, arguments), torch)


def _windows(n: int, kind: str) -> list[tuple[str, str, Any, Any]]:
    """Pooling and the like, in n dimensions."""
    axes = tuple(range(2, 2 + n))

    def module(name: str, *arguments: Any) -> Any:
        return lambda t, c: getattr(t.nn, f"{name}{n}d")(*arguments)

    return [
        (f"MaxPooling{n}D", kind, {"pool_size": 2}, module("MaxPool", 2)),
        (f"AveragePooling{n}D", kind, {"pool_size": 2}, module("AvgPool", 2)),
        (f"AdaptiveMaxPooling{n}D", kind, {"output_size": 3}, module("AdaptiveMaxPool", 3)),
        (f"AdaptiveAveragePooling{n}D", kind, {"output_size": 3}, module("AdaptiveAvgPool", 3)),
        (f"GlobalMaxPooling{n}D", kind, {}, lambda t, c: lambda x: x.amax(axes)),
        (f"GlobalAveragePooling{n}D", kind, {}, lambda t, c: lambda x: x.mean(axes)),
        (f"UpSampling{n}D", kind, {"size": 2}, lambda t, c: t.nn.Upsample(scale_factor=2)),
        (f"ZeroPadding{n}D", kind, {"padding": 1},
         lambda t, c: lambda x: t.nn.functional.pad(x, (1, 1) * n)),
        (f"Cropping{n}D", kind, {"cropping": 1},
         lambda t, c: lambda x: x[(..., *(slice(1, -1),) * n)] * 1),
    ]  # fmt: skip


def recurrent() -> Iterator[Case]:
    """Recurrent layers and attention."""
    rows: list[tuple[str, str, Any, Any]] = [
        ("SimpleRNN", "sequence", {"units": 64, "return_sequences": True},
         lambda t, c: t.nn.RNN(c, 64, batch_first=True)),
        ("LSTM", "sequence", {"units": 64, "return_sequences": True},
         lambda t, c: t.nn.LSTM(c, 64, batch_first=True)),
        ("GRU", "sequence", {"units": 64, "return_sequences": True},
         lambda t, c: t.nn.GRU(c, 64, batch_first=True)),
        ("ConvLSTM2D", "clip", {"filters": 8, "kernel_size": 3}, None),
    ]  # fmt: skip
    for name, kind, arguments, torch in rows:
        yield Case(name, kind, _layer(name, arguments), torch)
    yield Case(
        "Bidirectional LSTM", "sequence",
        lambda keras: keras.layers.Bidirectional(keras.layers.LSTM(64, return_sequences=True)),
        lambda t, c: t.nn.LSTM(c, 64, batch_first=True, bidirectional=True),
    )  # fmt: skip
    yield Case(
        "TimeDistributed Dense", "sequence",
        lambda keras: keras.layers.TimeDistributed(keras.layers.Dense(64)),
        lambda t, c: t.nn.Linear(c, 64),
    )  # fmt: skip

    def attended(keras: Any) -> Any:
        layer = keras.layers.MultiHeadAttention(4, 16)
        return lambda x: layer(x, x)

    def of_torch(t: Any, c: int) -> Any:
        layer = t.nn.MultiheadAttention(c, 4, batch_first=True)
        return _Calls(t, layer, lambda x: layer(x, x, x, need_weights=False))

    yield Case("MultiHeadAttention", "sequence", attended, of_torch)
    for name in ("Attention", "AdditiveAttention"):
        yield Case(name, "sequence", _with_itself(name))


def merging() -> Iterator[Case]:
    """Layers of two inputs: the input and its half."""
    signs: dict[str, Callable[[Any, Any, Any], Any]] = {
        "Add": lambda t, x, y: x + y,
        "Subtract": lambda t, x, y: x - y,
        "Multiply": lambda t, x, y: x * y,
        "Average": lambda t, x, y: (x + y) / 2,
        "Maximum": lambda t, x, y: t.maximum(x, y),
        "Minimum": lambda t, x, y: t.minimum(x, y),
        "Concatenate": lambda t, x, y: t.cat([x, y], -1),
    }
    for name, sign in signs.items():
        yield Case(name, "image", _merged(name), lambda t, c, s=sign: lambda x: s(t, x, x * 0.5))


def of_columns() -> Iterator[Case]:
    """Layers that look up, scale or transform what comes in."""
    rows: list[tuple[str, str, dict[str, Any], Any, bool]] = [
        ("Activation", "vector", {"activation": "tanh"}, lambda t, c: t.nn.Tanh(), True),
        ("ActivityRegularization", "vector", {"l2": 0.1}, None, True),
        ("Identity", "vector", {}, lambda t, c: t.nn.Identity(), True),
        ("Reshape", "image", {"target_shape": (-1,)}, lambda t, c: t.nn.Flatten(), True),
        ("Masking", "sequence", {}, None, True),
        ("SpatialDropout1D", "sequence", {"rate": 0.3}, None, True),
        ("SpatialDropout3D", "volume", {"rate": 0.3}, lambda t, c: t.nn.Dropout3d(0.3), True),
        ("Normalization", "vector", {"mean": 0.5, "variance": 2.0}, None, True),
        ("CenterCrop", "photo", {"height": 20, "width": 20}, None, True),
        ("Resizing", "photo", {"height": 40, "width": 48},
         lambda t, c: t.nn.Upsample((40, 48), mode="bilinear"), True),
        ("CategoryEncoding", "ids", {"num_tokens": 64}, None, False),
        ("Discretization", "vector", {"bin_boundaries": [-1.0, -0.5, 0.0, 0.5, 1.0]},
         lambda t, c: lambda x: t.bucketize(x, t.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])), False),
        ("Hashing", "ids", {"num_bins": 32}, None, False),
        ("IntegerLookup", "ids", {"vocabulary": list(range(50))}, None, False),
        ("STFTSpectrogram", "wave", {"mode": "log"}, None, False),
        ("MelSpectrogram", "wide", {"fft_length": 512}, None, False),
        ("ConvLSTM1D", "heads", {"filters": 8, "kernel_size": 2}, None, True),
        ("ConvLSTM3D", "film", {"filters": 4, "kernel_size": 3}, None, True),
    ]  # fmt: skip
    for name, kind, arguments, torch, train in rows:
        yield Case(name, kind, _layer(name, arguments), torch, train)
    yield Case("Dot", "vector", lambda keras: lambda x: keras.layers.Dot(1)([x, x * 0.5]),
               lambda t, c: lambda x: (x * x * 0.5).sum(1, keepdim=True))  # fmt: skip
    yield Case("GroupQueryAttention", "sequence", lambda keras: _twice(
        keras.layers.GroupQueryAttention(16, 4, 2)))  # fmt: skip
    yield Case("SpectralNormalization", "vector", lambda keras: keras.layers.SpectralNormalization(
        keras.layers.Dense(64)))  # fmt: skip
    yield Case("StackedRNNCells", "sequence", lambda keras: keras.layers.RNN(
        [keras.layers.LSTMCell(32), keras.layers.GRUCell(32)]))  # fmt: skip


def augmenting() -> Iterator[Case]:
    """Layers that change pictures at random, as in training."""
    rows: dict[str, Any] = {
        **dict.fromkeys("RandomFlip RandomInvert RandomGaussianBlur RandomElasticTransform "
                        "AutoContrast RandomPerspective RandomGrayscale RandomErasing "
                        "ContrastLimitedAdaptiveHistogramEqualization".split(), ()),
        **dict.fromkeys("RandomRotation RandomZoom RandomContrast RandomBrightness RandomHue "
                        "RandomColorDegeneration RandomSharpness".split(), (0.2,)),
        "RandomTranslation": (0.2, 0.2), "RandomShear": (0.2, 0.2), "RandomCrop": (24, 24),
        "RandomSaturation": ((0.3, 0.6),), "RandomPosterization": (4,), "Equalization": (),
        "Solarization": (), "RandAugment": (), "RandomColorJitter": (),
    }  # fmt: skip
    for name, arguments in rows.items():
        yield Case(name, "photo", _augmenter(name, arguments), None, train=False)


def _augmenter(name: str, arguments: Any) -> Callable[[Any], Any]:
    """The layer inside of another one, for a model that predicts would turn it off."""
    options = {} if name in _UNSEEDED else {"seed": 1}

    def make(keras: Any) -> Any:
        class Augmented(keras.layers.Layer):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.inner = getattr(keras.layers, name)(*arguments, **options)

            def call(self, x: Any) -> Any:
                return self.inner(x * 60 + 128, training=True)

        return Augmented()

    return make


_UNSEEDED = ("Equalization", "AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization")


def _twice(layer: Any) -> Any:
    return lambda x: layer(x, x)


def _layer(name: str, arguments: dict[str, Any]) -> Callable[[Any], Any]:
    return lambda keras: getattr(keras.layers, name)(**arguments)


def _with_itself(name: str) -> Callable[[Any], Any]:
    def make(keras: Any) -> Any:
        layer = getattr(keras.layers, name)()
        return lambda x: layer([x, x])

    return make


def _merged(name: str) -> Callable[[Any], Any]:
    def make(keras: Any) -> Any:
        layer = getattr(keras.layers, name)()
        return lambda x: layer([x, x * 0.5])

    return make


class _Calls:
    """A torch module that is called in a way of its own."""

    def __init__(self, t: Any, module: Any, call: Callable[[Any], Any]) -> None:
        self.t, self.module, self.call = t, module, call

    def parameters(self) -> Any:
        return self.module.parameters()

    def __call__(self, x: Any) -> Any:
        return self.call(x)


# ---- ops -----------------------------------------------------------------------------------------


def _op(name: str, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """ops.name(x, ...) as a layer of Keras'."""
    return lambda keras: lambda x: getattr(keras.ops, name)(x, *arguments, **options)


def unary() -> Iterator[Case]:
    """Functions of each number; torch's have the same name, or the one beside it."""
    smooth = (
        "abs arctan:atan arcsinh:asinh cos cosh erf exp exp2 expm1 log1p:_log1p negative:neg "
        "reciprocal:_reciprocal rsqrt:_rsqrt sin sinc sinh sqrt:_sqrt square tan tanh sigmoid "
        "relu relu6 silu "
        "gelu elu selu celu softplus softsign leaky_relu hard_sigmoid:hardsigmoid "
        "hard_silu:hardswish "
        "hard_tanh:hardtanh log_sigmoid:logsigmoid tanh_shrink:tanhshrink soft_shrink:softshrink "
        "hard_shrink:hardshrink threshold:_threshold log:_log log2:_log2 log10:_log10 "
        "erfinv:_erfinv arcsin:_asin arccos:_acos"
    )  # fmt: skip
    steps = "ceil floor round sign trunc isnan isfinite isinf logical_not signbit"
    for word in smooth.split():
        name, _, other = word.partition(":")
        yield Case(name, "vector", _within(name, other), _torch_unary(other or name))
    for name in steps.split():
        yield Case(name, "vector", _op(name), _torch_unary(name), train=False)


# Functions that want numbers above 0, or between -1 and 1, get them.
_WITHIN: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        "_log1p _reciprocal _rsqrt _sqrt _log _log2 _log10".split(), lambda x: x * x + 0.1
    ),
    **dict.fromkeys("_erfinv _asin _acos".split(), lambda x: x * 0.1),
}


def _within(name: str, other: str) -> Callable[[Any], Any]:
    before = _WITHIN.get(other, lambda x: x)
    extra = (0.1, 0.0) if name == "threshold" else ()
    return lambda keras: lambda x: getattr(keras.ops, name)(before(x), *extra)


def _torch_unary(name: str) -> Callable[[Any, int], Any]:
    before = _WITHIN.get(name, lambda x: x)
    plain = name.lstrip("_")

    def make(t: Any, c: int) -> Any:
        del c
        function = getattr(t, plain, None) or getattr(t.nn.functional, plain)
        extra = (0.1, 0.0) if plain == "threshold" else ()
        return lambda x: function(before(x), *extra)

    return make


def binary() -> Iterator[Case]:
    """Functions of the input and a row that is broadcast."""
    words = (
        "add subtract multiply divide:div maximum minimum power:pow floor_divide mod:remainder "
        "arctan2:atan2 hypot logaddexp squared_difference: equal:eq greater:gt less:lt logical_and"
    )
    steps = ("floor_divide", "mod", "equal", "greater", "less", "logical_and")
    for word in words.split():
        name, sign, other = word.partition(":")
        yield Case(
            name,
            "vector",
            _with_row(name),
            _torch_with_row(other or name) if other or not sign else None,
            train=name not in steps,
        )


def _with_row(name: str) -> Callable[[Any], Any]:
    def make(keras: Any) -> Any:
        def call(x: Any) -> Any:
            row = keras.ops.ones((x.shape[-1],)) * 1.5
            return getattr(keras.ops, name)(x * x if name == "power" else x, row)

        return call

    return make


def _torch_with_row(name: str) -> Callable[[Any, int], Any]:
    def make(t: Any, c: int) -> Any:
        row = t.full((c,), 1.5)
        return lambda x: getattr(t, name)(x * x if name == "pow" else x, row)

    return make


def reductions() -> Iterator[Case]:
    """Over the last axis, and over the first."""
    words = (
        "sum mean max:amax min:amin prod var std logsumexp argmax argmin all any count_nonzero "
        "cumsum cumprod norm softmax log_softmax"
    )
    numbers = ("argmax", "argmin", "all", "any", "count_nonzero")
    for word in words.split():
        name, _, other = word.partition(":")
        for axis in (-1, 0):
            yield Case(
                f"{name} of axis {axis}", "vector",
                lambda keras, n=name, a=axis: lambda x: _reducer(keras, n)(x, axis=a),
                lambda t, c, n=other or name, a=axis: lambda x: (
                    t.linalg.norm(x, dim=a) if n == "norm" else getattr(t, n)(x, dim=a)),
                train=name not in numbers,
            )  # fmt: skip


def _reducer(keras: Any, name: str) -> Any:
    return keras.ops.linalg.norm if name == "norm" else getattr(keras.ops, name)


def of_tables() -> Iterator[Case]:
    """The rows of op_cases.py, and what is drawn."""
    for name, kind, ours, torch, train in ROWS:
        yield Case(name, kind, _computed(ours), _torch_computed(torch), train)
    for name, kind, ours, torch, train in RANDOM:
        yield Case(name, kind, _drawn(ours), _torch_computed(torch), train)


def _computed(ours: Any) -> Callable[[Any], Any]:
    return lambda keras: lambda x: ours(keras, keras.ops, x)


def _torch_computed(function: Any) -> Callable[[Any, int], Any] | None:
    return function and (lambda t, c: lambda x: function(t, x))


def _drawn(ours: Any) -> Callable[[Any], Any]:
    def make(keras: Any) -> Any:
        class Drawn(keras.layers.Layer):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.seed = keras.random.SeedGenerator(1)

            def call(self, x: Any) -> Any:
                return ours(keras, self.seed, x)

        return Drawn()

    return make
